"""Exercises of lesson 00: build the parts of an engine. Run ``pytest lessons/00_engine`` to see how far you are.

Each function below is checked by tests marked with its task. Where a function has the name and arguments of one of the
engine's kernels, ``with tinyconv.backend(exercises):`` runs any network on yours; the last test trains one so.

Conventions: arrays are C-contiguous, images are ``(N, C, H, W)``, geometry is in pairs (height, width), and a kernel
overwrites its output argument completely and returns nothing. Any way of computing it is right: loops, NumPy, Numba.
"""

import numpy as np
from numba import float32

from tinyconv_kernels.cuda._cuda import cuda
from tinyconv_kernels.geometry import output_size


def unbroadcast(dy, shape):
    """Return the gradient of an array of ``shape`` that NumPy broadcast to ``dy.shape``.

    Broadcasting copies: the array gets new axes on the left, and its axes of length 1 are repeated. One element was
    then used many times, and its gradient is the sum over all its uses.

    Difficulty 1 of 3, 10 minutes. Hint: first sum away the axes that ``shape`` does not have, then those of length 1,
    which have to stay (``keepdims=True``).
    """
    # TASK 0.1
    # BEGIN SOLUTION
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    return dy.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
    # END SOLUTION


def topological_order(root):
    """Return all nodes that ``root`` was computed from, and root, as a list: each once, and after all its inputs.

    A node has an attribute ``inputs``, a tuple of nodes. The graph has no cycles, but one node may be an input of many,
    and it may be deeper than Python can nest calls.

    Difficulty 2 of 3, 20 minutes. Hint: keep a stack of (node, iterator over its inputs). Look at the top: if its
    iterator gives an input that was not seen before, push that one; if the iterator is used up, the node is done.
    """
    # TASK 0.2
    # BEGIN SOLUTION
    order, seen, stack = [], {root}, [(root, iter(root.inputs))]
    while stack:
        node, inputs = stack[-1]
        for source in inputs:
            if source not in seen:
                seen.add(source)
                stack.append((source, iter(source.inputs)))
                break
        else:
            order.append(node)
            stack.pop()
    return order
    # END SOLUTION


def numerical_gradient(f, x, eps=1e-6):
    """Return the gradient of ``f`` (array -> number) at the float64 array ``x``, by central differences.

    df/dx[i] is about (f(x with x[i] + eps) - f(x with x[i] - eps)) / (2 eps). ``x`` must be left as it was.

    Difficulty 1 of 3, 15 minutes. Hint: ``np.ndindex(x.shape)`` visits every element of an array of any rank.
    """
    # TASK 0.3
    # BEGIN SOLUTION
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + eps
        above = f(x)
        x[i] = kept - eps
        below = f(x)
        x[i] = kept
        gradient[i] = (above - below) / (2 * eps)
    return gradient
    # END SOLUTION


def relu(x, out):
    """Write max(x, 0) into ``out``; where x is NaN, out is NaN (a network that hides its NaNs cannot be debugged).

    Difficulty 1 of 3, 5 minutes.
    """
    # TASK 0.4
    # BEGIN SOLUTION
    np.maximum(x, 0, out=out)
    # END SOLUTION


def relu_backward(dy, y, dx):
    """Write the gradient of relu into ``dx``: dy where the output y > 0, and 0 where y <= 0, so at the kink too.

    Difficulty 1 of 3, 5 minutes. Hint: the input is not needed, y = relu(x) tells everything.
    """
    # TASK 0.4
    # BEGIN SOLUTION
    np.multiply(dy, y > 0, out=dx)
    # END SOLUTION


