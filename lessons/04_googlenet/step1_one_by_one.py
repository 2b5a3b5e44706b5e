# %% [markdown]
# # GoogLeNet 1: windows of one pixel
#
# minutes 15 | needs lesson 03 | next step2_inception_module.py
#
# A convolution with a 1x1 window sees no neighbours. What is left is a matrix: at every pixel the same one turns the C
# numbers there into K others. It can mix channels, and it can make them fewer. GoogLeNet puts one in front of every
# large window (sec. 4; the idea is Lin et al.'s "network in network"), and gets 22 layers for a tenth of VGG-16's work.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## A linear layer at every pixel
#
# Forward is a matrix product over the channels, and so are both gradients. No patches, no border, no padding.


# %%
class OneByOne(tinyconv.Function):
    """y[n, k, i, j] = sum over c of w[k, c] x[n, c, i, j]."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save(x, w)
        return np.einsum("kc,nchw->nkhw", w, x)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved
        return np.einsum("kc,nkhw->nchw", w, dy), np.einsum("nkhw,nchw->kc", dy, x)


class OneByOneReshaped(OneByOne):
    """The slip: the channels are reshaped to the end, where they should have been moved there."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save(x, w)
        N, C, H, W = x.shape
        return (x.reshape(N, H, W, C) @ w.T).reshape(N, len(w), H, W)


x, w = lesson.rng.standard_normal((2, 6, 4, 5)), lesson.rng.standard_normal((3, 6))
theirs = F.conv2d(tinyconv.tensor(x), tinyconv.tensor(w[:, :, None, None])).numpy()
pixels = x.transpose(0, 2, 3, 1).reshape(-1, 6)  # one row per pixel: a batch of 2 * 4 * 5 vectors
linear = F.linear(tinyconv.tensor(pixels), tinyconv.tensor(w)).numpy().reshape(2, 4, 5, 3).transpose(0, 3, 1, 2)
print(f"F.linear on every pixel is off from F.conv2d by {np.abs(linear - theirs).max():.0e}")
for conv in (OneByOne, OneByOneReshaped):
    ours = conv.apply(tinyconv.tensor(x), tinyconv.tensor(w)).numpy()
    print(f"{conv.__name__}: shape {ours.shape}, off from F.conv2d by {np.abs(ours - theirs).max():.0e}")
    try:
        tinyconv.gradcheck(conv.apply, [x, w])
        print("  its gradients pass the check")
    except tinyconv.GradientError as error:
        print(f"  caught by the gradient check: {str(error).splitlines()[0]}")

# %% [markdown]
# The slip has the right shape and mixes pixels instead of channels. Had its backward been wrong in the same way, the
# gradient check would have passed: it compares a function with its own gradient, not with what you meant. Only the
# comparison with an independent result finds that.
#
# ## What a reduction saves
#
# Module 3a gets 192 maps of 28x28. Its 3x3 windows make 128 of them, its 5x5 windows 32. In front of either stands a
# 1x1, to 96 and to 16 maps (table 1). Multiply-adds with it and without:

# %%
C, SIDE = 192, 28
BRANCHES = {"3x3": (3, 96, 128), "5x5": (5, 16, 32)}  # window, filters of the reduction, filters
print("\nmultiply-adds    straight on 192 maps   1x1 first              of it the 1x1")
saved = {}
for name, (k, reduced, filters) in BRANCHES.items():
    straight, first, second = (n * SIDE * SIDE for n in (k * k * C * filters, C * reduced, k * k * reduced * filters))
    saved[name] = straight, first, second
    print(f"{name}, {filters:3d} filters {straight:20,d} {first + second:11,d} ({(first + second) / straight:4.0%}) "
          f"{first / (first + second):19.0%}")  # fmt: skip

# %% [markdown]
# It saves where the window is large and the reduction strong: a 5x5 costs a tenth, a 3x3 more than half. Is the time
# in proportion? (For 3x3 and 5x5 the library has Winograd's algorithm, which saves multiplications of its own, so the
# gain is smaller than counted.)


# %%
def milliseconds(layers: list[tuple[int, int, int]], images: int = 8, repeat: int = 15) -> float:
    """Return the fastest of some forward passes through convolutions (window, inputs, filters) with ReLU."""
    y0 = tinyconv.tensor(lesson.rng.standard_normal((images, C, SIDE, SIDE)).astype(np.float32))
    weights = [tinyconv.randn(out, ins, k, k) * (2 / (ins * k * k)) ** 0.5 for k, ins, out in layers]
    times = []
    for _ in range(2 if lesson.smoke else repeat):
        start, y = perf_counter(), y0
        for weight in weights:
            y = F.relu(F.conv2d(y, weight, padding=weight.shape[2] // 2))
        times.append(perf_counter() - start)
    return 1e3 * min(times)


times = {}
for name, (k, reduced, filters) in BRANCHES.items():
    times[name] = milliseconds([(k, C, filters)]), milliseconds([(1, C, reduced), (k, reduced, filters)])
    print(f"{name}: straight {times[name][0]:.1f} ms, with the 1x1 first {times[name][1]:.1f} ms for 8 images")

# %% [markdown]
# ## What it takes away
#
# Without the ReLU between them, a 1x1 to 16 maps and a 5x5 are *one* 5x5 on 192 maps: its weights are a product. Not
# every 5x5 is such a product: at each place of its window it is a 32x192 matrix of rank 16 at most. That is what the
# reduction takes away; the ReLU gives something back, since with it the two are no longer one linear layer.

# %%
reduce, large = lesson.rng.standard_normal((16, C, 1, 1)), lesson.rng.standard_normal((32, 16, 5, 5))
one = np.einsum("rc,krij->kcij", reduce[:, :, 0, 0], large)
image = tinyconv.tensor(lesson.rng.standard_normal((1, C, 9, 9)))
two_layers = F.conv2d(F.conv2d(image, tinyconv.tensor(reduce)), tinyconv.tensor(large), padding=2).numpy()
one_layer = F.conv2d(image, tinyconv.tensor(one), padding=2).numpy()
print(f"\n1x1 then 5x5, no ReLU: off from one 5x5 by {np.abs(two_layers - one_layer).max() / one_layer.std():.0e}; "
      f"its {one.shape[0]}x{one.shape[1]} matrices have rank {np.linalg.matrix_rank(one[:, :, 0, 0])}")  # fmt: skip

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
for i, (name, (straight, first, second)) in enumerate(saved.items()):
    axes[0].bar(2 * i, straight / 1e6, color="C0", label="straight" if i == 0 else None)
    axes[0].bar(2 * i + 0.8, first / 1e6, color="C1", label="1x1" if i == 0 else None)
    axes[0].bar(2 * i + 0.8, second / 1e6, bottom=first / 1e6, color="C2", label="then the window" if i == 0 else None)
    axes[1].bar(2 * i, times[name][0], color="C0", label="straight" if i == 0 else None)
    axes[1].bar(2 * i + 0.8, times[name][1], color="C3", label="1x1 and window" if i == 0 else None)
for axis, title in zip(axes, ("multiply-adds of one image, millions", "ms for 8 images, forward"), strict=True):
    axis.set(title=title, xticks=[0.4, 2.4], xticklabels=["3x3 in 3a", "5x5 in 3a"])
    axis.legend()
lesson.save(fig, "reductions", alt="with a 1x1 in front a 3x3 costs 58 %, a 5x5 a tenth; the times follow in part")
lesson.next(why="four windows side by side")
