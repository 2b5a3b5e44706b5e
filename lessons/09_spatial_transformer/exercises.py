"""Exercises of lesson 09: spatial transformers. Run ``pytest lessons/09_spatial_transformer`` to check them.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition.

Conventions: positions are (x, y), x to the right and y downwards. In pixels the centre of the first pixel is 0 and that
of the last one W - 1 or H - 1. Normalised, -1 and 1 are those two centres (``align_corners``) or else the outer edges
of those two pixels. No function changes what it is handed (kernels write to their outputs), and none gives a warning.
Any way of computing it is right: loops or NumPy.
"""

import numpy as np

import tinyconv
from tinyconv import nn


def affine_grid(theta, size, align_corners):
    """Return where each pixel of the target looks (Jaderberg et al. 2015, eq. 1): an array (N, H, W, 2), x first.

        x_s = theta[n, 0, 0] x_t + theta[n, 0, 1] y_t + theta[n, 0, 2]
        y_s = theta[n, 1, 0] x_t + theta[n, 1, 1] y_t + theta[n, 1, 2]

    for the centre (x_t, y_t) of every target pixel, in normalised coordinates. ``theta`` (N, 2, 3) has one affine map
    for each image; ``size`` is (H, W). If ``align_corners``, the centres of the first and the last pixel are -1 and 1,
    otherwise their outer edges are. A target of one pixel looks from 0, by either. N may be 0; H and W are at least 1.

    Difficulty 1 of 3, 20 minutes. Hint: the positions along one axis first. With their edges at -1 and 1, W pixels are
    2 / W wide each, and the first one's centre is half of that after -1. Then each position times theta's left part,
    plus its last column.
    """
    # TASK 9.1
    # BEGIN SOLUTION
    axes = []
    for count in size:
        edges = (2 * np.arange(count) + 1) / count - 1
        axes.append(np.linspace(-1, 1, count) if align_corners and count > 1 else edges)
    y, x = np.meshgrid(*axes, indexing="ij")
    targets = np.stack([x, y, np.ones_like(x)], axis=-1)
    return np.einsum("hwk,njk->nhwj", targets, theta)
    # END SOLUTION


def grid_sample_bilinear_forward(x, grid, y, padding, align_corners):
    """Write into ``y`` (N, C, OH, OW) what a grid sees in images: the four pixels around each position, mixed (eq. 5).

        y[n, c, i, j] = sum over rows h and columns w of  x[n, c, h, w] max(0, 1 - |px - w|) max(0, 1 - |py - h|)

    ``x`` (N, C, H, W) are images with H and W of 2 or more; ``grid`` (N, OH, OW, 2) are normalised positions, x first.
    (px, py) is ``grid[n, i, j]`` in pixels; all channels look at the same place. Outside of the image there are zeros:
    the sum has only pixels that are there. A position may be far outside, or infinite: it sees 0. If one of its two
    numbers is NaN, all channels of its output become NaN. ``padding`` is always 0 here. ``y`` may hold anything before;
    any size but H and W may be 0. Nothing is returned. This is a kernel: the library's layers can run on it.

    Difficulty 2 of 3, 30 minutes. Hint: ``floor`` gives the pixel before the position, the rest is the weight of the
    one after it. Four pixels, for each the product of two weights; leave out those that are not there. Test for NaN
    and for what is far outside before you make whole numbers.
    """
    # TASK 9.2
    # BEGIN SOLUTION
    H, W = x.shape[2:]
    y[...] = 0
    for n, i, j in np.ndindex(*grid.shape[:3]):
        px, py = _forward_pixels(grid[n, i, j], (W, H), align_corners)
        if np.isnan(px) or np.isnan(py):
            y[n, :, i, j] = np.nan
        elif -1 < px < W and -1 < py < H:
            left, top = int(np.floor(px)), int(np.floor(py))
            a, b = px - left, py - top
            for h, v in ((top, 1 - b), (top + 1, b)):
                for w, u in ((left, 1 - a), (left + 1, a)):
                    if 0 <= h < H and 0 <= w < W:
                        y[n, :, i, j] += v * u * x[n, :, h, w]


