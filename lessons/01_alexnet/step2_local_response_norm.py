# %% [markdown]
# # AlexNet 2: local response normalisation
#
# minutes 20 | needs step1_relu.py | next step3_overlapping_pooling.py
#
# A ReLU has no ceiling. The paper therefore lets neighbouring channels at the same pixel compete: each value is
# divided by a number that grows with the squares of its n nearest channels (sec. 3.3),
#
#     b_i = a_i / (k + alpha * sum_j a_j^2)^beta        j = i - n/2 ... i + n/2, cut off at the first and last channel
#
# with k = 2, n = 5, alpha = 1e-4, beta = 0.75. Later networks dropped it; here it is by hand, with its gradient.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.data import photographs
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)


# %%
def brackets(a: np.ndarray, n: int = 5, alpha: float = 1e-4, k: float = 2.0) -> np.ndarray:
    """Return D_i = k + alpha * sum_j a_j^2 for every value of a (N, C, H, W)."""
    squares, channels = a**2, range(a.shape[1])
    return np.stack([k + alpha * squares[:, max(0, i - n // 2) : i + n // 2 + 1].sum(axis=1) for i in channels], 1)


def lrn(a: np.ndarray, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> np.ndarray:
    """Normalise a (N, C, H, W) across its channels, as the formula says."""
    return a / brackets(a, n, alpha, k) ** beta


constant = np.full((1, 7, 1, 1), 10.0)
print("seven channels that are all 10:", np.round(lrn(constant).ravel(), 5))
print("(the outer ones are divided by less: their windows are cut off)\n")

# %% [markdown]
# ## Trap: one name, three scalings
#
# The paper's alpha multiplies the *sum* of squares. Caffe and PyTorch divide it by n first, so that it multiplies
# their *mean*, and take k = 1. The author's own published settings divide by n too, but keep k = 2. Whoever copies
# "alpha = 1e-4" from one to the other gets another network. `F.local_response_norm` has PyTorch's defaults; the paper
# needs `alpha_over_size=False, k=2`.

# %%
readings = {
    "paper": dict(alpha=1e-4, k=2.0, alpha_over_size=False),
    "Caffe, PyTorch": dict(alpha=1e-4, k=1.0),
    "author's code": dict(alpha=1e-4, k=2.0),
}
for name, options in readings.items():
    y = F.local_response_norm(tinyconv.tensor(constant), 5, beta=0.75, **options)
    print(f"  {name:15s}", np.round(y.numpy().ravel(), 4))
theirs = F.local_response_norm(tinyconv.tensor(constant), 5, **readings["paper"]).numpy()
print(f"our formula against the library's kernel: largest difference {np.abs(lrn(constant) - theirs).max():.1e}\n")

# %% [markdown]
# ## The gradient: a value appears in five denominators
#
# Write `D_i` for the bracket. `a_j` stands in the numerator of `b_j`, and in `D_i` of every i whose window holds j,
# so
#
#     da_j = g_j D_j^-beta  -  2 alpha beta a_j * sum_i g_i a_i D_i^(-beta - 1)
#
# Below, `neighbours=False` keeps only i = j in that sum: a mistake that a look at one channel would not show. Alpha
# is taken much larger than 1e-4 here, or else the wrong term would hide below the check's tolerance.

# %%
ALPHA, BETA, K, SIZE = 0.5, 0.75, 2.0, 5


class LRN(tinyconv.Function):
    """The same loop forward, and the formula above backward."""

    neighbours = True

    @staticmethod
    def forward(ctx, a):
        ctx.save(a)
        return lrn(a, SIZE, ALPHA, BETA, K)

    @classmethod
    def backward(cls, ctx, g):
        (a,) = ctx.saved
        D = brackets(a, SIZE, ALPHA, K)
        terms, da = g * a * D ** (-BETA - 1), g * D**-BETA
        for j in range(a.shape[1]):
            window = slice(max(0, j - SIZE // 2), j + SIZE // 2 + 1) if cls.neighbours else slice(j, j + 1)
            da[:, j] -= 2 * ALPHA * BETA * a[:, j] * terms[:, window].sum(axis=1)
        return da


class OwnTermOnly(LRN):
    """The mistake: only the channel's own denominator."""

    neighbours = False


a = lesson.rng.uniform(0.5, 2, (2, 7, 2, 2))
print("gradient check:", tinyconv.gradcheck(LRN.apply, [a]))
try:
    tinyconv.gradcheck(OwnTermOnly.apply, [a])
except tinyconv.GradientError as error:
    print(f"caught:\n{error}\n")

# %% [markdown]
# ## What it does to a picture
#
# Eight edge detectors of neighbouring directions look at a photograph with pixels 0..255. Where they respond
# strongly, and their neighbours in direction with them, as little as an eighth is left; faint edges keep 2^-0.75 =
# 0.59, so the map evens out. On the right, what becomes of one value: since beta is above 1/2, it even falls again
# beyond about 200. On pixels scaled to [0, 1] the same layer only multiplies by 0.59: the constants belong to the
# pixel range.

# %%
photo = photographs()[0][0].mean(axis=0)[60:300, 200:500]
yy, xx = np.mgrid[-3:4, -3:4]
angles = np.arange(8) * np.pi / 8
edges = np.stack([(xx * np.cos(t) + yy * np.sin(t)) * np.exp(-(xx**2 + yy**2) / 6) for t in angles])
edges /= np.abs(edges).sum(axis=(1, 2), keepdims=True) / 2
patches = np.lib.stride_tricks.sliding_window_view(photo, (7, 7))
maps = np.maximum(np.einsum("hwij,cij->chw", patches, edges), 0)[None]
before, after = 255 * maps, lrn(255 * maps)
for scale in (1, 255):
    gain = lrn(scale * maps)[maps > 0.02] / (scale * maps[maps > 0.02])
    print(f"pixels in 0..{scale:<3d}  a value keeps {gain.min():.3f} to {gain.max():.3f} of itself")

fig, axes = plt.subplots(1, 4, figsize=(14, 3.2), layout="constrained", width_ratios=(1, 1, 1, 0.9))
gain = np.divide(after[0, 2], before[0, 2], where=before[0, 2] > 5, out=np.full(before.shape[2:], np.nan))
for axis, image, title, kind in (
    (axes[0], before[0, 2], "one map before", "gray"),
    (axes[1], after[0, 2], "the same map after", "gray"),
    (axes[2], gain, "share that is left (white: no response)", "viridis"),
):
    shown = axis.imshow(image, cmap=kind, vmin=0 if kind == "gray" else None)
    axis.set(title=title, xticks=[], yticks=[])
    fig.colorbar(shown, ax=axis, shrink=0.8)
level = np.linspace(0, 600, 200)
for crowd in (0, 50, 100):
    axes[3].plot(level, level / (2 + 1e-4 * (level**2 + 4 * crowd**2)) ** 0.75, label=f"neighbours at {crowd}")
axes[3].set(xlabel="a value before", title="after, by its four neighbours")
axes[3].legend(fontsize=8)
lesson.save(fig, "lrn", alt="strong edges keep a fifth of their response, faint ones three fifths: the map evens out")
lesson.next(why="windows that share pixels, and a bug that hides")
