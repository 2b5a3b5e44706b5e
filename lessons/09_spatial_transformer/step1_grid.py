# %% [markdown]
# # Spatial transformers 1: where each pixel looks
#
# minutes 20 | needs lesson 00 | next step2_sampler.py
#
# To turn a picture one might take each of its pixels and put it where it belongs. Some places would then get two pixels
# and some none. So one goes backwards: each pixel of what comes out, the *target*, asks where in what came in, the
# *source*, it has to look. Jaderberg and others (2015) let a network say this map, by a few numbers theta. An affine
# map has six:
#
#     x_s = t11 x_t + t12 y_t + t13
#     y_s = t21 x_t + t22 y_t + t23
#
# (x_t, y_t) is a pixel of the target and (x_s, y_s) the place in the source that it shows. All such places together are
# the *grid*. x goes to the right and y down, as rows of an image do. Both count from -1 to 1 whatever the size of the
# image, so that theta does not depend on it, and the target may have another size than the source.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.data import mnist
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)
four = mnist("test")
four = four.images[np.flatnonzero(four.labels == 4)[0]].reshape(28, 28) / 255.0

# %% [markdown]
# ## The grid by hand
#
# What are -1 and 1? Either the centres of the corner pixels (`align_corners=True`: Lasagne, early PyTorch, this
# lesson) or the outer edges of the image (`False`, PyTorch's default). Three pixels lie at -1, 0, 1 by the first
# convention, and at -2/3, 0, 2/3 by the second.


# %%
def targets(H, W, align_corners=True):
    """Return the centres (H, W, 2) of a target's pixels, x first."""
    axes = []
    for count in (H, W):
        between_edges = (np.arange(count) + 0.5) * 2 / count - 1
        axes.append(np.linspace(-1, 1, count) if align_corners and count > 1 else between_edges)
    y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y], axis=-1)


def affine(theta, H, W, align_corners=True):
    """Return the grid (H, W, 2) of one affine map theta (2, 3)."""
    theta = np.asarray(theta, float)
    return targets(H, W, align_corners) @ theta[:, :2].T + theta[:, 2]


for align_corners in (True, False):
    print(f"3 pixels, align_corners={align_corners}: x = {np.round(targets(1, 3, align_corners)[0, :, 0], 4)}")
WINDOW = [[0.5, 0, 0.25], [0, 0.5, -0.25]]
grid = affine(WINDOW, 28, 28)
print(f"\ntheta = {WINDOW}: the target's corners look at")
for i, j in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
    print(f"  {'lower' if i else 'upper'} {'right' if j else 'left':5s} {grid[i, j]}")
for align_corners in (True, False):
    theta = lesson.rng.standard_normal((2, 3))
    theirs = F.affine_grid(tinyconv.tensor(theta[None]), (1, 1, 5, 4), align_corners).numpy()[0]
    same = np.allclose(affine(theta, 5, 4, align_corners), theirs, atol=1e-12)
    print(f"by hand and F.affine_grid, align_corners={align_corners}: {same}")

# %% [markdown]
# ## What that does to a digit
#
# In the figure, above: the source with the grid drawn into it (every third of the target's rows and columns, its upper
# edge thick); below: the target. (What lies between pixels is step 2's matter.) Look at the third column: t13 = 0.5 is
# positive, so the grid moves to the right, and what it shows, the four, moves to the *left*. All of theta is about
# where one looks, which is the opposite of where things go: a scale of 0.5 looks at the middle half of each side, a
# quarter of the area, and shows it twice as large; a grid turned clockwise shows the four turned the other way.


