# %% [markdown]
# # VGG 1: why 3x3
#
# minutes 20 | needs lesson 01 | next step2_gradient_check.py
#
# AlexNet begins with 11x11 windows, ZF Net with 7x7. VGG has one size only, 3x3, the smallest that knows left from
# right and up from down; and stacks it. Two layers of 3x3 see 5x5 pixels, three see 7x7 (sec. 2.3). This step checks
# that, counts what it costs, and then measures it.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## What one output sees
#
# Arithmetic: a window of k takes in k - 1 more neighbours than the layer below, and these lie as far apart as the
# strides below have spread them. So the field grows by (k - 1) * step, and a layer of stride s multiplies the step.


# %%
def field(layers: list[tuple[int, int]]) -> tuple[int, int]:
    """Return side and step, in pixels of the image, of the field of one output; layers are (window, stride)."""
    side = step = 1
    for window, stride in layers:
        side += (window - 1) * step
        step *= stride
    return side, step


for n in (1, 2, 3):
    print(f"{n} layers of 3x3 see {field([(3, 1)] * n)[0]}x{field([(3, 1)] * n)[0]} pixels")
CONVOLUTIONS = {"A": (1, 1, 2, 2, 2), "D": (2, 2, 3, 3, 3), "E": (2, 2, 4, 4, 4)}  # in the five groups, each pooled
for config, groups in CONVOLUTIONS.items():
    layers = [layer for group in groups for layer in [(3, 1)] * group + [(2, 2)]]
    print(f"{config}: one output of pool5 sees {field(layers)[0]} pixels across, its neighbour {field(layers)[1]} on")

# %% [markdown]
# Evidence: the gradient of one output with respect to the image is not zero exactly at the pixels it sees. With all
# weights positive nothing can cancel.


# %%
def influence(kernels: list[int], side: int = 11) -> np.ndarray:
    """Return the gradient of the middle output of a stack of convolutions with respect to the image (side, side)."""
    image = tinyconv.tensor(np.zeros((1, 1, side, side)), requires_grad=True)
    y = image
    for k in kernels:
        y = F.conv2d(y, tinyconv.tensor(np.full((1, 1, k, k), 1 / k**2)), padding=k // 2)
    y[0, 0, side // 2, side // 2].backward()
    return image.grad.numpy()[0, 0]


for kernels in ([3], [3, 3], [3, 3, 3], [7]):
    rows = np.flatnonzero(influence(kernels).any(axis=1))
    print(f"windows {kernels}: the gradient is not zero in {len(rows)}x{len(rows)} pixels")

# %% [markdown]
# ## What it costs
#
# With C maps in and out, without biases: three layers of 3x3 have 3 * 9 C^2 = 27 C^2 weights, one of 7x7 has 49 C^2,
# that is 81 % more. Two of 3x3 have 18 C^2 against 25. And there are three ReLUs instead of one.

# %%
C = 64
for n, big in ((2, 5), (3, 7)):
    small = n * 9 * C**2
    print(f"C = {C}: {n} of 3x3 {small:,d}, one of {big}x{big} {big**2 * C**2:,d}: {big**2 / (9 * n) - 1:.0%} more")

# %% [markdown]
# Weights are also multiplications, at every place of the map. Is the time in proportion? Forward and backward, on this
# machine, with the library's kernels. A 3x3 layer can do better than its count: for it (and only for it) the library
# has Winograd's algorithm, 16 multiplications where the definition has 36 (`tinyconv.use_winograd`).


# %%
def seconds(kernels: list[int], size: int = 28, images: int = 8, repeat: int = 9) -> tuple[float, float]:
    """Return the fastest of some forward passes, and of some forward and backward passes, in seconds."""
    x = tinyconv.tensor(lesson.rng.standard_normal((images, C, size, size)).astype(np.float32), requires_grad=True)
    weights = [
        tinyconv.tensor(lesson.rng.normal(0, (2 / (C * k * k)) ** 0.5, (C, C, k, k)).astype(np.float32))
        for k in kernels
    ]
    for w in weights:
        w.requires_grad = True
    found = []
    for _ in range(2 if lesson.smoke else repeat):
        start = perf_counter()
        y = x
        for k, w in zip(kernels, weights, strict=True):
            y = F.relu(F.conv2d(y, w, padding=k // 2))
        middle = perf_counter()
        y.sum().backward()
        found.append((middle - start, perf_counter() - start))
    return min(f for f, _ in found), min(b for _, b in found)


times = {"one 7x7": seconds([7]), "three 3x3": seconds([3, 3, 3])}
with tinyconv.use_winograd(False):
    times["three 3x3,\nno Winograd"] = seconds([3, 3, 3])
for name, (forward, both) in times.items():
    print(f"{' '.join(name.split()):24s} forward {1e3 * forward:6.2f} ms, with backward {1e3 * both:6.2f} ms")

# %% [markdown]
# ## See it
#
# The 7x7 window treats all its pixels alike. Through three averaging 3x3 layers the middle counts most: there are more
# ways to reach it. (A network may learn otherwise; but it begins like this.)

# %%
fig, axes = plt.subplots(1, 4, figsize=(13, 3.5), layout="constrained", width_ratios=(1, 1, 1, 1.4))
for axis, kernels in zip(axes, ([3, 3], [3, 3, 3], [7]), strict=False):
    axis.imshow(influence(kernels), cmap="Blues")
    side = field([(k, 1) for k in kernels])[0]
    axis.set(title=f"{' + '.join(f'{k}x{k}' for k in kernels)}: {side}x{side}", xticks=[], yticks=[])
positions = np.arange(len(times))
axes[3].bar(positions - 0.2, [1e3 * f for f, _ in times.values()], 0.4, label="forward")
axes[3].bar(positions + 0.2, [1e3 * b for _, b in times.values()], 0.4, label="forward and backward")
axes[3].set(xticks=positions, xticklabels=list(times), title=f"ms for 8 maps of {C}x28x28")
axes[3].legend(fontsize=8)
lesson.save(
    fig, "small_filters", alt="stacked 3x3 windows cover 5x5 and 7x7 pixels, most strongly in the middle, in less time"
)
lesson.next(why="is a stack of layers differentiated right?")