def _forward_pixels(position, size, align_corners):
    if align_corners:
        return [(at + 1) / 2 * (count - 1) for at, count in zip(position, size, strict=True)]
    return [((at + 1) * count - 1) / 2 for at, count in zip(position, size, strict=True)]
    # END SOLUTION


def grid_sample_bilinear_backward_grid(dy, x, grid, dgrid, padding, align_corners):
    """Write into ``dgrid`` (N, OH, OW, 2) the loss's gradient at each position: where to look to see more or less.

    Its two numbers are, with U = ``x[n, c]``, x0 = floor(px), a = px - x0, and y0, b likewise down the image,

        sum over c of  dy[n, c, i, j] [ (1 - b) (U[y0, x0 + 1] - U[y0, x0]) + b (U[y0 + 1, x0 + 1] - U[y0 + 1, x0]) ]
        sum over c of  dy[n, c, i, j] [ (1 - a) (U[y0 + 1, x0] - U[y0, x0]) + a (U[y0 + 1, x0 + 1] - U[y0, x0 + 1]) ]

    per pixel, and each has to be multiplied by how many pixels its axis's normalised coordinate is worth. At a whole
    position these are the derivatives to the right and downwards. Pixels that are not there are 0, so that a position
    between the last pixel's centre and one pixel after it still has a gradient. Farther outside, or infinite, it is 0;
    if one of the position's numbers is NaN, both of its gradients are NaN. ``padding`` is always 0 here. ``dy``
    (N, C, OH, OW) is the gradient at the output; the rest is as in ``grid_sample_bilinear_forward``. ``dgrid`` may hold
    anything before. Nothing is returned. This is a kernel.

    Difficulty 3 of 3, 35 minutes. Hint: give each of the four pixels four numbers: its two weights, and by how much
    each changes when the position moves: -1 for the pixel before, 1 for the one after. A gradient is the sum of pixel
    times one weight's change times the other weight. A position exactly one pixel before the image still has a
    derivative to the right; one exactly a pixel after it has none.
    """
    # TASK 9.3
    # BEGIN SOLUTION
    H, W = x.shape[2:]
    dgrid[...] = 0
    worth = ((W - 1) / 2, (H - 1) / 2) if align_corners else (W / 2, H / 2)
    for n, i, j in np.ndindex(*grid.shape[:3]):
        px, py = (grid[n, i, j] + 1) * worth - (0 if align_corners else 0.5)
        if np.isnan(px) or np.isnan(py):
            dgrid[n, i, j] = np.nan
        elif -1 <= px < W and -1 <= py < H:
            left, top = int(np.floor(px)), int(np.floor(py))
            a, b = px - left, py - top
            for h, v, dv in ((top, 1 - b, -1), (top + 1, b, 1)):
                for w, u, du in ((left, 1 - a, -1), (left + 1, a, 1)):
                    if 0 <= h < H and 0 <= w < W:
                        seen = (dy[n, :, i, j] * x[n, :, h, w]).sum()
                        dgrid[n, i, j, 0] += seen * v * du * worth[0]
                        dgrid[n, i, j, 1] += seen * dv * u * worth[1]
    # END SOLUTION


def grid_sample_bilinear_backward_input(dy, grid, dx, padding, align_corners):
    """Write into ``dx`` (N, C, H, W) the loss's gradient at the images: what each output has read goes back (eq. 6).

        dx[n, c, h, w] = sum over i, j of  dy[n, c, i, j] max(0, 1 - |px - w|) max(0, 1 - |py - h|)

    with (px, py) the position ``grid[n, i, j]`` in pixels. ``dy`` (N, C, OH, OW) is the gradient at the output. A
    position that is NaN, infinite or far outside gives nothing back. ``dx`` may hold anything before; ``padding`` is
    always 0 here; the rest is as in ``grid_sample_bilinear_forward``. Nothing is returned. This is a kernel.

    Difficulty 2 of 3, 20 minutes. Hint: the loops of task 9.2 with the arrow turned round. Several outputs may have
    read one pixel, so add, and begin with zeros.
    """
    # TASK 9.4
    # BEGIN SOLUTION
    H, W = dx.shape[2:]
    dx[...] = 0
    scale, shift = (np.array([W - 1, H - 1]) / 2, 0) if align_corners else (np.array([W, H]) / 2, 0.5)
    for n, i, j in np.ndindex(*grid.shape[:3]):
        px, py = (grid[n, i, j] + 1) * scale - shift
        if -1 < px < W and -1 < py < H:
            left, top = int(np.floor(px)), int(np.floor(py))
            a, b = px - left, py - top
            for h, v in ((top, 1 - b), (top + 1, b)):
                for w, u in ((left, 1 - a), (left + 1, a)):
                    if 0 <= h < H and 0 <= w < W:
                        dx[n, :, h, w] += v * u * dy[n, :, i, j]
    # END SOLUTION


