# %% [markdown]
# # Spatial transformers 3: the gradient, and a trap
#
# minutes 30 | needs step2_sampler.py | next step4_transforms.py
#
# Nobody tells the localisation network where to look. It learns that from the loss, through the sampler, so the sampler
# needs two gradients. V is a sum of pixels times weights; with respect to a pixel its derivative is the weight (eq. 6).
# With respect to the position, the weights change: moving right, that of the pixel on the left falls by 1 per pixel,
# and that of the one on the right rises by 1 (eq. 7). So dV/dpx is the difference of the pixels right and left, as it
# should be: where brighter pixels are on the right, moving right makes V brighter. From there the chain rule goes on:
# a normalised coordinate is worth (W - 1) / 2 pixels, and x_s = t11 x_t + t12 y_t + t13.

# %%
import numpy as np
from sampling09 import check, digit, draw_arrows, square, towards

import tinyconv

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## By hand
#
# The formulas as they stand, over all pixels of a row: `hat` has the weights max(0, 1 - |p - w|), `floor_form` their
# derivatives, -1 for the pixel before the position and 1 for the one after. P positions see C channels.


# %%
def hat(p, count):
    """Return the weights (P, count) of all pixels along an axis, at positions p (P,)."""
    return np.maximum(0, 1 - np.abs(p[:, None] - np.arange(count)))


def floor_form(p, count):
    """Return the weights' derivatives (P, count)."""
    w, before = np.arange(count), np.floor(p)[:, None]
    return 1.0 * (w == before + 1) - 1.0 * (w == before)


def paper(p, count):
    """Return the same as the paper has it: 0 where |p - w| >= 1, 1 where w >= p, -1 where w < p."""
    w, p = np.arange(count), p[:, None]
    return np.where(np.abs(w - p) >= 1, 0.0, np.where(w >= p, 1.0, -1.0))


def pixels(grid, size):
    """Return px, py of a grid (P, 2) in pixels of an image of size (H, W)."""
    return ((grid + 1) / 2 * (np.array(size[::-1]) - 1)).T


def sample(image, grid):
    """Return V (C, P)."""
    px, py = pixels(grid, image.shape[1:])
    return np.einsum("ph,chw,pw->cp", hat(py, image.shape[1]), image, hat(px, image.shape[2]))


def backward(dy, image, grid, slope=floor_form, worth=True):
    """Return the gradients at the image (C, H, W) and the grid (P, 2) of a loss whose gradient at V is dy (C, P)."""
    (_, H, W), (px, py) = image.shape, pixels(grid, image.shape[1:])
    dimage = np.einsum("ph,cp,pw->chw", hat(py, H), dy, hat(px, W))
    dx = np.einsum("ph,chw,pw,cp->p", hat(py, H), image, slope(px, W), dy)
    dy_ = np.einsum("ph,chw,pw,cp->p", slope(py, H), image, hat(px, W), dy)
    return dimage, np.stack([dx, dy_], axis=1) * ((np.array([W, H]) - 1) / 2 if worth else 1)


U = np.array([[[1.0, 2], [3, 5]]])
dimage, dgrid = backward(np.ones((1, 1)), U, np.array([[-0.5, 0.0]]))
print(f"U = {U[0].tolist()} at px = 0.25, py = 0.5: ", end="")
print(f"dV/dU {dimage.ravel()}, dV/dpx {2 * dgrid[0, 0]}, dV/dpy {2 * dgrid[0, 1]}")

# %% [markdown]
# ## To theta, checked, and broken on purpose
#
# With g = dL/dx_s and h = dL/dy_s at each target pixel, dL/dt11 = sum g x_t, dL/dt12 = sum g y_t, dL/dt13 = sum g, and
# the second row with h: every pixel of the target has a say in each of the six numbers. The check moves theta a little
# and looks; it catches three slips.


# %%
targets = np.concatenate([square(4).reshape(16, 2), np.ones((16, 1))], axis=1)  # x_t, y_t, 1
SLIPS = {
    "as above": backward,
    "per pixel, not per coordinate": lambda *given: backward(*given, worth=False),
    "x and y exchanged": lambda *given: (backward(*given)[0], backward(*given)[1][:, ::-1]),
    "moves left where right is brighter": lambda *given: (backward(*given)[0], -backward(*given)[1]),
}
given = lesson.rng.standard_normal((2, 5, 6)), np.array([[0.7, 0.2, 0.05], [-0.13, 0.6, 0.11]])  # off whole positions
for name, rule in SLIPS.items():

    def to_theta(dy, image, theta, rule=rule):
        dimage, dgrid = rule(dy, image, targets @ theta.T)
        return dimage, dgrid.T @ targets

    print(f"gradient check, {name}: {check(lambda image, theta: sample(image, targets @ theta.T), to_theta, given)}")

