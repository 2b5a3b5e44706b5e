"""What helpers of kernels cannot say in Python, each with a stand-in for the simulator.

That are 16-byte loads and stores, a thread's registers, the barrier (the simulator knows ``cuda.local`` and
``cuda.syncthreads`` in the file of the kernel alone), and how many registers the compiler may use.
"""

import threading

import numpy as np

from tinyconv_kernels.cuda._cuda import SIMULATED, cuda, device

# Two blocks of 256 threads shall fit a multiprocessor's 65536 registers, or nothing hides the waiting of one of them.
LIMITS = {} if SIMULATED else {"max_registers": 128}

if SIMULATED:
    inlined = device

    def load4(array, i):
        """Return four neighbours as a tuple; ``array[i]`` must lie on a 16-byte boundary (32 for 8-byte elements)."""
        return array[i], array[i + 1], array[i + 2], array[i + 3]

    def store4(array, i, a, b, c, d):
        """Write four neighbours; ``array[i]`` must lie on a 16-byte boundary."""
        array[i], array[i + 1], array[i + 2], array[i + 3] = a, b, c, d

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