def im2col(x, cols, kernel, stride, padding, dilation):
    """Copy every patch that a convolution looks at into a column of ``cols``; zeros where it hangs over the edge.

    cols[n, (c KH + i) KW + j, oh OW + ow] = x[n, c, oh SH + i DH - PH, ow SW + j DW - PW], or 0 outside x,
    for the pairs kernel (KH, KW), stride (SH, SW), padding (PH, PW), dilation (DH, DW).
    x is (N, C, H, W), cols is (N, C KH KW, OH OW).

    Difficulty 2 of 3, 30 minutes. Hint: pad x with zeros first. Then, for one tap (i, j) of the window, what all the
    outputs read is one strided slice of the padded image: two loops are enough. ``output_size(H, KH, SH, PH, DH)``,
    imported above, is OH.
    """
    # TASK 0.5
    # BEGIN SOLUTION
    (N, C, H, W), (KH, KW), (SH, SW), (PH, PW), (DH, DW) = x.shape, kernel, stride, padding, dilation
    OH, OW = output_size(H, KH, SH, PH, DH), output_size(W, KW, SW, PW, DW)
    padded = np.zeros((N, C, H + 2 * PH, W + 2 * PW), x.dtype)
    padded[:, :, PH : PH + H, PW : PW + W] = x
    taps = cols.reshape(N, C, KH, KW, OH, OW)
    for i in range(KH):
        for j in range(KW):
            rows = slice(i * DH, i * DH + SH * (OH - 1) + 1, SH)
            columns = slice(j * DW, j * DW + SW * (OW - 1) + 1, SW)
            taps[:, :, i, j] = padded[:, :, rows, columns]
    # END SOLUTION


def col2im(cols, x, kernel, stride, padding, dilation):
    """Add every column of ``cols`` back into the image at the place its patch came from: the transpose of im2col.

    x[n, c, h, w] = sum of cols[n, (c KH + i) KW + j, oh OW + ow] over all taps and outputs with
    oh SH + i DH - PH = h and ow SW + j DW - PW = w. What would fall into the padding is dropped. Shapes as in im2col.

    Difficulty 2 of 3, 20 minutes. Hint: im2col again, with the assignment turned round; patches overlap.
    """
    # TASK 0.6
    # BEGIN SOLUTION
    (N, C, H, W), (KH, KW), (SH, SW), (PH, PW), (DH, DW) = x.shape, kernel, stride, padding, dilation
    OH, OW = output_size(H, KH, SH, PH, DH), output_size(W, KW, SW, PW, DW)
    padded = np.zeros((N, C, H + 2 * PH, W + 2 * PW), x.dtype)
    taps = cols.reshape(N, C, KH, KW, OH, OW)
    for i in range(KH):
        for j in range(KW):
            rows = slice(i * DH, i * DH + SH * (OH - 1) + 1, SH)
            columns = slice(j * DW, j * DW + SW * (OW - 1) + 1, SW)
            padded[:, :, rows, columns] += taps[:, :, i, j]
    x[...] = padded[:, :, PH : PH + H, PW : PW + W]
    # END SOLUTION


def conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, activation, workspace):
    """Correlate the images with the filters and add the bias. Writes y.

    y[n, k, oh, ow] = bias[k] + sum over c, i, j of weight[k, c, i, j] x[n, c, oh SH + i DH - PH, ow SW + j DW - PW].
    x (N, C, H, W), weight (K, C / groups, KH, KW), bias (K,) or None, y (N, K, OH, OW). With ``groups`` g, the
    channels and the filters are cut into g equal parts, and filters of part q see only the channels of part q
    (AlexNet's two columns). ``activation`` is None or "relu": then negative results become 0. ``workspace`` is scratch
    memory of the engine's own kernel: leave it alone.

    Difficulty 2 of 3, 30 minutes. Hint: y is a matrix product, weight as (K, C KH KW) times im2col(x), for each image
    and each group.
    """
    # TASK 0.7
    # BEGIN SOLUTION
    (N, K, OH, OW), (KH, KW), C = y.shape, weight.shape[2:], x.shape[1]
    cols = np.empty((N, C * KH * KW, OH * OW), x.dtype)
    im2col(x, cols, (KH, KW), stride, padding, dilation)
    cols = cols.reshape(N, groups, C // groups * KH * KW, OH * OW)
    matrix = weight.reshape(groups, K // groups, C // groups * KH * KW)
    y[...] = (matrix @ cols).reshape(y.shape)
    if bias is not None:
        y += bias[:, None, None]
    if activation == "relu":
        np.maximum(y, 0, out=y)
    # END SOLUTION


def conv2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """Write the gradient of conv2d_forward by its filters into ``dweight``; shapes as there, dy like y.

    For Y = W X the chain rule gives dW = dY X^T; all images use the same W, so their gradients add up.

    Difficulty 3 of 3, 20 minutes. Hint: X is im2col(x); one product per image and group, then a sum over images.
    """
    # TASK 0.8
    # BEGIN SOLUTION
    (N, K, OH, OW), (KH, KW), C = dy.shape, dweight.shape[2:], x.shape[1]
    cols = np.empty((N, C * KH * KW, OH * OW), x.dtype)
    im2col(x, cols, (KH, KW), stride, padding, dilation)
    cols = cols.reshape(N, groups, C // groups * KH * KW, OH * OW)
    product = dy.reshape(N, groups, K // groups, OH * OW) @ cols.swapaxes(2, 3)
    dweight[...] = product.sum(axis=0).reshape(dweight.shape)
    # END SOLUTION


def conv2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """Write the gradient of conv2d_forward by its input into ``dx``; shapes as there, dx like x.

    For Y = W X the chain rule gives dX = W^T dY, and X was im2col(x): each of its elements is a copy of a pixel.

    Difficulty 3 of 3, 15 minutes. Hint: the gradient of a copy is a sum over the copies; you have written that one.
    """
    # TASK 0.8
    # BEGIN SOLUTION
    (N, K, OH, OW), (KH, KW), C = dy.shape, weight.shape[2:], dx.shape[1]
    matrix = weight.reshape(groups, K // groups, C // groups * KH * KW)
    cols = matrix.swapaxes(1, 2) @ dy.reshape(N, groups, K // groups, OH * OW)
    col2im(cols.reshape(N, C * KH * KW, OH * OW), dx, (KH, KW), stride, padding, dilation)
    # END SOLUTION


def max_pool2d_forward(x, y, switches, kernel, stride, padding, dilation):
    """Write the maximum of each window into ``y`` and where it was into ``switches``.

    The window of output (oh, ow) is the pixels (oh SH + i DH - PH, ow SW + j DW - PW) that lie inside x; padding is
    never a maximum. switches (int64) = h W + w of the maximum, counted in x without its padding. Of equal values
    the first, row by row, wins. x is (N, C, H, W), y and switches are (N, C, OH, OW).

    Difficulty 3 of 3, 25 minutes. Hint: loop over the outputs and the taps, and treat all (n, c) at once: ``best`` and
    ``at`` of shape (N, C), updated where the pixel is larger. Or write plain loops and let Numba compile them.
    """
    # TASK 0.9
    # BEGIN SOLUTION
    (H, W), (OH, OW) = x.shape[2:], y.shape[2:]
    for oh in range(OH):
        for ow in range(OW):
            best = np.full(x.shape[:2], -np.inf, x.dtype)
            at = np.full(x.shape[:2], -1)
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    h = oh * stride[0] + i * dilation[0] - padding[0]
                    w = ow * stride[1] + j * dilation[1] - padding[1]
                    if 0 <= h < H and 0 <= w < W:
                        larger = (x[:, :, h, w] > best) | (at < 0)
                        best = np.where(larger, x[:, :, h, w], best)
                        at = np.where(larger, h * W + w, at)
            y[:, :, oh, ow] = best
            switches[:, :, oh, ow] = at
    # END SOLUTION


def max_pool2d_backward(dy, switches, dx, kernel, stride, padding, dilation):
    """Write the gradient of max_pool2d_forward by its input into ``dx``: each output's gradient goes to its maximum.

    dx[n, c, h, w] = sum of dy[n, c, oh, ow] over the outputs with switches[n, c, oh, ow] = h W + w.

    Difficulty 3 of 3, 15 minutes. Hint: windows overlap when stride < kernel, and one pixel may be the maximum of many.
    """
    # TASK 0.9
    # BEGIN SOLUTION
    N, C, H, W = dx.shape
    planes = np.zeros((N, C, H * W), dx.dtype)
    n, c, _, _ = np.indices(switches.shape)
    np.add.at(planes, (n, c, switches), dy)
    dx[...] = planes.reshape(dx.shape)
    # END SOLUTION


def winograd_1d(x, w):
    """Correlate rows of pixels with filters of three taps, by four multiplications for two outputs instead of six.

    y[k, o] = sum over c, i of w[k, c, i] x[c, o + i]; x is (C, W), w is (K, C, 3), the result (K, W - 2), W >= 3.
    Winograd's F(2,3) gives the outputs o and o + 1 of one channel from d = x[c, o : o + 4] and g = w[k, c] as
    (m0 + m1 + m2, m1 - m2 - m3), with m0 = (d0 - d2) g0, m1 = (d1 + d2) (g0 + g1 + g2) / 2,
    m2 = (d2 - d1) (g0 - g1 + g2) / 2, m3 = (d1 - d3) g2.

    The tests count: for C channels and K filters, at most 4 C K multiplications for each two outputs, halving not
    counted. W - 2 may be odd. The elements may be of any type that can add, subtract, multiply and be halved.

    Difficulty 3 of 3, 30 minutes. Hint: a channel's sums of pixels serve all filters, and channels can be added up
    before m becomes outputs. So make an array (4, C, pairs) of pixels and one (4, K, C) of filters; between them is
    ``@``, four matrix products. For an odd number of outputs, append a zero to x and throw the last output away.
    """
    # TASK 0.10
    # BEGIN SOLUTION
    (K, C, _), outputs = w.shape, x.shape[1] - 2
    pairs = (outputs + 1) // 2
    padded = np.zeros((C, 2 * pairs + 2), x.dtype)
    padded[:, : outputs + 2] = x
    d0, d1, d2, d3 = (padded[:, i : i + 2 * pairs : 2] for i in range(4))
    g0, g1, g2 = w[:, :, 0], w[:, :, 1], w[:, :, 2]
    pixels = np.stack([d0 - d2, d1 + d2, d2 - d1, d1 - d3])
    filters = np.stack([g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2])
    m0, m1, m2, m3 = filters @ pixels
    y = np.empty((K, 2 * pairs), m0.dtype)
    y[:, ::2] = m0 + m1 + m2
    y[:, 1::2] = m1 - m2 - m3
    return y[:, :outputs]
    # END SOLUTION


TILE = 4  # task 0.11: a block has TILE x TILE threads


@cuda.jit
def tiled_product(A, B, C):
    """Write the matrix product A B into C: what one thread of a GPU does, with tiles in shared memory (step 9).

    A is (M, K), B is (K, N), C is (M, N), all float32. The grid covers C, so at its edges there are threads outside of
    C. Thread (x, y) of a block owns C[row, column] with ``column, row = cuda.grid(2)``.

    The tests run it in Numba's simulator, without a GPU: each thread alone up to its next barrier, then the next
    thread, so that a missing barrier shows every time. Shared memory is full of NaN at first. The tests count reads:
    each block may read what it needs of A and B once.

    Difficulty 3 of 3, 40 minutes. Hint: ``cuda.shared.array((TILE, TILE), float32)`` for a tile of A and for one of B.
    For all tiles along K: each thread fetches one element of each, ``float32(0)`` where it would be outside; barrier;
    TILE multiply-adds; barrier. Every thread must reach every barrier; only the write to C is not for threads outside.
    """
    # TASK 0.11
    # BEGIN SOLUTION
    tile_a = cuda.shared.array((TILE, TILE), float32)
    tile_b = cuda.shared.array((TILE, TILE), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    (M, K), N = A.shape, B.shape[1]
    total = float32(0)
    for start in range(0, K, TILE):
        tile_a[y, x] = A[row, start + x] if row < M and start + x < K else float32(0)
        tile_b[y, x] = B[start + y, column] if start + y < K and column < N else float32(0)
        cuda.syncthreads()
        for k in range(TILE):
            total += tile_a[y, k] * tile_b[k, x]
        cuda.syncthreads()
    if row < M and column < N:
        C[row, column] = total
    # END SOLUTION
