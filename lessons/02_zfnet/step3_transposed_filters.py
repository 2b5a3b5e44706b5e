# %% [markdown]
# # ZF Net 3: back through a convolution
#
# minutes 20 | needs step2_unpool.py | next step4_deconvnet.py
#
# A convolution's output is a sum over a patch, weighted by a filter. On the way down each value *stamps* its filter,
# times itself, onto the patch it came from; overlapping stamps add up. The paper calls this deconvolution, though it
# undoes nothing: it is the transposed convolution, the same weights read in the other direction (sec. 2.1).

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)
rng = lesson.rng


# %%
def stamp(y: np.ndarray, weight: np.ndarray, stride: int, padding: int, shape: tuple[int, int]) -> np.ndarray:
    """Return (C, H, W): every value of y (K, OH, OW) stamps its filter weight[k] (C, n, n); no bias."""
    K, C, n, _ = weight.shape
    x = np.zeros((C, shape[0] + 2 * padding, shape[1] + 2 * padding))
    for k, oh, ow in np.ndindex(y.shape):
        top, left = oh * stride, ow * stride
        x[:, top : top + n, left : left + n] += y[k, oh, ow] * weight[k]
    return x[:, padding : padding + shape[0], padding : padding + shape[1]]


y, weight = rng.standard_normal((4, 5, 5)), rng.standard_normal((4, 3, 3, 3))
ours = stamp(y, weight, 2, 1, (9, 9))
theirs = F.conv_transpose2d(tinyconv.tensor(y), tinyconv.tensor(weight), stride=2, padding=1).numpy()
print(f"stamping against F.conv_transpose2d: largest difference {np.abs(ours - theirs).max():.1e}")

x = tinyconv.tensor(rng.standard_normal((3, 9, 9)), requires_grad=True)
up = F.conv2d(x, tinyconv.tensor(weight), stride=2, padding=1)
gradient = tinyconv.grad(up, x, tinyconv.tensor(y)).numpy()
print(f"stamping against the gradient of F.conv2d:  {np.abs(ours - gradient).max():.1e}\n")

# %% [markdown]
# ## The size is not the way down's to choose
#
# With stride 2, a convolution of 7x7 and padding 1 makes the same 110 from 223 and from 224 pixels. Going back one must
# be told which (`output_padding`). The deconvnet forces every map to the size it had on the way up: 13 from 6, 26 from
# 13, 55 from 26, 110 from 55, 224 from 110.

# %%
for side in (223, 224):
    print(f"7x7, stride 2, padding 1: {side} -> {(side + 2 - 7) // 2 + 1}")
maps, window = tinyconv.zeros(1, 110, 110), tinyconv.zeros(1, 1, 7, 7)
down = [F.conv_transpose2d(maps, window, None, 2, 1, extra).shape[1] for extra in (0, 1)]
print(f"110 -> {down[0]} without output_padding, {down[1]} with 1\n")

# %% [markdown]
# ## Flip, or not? A check that sees it, and one that does not
#
# As a convolution, the way down uses each filter *flipped* in both directions, with input and output channels swapped.
# Forgetting the flip is easy, and any test with a filter of ones, or a blur, passes. The identity `<conv(a), b> =
# <a, down(b)>` sees it at once with random filters; so does the gradient check, with the way down as the backward pass.


# %%
def down_by_convolution(y: np.ndarray, weight: np.ndarray, flip: bool) -> np.ndarray:
    """Return the way down at stride 1, without padding, as a convolution of the padded map."""
    filters = weight.swapaxes(0, 1)[:, :, ::-1, ::-1] if flip else weight.swapaxes(0, 1)
    n = weight.shape[2]
    return F.conv2d(tinyconv.tensor(y[None]), tinyconv.tensor(filters.copy()), padding=n - 1).numpy()[0]


class Convolution(tinyconv.Function):
    """Up as the library does, down as above."""

    flip = True

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save(weight)
        return F.conv2d(tinyconv.tensor(x[None]), tinyconv.tensor(weight)).numpy()[0]

    @classmethod
    def backward(cls, ctx, dy):
        return down_by_convolution(dy, ctx.saved[0], cls.flip), None


class Unflipped(Convolution):
    """The slip."""

    flip = False


a, b = rng.standard_normal((3, 7, 7)), rng.standard_normal((4, 5, 5))
for name, filters in (("filters of ones", np.ones((4, 3, 3, 3))), ("random filters", weight)):
    for function in (Convolution, Unflipped):
        left = (F.conv2d(tinyconv.tensor(a[None]), tinyconv.tensor(filters)).numpy()[0] * b).sum()
        right = (a * down_by_convolution(b, filters, function.flip)).sum()
        print(f"{name:15s} {function.__name__:11s}: <conv(a), b> {left:8.3f}   <a, down(b)> {right:8.3f}")
print("gradient check:", tinyconv.gradcheck(lambda x: Convolution.apply(x, weight), [a]))
try:
    tinyconv.gradcheck(lambda x: Unflipped.apply(x, weight), [a], name="Unflipped")
except tinyconv.GradientError as error:
    print(f"caught:\n{error}\n")

# %% [markdown]
# ## Stamps leave a pattern
#
# How many stamps does each pixel receive? With stride 1 all the same. With 7x7 and stride 2, 9, 12 or 16, in turn:
# a fine grid, which every projection through ZF Net's first layer carries faintly. 11x11 with stride 4 is worse. Where
# stride divides the window, as 4x4 with stride 2, there is none.

# %%
fig, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
corner = np.zeros((1, 4, 4))
corner[0, 1, 1], corner[0, 2, 2] = 1.0, 0.7
yy, xx = np.mgrid[-3:4, -3:4]
edge = (np.cos(0.9 * (xx + 0.5 * yy)) * np.exp(-(xx**2 + yy**2) / 8))[None, None]
axes[0].imshow(stamp(corner, edge, 4, 0, (19, 19))[0], cmap="gray")
axes[0].set_title("two values, two stamps")
for axis, (n, stride) in zip(axes[1:], ((7, 2), (11, 4), (4, 2)), strict=True):
    count = stamp(np.ones((1, 16, 16)), np.ones((1, 1, n, n)), stride, 0, (n + 15 * stride,) * 2)[0]
    inner = count[n:-n, n:-n] if n < 11 else count[12:-12, 12:-12]
    found = sorted({int(c) for c in inner.ravel()})
    print(f"{n}x{n} with stride {stride}: pixels receive {' or '.join(map(str, found))} stamps")
    shown = axis.imshow(inner[:24, :24], cmap="viridis", vmin=0, vmax=count.max())
    fig.colorbar(shown, ax=axis, shrink=0.8)
    axis.set_title(f"stamps: {n}x{n}, stride {stride}")
for axis in axes:
    axis.set(xticks=[], yticks=[])
lesson.save(fig, "stamps", alt="a seven by seven window with stride 2 covers pixels unevenly, four by four evenly")
lesson.next(why="all three put together: looking down from one activation")