def reflect(position, size, align_corners):
    """Return (at, slope): positions along an axis mirrored at its ends until they are inside, and their derivatives.

    ``position`` is an array of any shape, in pixels: 0 is the centre of the first pixel, size - 1 that of the last one;
    ``size`` is at least 1. The mirrors stand at those two centres if ``align_corners``, otherwise at the edges, -0.5
    and size - 0.5. What is beyond a mirror is seen as far before it, and what is then beyond the other mirror is
    reflected again, as often as necessary. Between a mirror at an edge and the centre there is no pixel to mix with:
    ``at`` is then held at 0 or size - 1. ``slope`` is d at / d position, 1 or -1 where ``at`` moves and 0 wherever it
    is 0 or size - 1. Of a position that is NaN or infinite both are NaN. Both results are new arrays of position's
    shape.

    Difficulty 2 of 3, 25 minutes. Hint: unfold the mirrors. After a way of twice their distance one is back at the same
    place, which is what ``%`` is for (in NumPy its result has the sign of the right side). In the second half of that
    way one walks backwards. With one pixel and mirrors at its centre their distance is 0.
    """
    # TASK 9.5
    # BEGIN SOLUTION
    position = np.asarray(position, dtype=float)
    low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
    finite = np.isfinite(position)
    way = (np.where(finite, position, 0.0) - low) % (2 * max(span, 1.0))
    back = way > span
    at = low + np.where(back, 2 * span - way, way)
    slope = np.where(back, -1.0, 1.0)
    slope = np.where((at <= 0) | (at >= size - 1), 0.0, slope)
    at = np.clip(at, 0, size - 1)
    return np.where(finite, at, np.nan), np.where(finite, slope, np.nan)
    # END SOLUTION


def start_with(localisation, numbers):
    """Make a localisation network say ``numbers`` of every image, until it learns otherwise.

    ``localisation`` is a ``tinyconv.nn.Module``; the last ``nn.Linear`` in the order of ``localisation.modules()`` puts
    out theta. Its weights become 0 and its biases the ``numbers``, a sequence of floats, in their order. All other
    parameters stay as they are: the layers below keep their random weights. The Parameters themselves stay, too, with
    their dtype and what they know of gradients, since an optimizer may hold them already: write into them. Nothing is
    returned. If there is no Linear, or if the last one has no biases or not as many outputs as there are numbers,
    ValueError is raised and nothing has been changed.

    Why zeros do no harm here: the last weights' gradient is made of the hidden units, which are not 0. Only the layers
    below get no gradient in the first step.

    Difficulty 1 of 3, 15 minutes. Hint: ``isinstance(layer, nn.Linear)``; under ``tinyconv.no_grad()`` a tensor has
    ``zero_()`` and ``copy_(values)``. ``weight`` has a row for each output.
    """
    # TASK 9.6
    # BEGIN SOLUTION
    linear = [layer for layer in localisation.modules() if isinstance(layer, nn.Linear)]
    if not linear or linear[-1].bias is None or linear[-1].weight.shape[0] != len(numbers):
        raise ValueError(f"start_with: the last Linear must put out {len(numbers)} numbers and have biases")
    last = linear[-1]
    with tinyconv.no_grad():
        last.weight.zero_()
        last.bias.copy_(np.asarray(numbers, last.bias.dtype))
    # END SOLUTION


def tiles(side):
    """Return the thetas (side * side, 3) of attention transformers, s, t_x, t_y, that tile the image, row by row.

    Several transformers side by side had better begin at different places: with localisation networks that are alike,
    too, they would stay alike. Here the square [-1, 1]^2 is cut into ``side`` x ``side`` equal squares, and transformer
    k begins with the k-th of them: first the top row from left to right. ``side`` is 1 or more; with 1 it is the
    identity.
    """
    # TASK 9.6
    # BEGIN SOLUTION
    middles = (2 * np.arange(side) + 1) / side - 1
    return np.array([(1 / side, x, y) for y in middles for x in middles])
    # END SOLUTION


