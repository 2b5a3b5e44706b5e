"""Tensor cores: 16 by 8 times 8 by 8 in one instruction of a warp, the factors rounded to TF32 (10 bits of mantissa).

The instruction is written in PTX, NVIDIA's assembly language (PTX ISA, "Matrix fragments for mma.m16n8k8"). Lane l of
the warp, g = l // 4 and q = l % 4, holds

- of A (16 x 8): a0 = A[g, q], a1 = A[g + 8, q], a2 = A[g, q + 4], a3 = A[g + 8, q + 4]
- of B (8 x 8): b0 = B[q, g], b1 = B[q + 4, g]
- of C (16 x 8): c0 = C[g, 2 q], c1 = C[g, 2 q + 1], c2 = C[g + 8, 2 q], c3 = C[g + 8, 2 q + 1]

It needs compute capability 8.0. In the simulator the lanes of a warp swap their factors through a list of the block.
"""

import threading

import numpy as np

from tinyconv_kernels.cuda._cuda import SIMULATED, cuda


def available():
    """Whether the GPU has TF32 tensor cores."""
    return SIMULATED or cuda.get_current_device().compute_capability >= (8, 0)


def rounded(x):
    """Return a float32 array as TF32 sees it: to the nearest number of 10 bits of mantissa, halves away from zero."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


if SIMULATED:

    def tf32(x):
        """Return x rounded to TF32."""
        return rounded(np.full(1, x, np.float32))[0]

    def mma(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
        """Return this lane's part of A B + C, given its parts of A, B and C."""
        me = threading.current_thread()
        lanes = vars(me._manager).setdefault("lanes", {})
        lanes[me.thread_id] = a0, a1, a2, a3, b0, b1
        me.syncthreads()
        lane, sums = me.thread_id % 32, [c0, c1, c2, c3]
        warp, g, q = me.thread_id - lane, lane // 4, lane % 4
        for e in range(4):
            column = 2 * q + e % 2
            for k in range(8):
                left = lanes[warp + 4 * g + k % 4][e // 2 + 2 * (k // 4)]
                sums[e] += left * lanes[warp + 4 * column + k % 4][4 + k // 4]
        me.syncthreads()
        return tuple(sums)

else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    _FLOAT, _BITS = ir.FloatType(), ir.IntType(32)
    _INSTRUCTION = (
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {$0,$1,$2,$3},{$4,$5,$6,$7},{$8,$9},{$10,$11,$12,$13};"
    )

    @intrinsic
    def tf32(_, x):
        """Return x rounded to TF32."""
        convert = ir.InlineAsm(ir.FunctionType(_BITS, [_FLOAT]), "cvt.rna.tf32.f32 $0,$1;", "=r,f")

        def generate(context, builder, signature, arguments):
            return builder.bitcast(builder.call(convert, arguments), _FLOAT)

        return types.float32(types.float32), generate

    @intrinsic
    def mma(_, a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
        """Return this lane's part of A B + C, given its parts of A, B and C."""
        kind = ir.FunctionType(ir.LiteralStructType([_FLOAT] * 4), [_BITS] * 6 + [_FLOAT] * 4)
        multiply = ir.InlineAsm(kind, _INSTRUCTION, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", side_effect=True)

        def generate(context, builder, signature, arguments):
            factors = [builder.bitcast(x, _BITS) for x in arguments[:6]]
            result = builder.call(multiply, factors + list(arguments[6:]))
            values = [builder.extract_value(result, n) for n in range(4)]
            return context.make_tuple(builder, signature.return_type, values)

        return types.UniTuple(types.float32, 4)(*[types.float32] * 10), generate
