"""Winograd's transforms as LLVM vectors: M d M' of small matrices d, one in each lane of a vector.

Convolving 6 inputs with 3 taps gives 4 outputs: that is the product of two polynomials, which 6 multiplications do
(instead of 12) if both are evaluated at 6 points, multiplied there, and interpolated back (Winograd 1980). In two
dimensions 36 multiplications replace 144. Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", sec.
4.1, write it  Y = A' [(G g G') * (B' d B)] A  for the points 0, 1, -1, 2, -2 and infinity. With 6x6 pixels d:

    F(4x4, 3x3)   g 3x3 filter, Y 4x4 outputs             36 products for 144: forward, gradient of the input
    F(3x3, 4x4)   g 4x4 output gradients, Y 3x3 taps      36 for 144: gradient of the filter
    F(2x2, 5x5), F(5x5, 2x2)   the same for 5x5 filters   36 for 100
"""

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic

from tinyconv_kernels.cpu._micro import VECTOR_BYTES, Emitter

POINTS = (0, 1, -1, 2, -2)


def _evaluation(terms):
    """Rows p^0, p^1, ... of every point p; infinity takes the highest power alone."""
    return np.array([[float(p) ** i for i in range(terms)] for p in POINTS] + [[0.0] * (terms - 1) + [1.0]])


def _filter_matrix(taps):
    """G: evaluation, divided by the product of the distances to the other points (Lagrange's denominators)."""
    scale = [float(np.prod([p - q for q in POINTS if q != p])) for p in POINTS] + [1.0]
    return _evaluation(taps) / np.array(scale)[:, None]


# Row p of B' holds the coefficients of Lagrange's numerator, the product over the other points q of (t - q).
_numerators = [np.poly([q for q in POINTS if q != p])[::-1] for p in POINTS]
PIXELS = np.array([[*row, 0.0] for row in _numerators] + [np.poly(POINTS)[::-1]])
# G and A' for each number of terms: F(4x4, 3x3) takes G of 3 and A' of 4, F(3x3, 4x4) the other way round.
FILTER = {terms: _filter_matrix(terms) for terms in (2, 3, 4, 5)}
OUTPUT = {terms: _evaluation(terms).T for terms in (2, 3, 4, 5)}


def _weighted_sum(emit, terms):
    """Sum of (coefficient, vector), the coefficients 1 and -1 without a multiplication."""
    builder, total = emit.builder, None
    for coefficient, value in sorted(terms, key=lambda term: term[0] != 1):
        if total is None and coefficient == 1:
            total = value
        elif total is None:
            total = builder.fmul(value, ir.Constant(emit.vector, [coefficient] * emit.lanes))
        elif abs(coefficient) == 1:
            total = (builder.fadd if coefficient == 1 else builder.fsub)(total, value)
        else:
            total = builder.call(emit.fma, [value, ir.Constant(emit.vector, [coefficient] * emit.lanes), total])
    return total


def _apply(emit, matrix, values):
    """Return matrix @ values. Points come as p and -p: two rows (or columns) share sums of even and odd parts."""
    builder = emit.builder
    height, width = matrix.shape
    pairs = [
        (j, k) for j in range(width) for k in range(j + 1, width)
        if np.array_equal(matrix[:, k], matrix[:, j] * (-1.0) ** np.arange(height))
    ]  # fmt: skip
    if pairs:
        both = {j: (builder.fadd(values[j], values[k]), builder.fsub(values[j], values[k])) for j, k in pairs}
        second = {k for _, k in pairs}
        return [
            _weighted_sum(
                emit,
                [(m, both[j][i % 2] if j in both else values[j]) for j, m in enumerate(row) if m and j not in second],
            )
            for i, row in enumerate(matrix)
        ]
    results = [None] * height
    for i, row in enumerate(matrix):
        if results[i] is not None:
            continue
        mirror = row * (-1.0) ** np.arange(width)
        twin = next((k for k in range(i + 1, height) if np.array_equal(matrix[k], mirror)), None)
        if twin is None:
            results[i] = _weighted_sum(emit, [(m, values[j]) for j, m in enumerate(row) if m])
        else:
            even = _weighted_sum(emit, [(m, values[j]) for j, m in enumerate(row) if m and j % 2 == 0])
            odd = _weighted_sum(emit, [(m, values[j]) for j, m in enumerate(row) if m and j % 2])
            results[i], results[twin] = builder.fadd(even, odd), builder.fsub(even, odd)
    return results


def _transform(matrix):
    """Make the function dst = matrix src matrix' for this matrix."""
    height, width = matrix.shape

    def transform(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col):
        lanes = np.arange(VECTOR_BYTES // src.itemsize)
        rows, columns = np.arange(width) * int(src_row), np.arange(width) * int(src_col)
        values = src[int(src_at) + rows[:, None, None] + columns[:, None] + lanes]
        rows, columns = np.arange(height) * int(dst_row), np.arange(height) * int(dst_col)
        dst[int(dst_at) + rows[:, None, None] + columns[:, None] + lanes] = np.einsum(
            "ij,jkl,mk->iml", matrix, values, matrix
        )

    index = types.uint64

    def typed(typing, src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col):
        signature = types.void(src, index, index, index, dst, index, index, index)

        def codegen(context, builder, signature, arguments):
            src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col = arguments
            emit = Emitter(context, builder, signature.args[0])
            src = emit.address(signature.args[0], src, src_at)
            dst = emit.address(signature.args[4], dst, dst_at)

            def at(i, by_row, j, by_col):
                i, j = ir.Constant(ir.IntType(64), i), ir.Constant(ir.IntType(64), j)
                return builder.add(builder.mul(by_row, i), builder.mul(by_col, j))

            columns = []
            for j in range(width):
                column = [emit.load(src, at(i, src_row, j, src_col)) for i in range(width)]
                columns.append(_apply(emit, matrix, column))
            for i in range(height):
                for j, value in enumerate(_apply(emit, matrix, [column[i] for column in columns])):
                    emit.store(value, dst, at(i, dst_row, j, dst_col))
            return context.get_dummy_value()

        return signature, codegen

    return transform if config.DISABLE_JIT else intrinsic(typed)


# Element (i, j) of a matrix is the vector at  at + i * row + j * col.
transform_pixels = _transform(PIXELS)
_filter_2, _filter_3, _filter_4, _filter_5 = (_transform(matrix) for matrix in FILTER.values())
_output_2, _output_3, _output_4, _output_5 = (_transform(matrix) for matrix in OUTPUT.values())


@njit(cache=True, error_model="numpy")
def transform_filter(terms, src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col):
    """G g G' for the ``terms`` x ``terms`` taps of a filter, or outputs of a gradient."""
    if terms == 2:
        _filter_2(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col)
    elif terms == 3:
        _filter_3(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col)
    elif terms == 4:
        _filter_4(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col)
    else:
        _filter_5(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col)


@njit(cache=True, error_model="numpy")
def transform_output(terms, src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col):
    """A' m A to ``terms`` x ``terms`` outputs, or taps of a filter's gradient."""
    if terms == 2:
        _output_2(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col)
    elif terms == 3:
        _output_3(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col)
    elif terms == 4:
        _output_4(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col)
    else:
        _output_5(src, src_at, src_row, src_col, dst, dst_at, dst_row, dst_col)
