"""Three inner loops as LLVM vectors: `outer_tile`, `dot_tile`, `copy_vectors`; convolution spends its time here.

A compiler keeps a small tile of the result in vector registers only if it is told to. Numba's @intrinsic lets us
write that one loop as LLVM instructions; the Python function of the same name above each is its exact meaning, and
is what runs under NUMBA_DISABLE_JIT=1. The blocking around it follows Goto & van de Geijn 2008, "Anatomy of
high-performance matrix multiplication".
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic


def _vector_unit():
    """(bytes of one vector register, how many there are) on the processor Numba compiles for."""
    if config.CPU_NAME == "generic":
        features = {}
    elif config.CPU_FEATURES:
        features = {name[1:]: name[0] == "+" for name in config.CPU_FEATURES.split(",") if name}
    else:
        features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx2"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


VECTOR_BYTES, REGISTERS = _vector_unit()
# A tile must fit in the registers beside its operands, and be large enough to hide a multiply-add's latency.
OUTER_ROWS, OUTER_VECTORS = (8, 3) if REGISTERS == 32 else (4, 3)
DOT_ROWS, DOT_COLS = (4, 6) if REGISTERS == 32 else (3, 4)

_i32, _i64 = ir.IntType(32), ir.IntType(64)


class _Emitter:
    """The few vector instructions both tiles need, for the element type of one array."""

    def __init__(self, context, builder, array_type):
        self.context, self.builder = context, builder
        self.itemsize = array_type.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.itemsize
        self.scalar = context.get_value_type(array_type.dtype)
        self.vector = ir.VectorType(self.scalar, self.lanes)
        name = f"llvm.fmuladd.v{self.lanes}f{8 * self.itemsize}"
        self.fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.vector, [self.vector] * 3), name)

    def address(self, array_type, array, index):
        return self.builder.gep(self.context.make_array(array_type)(self.context, self.builder, array).data, [index])

    def load(self, pointer, index):
        pointer = self.builder.bitcast(self.builder.gep(pointer, [index]), self.vector.as_pointer())
        value = self.builder.load(pointer)
        value.align = self.itemsize
        return value

    def store(self, value, pointer, index):
        pointer = self.builder.bitcast(self.builder.gep(pointer, [index]), self.vector.as_pointer())
        self.builder.store(value, pointer).align = self.itemsize

    def broadcast(self, pointer, index):
        """One element in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        value = self.builder.load(self.builder.gep(pointer, [index]))
        value = self.builder.insert_element(undefined, value, ir.Constant(_i32, 0))
        first = ir.Constant(ir.VectorType(_i32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(value, undefined, first)

    def multiply_add(self, a, b, register):
        """Add a * b to the register, rounding once where the processor can."""
        self.builder.store(self.builder.call(self.fma, [a, b, self.builder.load(register)]), register)

    def zeros(self, count):
        """``count`` accumulators; LLVM turns these stack slots into registers."""
        registers = [cgutils.alloca_once(self.builder, self.vector) for _ in range(count)]
        for register in registers:
            self.builder.store(ir.Constant(self.vector, [0.0] * self.lanes), register)
        return registers

    def pair_sums(self, a, b):
        """Sums of neighbouring lanes of a, then of b: half of the work of adding up the lanes of both."""
        lanes, mask = self.lanes, ir.VectorType(_i32, self.lanes)
        even = self.builder.shuffle_vector(a, b, ir.Constant(mask, list(range(0, 2 * lanes, 2))))
        odd = self.builder.shuffle_vector(a, b, ir.Constant(mask, list(range(1, 2 * lanes, 2))))
        return self.builder.fadd(even, odd)


def outer_tile(a, a_at, a_stride, rows, b, b_at, b_row, c, c_at, c_stride, depth, accumulate):
    """c[r, q] (+)= sum over k < depth of a[r, k] * b[k, q], for r < OUTER_ROWS and OUTER_VECTORS vectors of q.

    Matrices are flat arrays with a first element and a row stride; row k of ``b`` begins ``b_row[k]`` behind its first
    element, so that rows may overlap, as patches of an image do. Rows of ``a`` from ``rows`` on do not exist: row
    ``rows - 1`` is read again in their place, and the caller ignores what appears in ``c``.
    """
    width = OUTER_VECTORS * VECTOR_BYTES // b.itemsize
    for r in range(OUTER_ROWS):
        row = int(a_at) + min(r, int(rows) - 1) * int(a_stride)
        at = int(c_at) + r * int(c_stride)
        total = c[at : at + width].copy() if accumulate else np.zeros(width, c.dtype)
        for k in range(int(depth)):
            with np.errstate(all="ignore"):
                total += a[row + k] * b[int(b_at) + int(b_row[k]) :][:width]
        c[at : at + width] = total


def dot_tile(a, a_at, b, b_at, stride, length, c, c_at):
    """c[r * DOT_COLS + s] += sum over q < length of a[r, q] * b[s, q], for r < DOT_ROWS and s < DOT_COLS.

    ``length`` is rounded up to whole vectors: the caller puts zeros there. ``c`` has room for whole vectors too.
    """
    for r in range(DOT_ROWS):
        for s in range(DOT_COLS):
            i, j = int(a_at) + r * int(stride), int(b_at) + s * int(stride)
            with np.errstate(all="ignore"):
                c[int(c_at) + r * DOT_COLS + s] += np.dot(a[i : i + int(length)], b[j : j + int(length)])


def copy_vectors(src, src_at, dst, dst_at, length):
    """dst[dst_at + t] = src[src_at + t] for t < length rounded up to whole vectors: the caller has room behind both."""
    length = -(-int(length) // (VECTOR_BYTES // src.itemsize)) * (VECTOR_BYTES // src.itemsize)
    dst[int(dst_at) : int(dst_at) + length] = src[int(src_at) : int(src_at) + length]


_index = types.uint64


def _outer_tile(typing, a, a_at, a_stride, rows, b, b_at, b_row, c, c_at, c_stride, depth, accumulate):
    signature = types.void(a, _index, _index, _index, b, _index, b_row, c, _index, _index, _index, types.boolean)

    def codegen(context, builder, signature, arguments):
        a, a_at, a_stride, rows, b, b_at, b_row, c, c_at, c_stride, depth, accumulate = arguments
        emit = _Emitter(context, builder, signature.args[4])
        a = emit.address(signature.args[0], a, a_at)
        b = emit.address(signature.args[4], b, b_at)
        b_row = emit.address(signature.args[6], b_row, _i64(0))
        c = emit.address(signature.args[7], c, c_at)
        tile = [(r, v) for r in range(OUTER_ROWS) for v in range(OUTER_VECTORS)]
        c_index = [builder.add(builder.mul(c_stride, _i64(r)), _i64(v * emit.lanes)) for r, v in tile]
        last = builder.sub(rows, _i64(1))
        a_rows = []
        for r in range(OUTER_ROWS):
            row = builder.select(builder.icmp_unsigned("<", _i64(r), last), _i64(r), last)
            a_rows.append(builder.gep(a, [builder.mul(row, a_stride)]))
        registers = emit.zeros(len(tile))
        with builder.if_then(accumulate):
            for index, register in zip(c_index, registers, strict=True):
                builder.store(emit.load(c, index), register)
        with cgutils.for_range(builder, depth, intp=_i64) as loop:
            k = loop.index
            row = builder.gep(b, [builder.load(builder.gep(b_row, [k]))])
            columns = [emit.load(row, _i64(v * emit.lanes)) for v in range(OUTER_VECTORS)]
            for r in range(OUTER_ROWS):
                scalar = emit.broadcast(a_rows[r], k)
                for v in range(OUTER_VECTORS):
                    emit.multiply_add(scalar, columns[v], registers[r * OUTER_VECTORS + v])
        for index, register in zip(c_index, registers, strict=True):
            emit.store(builder.load(register), c, index)
        return context.get_dummy_value()

    return signature, codegen


def _dot_tile(typing, a, a_at, b, b_at, stride, length, c, c_at):
    signature = types.void(a, _index, b, _index, _index, _index, c, _index)

    def codegen(context, builder, signature, arguments):
        a, a_at, b, b_at, stride, length, c, c_at = arguments
        emit = _Emitter(context, builder, signature.args[0])
        a = emit.address(signature.args[0], a, a_at)
        b = emit.address(signature.args[2], b, b_at)
        c = emit.address(signature.args[6], c, c_at)
        a_rows = [builder.gep(a, [builder.mul(stride, _i64(r))]) for r in range(DOT_ROWS)]
        b_rows = [builder.gep(b, [builder.mul(stride, _i64(s))]) for s in range(DOT_COLS)]
        registers = emit.zeros(DOT_ROWS * DOT_COLS)
        with cgutils.for_range_slice(builder, _i64(0), length, _i64(emit.lanes), intp=_i64) as (q, _):
            columns = [emit.load(row, q) for row in b_rows]
            for r in range(DOT_ROWS):
                value = emit.load(a_rows[r], q)
                for s in range(DOT_COLS):
                    emit.multiply_add(value, columns[s], registers[r * DOT_COLS + s])
        # Add up the lanes of `lanes` accumulators at once: each round halves the list and doubles what a lane holds.
        totals = [builder.load(register) for register in registers]
        for first in range(0, len(totals), emit.lanes):
            block = totals[first : first + emit.lanes]
            block += [ir.Constant(emit.vector, [0.0] * emit.lanes)] * (emit.lanes - len(block))
            while len(block) > 1:
                block = [emit.pair_sums(block[i], block[i + 1]) for i in range(0, len(block), 2)]
            emit.store(builder.fadd(emit.load(c, _i64(first)), block[0]), c, _i64(first))
        return context.get_dummy_value()

    return signature, codegen


def _copy_vectors(typing, src, src_at, dst, dst_at, length):
    signature = types.void(src, _index, dst, _index, _index)

    def codegen(context, builder, signature, arguments):
        src, src_at, dst, dst_at, length = arguments
        emit = _Emitter(context, builder, signature.args[0])
        src = emit.address(signature.args[0], src, src_at)
        dst = emit.address(signature.args[2], dst, dst_at)
        with cgutils.for_range_slice(builder, _i64(0), length, _i64(emit.lanes), intp=_i64) as (t, _):
            emit.store(emit.load(src, t), dst, t)
        return context.get_dummy_value()

    return signature, codegen


if not config.DISABLE_JIT:
    outer_tile, dot_tile, copy_vectors = intrinsic(_outer_tile), intrinsic(_dot_tile), intrinsic(_copy_vectors)
