# %% [markdown]
# # R-CNN 4: RoI pooling
#
# minutes 25 | needs step3_rcnn.py | next step5_fast_rcnn.py
#
# R-CNN computes the same pixels over and over, as its boxes overlap. But convolutions can be run once, on the whole
# image, and each box be cut out of the last *map*. There a box may be 4x6 cells or 20x3, and fully connected layers
# want one size: RoI pooling (Girshick 2015) lays 5x5 bins, say, over the box and takes the maximum of each.

# %%
import timeit

import matplotlib.pyplot as plt
import numpy as np
from numba import njit

import tinyconv
from tinyconv.functional.roi import roi_align, roi_pool
from tinyconv_kernels import cpu

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Three roundings
#
# A box is in pixels of the image, the map is smaller by the stride, and cells are whole. The authors' program:
#
# 1. corners / stride are rounded, halves away from zero; both cells belong to the box: length = last - first + 1;
# 2. bin i of n goes from floor(i length / n) up to ceil((i + 1) length / n), so neighbours may share a row;
# 3. what lies outside of the map does not count; a bin without a cell is 0, and its switch (where the maximum was) -1.


# %%
@njit
def span(i, count, low, high, size, scale):
    """Return start and end of bin i of some along one axis; the end does not belong to it."""
    low, high = low * scale, high * scale
    first, last = int(np.sign(low) * np.floor(abs(low) + 0.5)), int(np.sign(high) * np.floor(abs(high) + 0.5))
    length = max(last - first + 1, 1)
    return max(first + i * length // count, 0), min(first - (-(i + 1) * length // count), size)


def forward(x, rois, y, switches, scale):
    """Write the maxima y (R, C, PH, PW), and where they were as h * W + w; rois are (image, x1, y1, x2, y2)."""
    for r, c, i, j in np.ndindex(y.shape):
        top, bottom = span(i, y.shape[2], rois[r, 2], rois[r, 4], x.shape[2], scale)
        left, right = span(j, y.shape[3], rois[r, 1], rois[r, 3], x.shape[3], scale)
        plane, best, at = x[int(rois[r, 0]), c], 0.0, -1
        for h in range(top, bottom):
            for w in range(left, right):
                if at < 0 or plane[h, w] > best:
                    best, at = plane[h, w], h * x.shape[3] + w
        y[r, c, i, j], switches[r, c, i, j] = best, at


def backward(dy, rois, switches, dx, adds=True):
    """Write dx: each output's gradient goes to its switch, and what meets there is added, or replaced."""
    dx[...] = 0
    for r, c, i, j in np.ndindex(dy.shape):
        if switches[r, c, i, j] >= 0:
            plane, at = dx[int(rois[r, 0]), c].reshape(-1), switches[r, c, i, j]
            plane[at] = dy[r, c, i, j] + (plane[at] if adds else 0)


def pooled(x, rois, side, scale, kernel=forward):
    """Return y and switches."""
    y, switches = (np.empty((len(rois), x.shape[1], side, side), dtype) for dtype in (x.dtype, np.int64))
    kernel(x, rois, y, switches, scale)
    return y, switches


square = np.arange(64.0).reshape(1, 1, 8, 8)
boxes = {(16, 0, 100, 75): 2, (0, 0, 111, 111): 3, (8, 8, 40, 40): 3, (64, 64, 200, 200): 2, (-40, -40, 79, 79): 3}
print("a map of 8x8, cell (h, w) holds 8 h + w; corners of a box in pixels, stride 16: the maximum of each of its bins")
for box, side in boxes.items():
    print(f"  {box}: {pooled(square, np.array([[0.0, *box]]), side, 1 / 16)[0][0, 0].astype(int).tolist()}")

# %% [markdown]
# ## Backward, and a slip that hides
#
# Boxes overlap, bins overlap: one cell may be the maximum of many bins, and gets the sum of their gradients. Assigning
# is right as long as nothing meets. And where two maxima are equal there is no gradient to be right about.


# %%
class Pool(tinyconv.Function):
    """Our loops as an operation."""

    adds = True  # what meets in a cell

    @staticmethod
    def forward(ctx, x, rois):
        ctx.rois, ctx.dx, (y, ctx.switches) = rois, np.empty(x.shape), pooled(x, rois, 2, 0.5)
        return y

    @classmethod
    def backward(cls, ctx, dy):
        backward(dy, ctx.rois, ctx.switches, ctx.dx, cls.adds)
        return ctx.dx, None


AssigningPool = type("AssigningPool", (Pool,), {"adds": False})  # the slip: = where += belongs
print("\ngradient check of two boxes: Pool adds what meets in a cell, AssigningPool keeps the last")
apart, over = np.array([[0.0, 0, 0, 6, 6], [0, 8, 8, 14, 14]]), np.array([[0.0, 0, 0, 8, 8], [0, 4, 4, 14, 14]])
x = lesson.rng.permutation(128).reshape(1, 2, 8, 8) / 128.0  # all different: no ties
for name, maps, rois in (("apart", x, apart), ("overlapping", x, over), ("equal maxima", np.round(x), over)):
    for function in (Pool, AssigningPool) if maps is x else (Pool,):
        try:
            tinyconv.gradcheck(lambda maps: function.apply(maps, rois), [maps], name=function.__name__)  # noqa: B023
            print(f"{name}: {function.__name__} passes")
        except tinyconv.GradientError as error:
            print(f"{name}: caught\n  " + str(error).replace("\n", "\n  "))

# %% [markdown]
# ## Compiled, and RoI align beside it
#
# The loops, the same through `njit`, and the library's kernel. And: pooling sees other boxes. Edges x1, x2 are corners
# x1, x2 - 1: the near edge is rounded, by up to half a cell (8 pixels in VGG-16), the far one lands at stride * (last +
# 1). RoI align (He and others, 2017) rounds nothing, and takes means of samples, each mixed of four cells.

# %%
corner, wide = lesson.rng.uniform(0, 36, (100, 2)), lesson.rng.uniform(10, 27, (100, 2))
rois = np.hstack([np.zeros((100, 1)), corner, corner + wide]).astype(np.float32)[: 5 if lesson.smoke else 100]
x, found = lesson.rng.standard_normal((1, 32, 16, 16)).astype(np.float32), []
tinyconv.set_num_threads(1)
for name, kernel in {"loops": forward, "compiled": njit(forward), "library's": cpu.roi.roi_pool_forward}.items():
    found.append(pooled(x, rois, 5, 0.25, kernel)[0])  # compiled now, and not while it is timed
    took = 1000 * np.median(timeit.repeat(lambda: pooled(x, rois, 5, 0.25, kernel), number=1, repeat=7))  # noqa: B023
    print(f"{len(rois)} boxes, {name:10s} {took:7.2f} ms, the same numbers: {np.array_equal(found[-1], found[0])}")
moved = np.array([4 * np.array(span(0, 1, x1, x1 + 19, 99, 0.25)) - (x1, x1 + 20) for x1 in np.arange(0, 40, 0.25)])
print(f"stride 4: pooling moves [near far] edges by {moved.min(0)} to {moved.max(0)} pixels, mean {moved.mean(0)}")
fig, axes = plt.subplots(1, 3, figsize=(12, 3.7), layout="constrained")
cells, box, bins = np.arange(8.0), np.array([22.0, 34, 90, 101]), ("top left", "top right", "low left", "low right")
smooth, last = (np.sin(cells)[:, None] + np.cos(0.7 * cells))[None, None], box - [0, 0, 1, 1]
axes[0].imshow(smooth[0, 0], cmap="gray", extent=(0, 8, 8, 0))
switches = pooled(smooth, np.array([[0.0, *last]]), 3, 1 / 16)[1].ravel()
for k, (i, j) in enumerate(np.ndindex(3, 3)):
    top, bottom = span(i, 3, last[1], last[3], 8, 1 / 16) + np.array([0.1, -0.1]) * (1 + k % 3)
    left, right = span(j, 3, last[0], last[2], 8, 1 / 16) + np.array([0.1, -0.1]) * (1 + k % 3)
    axes[0].add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, ec=plt.cm.Pastel1(k), lw=2))
    axes[0].plot(switches[k] % 8 + 0.5, switches[k] // 8 + 0.5, "o", c=plt.cm.Pastel1(k), mec="k")
axes[0].add_patch(plt.Rectangle(box[:2] / 16, *(box[2:] - box[:2]) / 16, fill=False, ec="white", ls="--"))
axes[0].set(title="a box (dashed), 3x3 bins, their maxima", xticks=[], yticks=[])
for axis, function, given, style in ((axes[1], roi_pool, last, "steps-post"), (axes[2], roi_align, box, "default")):
    rois = tinyconv.tensor(np.array([[0.0, *(given + [d, 0, d, 0])] for d in range(33)]))
    axis.plot(function(tinyconv.tensor(smooth), rois, 2, 1 / 16).numpy().reshape(33, 4), drawstyle=style, label=bins)
    axis.set(title=f"{function.__name__}: the values of 2x2 bins", xlabel="pixels that the box has moved", ylim=(-2, 2))
    axis.legend(loc="upper right", ncol=2, fontsize=8)
lesson.save(fig, "roi_pooling", alt="bins of a box on a map, which overlap; pooled values jump, aligned ones glide")
lesson.next(why="the whole detector in one pass")
