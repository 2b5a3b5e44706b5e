# %% [markdown]
# # ResNet 3: shortcuts where the shape changes
#
# minutes 20 | needs step2_residual_block.py | next step4_signals.py
#
# F(x) + x needs two arrays of one shape. At the beginning of a stage F halves the sides and doubles the maps. There are
# three ways to make x fit (sec. 3.3 and 4.1):
#
# - **A**: take every second pixel, append maps of zeros. No parameters.
# - **B**: a 1x1 convolution with stride 2 and BN, a *projection*, where the shape changes; the identity elsewhere.
# - **C**: projections everywhere.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models
from tinyconv.data import CenterCrop, Compose, Resize, photographs
from tinyconv.models.residual import SubsampleAndPad

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Shortcut A in NumPy
#
# Forwards an index picks rows and columns 0, 2, 4, ...; the new maps come after the old ones. Backwards each pixel that
# was picked gets its gradient, the others get zero, and what arrives at the appended zeros is dropped.


# %%
class ShortcutA(tinyconv.Function):
    """Map (N, C, H, W) to (N, out, ceil(H / stride), ceil(W / stride))."""

    @staticmethod
    def forward(ctx, x, out, stride):
        ctx.shape, ctx.stride = x.shape, stride
        picked = x[:, :, ::stride, ::stride]
        zeros = np.zeros((len(x), out - x.shape[1], *picked.shape[2:]), x.dtype)
        return np.concatenate([picked, zeros], axis=1)

    @classmethod
    def backward(cls, ctx, dy):
        dx = np.zeros(ctx.shape, dy.dtype)
        dx[:, :, :: ctx.stride, :: ctx.stride] = dy[:, : ctx.shape[1]]
        return dx, None, None


class RepeatsTheGradient(ShortcutA):
    """The slip: nearest-neighbour enlarging is taken for the way back of picking."""

    @classmethod
    def backward(cls, ctx, dy):
        large = dy[:, : ctx.shape[1]].repeat(ctx.stride, axis=2).repeat(ctx.stride, axis=3)
        return np.ascontiguousarray(large[:, :, : ctx.shape[2], : ctx.shape[3]]), None, None


class ZerosOnBothSides(ShortcutA):
    """Not a slip, another convention: half of the zeros before the maps, half after (many ports do so)."""

    @staticmethod
    def forward(ctx, x, out, stride):
        return np.roll(ShortcutA.forward(ctx, x, out, stride), (out - x.shape[1]) // 2, axis=1)

    @classmethod
    def backward(cls, ctx, dy):
        return ShortcutA.backward.__func__(cls, ctx, np.roll(dy, -((dy.shape[1] - ctx.shape[1]) // 2), axis=1))


x = lesson.rng.standard_normal((2, 2, 5, 4))
theirs = SubsampleAndPad(2, 2)(tinyconv.tensor(x)).numpy()
print("                     gradient   off from the library's")
for shortcut in (ShortcutA, RepeatsTheGradient, ZerosOnBothSides):
    try:
        tinyconv.gradcheck(lambda x: shortcut.apply(x, 4, 2), [x])  # noqa: B023
        said = "right"
    except tinyconv.GradientError:
        said = "WRONG"
    off = np.abs(shortcut.apply(tinyconv.tensor(x), 4, 2).numpy() - theirs).max()
    print(f"{shortcut.__name__:20s} {said:8s} {off:8.2g}")

# %% [markdown]
# The last is as good a shortcut as ours. But weights trained with one do not fit the other: file and network must
# agree, or the accuracy is lost without any error message (`tinyconv data get resnet20` reorders the channels of such a
# file, see `tinyconv/data/networks.py`).
#
# ## What they cost
#
# By arithmetic: a projection from C to K maps has C K weights and 2 K numbers of BN, and is used at every pixel of its
# output. Beside it what the paper measured on ImageNet (table 3, top-1 error, 34 layers, ten crops).

# %%
STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))  # maps, side


def projections(counts: tuple[int, ...], kind: str) -> tuple[int, int, int]:
    """Return number, parameters and multiply-adds of a basic network's projections."""
    number = params = macs = 0
    before = 64
    for (maps, side), count in zip(STAGES, counts, strict=True):
        for _ in range(count):
            if kind == "C" or (kind == "B" and before != maps):
                number, params, macs = number + 1, params + before * maps + 2 * maps, macs + before * maps * side * side
            before = maps
    return number, params, macs


plain = tinyconv.summary(models.resnet(34, residual=False, device="meta"))
errors = {"plain": 28.54, "A": 25.03, "B": 24.52, "C": 24.19}
print("\nResNet-34   projections   parameters    multiply-adds   as in the library   error in the paper")
for kind, error in errors.items():
    number, params, macs = projections((3, 4, 6, 3), kind)
    ours = plain.total_params + params, plain.total_macs + macs
    options = {"residual": False} if kind == "plain" else {"shortcut": kind}
    built = tinyconv.summary(models.resnet(34, **options, device="meta"))
    same = ours == (built.total_params, built.total_macs)
    print(f"{kind:11s} {number:11d} {ours[0]:12,d} {ours[1]:16,d} {same!s:>19s} {error:18.2f} %")

# %% [markdown]
# From none to A: 3.5 points, for nothing. From A to B half a point, from B to C a third, for five times as many
# projections. So shortcuts matter and projections hardly do; the paper goes on with B, and with A on CIFAR. With C the
# identity is gone: a block of zeros then no longer hands on its input.
#
# ## What a stride skips
#
# A and B look at the same pixels: one of four. The other three reach the next stage through F only, whose 3x3 window
# sees them all. In bottlenecks of the paper (v1) even F begins with a 1x1 window of stride 2, and three quarters of its
# input are never looked at. Version 1.5 strides in the 3x3 instead (step 5).

# %%
side = 32 if lesson.smoke else 96
photograph = Compose([Resize(side), CenterCrop(side)])(photographs()[0][0])
fig, axes = plt.subplots(1, 4, figsize=(13, 3.5), layout="constrained")
averaged = photograph.reshape(3, side // 4, 4, side // 4, 4).mean(axis=(2, 4))
pictures = {
    f"{side} x {side} pixels": photograph,
    "every fourth: what two shortcuts A pick": photograph[:, ::4, ::4],
    "for comparison: means of 4 x 4": averaged,
}
for axis, (title, picture) in zip(axes, pictures.items(), strict=False):
    axis.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=10)
seen = tinyconv.tensor(np.zeros((1, 1, 8, 8)), requires_grad=True)
seen_by = tinyconv.grad(ShortcutA.apply(seen, 2, 2).sum(), seen).numpy()[0, 0]
axes[3].imshow(seen_by, cmap="Blues", vmax=1.5)
axes[3].set(xticks=[], yticks=[])
axes[3].set_title(f"gradient through A: {seen_by.mean():.0%} of the pixels", fontsize=10)
lesson.save(fig, "shortcut_a", alt="a photograph, what two shortcuts A pick, means of 4 x 4, and one pixel in four")
lesson.next(why="how large are signals after 56 layers?")
