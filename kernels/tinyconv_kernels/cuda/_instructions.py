"""What helpers of kernels cannot say in Python, each with a stand-in for the simulator.

That are 16-byte loads and stores, a thread's registers, the barrier (the simulator knows ``cuda.local`` and
``cuda.syncthreads`` in the file of the kernel alone), and how many registers the compiler may use.
"""

import threading

import numpy as np

from tinyconv_kernels.cuda._cuda import SIMULATED, cuda, device


def limits(threads):
    """Return the compiler's limits for blocks of so many threads that keep their results in registers.

    At least two such blocks shall fit a multiprocessor's 65536 registers, or nothing hides the waiting of one of them.
    """
    return {} if SIMULATED else {"max_registers": 128 if threads > 128 else 160}


if SIMULATED:
    inlined = device

    def load4(array, i):
        """Return four neighbours as a tuple; ``array[i]`` must lie on a 16-byte boundary (32 for 8-byte elements)."""
        return array[i], array[i + 1], array[i + 2], array[i + 3]

    def store4(array, i, a, b, c, d):
        """Write four neighbours; ``array[i]`` must lie on a 16-byte boundary."""
        array[i], array[i + 1], array[i + 2], array[i + 3] = a, b, c, d

    def load_if(array, i, condition):
        """Return ``array[i]`` where the condition holds, 0 elsewhere; nobody may write to the array meanwhile."""
        return array[i] if condition else array.dtype.type(0)

    def load4_if(array, i, condition):
        """Return four neighbours, float32, where the condition holds, zeros elsewhere; as load4 and load_if."""
        return load4(array, i) if condition else (np.float32(0),) * 4

    def barrier():
        """Wait for the other threads of the block."""
        threading.current_thread().syncthreads()

    def registers(count, dtype):
        """Return a function that gives a thread an array of its own."""
        return lambda: np.zeros(count, dtype)

else:
    from llvmlite import ir
    from numba import from_dtype, types
    from numba.cuda.extending import intrinsic

    def _address(context, builder, kind, array, i):
        """LLVM's pointer to four elements from ``array[i]`` on; returns it and the type of one."""
        element = context.get_data_type(kind.dtype)
        start = builder.gep(context.make_array(kind)(context, builder, array).data, [i])
        return builder.bitcast(start, ir.PointerType(ir.VectorType(element, 4), start.type.addrspace)), element

    @intrinsic
    def load4(_, array, i):
        """Return four neighbours as a tuple; ``array[i]`` must lie on a 16-byte boundary."""

        def generate(context, builder, signature, arguments):
            pointer, _ = _address(context, builder, signature.args[0], *arguments)
            four = builder.load(pointer)
            four.align = 16
            values = [builder.extract_element(four, ir.IntType(32)(n)) for n in range(4)]
            return context.make_tuple(builder, signature.return_type, values)

        return types.UniTuple(array.dtype, 4)(array, types.uint64), generate

    @intrinsic
    def store4(_, array, i, a, b, c, d):
        """Write four neighbours; ``array[i]`` must lie on a 16-byte boundary."""

        def generate(context, builder, signature, arguments):
            pointer, element = _address(context, builder, signature.args[0], *arguments[:2])
            four = ir.Constant(ir.VectorType(element, 4), ir.Undefined)
            for n, value in enumerate(arguments[2:]):
                four = builder.insert_element(four, value, ir.IntType(32)(n))
            builder.store(four, pointer).align = 16
            return context.get_dummy_value()

        return types.none(array, types.uint64, *[array.dtype] * 4), generate

    # A load under a condition is a branch in LLVM, and registers of the whole warp are set up anew behind each. This is
    # one instruction that not every thread carries out. "nc": by the cache for what is only read.
    _IF = (
        "{{ .reg .pred p; .reg .u64 a; setp.ne.u32 p, ${n}, 0; cvta.to.global.u64 a, ${at}; {zeros} "
        "@p ld.global.nc{kind} {results}, [a]; }}"
    )

    def _load_if(kind, array, count):
        """Return a code generator: so many neighbours from an element on, under a condition."""
        bits = array.dtype.bitwidth
        element, letter = (ir.FloatType(), "f") if bits == 32 else (ir.DoubleType(), "d")
        names = [f"${n}" for n in range(count)]
        zeros = " ".join(f"mov.f{bits} {name}, 0{letter}{0:0{bits // 4}x};" for name in names)
        results = names[0] if count == 1 else "{" + ",".join(names) + "}"
        code = _IF.format(n=count + 1, at=count, zeros=zeros, kind=kind, results=results)
        result = element if count == 1 else ir.LiteralStructType([element] * count)
        assembly = ir.FunctionType(result, [ir.IntType(64), ir.IntType(32)])
        constraints = ",".join([f"={letter}"] * count + ["l", "r"])

        def generate(context, builder, signature, arguments):
            start, _ = _address(context, builder, signature.args[0], *arguments[:2])
            condition = builder.zext(arguments[2], ir.IntType(32))
            address = builder.ptrtoint(start, ir.IntType(64))
            found = builder.call(ir.InlineAsm(assembly, code, constraints), [address, condition])
            if count == 1:
                return found
            values = [builder.extract_value(found, n) for n in range(count)]
            return context.make_tuple(builder, signature.return_type, values)

        return generate

    @intrinsic
    def load_if(_, array, i, condition):
        """Return ``array[i]`` where the condition holds, 0 elsewhere; nobody may write to the array meanwhile."""
        return array.dtype(array, types.uint64, types.boolean), _load_if(f".f{array.dtype.bitwidth}", array, 1)

    @intrinsic
    def load4_if(_, array, i, condition):
        """Return four neighbours, float32, where the condition holds, zeros elsewhere; as load4 and load_if."""
        return types.UniTuple(array.dtype, 4)(array, types.uint64, types.boolean), _load_if(".v4.f32", array, 4)

    # Numba's own inlining copies a helper's code as often as it is nested: 10 seconds for the kernels of cuda/_gemm.py.
    inlined = cuda.jit(device=True, forceinline=True)

    @inlined
    def barrier():
        """Wait for the other threads of the block."""
        cuda.syncthreads()

    def registers(count, dtype):
        """Return a function that gives a thread an array of its own, which ends up in registers."""
        real = from_dtype(dtype)

        @device
        def allocate():
            return cuda.local.array(count, real)

        return allocate


def storing(wide):
    """Return a device function (out, place, sums, s) -> out[place] = sums[s]; ``wide``: of four neighbours each."""
    one, two, three = map(np.uint32, (1, 2, 3))

    @inlined
    def four(out, place, sums, s):
        store4(out, place, sums[s], sums[s + one], sums[s + two], sums[s + three])

    @inlined
    def single(out, place, sums, s):
        out[place] = sums[s]

    return four if wide else single
