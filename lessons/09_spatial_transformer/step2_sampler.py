# %% [markdown]
# # Spatial transformers 2: between the pixels
#
# minutes 20 | needs step1_grid.py | next step3_gradient.py
#
# A position of the grid hardly ever hits a pixel. The sampler mixes the four around it, each with a weight that falls
# from 1 at the pixel to 0 at its neighbours (eq. 5 of the paper):
#
#     V = sum over all pixels (w, h) of  U[h, w] max(0, 1 - |px - w|) max(0, 1 - |py - h|)
#
# (px, py) is the position in pixels: px = (x_s + 1) / 2 (W - 1). With x0 = floor(px) and a = px - x0 all but four terms
# of the sum are 0, and the weights across are 1 - a for x0 and a for x0 + 1; likewise y0 and b downwards.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.data import mnist
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## By hand
#
# All positions at once: floor, four weights, and `U[rows, columns]` four times. Pixels that are not there count 0: the
# weights are set to 0, and the indices to some pixel that is there, since a -1 would read the last one.


# %%
def corners(grid, size):
    """Return rows, columns and weights (4, OH, OW) of the pixels around each position; weight 0 outside."""
    H, W = size
    px, py = (grid[..., 0] + 1) / 2 * (W - 1), (grid[..., 1] + 1) / 2 * (H - 1)
    x0, y0 = np.floor(px).astype(int), np.floor(py).astype(int)
    a, b = px - x0, py - y0
    rows, columns = np.stack([y0, y0, y0 + 1, y0 + 1]), np.stack([x0, x0 + 1, x0, x0 + 1])
    weights = np.stack([(1 - b) * (1 - a), (1 - b) * a, b * (1 - a), b * a])
    there = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    return np.where(there, rows, 0), np.where(there, columns, 0), np.where(there, weights, 0)


def sample(image, grid):
    """Return what a grid (OH, OW, 2) sees in an image (C, H, W): (C, OH, OW). All channels look at the same places."""
    rows, columns, weights = corners(grid, image.shape[1:])
    return (weights * image[:, rows, columns]).sum(axis=1)


def theirs(image, grid, **options):
    """Return the same by the library."""
    pair = (tinyconv.tensor(np.ascontiguousarray(a[None])) for a in (image, grid))
    return F.grid_sample(*pair, align_corners=True, **options).numpy()[0]


def at(pixels, size):
    """Return normalised coordinates of positions in pixels (x, y); the inverse of what the sampler does first."""
    return 2 * np.asarray(pixels, float) / (np.array(size[::-1]) - 1) - 1


U = np.array([[[1.0, 2], [3, 5]]])
place = at([[(0.25, 0.5)]], (2, 2))
weights = corners(place, (2, 2))[2].ravel()
print(f"U = {U[0].tolist()} at px = 0.25, py = 0.5: weights {weights}, V = {sample(U, place).item()}")
image, grid = lesson.rng.standard_normal((3, 5, 7)), lesson.rng.uniform(-1.6, 1.6, (4, 6, 2))
print(f"by hand and F.grid_sample: {np.allclose(sample(image, grid), theirs(image, grid), atol=1e-12)}")
identity = F.affine_grid(tinyconv.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=np.float64), (1, 1, 5, 9), True).numpy()[0]
image = lesson.rng.standard_normal((2, 5, 9))
print(f"the identity grid leaves an image of 5 x 9 as it is, bit for bit: {(sample(image, identity) == image).all()}")
inside, outside = corners(place, (2, 2))[2].sum(), corners(at([[(1.25, 0.5)]], (2, 2)), (2, 2))[2].sum()
print(f"sum of the weights: {inside} inside, {outside} a quarter of a pixel past the last one's centre")

