"""Three inner loops as LLVM vectors: `outer_tile`, where convolution spends its time, `transpose_block`, `copy_row`.

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
ROWS, VECTORS = (8, 3) if REGISTERS == 32 else (4, 3)
# A long sum is made of sums of so many products: their rounding errors are a fifth of one running sum's at a depth of
# 4608, as small as PyTorch's. A panel of so many rows (24 KiB) also stays in the first-level cache.
SHORT = 128

_i32, _i64 = ir.IntType(32), ir.IntType(64)


class Emitter:
    """The few vector instructions these loops and cpu/_transforms.py need, for the element type of one array."""

    def __init__(self, context, builder, array_type):
        self.context, self.builder = context, builder
        self.itemsize = array_type.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.itemsize
        self.vector = ir.VectorType(context.get_value_type(array_type.dtype), self.lanes)
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

    def spread(self, scalar, kind=None):
        """A vector with ``scalar`` in every lane."""
        undefined = ir.Constant(kind or self.vector, ir.Undefined)
        return self.shuffle(self.builder.insert_element(undefined, scalar, _i32(0)), undefined, [0] * self.lanes)

    def broadcast(self, pointer, index):
        """A vector with one element of memory in every lane."""
        return self.spread(self.builder.load(self.builder.gep(pointer, [index])))

    def shuffle(self, a, b, lanes):
        """Pick lanes of a (numbered from 0) and b (numbered on)."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_i32, self.lanes), lanes))

    def fence(self):
        """Keep later loads from being moved up here: with all rows' scalars loaded first, sums spill to the stack.

        It is no instruction. LLVM did so for one processor and not for another; the loop then took twice its time.
        """
        nothing = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", side_effect=True)
        self.builder.call(nothing, [])

    def multiply_add(self, a, b, register):
        """Add a * b to the register, rounding once where the processor can."""
        self.builder.store(self.builder.call(self.fma, [a, b, self.builder.load(register)]), register)


def outer_tile(a, a_row, row_at, a_col, col_at, b, b_at, b_stride, c, c_at, c_stride, depth, vectors, accumulate):
    """c[r, q] (+)= sum over k < depth of a[a_row[r] + a_col[k]] * b[k, q], for r < ROWS and ``vectors`` vectors of q.

    ``a`` is read element by element at the sum of two offsets: it may be a matrix of any strides, or the patches of
    an image that was never copied into columns. ``b`` and ``c`` are flat arrays with a first element and a row stride.
    ``row_at`` and ``col_at`` are where this tile's offsets begin; 1 <= vectors <= VECTORS.
    """
    width = int(vectors) * VECTOR_BYTES // b.itemsize
    rows = a_row[int(row_at) : int(row_at) + ROWS, None].astype(np.int64)
    cols = a_col[int(col_at) : int(col_at) + int(depth)].astype(np.int64)
    panel = int(b_at) + np.arange(int(depth))[:, None] * int(b_stride) + np.arange(width)
    at = int(c_at) + np.arange(ROWS)[:, None] * int(c_stride) + np.arange(width)
    with np.errstate(all="ignore"):
        product = a[rows + cols] @ b[panel]
        c[at] = c[at] + product if accumulate else product