# %%
def turn(degrees, scale=1.0, x=0.0, y=0.0):
    """Return theta of a grid that is turned clockwise as seen (y goes down), scaled, and moved to (x, y)."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, x], [s, c, y]])


def look(image, grid):
    """Return what a grid (H, W, 2) sees in an image (H, W)."""
    pair = (tinyconv.tensor(np.ascontiguousarray(a)) for a in (image[None, None], grid[None]))
    return F.grid_sample(*pair, align_corners=True).numpy()[0, 0]


def draw_grid(axis, grid, size):
    """Draw a grid's rows and columns into a source of size x size pixels."""
    at = (grid + 1) / 2 * (size - 1)
    for line in [*at[::3], *np.swapaxes(at, 0, 1)[::3], at[-1], at[:, -1]]:
        axis.plot(*line.T, color="#ff7f0e", lw=0.6)
    axis.plot(*at[0].T, color="#ff7f0e", lw=2.5)
    axis.set(xlim=(-8, size + 7), ylim=(size + 7, -8))


MAPS = {
    "identity": turn(0), "scale 0.5": turn(0, 0.5), "t13 = 0.5": turn(0, x=0.5), "turned by 30": turn(30),
    "attention:\n0.5, 0.25, -0.25": np.array(WINDOW), "x, y exchanged": np.array([[0, 1, 0], [1, 0, 0]]),
    "sheared": np.array([[1, 0.5, 0], [0, 1, 0]]),
}  # fmt: skip
figure, axes = plt.subplots(2, len(MAPS), figsize=(12, 4), layout="constrained")
for (above, below), (name, theta) in zip(axes.T, MAPS.items(), strict=True):
    grid = affine(theta, 28, 28)
    above.imshow(four, cmap="gray", vmin=0, vmax=1)
    draw_grid(above, grid, 28)
    below.imshow(look(four, grid), cmap="gray", vmin=0, vmax=1)
    above.set_title(name, fontsize=9)
for axis in axes.flat:
    axis.axis("off")
alt = "a four with seven grids drawn over it, and what each grid sees; a grid moved right shows the four moved left"
lesson.save(figure, "grids", alt=alt)

# %% [markdown]
# ## Why backwards
#
# The other way: each source pixel is put at the nearest pixel of the target. A four turned by 30 degrees gets holes,
# and one made twice as large is mostly holes. Backwards there are none, whatever the map, and one does not even need
# its inverse. (What is dark at the corners was outside of the source: no hole.)


# %%
def forwards(image, theta):
    """Return the image whose pixels were each put where they go; the map from source to target is theta's inverse."""
    H, W = image.shape
    there = (targets(H, W) - theta[:, 2]) @ np.linalg.inv(theta[:, :2]).T
    column, row = np.rint((there + 1) / 2 * (W - 1)).astype(int).reshape(-1, 2).T
    inside, out = (row >= 0) & (row < H) & (column >= 0) & (column < W), np.full((H, W), np.nan)
    out[row[inside], column[inside]] = image.ravel()[inside]
    return out


figure, axes = plt.subplots(2, 2, figsize=(5, 5.4), layout="constrained")
holes = plt.get_cmap("gray").with_extremes(bad="#d62728")
print("\npixels of the target that look into the source, and those of them that nobody reached, going forwards:")
for line, (name, theta) in zip(axes, (("turned by 30", turn(30)), ("twice as large", turn(0, 0.5))), strict=True):
    grid = affine(theta, 28, 28)
    inside, put = (np.abs(grid) <= 1).all(axis=-1), forwards(four, theta)
    print(f"  {name:15s} {inside.sum():4d} {(np.isnan(put) & inside).sum():4d}")
    put[~inside & np.isnan(put)] = 0
    for axis, picture, way in zip(line, (put, look(four, grid)), ("forwards", "backwards"), strict=True):
        axis.imshow(picture, cmap=holes, vmin=0, vmax=1)
        axis.set_title(f"{name}, {way}", fontsize=9)
        axis.axis("off")
alt = "a four turned, and made larger: put forwards it has holes (red), looked up backwards it has none"
lesson.save(figure, "holes", alt=alt)
lesson.next(why="what is between two pixels?")
