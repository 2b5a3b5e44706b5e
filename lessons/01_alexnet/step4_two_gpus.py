# %% [markdown]
# # AlexNet 4: two GPUs, or grouped convolution
#
# minutes 20 | needs step3_overlapping_pooling.py | next step5_dropout.py
#
# The famous drawing shows two towers, because one 2012 GPU had 3 GB and the network did not fit. Each GPU holds half
# of every layer's kernels, and they talk only where conv3 (and later the fully connected layers) read both halves. On
# one machine the same network is written with `groups=2`: channels [0, C/2) are GPU 0, channels [C/2, C) are GPU 1.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## A grouped convolution is several convolutions side by side
#
# A kernel of group g sees only the input channels of group g, so its depth is C / groups.


# %%
def conv(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the plain convolution (stride 1, no padding) of x (N, C, H, W) with weight (K, C, KH, KW)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,kcij->nkhw", windows, weight, optimize=True)


def grouped_conv(x: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    """Cut channels and kernels into groups, convolve each with its own, put the results side by side."""
    parts = zip(np.split(x, groups, axis=1), np.split(weight, groups), strict=True)
    return np.concatenate([conv(channels, kernels) for channels, kernels in parts], axis=1)


rng = lesson.rng
x, weight = rng.standard_normal((2, 6, 8, 8)), rng.standard_normal((4, 3, 3, 3))
theirs = F.conv2d(tinyconv.tensor(x), tinyconv.tensor(weight), groups=2).numpy()
print(f"grouped_conv against F.conv2d: largest difference {np.abs(grouped_conv(x, weight, 2) - theirs).max():.1e}")

# %% [markdown]
# ## Broken on purpose, and *not* caught
#
# Here group g takes every second channel instead of a block of neighbours. The gradient check passes: it asks whether
# the backward pass belongs to the forward pass, not whether the forward pass is what the paper means. Only a
# comparison with a definition, as above, finds this one.


# %%
def interleaved(x: tinyconv.Tensor, weight: tinyconv.Tensor) -> tinyconv.Tensor:
    """Group 0 reads channels 0, 2, 4 and group 1 reads 1, 3, 5: wrong."""
    mixed = tinyconv.cat([x[:, 0::2], x[:, 1::2]], dim=1)
    return F.conv2d(mixed, weight, groups=2)


wrong = interleaved(tinyconv.tensor(x), tinyconv.tensor(weight)).numpy()
print(
    f"interleaved groups: gradient check passes ({tinyconv.gradcheck(interleaved, [x, weight])}), "
    f"yet outputs differ by {np.abs(wrong - theirs).max():.1f}"
)

# %% [markdown]
# ## Two towers are the grouped network
#
# AlexNet's five convolutions at an eighth of the width, twice: as one tower with groups, and as two towers of half
# the width that exchange their maps once, before conv3. Same weights, float64. They agree to rounding; with kernels
# that add every output's terms in a fixed order, as tinyconv's, even exactly.

# %%
groups = (1, 2, 1, 2, 2)
channels = (3, 12, 32, 48, 48, 32)
sides = (11, 5, 3, 3, 3)
weights = [
    tinyconv.tensor(rng.standard_normal((channels[i + 1], channels[i] // groups[i], side, side)) / (side * 3))
    for i, side in enumerate(sides)
]
geometry = ({"stride": 4}, {"padding": 2}, {"padding": 1}, {"padding": 1}, {"padding": 1})


def layer(i: int, x: tinyconv.Tensor, weight: tinyconv.Tensor, groups: int = 1) -> tinyconv.Tensor:
    """Convolution i + 1, ReLU, and a pool after conv1, conv2 and conv5."""
    y = F.relu(F.conv2d(x, weight, groups=groups, **geometry[i]))
    return F.max_pool2d(y, 3, 2) if i in (0, 1, 4) else y


def one_tower(x: tinyconv.Tensor) -> tinyconv.Tensor:
    """The network with groups."""
    for i in range(5):
        x = layer(i, x, weights[i], groups[i])
    return x


def two_towers(x: tinyconv.Tensor) -> tinyconv.Tensor:
    """The network as the paper draws it: gpu is a list of the two GPUs' maps."""
    halves = [[w[: len(w) // 2], w[len(w) // 2 :]] for w in weights]
    gpu = [layer(0, x, half) for half in halves[0]]  # both see all three colours
    gpu = [layer(1, maps, half) for maps, half in zip(gpu, halves[1], strict=True)]
    both = tinyconv.cat(gpu, dim=1)  # the one exchange
    gpu = [layer(2, both, half) for half in halves[2]]
    for i in (3, 4):
        gpu = [layer(i, maps, half) for maps, half in zip(gpu, halves[i], strict=True)]
    return tinyconv.cat(gpu, dim=1)


image = tinyconv.tensor(rng.standard_normal((2, 3, 99, 99)))
a, b = one_tower(image).numpy(), two_towers(image).numpy()
print(f"one tower {a.shape} against two: relative difference {np.abs(a - b).max() / np.abs(a).max():.1e}")

# %% [markdown]
# One difference remains in practice. The original normalises over the channels of one GPU (48 after conv1); with one
# tower the window of five channels also looks across the seam.

# %%
maps = tinyconv.tensor(100 * np.abs(rng.standard_normal((1, 96, 4, 4))))
joint = F.local_response_norm(maps, 5, k=2.0, alpha_over_size=False).numpy()
apart = [F.local_response_norm(half, 5, k=2.0, alpha_over_size=False).numpy() for half in (maps[:, :48], maps[:, 48:])]
differ = np.flatnonzero(np.abs(joint - np.concatenate(apart, axis=1)).max(axis=(0, 2, 3)) > 1e-12)
print(f"channels normalised differently by one tower and by two: {differ.tolist()} of 96\n")

# %% [markdown]
# ## What it saves, and what a GPU does not see
#
# Halving the depth of the kernels halves parameters and work of conv2, conv4 and conv5. The figure shows which input
# channel can reach which output channel: white is a connection that does not exist.

# %%
print("layer   kernels with two groups   parameters       with one")
for name, kernels, depth, side, g in (("conv2", 256, 96, 5, 2), ("conv4", 384, 384, 3, 2), ("conv5", 256, 384, 3, 2)):
    two, one = kernels * (depth // g * side**2 + 1), kernels * (depth * side**2 + 1)
    print(f"{name}   {kernels} of {side}x{side}x{depth // g:<3d}            {two:10,d}    {one:10,d}")

fig, axes = plt.subplots(1, 5, figsize=(13, 3.1), layout="constrained")
for i, axis in enumerate(axes):
    inputs = tinyconv.ones(1, channels[i], sides[i], sides[i], dtype=tinyconv.float64, requires_grad=True)
    reach = []
    for k in range(channels[i + 1]):
        y = F.conv2d(inputs, weights[i], groups=groups[i])[0, k, 0, 0]
        reach.append(np.abs(tinyconv.grad(y, inputs).numpy()).sum(axis=(0, 2, 3)) > 0)
    axis.imshow(np.array(reach), cmap="Blues", vmin=0, vmax=1.4, aspect="auto", interpolation="nearest")
    axis.axhline(channels[i + 1] / 2 - 0.5, color="C3", lw=1)
    axis.set(
        title=f"conv{i + 1}, groups={groups[i]}", xlabel="input channel", ylabel="output channel" if i == 0 else ""
    )
lesson.save(fig, "groups", alt="conv2, conv4 and conv5 connect halves only with themselves, conv3 connects all")
lesson.next(why="training with half of the units missing")
