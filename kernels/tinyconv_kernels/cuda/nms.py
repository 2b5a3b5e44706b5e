"""Non-maximum suppression; definition: ``reference/nms.py``.

Which boxes a box would drop needs no order: every pair is compared at once, and the answers are kept as bits, 32 boxes
to a word. Who drops whom in fact needs the order: one block walks over the words from the best boxes to the worst.
"""

import functools

import numpy as np
from numba import uint32

from tinyconv_kernels.cuda import elementwise, launch, memory
from tinyconv_kernels.cuda._blocks import TEAM, places
from tinyconv_kernels.cuda._cuda import cuda

_BITS = 32


def nms(boxes, keep, threshold, offset):
    """One thread owns one box and 32 others; then one block owns all. Writes keep: False if a kept box drops it."""
    count, real = boxes.shape[0], boxes.dtype.type
    words = -(-count // _BITS)
    overlaps, dropped = memory.empty((words, count), np.uint32), memory.empty((words,), np.uint32)
    elementwise.fill(dropped, 0)
    memory.written(keep)
    kernel = _overlap_kernel(boxes.dtype)
    launch.each(kernel, overlaps.size, *places(boxes, overlaps), count, real(threshold), real(offset), overlaps.size)
    launch.blocks(_walk, (min(words, 1),), TEAM, *places(overlaps, dropped, keep), words, count)


@functools.cache
def _overlap_kernel(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(boxes, b0, overlaps, o0, boxes_in_all, threshold, offset, count):
        """overlaps[word, i]: the boxes of a word which come after box i and have IoU > threshold with it."""
        i = uint32(cuda.grid(1))
        if i < count:
            word = uint32(i // boxes_in_all)
            own = uint32(i - word * boxes_in_all)
            a = uint32(b0 + 4 * own)
            left, top, right, bottom = boxes[a], boxes[a + 1], boxes[a + 2] + offset, boxes[a + 3] + offset
            area = max(right - left, zero) * max(bottom - top, zero)
            bits, bit, j = uint32(0), uint32(1), uint32(word * _BITS)
            end = min(uint32(j + _BITS), boxes_in_all)
            while j < end:
                b = uint32(b0 + 4 * j)
                x1, y1, x2, y2 = boxes[b], boxes[b + 1], boxes[b + 2] + offset, boxes[b + 3] + offset
                inter = max(min(right, x2) - max(left, x1), zero) * max(min(bottom, y2) - max(top, y1), zero)
                union = area + max(x2 - x1, zero) * max(y2 - y1, zero) - inter
                if j > own and union > zero and inter / union > threshold:
                    bits = uint32(bits | bit)
                bit, j = uint32(bit + bit), uint32(j + 1)
            overlaps[o0 + i] = bits

    return kernel


@cuda.jit
def _walk(overlaps, o0, dropped, d0, keep, k0, words, count):
    among = cuda.shared.array(_BITS, uint32)  # the bits of a word's boxes for the word itself
    t, step, word = uint32(cuda.threadIdx.x), uint32(cuda.blockDim.x), uint32(0)
    while word < words:
        first = uint32(word * _BITS)
        boxes = min(uint32(count - first), uint32(_BITS))
        b = t
        while b < boxes:
            among[b] = overlaps[uint32(o0 + word * count + first + b)]
            b = uint32(b + step)
        cuda.syncthreads()
        # Every thread works out for itself which of the 32 stay: each step needs the one before.
        gone, kept, bit, b = dropped[d0 + word], uint32(0), uint32(1), uint32(0)
        while b < boxes:
            stays = uint32(gone & bit) == 0
            if stays:
                kept, gone = uint32(kept | bit), uint32(gone | among[b])
            if b % step == t:
                keep[uint32(k0 + first + b)] = stays
            bit, b = uint32(bit + bit), uint32(b + 1)
        # Each thread has some of the later words, in which those that stay mark what they drop.
        later = uint32(word + 1 + t)
        while later < words:
            place, bits, found = uint32(o0 + later * count + first), kept, dropped[d0 + later]
            while bits > 0:
                if uint32(bits & uint32(1)) == 1:
                    found = uint32(found | overlaps[place])
                place, bits = uint32(place + 1), uint32(bits >> uint32(1))
            dropped[d0 + later] = found
            later = uint32(later + step)
        cuda.syncthreads()
        word = uint32(word + 1)
