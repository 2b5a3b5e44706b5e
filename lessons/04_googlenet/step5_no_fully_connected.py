# %% [markdown]
# # GoogLeNet 5: without fully connected layers
#
# minutes 15 | needs step4_auxiliary_heads.py | next step6_assemble.py
#
# In AlexNet and VGG fc6 holds most of the parameters (lesson 03, step 3). GoogLeNet drops it: each of the 1024 maps of
# 7x7 is *averaged* to one number, and one linear layer makes the class scores of these. The paper gains 0.6 points of
# top-1 accuracy by that, and still needs dropout.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## What it saves
#
# Parameters of the convolutions and of what stands behind the last map, in three networks; and what GoogLeNet would
# have with AlexNet's end.

# %%
networks = {
    "AlexNet": models.alexnet(device="meta"),
    "VGG-16": models.vgg(device="meta"),
    "GoogLeNet": models.googlenet(aux=False, device="meta"),
}
sizes = {}
for name, network in networks.items():
    rows = tinyconv.summary(network).rows
    end = sum(row.params for row in rows if row.name.startswith("fc"))
    sizes[name] = sum(row.params for row in rows) - end, end
fully = sum(ins * outs + outs for ins, outs in ((1024 * 7 * 7, 4096), (4096, 4096), (4096, 1000)))
sizes["GoogLeNet with\nfc6, fc7, fc8"] = sizes["GoogLeNet"][0], fully
for name, (convolutions, end) in sizes.items():
    print(f"{' '.join(name.split()):29s} convolutions {convolutions:12,d}   behind them {end:12,d}")
ratio = sum(sizes["AlexNet"]) / sum(sizes["GoogLeNet"])
print(f"AlexNet has {ratio:.1f} times the parameters of GoogLeNet; the paper says 12\n")

# %% [markdown]
# ## Averaging, forward and backward
#
# The average of H * W numbers passes 1 / (H * W) of its gradient to each of them. And as both averaging and the linear
# layer are linear, their order does not matter: apply the layer at every place (it is a 1x1 convolution) and average
# the maps of scores instead. So this network has class maps for nothing, and takes images of any size.


# %%
class GlobalAverage(tinyconv.Function):
    """(N, C, H, W) to (N, C)."""

    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.mean(axis=(2, 3))

    @staticmethod
    def backward(ctx, dy):
        H, W = ctx.shape[2:]
        return np.broadcast_to(dy[:, :, None, None] / (H * W), ctx.shape).copy()


class GlobalAverageWhole(GlobalAverage):
    """The slip: every place gets the whole gradient, as of a sum."""

    @staticmethod
    def backward(ctx, dy):
        return np.broadcast_to(dy[:, :, None, None], ctx.shape).copy()


x = lesson.rng.standard_normal((2, 6, 4, 5))
weight, bias = lesson.rng.standard_normal((3, 6)), lesson.rng.standard_normal(3)
for average in (GlobalAverage, GlobalAverageWhole):
    try:
        tinyconv.gradcheck(average.apply, [x])
        print(f"{average.__name__}: gradient passes the check")
    except tinyconv.GradientError as error:
        print(error)
maps, w, b = (tinyconv.tensor(array) for array in (x, weight, bias))
before = F.linear(GlobalAverage.apply(maps), w, b).numpy()
after = F.conv2d(maps, w.reshape(3, 6, 1, 1), b).numpy().mean(axis=(2, 3))
print(f"average, then the layer; the layer everywhere, then average: {np.abs(before - after).max():.0e} apart")
shuffled = x.reshape(2, 6, 20)[:, :, lesson.rng.permutation(20)].reshape(x.shape)
moved = F.linear(GlobalAverage.apply(tinyconv.tensor(shuffled)), w, b).numpy()
print(f"with all places shuffled the scores are {np.abs(before - moved).max():.0e} apart: it does not know where\n")

# %% [markdown]
# ## Sizes that come out even
#
# Table 1 has maps of 112, 56, 28, 14 and 7. Its pools are 3x3 with stride 2, and (112 - 3) / 2 is no whole number.
# Caffe rounds *up*: the last window hangs over the edge and takes the maximum of what is there. Rounding down gives 55
# and in the end other maps than in the table. A border of one pixel on either side also gives 56, but its windows begin
# at -1, 1, 3 instead of 0, 2, 4: the right sizes, other numbers, and no message.


# %%
def chain(padding: int, ceil: bool) -> list[int]:
    """Return the sides from conv1's 112 through four pools."""
    found = [112]
    for _ in range(4):
        size = F.max_pool2d(tinyconv.zeros(1, 1, found[-1], found[-1]), 3, 2, padding, ceil_mode=ceil).shape[2]
        found.append(size)
    return found


for what, padding, ceil in (("rounded up", 0, True), ("rounded down", 0, False), ("rounded down, padding 1", 1, False)):
    print(f"{what:24s} {' '.join(f'{side:4d}' for side in chain(padding, ceil))}")
row = tinyconv.tensor(np.arange(8.0).reshape(1, 1, 1, 8))
up = F.max_pool2d(row, (1, 3), 2, ceil_mode=True).numpy().ravel()
padded = F.max_pool2d(row, (1, 3), 2, (0, 1)).numpy().ravel()
print(f"the numbers 0 to 7 pooled by 3, stride 2: rounded up {up.astype(int)}, with padding {padded.astype(int)}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained", width_ratios=(1.3, 1))
names = list(sizes)
axes[0].bar(names, [c / 1e6 for c, _ in sizes.values()], label="convolutions")
axes[0].bar(names, [end / 1e6 for _, end in sizes.values()], bottom=[c / 1e6 for c, _ in sizes.values()],
            label="behind the last map")  # fmt: skip
axes[0].set_title("parameters, millions")
axes[0].legend()
for padding in (0, 1):
    for i, start in enumerate(np.arange(4) * 2 - padding):
        ends = [max(start, 0), min(start + 3, 8)]
        axes[1].plot(ends, [padding + 0.16 * (i % 2)] * 2, lw=7, color=f"C{padding}", solid_capstyle="butt")
axes[1].set(title="8 pixels, 4 windows of 3", xticks=range(9), ylim=(-0.6, 1.8), yticks=[0.08, 1.08],
            yticklabels=["rounded up", "rounded down,\npadding 1"], xlabel="pixel")  # fmt: skip
lesson.save(fig, "ends", alt="most parameters of AlexNet and VGG-16 are behind the last map, few of GoogLeNet's")
lesson.next(why="the whole network")