def projective_grid(theta, height, width):
    """Return the grid (N, height, width, 2), x first, of projective transforms ``theta`` (N, 8).

        x_s = (t1 x + t2 y + t3) / d    y_s = (t4 x + t5 y + t6) / d    d = t7 x + t8 y + 1

    x, y are the target's positions: -1 and 1 are the centres of the first and last pixel, the others lie evenly between
    (``height`` and ``width`` are 2 or more). Where d is nearly 0 the target looks at the horizon: a d of size less than
    1e-6 becomes 1e-6 of the same sign; 0 becomes 1e-6.

    The minutes are for this and its gradient, below.

    Difficulty 2 of 3, 30 minutes. Hint: with x (W,) and y (H, 1), NumPy makes (N, H, W) of the numbers as (N, 1, 1).
    ``np.sign`` of 0 is 0, which is not what you want.
    """
    # TASK 9.7
    # BEGIN SOLUTION
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    t1, t2, t3, t4, t5, t6, t7, t8 = np.asarray(theta, float).T[:, :, None, None]
    d = t7 * x + t8 * y + 1
    d = np.where(np.abs(d) < 1e-6, np.where(d < 0, -1e-6, 1e-6), d)
    return np.stack([(t1 * x + t2 * y + t3) / d, (t4 * x + t5 * y + t6) / d], axis=3)
    # END SOLUTION


def projective_grid_backward(dgrid, theta):
    """Return the gradient (N, 8) at ``theta`` (N, 8), given that at its grid, ``dgrid`` (N, H, W, 2).

    Through a d that was replaced goes no gradient: it does not depend on t7 and t8. The other six are as everywhere,
    with the d that was used.
    """
    # TASK 9.7
    # BEGIN SOLUTION
    _, height, width, _ = dgrid.shape
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    t7, t8 = np.asarray(theta, float)[:, 6:].T[:, :, None, None]
    d = t7 * x + t8 * y + 1
    free = np.abs(d) >= 1e-6
    d = np.where(free, d, np.where(d < 0, -1e-6, 1e-6))
    gx, gy = dgrid[..., 0] / d, dgrid[..., 1] / d
    xs, ys = np.moveaxis(projective_grid(theta, height, width), 3, 0)
    gd = -(gx * xs + gy * ys) * free
    parts = (gx * x, gx * y, gx, gy * x, gy * y, gy, gd * x, gd * y)
    return np.stack([part.sum(axis=(1, 2)) for part in parts], axis=1)
    # END SOLUTION


def radial(squared):
    """Return U(r) = r^2 log r^2 of an array of squared distances r^2, any shape; U(0) = 0, without a warning.

    The bump of which thin-plate splines are made.

    The minutes are for this and the spline, below.

    Difficulty 3 of 3, 35 minutes. Hint: log is also computed where ``np.where`` does not take it; put 1 into it there.
    """
    # TASK 9.8
    # BEGIN SOLUTION
    return squared * np.log(np.where(squared > 0, squared, 1))
    # END SOLUTION


def spline_weights(control, positions):
    """Return (w, a), w (K, 2) and a (3, 2), of the thin-plate spline T with T(control[i]) = positions[i].

        T(p) = a[0] + a[1] p_x + a[2] p_y + sum_i w[i] U(|p - control[i]|)
        sum_i w[i] = sum_i w[i] control[i, x] = sum_i w[i] control[i, y] = 0

    ``control`` and ``positions`` are (K, 2); the K control points lie anywhere, but are all different and not on one
    line. The second line keeps the spline from bending far away. Both lines together are K + 3 equations for K + 3
    unknowns, twice: for x and for y.

    Hint: one matrix [[U, P], [P^T, 0]] with U_ij = U(|P_i - P_j|) and a row (1, x, y) of P for each point; its unknowns
    are w above a, its right side the positions above three rows of 0.
    """
    # TASK 9.8
    # BEGIN SOLUTION
    k = len(control)
    system, right = np.zeros((k + 3, k + 3)), np.zeros((k + 3, 2))
    system[:k, :k] = radial(((control[:, None] - control) ** 2).sum(axis=2))
    system[:k, k], system[:k, k + 1 :] = 1, control
    system[k:, :k] = system[:k, k:].T
    right[:k] = positions
    found = np.linalg.solve(system, right)
    return found[:k], found[k:]
    # END SOLUTION