# %% [markdown]
# ## The nearest pixel, and what lies outside
#
# One could copy the nearest pixel instead. It costs less, and the numbers stay those of the image: right for maps of
# labels, of which no mean makes sense. But if the grid moves a little, nothing changes until suddenly another pixel is
# the nearest: the gradient to the grid is 0, and no localisation network would learn.
#
# Outside of the image there is nothing to mix. The paper's formula makes it 0 (`"zeros"`); the position could also be
# held at the nearest end (`"border"`), or be mirrored there (`"reflection"`). Digits stand on black, so here zeros are
# right; on a photograph they make a dark frame that a network may take for something.

# %%
seven = mnist("test")
seven = seven.images[np.flatnonzero(seven.labels == 7)[0]].reshape(1, 28, 28) / 255.0
slope = np.add.outer(np.arange(28), np.arange(28)) / 54
photo = 0.2 + 0.3 * slope + 0.5 * seven  # not on black: one can see where it ends
y, x = np.meshgrid(*[np.linspace(-2, 2, 96)] * 2, indexing="ij")
wide = np.stack([x + 0.3 * y, y - 0.3 * x], axis=-1)
small = 0.35 * wide + [0.1, -0.2]
figure, axes = plt.subplots(1, 5, figsize=(12, 2.8), layout="constrained")
shown = {
    "bilinear": theirs(photo, small), "nearest": theirs(photo, small, mode="nearest"),
    "zeros": theirs(photo, wide), "border": theirs(photo, wide, padding_mode="border"),
    "reflection": theirs(photo, wide, padding_mode="reflection"),
}  # fmt: skip
for axis, (name, picture) in zip(axes, shown.items(), strict=True):
    axis.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(name, fontsize=9)
    axis.axis("off")
alt = "a seven, enlarged smoothly and in blocks; from far, on black, with its edges drawn out, and mirrored all around"
lesson.save(figure, "outside", alt=alt)
row = np.arange(4.0).reshape(1, 1, 4) + 1
positions = np.array([-2, -0.5, 0, 2.5, 3.5, 5])
line = np.stack([2 * positions / 3 - 1, np.zeros(6)], axis=-1)[None]
print(f"\na row of pixels 1 2 3 4, read at {positions}:")
for mode in ("zeros", "border", "reflection"):
    print(f"  {mode:11s}{np.round(theirs(row, line, padding_mode=mode)[0, 0], 2)}")

# %% [markdown]
# ## Shrinking
#
# A target of 9 pixels that shows 45 of the source reads one or two of five in each direction. The others might as well
# not be there. A pattern of fine stripes then turns into one of broad stripes that nobody drew, and a thin stroke is
# there or not by chance. That is *aliasing*. Below a factor of 2 some position reads each pixel. From 2 on, average
# what comes in first or, as in the paper's networks for larger digits, sample at full size and average what comes out.


# %%
def square(count):
    """Return the identity grid (count, count, 2)."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, count)] * 2, indexing="ij")
    return np.stack([x, y], axis=-1)


pattern = np.broadcast_to(0.5 + 0.5 * np.sin(2 * np.pi * np.arange(45) / 4.5), (1, 45, 45)).copy()
pictures = {
    "45 x 45": pattern, "9 x 9, sampled": theirs(pattern, square(9)),
    "9 x 9, averaged": theirs(pattern, square(45)).reshape(1, 9, 5, 9, 5).mean(axis=(2, 4)),
}  # fmt: skip
touched, (rows, columns, weights) = np.zeros((45, 45)), corners(square(9), (45, 45))
np.add.at(touched, (rows, columns), weights)
print(f"\n9 x 9 pixels show 45 x 45, of which {(touched > 0).mean():.1%} are read at all")
for name, picture in pictures.items():
    print(f"stripes of 4.5 pixels, {name:15s} smallest value {picture.min():.2f}, largest {picture.max():.2f}")
figure, axes = plt.subplots(1, 3, figsize=(7, 2.6), layout="constrained")
for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(name, fontsize=9)
    axis.axis("off")
alt = "ten fine stripes; sampled at a fifth of the size two broad ones appear, averaged it is nearly grey"
lesson.save(figure, "aliasing", alt=alt)
lesson.next(why="how does the loss tell theta where to look?")
