# %% [markdown]
# # VGG 6: the same object, large and small
#
# minutes 15 | needs step5_assemble.py | next step7_train.py
#
# A network for 224x224 pixels is trained on windows of that size, cut at random out of a larger image. How much larger?
# VGG tries three answers (sec. 3.1): resize the shorter side to S = 256; to S = 384; or draw S anew for every image
# and every use, from [256, 512]. The last is *scale jittering*: one network sees its classes near and far.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import tinyconv
from tinyconv.data import RandomResize, Scenes, photographs
from tinyconv.data.image import resize_image
from tinyconv.random import generator

lesson = tinyconv.lesson_step(__name__)
WINDOW = 224

# %% [markdown]
# ## The transform
#
# Draw the new length of the shorter side, keep the proportion, cut a window. That is all; what is worth care is where
# the random numbers come from. As everywhere in this library they are a function of (seed, epoch, image): not of the
# batch size, nor of which of four loader threads happened to be first.


# %%
def jittered_size(height: int, width: int, low: int, high: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the new (height, width): the shorter side is uniform on low..high pixels."""
    side = int(rng.integers(low, high + 1))
    return (side, side * width // height) if height <= width else (side * height // width, side)


image = photographs()[0][0]
library = RandomResize(256, 512)
for epoch in range(3):
    size = jittered_size(*image.shape[1:], 256, 512, generator(0, "augment", epoch, 7))
    same = library(image, generator(0, "augment", epoch, 7)).shape[1:]
    print(f"image 7 in epoch {epoch}: {image.shape[1:]} -> {size}, the library's RandomResize: {same}")
rng = generator(1, "augment")
sides = [min(jittered_size(427, 640, 256, 512, rng)) for _ in range(20000)]
print(f"20,000 draws: {min(sides)} to {max(sides)}, mean {np.mean(sides):.1f} (expected 384)\n")

# %% [markdown]
# ## What the network gets to see
#
# Of a photograph of 2:3 a window at S = 256 shows half, at S = 512 an eighth. So large S shows parts, small S wholes:
# "crops that contain a small part of an object", in the paper's words.

# %%
print("side S   the photograph becomes   a 224x224 window shows   objects grow by")
for side in (256, 384, 512):
    height, width = side, side * 640 // 427
    share = WINDOW**2 / (height * width)
    print(f"{side:6d}   {height:9d} x {width:3d} {share:24.0%} {side / 256:20.2f}")

fig, axes = plt.subplots(2, 5, figsize=(12.5, 5), layout="constrained")
for row, (picture, _) in zip(axes, photographs(), strict=True):
    row[0].imshow(picture.transpose(1, 2, 0))
    row[0].set_title("a photograph, and four windows", fontsize=9)
    for draw, axis in enumerate(row[1:]):
        rng = generator(43, "augment", draw, 0)
        resized = resize_image(picture, jittered_size(*picture.shape[1:], 256, 512, rng))
        height, width = resized.shape[1:]
        top, left = int(rng.integers(height - WINDOW + 1)), int(rng.integers(width - WINDOW + 1))
        axis.imshow(np.clip(resized[:, top : top + WINDOW, left : left + WINDOW].transpose(1, 2, 0), 0, 1))
        axis.set_title(f"S = {height}", fontsize=9)
        scale = picture.shape[1] / height
        corner, side = (left * scale, top * scale), WINDOW * scale
        row[0].add_patch(Rectangle(corner, side, side, fill=False, ec=f"C{draw + 1}", lw=2))
        for spine in axis.spines.values():
            spine.set(color=f"C{draw + 1}", linewidth=3)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
lesson.save(fig, "jitter", alt="windows at four scales, of each photograph: from half of it down to a small detail")

# %% [markdown]
# ## In numbers, where the objects are known
#
# The next step trains on composed scenes of 64x64 pixels with one object of 24 to 44. There the box is known, so we
# can say what the network sees: the object's longer side in the window, and how much of its box is inside.

# %%
scenes = Scenes(100 if lesson.smoke else 1500, items=("fashion",), objects=1, size=64, sides=(24, 44))
boxes = np.array([scenes[i].boxes[0] for i in range(len(scenes))])


def seen(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each object's longer side in pixels of a 64x64 window, and the share of its box that is inside."""
    lengths, shares = [], []
    for i, box in enumerate(boxes):
        rng = generator(0, "augment", 0, i)
        side, _ = jittered_size(64, 64, low, high, rng)
        x1, y1, x2, y2 = box * side / 64
        left, top = (int(rng.integers(side - 64 + 1)) for _ in range(2))
        width, height = min(x2, left + 64) - max(x1, left), min(y2, top + 64) - max(y1, top)
        lengths.append(max(x2 - x1, y2 - y1))
        shares.append(max(width, 0) * max(height, 0) / ((x2 - x1) * (y2 - y1)))
    return np.array(lengths), np.array(shares)


choices = {"S = 64": (64, 64), "S = 96": (96, 96), "S in 64..96": (64, 96)}
fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.4), layout="constrained")
for name, (low, high) in choices.items():
    lengths, shares = seen(low, high)
    five, middle, most = np.percentile(lengths, [5, 50, 95])
    print(f"{name:12s} longer side {five:.0f} to {most:.0f} px (middle {middle:.0f}); inside is {shares.mean():.0%} of "
          f"the box on average, less than half for {np.mean(shares < 0.5):.1%}")  # fmt: skip
    axes[0].hist(lengths, bins=np.arange(21, 73, 3), histtype="step", lw=2, label=name)
    axes[1].hist(shares, bins=np.linspace(0, 1, 21), histtype="step", lw=2, label=name)
axes[0].set(title="longer side of the object in the window", xlabel="pixels", ylabel=f"of {len(boxes)} scenes")
axes[1].set(title="part of the object's box that is inside", xlabel="share")
axes[0].legend(fontsize=8)
lesson.save(fig, "objects", alt="jitter widens the range of object sizes; at the larger scale objects are cut off")

# %% [markdown]
# In the paper jittering takes D from 26.8 % top-1 error (S = 384, tested at 384) to 25.6 %, top-5 from 8.7 to 8.1 %. It
# costs nothing but the time to fit a harder task. `claims.py` tries it small, with three seeds.

# %%
lesson.next(why="a network learns from such windows")
