# %% [markdown]
# # GoogLeNet 2: four windows side by side
#
# minutes 20 | needs step1_one_by_one.py | next step3_costs.py
#
# Which window should a layer have, 1x1, 3x3, 5x5, or a pool? The Inception module takes all of them. Four branches look
# at the same maps, all keep the size, and their outputs are stacked along the channels, in this order: 1x1; 1x1 then
# 3x3; 1x1 then 5x5; pool 3x3 (stride 1) then 1x1 (fig. 2b). Two things are new for backward: an output that is made of
# pieces, and an input that is used four times.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The parts in NumPy
#
# A convolution is a sum of shifted copies (lesson 03, step 2), a pool the maximum of nine of them, with minus infinity
# from outside; its gradient goes to the first place that had the maximum.


# %%
def shifted(x: np.ndarray, k: int, fill: float = 0.0) -> np.ndarray:
    """Return the k * k shifted copies (k * k, N, C, H, W) of maps, padded so that the size stays."""
    H, W = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)), constant_values=fill)
    return np.stack([padded[:, :, i : i + H, j : j + W] for i, j in np.ndindex(k, k)])


def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the convolution of (N, C, H, W) with (K, C, k, k), stride 1, the size kept."""
    return np.einsum("sncij,kcs->nkij", shifted(x, w.shape[2]), w.reshape(*w.shape[:2], -1))


def conv_backward(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (dx, dw): dx is a convolution of dy with the filters turned round, inputs and outputs swapped."""
    dw = np.einsum("sncij,nkij->kcs", shifted(x, w.shape[2]), dy).reshape(w.shape)
    return conv(dy, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)), dw


def pool_backward(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return the gradient of the maximum over 3x3 windows, stride 1, padding 1."""
    winner = shifted(x, 3, -np.inf).argmax(0)
    return sum(shifted(np.where(winner == s, dy, 0), 3)[8 - s] for s in range(9))  # each back to where it came from


# %% [markdown]
# ## The module
#
# Six convolutions, each with a ReLU. Backward of a concatenation cuts the gradient into the same pieces. Each branch
# carries its piece down to the input, and there the four results are *added*: x has acted on the loss in four ways.


# %%
class Module(tinyconv.Function):
    """The Inception module; weights: 1x1, 1x1 before 3x3, 3x3, 1x1 before 5x5, 5x5, 1x1 behind the pool."""

    order = (0, 1, 2, 3)  # of the branches in the output
    together = staticmethod(sum)  # what becomes of the four gradients of the input

    @classmethod
    def forward(cls, ctx, x, *weights):
        ones, reduce3, threes, reduce5, fives, pooled = weights
        ways = [(ones,), (reduce3, threes), (reduce5, fives), (pooled,)]
        kept = [[x], [x], [x], [shifted(x, 3, -np.inf).max(0)]]  # of each branch, the maps before and after each w
        for maps, way in zip(kept, ways, strict=True):
            for w in way:
                maps.append(np.maximum(conv(maps[-1], w), 0))
        ctx.ways, ctx.kept = ways, kept
        return np.concatenate([kept[i][-1] for i in cls.order], axis=1)

    @classmethod
    def backward(cls, ctx, dy):
        cuts = np.cumsum([ctx.kept[i][-1].shape[1] for i in cls.order])[:-1]
        pieces = dict(zip(cls.order, np.split(dy, cuts, axis=1), strict=True))
        dxs, dws = [], []
        for i, (way, maps) in enumerate(zip(ctx.ways, ctx.kept, strict=True)):
            d, found = pieces[i], []
            for w, before, after in zip(way[::-1], maps[-2::-1], maps[:0:-1], strict=True):
                d, dw = conv_backward(before, w, d * (after > 0))
                found.insert(0, dw)
            dxs.append(pool_backward(ctx.kept[0][0], d) if i == 3 else d)
            dws += found
        return (cls.together(dxs), *dws)


class Assigned(Module):
    """Slip 1: every branch overwrites the input's gradient, so the last one stays."""

    together = staticmethod(lambda parts: parts[-1])


class Swapped(Module):
    """Slip 2: 5x5 before 3x3 in the output, forward and backward alike."""

    order = (0, 2, 1, 3)


# %% [markdown]
# ## Break it on purpose
#
# The same weights go into the library's module; then the gradient check, all seven arguments. Slip 1 is caught. Slip 2
# passes, and must: it is another network, differentiated correctly. It breaks where weights come from elsewhere, which
# only a comparison with an independent module finds.

# %%
x = lesson.rng.standard_normal((1 if lesson.smoke else 2, 3, 5, 6))
library = models.inception.Inception(3, models.inception.Widths(2, 3, 4, 2, 3, 2), dtype=np.float64)
for p in library.parameters():
    p.data[...] = lesson.rng.standard_normal(p.shape) if p.ndim == 4 else 0
weights, theirs = [p.data for p in library.parameters() if p.ndim == 4], library(tinyconv.tensor(x)).detach().numpy()
for module in (Module, Assigned, Swapped):
    ours = module.apply(tinyconv.tensor(x), *map(tinyconv.tensor, weights)).numpy()
    print(f"{module.__name__}: off from the library's module by {np.abs(ours - theirs).max():.0e}")
    try:
        tinyconv.gradcheck(module.apply, [x, *weights])
        print("  all gradients pass the check")
    except tinyconv.GradientError as error:
        print("  " + str(error).replace("\n", "\n  "))
try:  # slip 3: the 5x5 branch padded like the 3x3
    F.cat([tinyconv.zeros(1, 4, 5, 6), F.conv2d(tinyconv.zeros(1, 2, 5, 6), tinyconv.zeros(3, 2, 5, 5), padding=1)], 1)
except ValueError as error:
    print(f"a 5x5 with padding 1 cannot go unnoticed: {error}")

# %% [markdown]
# ## What each branch sees
#
# The gradient of one place of the output, carried down branch by branch (positive weights: nothing cancels). The
# module's own is the sum: near the middle all branches, further out the 5x5 alone. Colours show its power of 0.3.

# %%
shapes = [(8, 24, 1, 1), (8, 24, 1, 1), (8, 8, 3, 3), (8, 24, 1, 1), (8, 8, 5, 5), (8, 24, 1, 1)]
positive, seen = [lesson.rng.random(shape) / np.prod(shape[1:]) for shape in shapes], []
leaf = tinyconv.tensor(lesson.rng.random((1, 24, 9, 9)), requires_grad=True)
for branch in range(4):
    place = Module.apply(leaf, *map(tinyconv.tensor, positive))[0, 8 * branch : 8 * branch + 8, 4, 4]
    seen.append(tinyconv.grad(place.sum(), [leaf])[0].numpy()[0].mean(0))
fig, axes = plt.subplots(1, 5, figsize=(13, 3), layout="constrained")
titles = ("1x1", "1x1, then 3x3", "1x1, then 5x5", "pool 3x3, then 1x1", "the module: all four")
for axis, picture, title in zip(axes, [*seen, sum(seen)], titles, strict=True):
    axis.imshow(picture**0.3, cmap="Blues")
    axis.set(title=title, xticks=[], yticks=[])
lesson.save(fig, "branches", alt="what one place of the output depends on: 1, 3x3, 5x5 and 3x3 pixels; all of them")
lesson.next(why="what the 1x1 convolutions save")