def transpose_block(src, src_at, src_stride, dst, dst_at, dst_stride):
    """dst[j, i] = src[i, j] for i, j < elements of a vector; flat arrays with a first element and a row stride."""
    lanes = np.arange(VECTOR_BYTES // src.itemsize)
    block = src[int(src_at) + lanes[:, None] * int(src_stride) + lanes]
    dst[int(dst_at) + lanes[:, None] * int(dst_stride) + lanes] = block.T


def copy_row(src, src_at, dst, dst_at, length, add, floor):
    """dst[dst_at + t] = max(src[src_at + t] + add, floor) for t < length; NaN stays NaN."""
    with np.errstate(all="ignore"):
        row = src[int(src_at) : int(src_at) + int(length)] + add
    dst[int(dst_at) : int(dst_at) + int(length)] = np.where(row < floor, floor, row)


_index = types.uint64


def _outer_tile(
    typing, a, a_row, row_at, a_col, col_at, b, b_at, b_stride, c, c_at, c_stride, depth, vectors, accumulate
):
    signature = types.void(
        a, a_row, _index, a_col, _index, b, _index, _index, c, _index, _index, _index, _index, types.boolean
    )

    def codegen(context, builder, signature, arguments):
        a, a_row, row_at, a_col, col_at, b, b_at, b_stride, c, c_at, c_stride, depth, vectors, accumulate = arguments
        emit = Emitter(context, builder, signature.args[5])
        a = emit.address(signature.args[0], a, _i64(0))
        a_row = emit.address(signature.args[1], a_row, row_at)
        a_col = emit.address(signature.args[3], a_col, col_at)
        b = emit.address(signature.args[5], b, b_at)
        c = emit.address(signature.args[8], c, c_at)
        a_rows = [builder.gep(a, [builder.load(builder.gep(a_row, [_i64(r)]))]) for r in range(ROWS)]
        registers = [cgutils.alloca_once(builder, emit.vector) for _ in range(ROWS * VECTORS)]
        for width in range(1, VECTORS + 1):  # one loop for each width
            with builder.if_then(builder.icmp_unsigned("==", vectors, _i64(width))):
                tile = [(r, v, registers[r * width + v]) for r in range(ROWS) for v in range(width)]
                in_c = [builder.add(builder.mul(c_stride, _i64(r)), _i64(v * emit.lanes)) for r, v, _ in tile]
                for _, _, register in tile:
                    builder.store(ir.Constant(emit.vector, [0.0] * emit.lanes), register)
                with cgutils.for_range(builder, depth, intp=_i64) as loop:
                    row = builder.gep(b, [builder.mul(loop.index, b_stride)])
                    columns = [emit.load(row, _i64(v * emit.lanes)) for v in range(width)]
                    column = builder.load(builder.gep(a_col, [loop.index]))
                    for r in range(ROWS):
                        scalar = emit.broadcast(a_rows[r], column)
                        for v in range(width):
                            emit.multiply_add(scalar, columns[v], registers[r * width + v])
                        emit.fence()
                # Added at the end, not the sum to begin with: the partial sums stay small, and round less (SHORT).
                with builder.if_then(accumulate):
                    for at, (_, _, register) in zip(in_c, tile, strict=True):
                        builder.store(builder.fadd(builder.load(register), emit.load(c, at)), register)
                for at, (_, _, register) in zip(in_c, tile, strict=True):
                    emit.store(builder.load(register), c, at)
        return context.get_dummy_value()

    return signature, codegen


def _transpose_block(typing, src, src_at, src_stride, dst, dst_at, dst_stride):
    signature = types.void(src, _index, _index, dst, _index, _index)

    def codegen(context, builder, signature, arguments):
        src, src_at, src_stride, dst, dst_at, dst_stride = arguments
        emit = Emitter(context, builder, signature.args[0])
        src = emit.address(signature.args[0], src, src_at)
        dst = emit.address(signature.args[3], dst, dst_at)
        rows = [emit.load(src, builder.mul(src_stride, _i64(i))) for i in range(emit.lanes)]
        # Swap the off-diagonal quarters of blocks of 2, then of blocks of 4, ..., as transposing by hand would.
        half = 1
        while half < emit.lanes:
            upper = [lane if not lane & half else emit.lanes + lane - half for lane in range(emit.lanes)]
            lower = [lane + half if not lane & half else emit.lanes + lane for lane in range(emit.lanes)]
            for i in range(emit.lanes):
                if not i & half:
                    first, second = rows[i], rows[i + half]
                    rows[i], rows[i + half] = emit.shuffle(first, second, upper), emit.shuffle(first, second, lower)
            half *= 2
        for j, row in enumerate(rows):
            emit.store(row, dst, builder.mul(dst_stride, _i64(j)))
        return context.get_dummy_value()

    return signature, codegen


def _copy_row(typing, src, src_at, dst, dst_at, length, add, floor):
    signature = types.void(src, _index, dst, _index, _index, src.dtype, src.dtype)

    def codegen(context, builder, signature, arguments):
        src, src_at, dst, dst_at, length, add, floor = arguments
        emit = Emitter(context, builder, signature.args[0])
        src = emit.address(signature.args[0], src, src_at)
        dst = emit.address(signature.args[2], dst, dst_at)
        add, floor = emit.spread(add), emit.spread(floor)

        def limited(value):
            value = builder.fadd(value, add)
            return builder.select(builder.fcmp_ordered("<", value, floor), floor, value)

        whole = builder.and_(length, _i64(-emit.lanes))
        with cgutils.for_range_slice(builder, _i64(0), whole, _i64(emit.lanes), intp=_i64) as (t, _):
            emit.store(limited(emit.load(src, t)), dst, t)
        rest = builder.sub(length, whole)
        with builder.if_then(builder.icmp_unsigned(">", rest, _i64(0))):
            # The lanes of the last vector that exist: reading or writing the others might touch foreign memory.
            numbers = ir.Constant(ir.VectorType(_i32, emit.lanes), list(range(emit.lanes)))
            count = emit.spread(builder.trunc(rest, _i32), numbers.type)
            exist = builder.icmp_unsigned("<", numbers, count)
            pointer, kind = emit.vector.as_pointer(), f"v{emit.lanes}f{8 * emit.itemsize}.p0"
            load = ir.FunctionType(emit.vector, [pointer, _i32, exist.type, emit.vector])
            load = cgutils.get_or_insert_function(builder.module, load, f"llvm.masked.load.{kind}")
            store = ir.FunctionType(ir.VoidType(), [emit.vector, pointer, _i32, exist.type])
            store = cgutils.get_or_insert_function(builder.module, store, f"llvm.masked.store.{kind}")
            source = builder.bitcast(builder.gep(src, [whole]), pointer)
            value = builder.call(load, [source, _i32(emit.itemsize), exist, ir.Constant(emit.vector, ir.Undefined)])
            target = builder.bitcast(builder.gep(dst, [whole]), pointer)
            builder.call(store, [limited(value), target, _i32(emit.itemsize), exist])
        return context.get_dummy_value()

    return signature, codegen


if not config.DISABLE_JIT:
    outer_tile, transpose_block, copy_row = (intrinsic(loop) for loop in (_outer_tile, _transpose_block, _copy_row))