def spline(points, control, w, a):
    """Return T (M, 2) at ``points`` (M, 2), by the formula of ``spline_weights``."""
    # TASK 9.8
    # BEGIN SOLUTION
    squared = ((points[:, None] - control) ** 2).sum(axis=2)
    return a[0] + points @ a[1:] + radial(squared) @ w
    # END SOLUTION


def triplet_hinge(e, beside):
    """Return (loss, de, dbeside): the hinge of co-localisation (Jaderberg et al. 2015, appendix A.2) and its gradients.

        loss = sum over n, over m != n of max(0, |e_n - e_m|^2 - |e_n - beside_n|^2 + 1)

    ``e`` (N, D) describes what a transformer sees in N images, ``beside`` (N, D) what a random window of the same image
    shows. |.| is the Euclidean length; all terms are added, not averaged, and (n, m) and (m, n) are two terms. The
    gradients ``de`` and ``dbeside`` are (N, D) and go through everything: an e_n stands in its own terms and in those
    of all others. A term that is 0 or less before the maximum gives no gradient. With one image, or none, there is no
    pair: the loss is 0, and so are the gradients.

    Difficulty 2 of 3, 30 minutes. Hint: a matrix (N, N) of the terms, its diagonal put to 0, and a matrix A of the same
    shape that is 1 where they are above 0. Term (n, m) gives e_n the gradient 2 (e_n - e_m) - 2 (e_n - beside_n), e_m
    the gradient 2 (e_m - e_n), and beside_n 2 (e_n - beside_n).
    """
    # TASK 9.9
    # BEGIN SOLUTION
    count = len(e)
    to_others, to_beside = e[:, None] - e, e - beside
    terms = (to_others**2).sum(axis=2) - (to_beside**2).sum(axis=1)[:, None] + 1
    terms[np.arange(count), np.arange(count)] = 0
    active = (terms > 0).astype(e.dtype)
    both = active + active.T
    pushed = 2 * active.sum(axis=1)[:, None] * to_beside
    de = 2 * (both[:, :, None] * to_others).sum(axis=1) - pushed
    return np.maximum(terms, 0).sum(), de, pushed
    # END SOLUTION


def polar(theta):
    """Return (angle, scale, flipped) of affine maps: how far they turn, how much they scale, whether they mirror.

    ``theta`` is (N, 2, 3); its left part M = theta[n, :, :2] is not the zero matrix. All three results are (N,).

    - ``flipped``, bool: whether det M < 0. Such a map is first made a plain one by taking its first column with the
      other sign: M = M' F with F = diag(-1, 1). The angle is then that of M'.
    - ``angle``, in degrees, in (-180, 180]: of the rotation R that is nearest to M' (the sum of squared differences is
      smallest), M' = R S with a symmetric S. Counter-clockwise on the screen, where y grows downwards: a grid with M =
      [[c, s], [-s, c]], c = cos 30, s = sin 30, is turned by +30 degrees.
    - ``scale``: sqrt(|det M|): areas grow by its square; 0 for maps onto a line.

    Difficulty 2 of 3, 20 minutes. Hint: |R - M'|^2 is smallest where the trace of R^T M' is largest. With R = [[c, s],
    [-s, c]] and M' = [[p, q], [r, t]] the trace is c (p + t) + s (q - r); that asks for one ``arctan2``.
    """
    # TASK 9.10
    # BEGIN SOLUTION
    matrix = np.array(theta[:, :, :2], dtype=float)
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    flipped = determinant < 0
    matrix[flipped, :, 0] *= -1
    (a, b), (c, d) = np.moveaxis(matrix, 0, -1)
    angle = np.degrees(np.arctan2(b - c, a + d))
    return np.where(angle <= -180, 180.0, angle), np.sqrt(np.abs(determinant)), flipped
    # END SOLUTION
