# %% [markdown]
# # AlexNet 3: pooling windows that overlap
#
# minutes 20 | needs step2_local_response_norm.py | next step4_two_gpus.py
#
# Max pooling used to cut a map into tiles: 2x2 windows, 2 pixels apart. AlexNet's windows are 3x3 and still 2 apart,
# so neighbours share a row or column (sec. 3.4: 0.4 % fewer top-1 errors, and a little harder to overfit). The output
# has the same size; what changes is the backward pass, where one pixel can now be the maximum of up to four windows.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import tinyconv
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Forward, with switches
#
# Besides the maximum we keep where it was: the *switch*, a flat index h * W + w. The backward pass needs nothing
# else.


# %%
def max_pool(x: np.ndarray, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return maxima and switches of one map (H, W)."""
    H, W = x.shape
    OH, OW = (H - size) // stride + 1, (W - size) // stride + 1
    y, switches = np.empty((OH, OW)), np.empty((OH, OW), int)
    for oh, ow in np.ndindex(OH, OW):
        top, left = oh * stride, ow * stride
        window = x[top : top + size, left : left + size]
        h, w = np.unravel_index(window.argmax(), window.shape)
        y[oh, ow], switches[oh, ow] = window[h, w], (top + h) * W + (left + w)
    return y, switches


x = lesson.rng.permutation(49).reshape(7, 7) / 49.0  # all different: no ties
x[2, 2] = 1.0  # a peak where four 3x3 windows meet
for size in (2, 3):
    y, switches = max_pool(x, size, 2)
    theirs = F.max_pool2d(tinyconv.tensor(x[None, None]), size, 2).numpy()[0, 0]
    chosen = np.bincount(switches.ravel(), minlength=49)
    print(
        f"{size}x{size} windows, 2 apart: output {y.shape}, equal to F.max_pool2d: {np.array_equal(y, theirs)}, "
        f"{(chosen > 0).sum()} pixels chosen, the busiest by {chosen.max()} windows"
    )
print("sides in AlexNet, pool1 and pool2 and pool5:", [f"{n} -> {(n - 3) // 2 + 1}" for n in (55, 27, 13)])

# %% [markdown]
# ## Backward: add, do not assign
#
# Each output hands its gradient to the pixel behind its switch. Two outputs may hand theirs to the same pixel: then
# the gradients add. Writing `=` for `+=` is a famous slip, because with the tiles everybody tests (2x2, 2 apart) no
# two windows ever meet and the slip is right. Watch the check: the same wrong code passes on tiles and fails at 3/2.


# %%
class Pool(tinyconv.Function):
    """Our loops as an operation; ``adds`` tells right from wrong."""

    adds = True

    @staticmethod
    def forward(ctx, x, size, stride):
        y, switches = max_pool(x, size, stride)
        ctx.switches, ctx.shape = switches, x.shape
        return y

    @classmethod
    def backward(cls, ctx, dy):
        dx = np.zeros(ctx.shape)
        if cls.adds:
            np.add.at(dx.reshape(-1), ctx.switches, dy)
        else:
            dx.reshape(-1)[ctx.switches] = dy  # the last writer wins
        return dx, None, None


class AssigningPool(Pool):
    """The slip."""

    adds = False


for function in (Pool, AssigningPool):
    for size in (2, 3):
        try:
            tinyconv.gradcheck(lambda x: function.apply(x, size, 2), [x], name=function.__name__)  # noqa: B023
            print(f"{function.__name__}, {size}x{size} windows, 2 apart: passes")
        except tinyconv.GradientError as error:
            print(f"{function.__name__}, {size}x{size} windows, 2 apart: caught\n{error}")

# %% [markdown]
# On a GPU `+=` from many threads is a race. The library's kernel turns the loop round: each *pixel* looks up the few
# windows that cover it and sums those whose switch names it. Nobody else writes there, so the result is the same on
# every run (`kernels/tinyconv_kernels/reference/pool.py`, `max_pool2d_backward`).

# %%
ours = tinyconv.tensor(x[None, None], requires_grad=True)
F.max_pool2d(ours, 3, 2).sum().backward()
counts = np.bincount(max_pool(x, 3, 2)[1].ravel(), minlength=49).reshape(7, 7)
print(
    "gradient of the sum of all outputs = how many windows chose each pixel:",
    np.array_equal(ours.grad.numpy()[0, 0], counts),
)

# %% [markdown]
# ## See it
#
# Each window has a colour and a dot on the pixel it chose. On the right, shared pixels receive 2 or more.

# %%
fig, axes = plt.subplots(1, 3, figsize=(12, 3.9), layout="constrained")
for axis, size in zip(axes, (2, 3), strict=False):
    _, switches = max_pool(x, size, 2)
    axis.imshow(x, cmap="gray", vmin=-0.3, vmax=1.3)
    for i, (oh, ow) in enumerate(np.ndindex(switches.shape)):
        inset = 0.06 * (1 + i % 3)
        corner = (2 * ow - 0.5 + inset, 2 * oh - 0.5 + inset)
        side = size - 2 * inset
        axis.add_patch(Rectangle(corner, side, side, fill=False, ec=f"C{i}", lw=2))
        h, w = divmod(switches[oh, ow], 7)
        axis.plot(w + 0.18 * (ow - 1), h + 0.18 * (oh - 1), "o", c=f"C{i}", mec="white")
    axis.set(title=f"{size}x{size} windows, 2 apart", xticks=[], yticks=[])
axes[2].imshow(counts, cmap="Blues", vmax=4)
for h, w in np.ndindex(counts.shape):
    axes[2].text(w, h, counts[h, w] or "", ha="center", va="center", color="white" if counts[h, w] > 2 else "black")
axes[2].set(title="3x3: gradients that meet in a pixel", xticks=[], yticks=[])
lesson.save(fig, "pooling", alt="three-by-three windows two apart share pixels, and several choose the same one")
lesson.next(why="why AlexNet is drawn as two towers")