# %% [markdown]
# ## The trap: whole positions
#
# At a whole position V has a kink: it has one derivative to the left and another to the right. In 2, 5, 11 at the 5
# they are 3 and 6. In the paper's formula both neighbours, exactly 1 away, count 0, and the pixel itself +1: it says 5,
# the pixel's own value, neither side's derivative. Floor's form gives 6, the right one's. A numerical check sees 4.5.
#
# Whole positions would not matter if they were rare. But a spatial transformer starts with the identity, and with as
# many pixels in the target that hits all of them exactly. Below a two shall be looked at 2 pixels to the left, or 2 to
# the right; what is the derivative of 1/2 sum (V - wanted)^2 with respect to t13, at the identity? It should be
# positive for the left and negative for the right. The formula can't tell them apart. (That its 417.7 is the left
# side's derivative, for the left, is this loss's doing: both are <V, V> - <V, V shifted by 2>, times 16.) Floor's form
# can, though it sees one side only. With 33 pixels W - 1 is a power of two; with 28 rounding moves some off the pixel.

# %%
row, rules = np.array([[[2.0, 5, 11]]]), {"paper": paper, "with floor": floor_form}
places = np.array([[(0.0, 0.0)], [(0.3, 0.0)]])  # of three pixels a normalised coordinate is worth one
print("\n2, 5, 11 at pixel           1    1.3")
for name, slope in rules.items():
    slopes = (backward(np.ones((1, 1)), row, place, slope)[1][0, 0] for place in places)
    print(f"  {name:21s}" + "".join(f"{slope:7.1f}" for slope in slopes))
for name, low, high in (("left", -1e-6, 0), ("right", 0, 1e-6), ("both sides", -5e-7, 5e-7)):
    slopes = ((sample(row, place + [high, 0]) - sample(row, place + [low, 0])).item() / 1e-6 for place in places)
    print(f"  measured, {name:11s}" + "".join(f"{slope:7.1f}" for slope in slopes))
two, identity = digit(2, 33), square(33).reshape(-1, 2)
wanted = {"left": sample(two, identity - [2 / 16, 0]), "right": sample(two, identity + [2 / 16, 0])}
print("\ndL/dt13 at the identity, to look to the     left    right")
for name, slope in rules.items():
    slopes = (backward(sample(two, identity) - v, two, identity, slope)[1][:, 0].sum() for v in wanted.values())
    print(f"  {name:36s}" + "".join(f"{slope:9.1f}" for slope in slopes))
for name, step in (("measured, left", -1e-7), ("measured, right", 1e-7)):
    moved, still = sample(two, identity + [step, 0]), sample(two, identity)
    slopes = (((moved - still) @ (moved + still - 2 * v).T).item() / 2 / step for v in wanted.values())
    print(f"  {name:36s}" + "".join(f"{slope:9.1f}" for slope in slopes))
off = np.sign((positions := (np.linspace(-1, 1, 28, dtype=np.float32) + 1) * np.float32(13.5)) - np.rint(positions))
print(f"28 pixels, float32: {(off < 0).sum()} below, {(off == 0).sum()} at, {(off > 0).sum()} above a whole position")

# %% [markdown]
# Where should each position go instead? The arrows lead down the gradient at a grid that lies half a pixel beside the
# identity's places, to the right and down, so that both sides count; many arrows take the half pixel back. Only at
# edges there are some: where all four pixels are alike, as on black, a position learns nothing. A transformer that has
# lost the digit is not told where it is.

# %%
beside, arrows, same = identity + 0.5 / 16, {}, []
for side, v in wanted.items():
    down = -backward(sample(two, beside) - v, two, beside)[1]
    same.append(np.allclose(down, towards(two, beside, v), atol=1e-9))
    arrows[f"wanted: what lies 2 px to the {side}"] = beside, down
    ink = np.abs(down).sum(axis=1) > 1
    print(f"2 px to the {side}: {(down[ink, 0] > 0).mean():.0%} of {ink.sum()} arrows point to the right")
print(f"by hand and by the library: {all(same)}")
alt = "arrows on the edges of a two, which lead to the left and to the right; none where all is black"
lesson.save(draw_arrows(two, arrows, 6), "arrows", alt=alt)
lesson.next(why="other transformations")
