# %% [markdown]
# # ZF Net 1: what a unit can see
#
# minutes 20 | needs lesson 01_alexnet | next step2_unpool.py
#
# Before asking what a unit looks for, ask where it looks. A value of a deep layer depends on a square of pixels, its
# *receptive field*. No network has to run to find it: windows and strides are enough.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import tinyconv
from tinyconv import models
from tinyconv.data import photographs
from tinyconv.explain import receptive_field

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Three numbers, layer by layer
#
# Neighbouring units of some layer are `jump` pixels apart, and each sees `size` pixels. The next layer's window of k
# units reaches k - 1 jumps further, and its stride multiplies the jump:
#
#     size <- size + (k - 1) jump        start <- start - padding * jump        jump <- stride * jump
#
# `start` is where the field of the first unit begins: in the padding, if it is negative.

# %%
ALEXNET = {"conv1": (11, 4, 0), "pool1": (3, 2, 0), "conv2": (5, 1, 2), "pool2": (3, 2, 0), "conv3": (3, 1, 1),
           "conv4": (3, 1, 1), "conv5": (3, 1, 1), "pool5": (3, 2, 0)}  # fmt: skip
ZFNET = {"conv1": (7, 2, 1), "pool1": (3, 2, 0), "conv2": (5, 2, 0), "pool2": (3, 2, 0), "conv3": (3, 1, 1),
         "conv4": (3, 1, 1), "conv5": (3, 1, 1), "pool5": (3, 2, 0)}  # fmt: skip


def fields(layers: dict[str, tuple[int, int, int]]) -> dict[str, tuple[int, int, int]]:
    """Return (size, jump, start) of every layer, from its (window, stride, padding)."""
    size, jump, start, found = 1, 1, 0, {}
    for name, (window, stride, padding) in layers.items():
        size, start = size + (window - 1) * jump, start - padding * jump
        jump *= stride
        found[name] = size, jump, start
    return found


alex, zeiler = fields(ALEXNET), fields(ZFNET)
library = {name: receptive_field(models.zfnet(device="meta"), name) for name in ZFNET}
print("layer    AlexNet: size, apart   ZF Net: size, apart")
for name, (size, jump, start) in zeiler.items():
    print(f"{name}        {alex[name][0]:8d} {alex[name][1]:6d}      {size:10d} {jump:6d}")
    assert library[name].size[0] == size and library[name].stride[0] == jump and library[name].start[0] == start
print("the same as tinyconv.explain.receptive_field: all layers\n")

# %% [markdown]
# ## Check it by poking, then break it
#
# A slow test that needs no theory: change one pixel of a line at a time and see which outputs of the stack change. It
# catches the favourite slip, forgetting that a window counts in *jumps*: without them pool5 would see 23 pixels.


# %%
def poke(layers: dict[str, tuple[int, int, int]], unit: int, length: int) -> tuple[int, int]:
    """Return the first and last pixel of a line that change one unit, by trying all (windows add up their inputs)."""
    seen = []
    for pixel in range(length):
        line = np.zeros(length)
        line[pixel] = 1.0
        for window, stride, padding in layers.values():
            padded = np.pad(line, padding)
            line = np.lib.stride_tricks.sliding_window_view(padded, window)[::stride].sum(axis=1)
        if line[unit]:
            seen.append(pixel)
    return seen[0], seen[-1]


def without_jumps(layers: dict[str, tuple[int, int, int]]) -> int:
    """Return the size by the slip."""
    return 1 + sum(window - 1 for window, _, _ in layers.values())


first, last = poke(ZFNET, 3, 300)
size, jump, start = zeiler["pool5"]
print(f"pool5, unit 3: poked, pixels {first} to {last}; computed, {start + 3 * jump} to {start + 3 * jump + size - 1}")
print(f"without jumps: {without_jumps(ZFNET)} pixels, but poking finds {last - first + 1}: caught\n")

# %% [markdown]
# ## Why the first layer changed
#
# Looking into AlexNet, the paper found first-layer filters for very high and very low frequencies and little between,
# and patterns in the second layer that no image had: *aliasing*. A map sampled every 4 pixels cannot hold waves
# shorter than 8; what a filter lets through of them comes out as a slower wave that is not there. So: 7x7 windows, 2
# apart, which hold waves down to 4.
#
# Below, one filter for waves of 5 pixels looks at rings that get finer outwards. It should respond in one band. We
# look at its response (before the ReLU) through both strides, drawn smooth as the next layer's windows would see it.

# %%
yy, xx = np.mgrid[-120:120, -120:120] / 240
rings = np.cos(2 * np.pi * 80 * (xx**2 + yy**2) * 2)
v, u = np.mgrid[-5:6, -5:6]
wave = np.cos(2 * np.pi * u / 5) * np.exp(-(u**2 + v**2) / 12)
wave -= wave.mean()
windows = np.lib.stride_tricks.sliding_window_view(rings, wave.shape)
response = np.einsum("hwij,ij->hw", windows, wave)
row = response[len(response) // 2]
for stride in (1, 2, 4):
    line = row[::stride]
    spectrum = np.abs(np.fft.rfft(line * np.hanning(len(line))))
    length = stride * len(line) / spectrum.argmax()
    print(f"stride {stride}: the strongest wave in the response is {length:.1f} pixels long")

fig, axes = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
photo = photographs()[0][0][:, 40:264, 150:374].transpose(1, 2, 0)
axes[0].imshow(photo)
for name, colour in (("conv1", "C3"), ("pool1", "C1"), ("conv2", "C2"), ("pool2", "C0"), ("conv5", "C6")):
    size, jump, start = zeiler[name]
    corner = start + jump * ((112 - start - size // 2) // jump) - 0.5
    axes[0].add_patch(Rectangle((corner, corner), size, size, fill=False, ec=colour, lw=2, label=name))
axes[0].legend(fontsize=7, loc="lower left")
axes[0].set_title("fields of ZF Net's layers, 224 pixels")
axes[1].imshow(rings, cmap="gray")
axes[1].set_title("waves, shorter outwards")
for axis, stride in zip(axes[2:], (4, 2), strict=True):
    axis.imshow(response[::stride, ::stride], cmap="gray", interpolation="bilinear")
    axis.set_title(f"5-pixel waves, seen every {stride} pixels")
for axis in axes:
    axis.set(xticks=[], yticks=[])
alt = "fields grow to half of the image; sampled every 4 pixels, a filter's response shows rings that are not there"
lesson.save(fig, "fields", alt=alt)
lesson.next(why="going back through a pool")
