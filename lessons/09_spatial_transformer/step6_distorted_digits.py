# %% [markdown]
# # Spatial transformers 6: distorted digits
#
# minutes 20 | needs step5_kernels.py | next step7_assemble.py
#
# The paper tries transformers on handwritten digits that somebody has turned, moved, bent or hidden, so that it is
# known what would have to be undone. All images are made when they are needed, from a seed: the training set has new
# ones in every epoch, the test set always the same. This step looks at them, undoes what was done by the true
# transformation, and measures what that is worth. A network has to find it without ever being told.

# %%
from typing import Any

import numpy as np
from pages09 import page

import tinyconv
from tinyconv.data import DataLoader
from tinyconv.data.co_localisation import CoLocalisation
from tinyconv.data.digit_pairs import DigitPairs
from tinyconv.data.distorted import Distorted, DistortedDigits
from tinyconv.functional.grids import control_points
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)
SHOWN, LEARNT, TESTED = 10, 200 if lesson.smoke else 5000, 50 if lesson.smoke else 1000
SAID = {
    "r": "R, turned by -90 to 90 degrees",
    "rts": "RTS, turned by -45 to 45, scaled by 0.7 to 1.2, anywhere in 42x42",
    "p": "P, scaled by 0.75 to 1, corners moved by N(0, 5 px)",
    "e": "E, scaled by 0.75 to 1, 16 points moved by N(0, 1.5 px)",
    "tc": "TC, anywhere in 60x60, with six pieces of other digits",
}


def drawn(kind: str, split: str, n: int) -> DistortedDigits:
    """Return n images of a set."""
    return DistortedDigits(kind, split, n, seed=lesson.seed, hold_out=False)


# %% [markdown]
# ## Five ways to distort a digit
#
# Every set is made of the same digits; here ten. Each image is sampled from the upright digit as in step 2.

# %%
sets = {kind: drawn(kind, "test", SHOWN) for kind in SAID}
upright = [sets["r"].source(i)[0] for i in range(SHOWN)]
rows = {SAID[kind]: [image[0] for image, _ in data] for kind, data in sets.items()}
alt = "ten digits, upright, turned, moved, projected, bent, and small among pieces of others"
lesson.save(page({"upright": upright, **rows}), "distorted", alt=alt)
first = sets["rts"].distorted(0)
print(f"the first of RTS: a {first.label}, turned by {first.angle:.0f} degrees, scaled by {first.scale:.2f}")
print(f"  the theta that undoes it: {np.round(first.theta, 2).tolist()}")

# %% [markdown]
# ## Undoing it
#
# What a perfect transformer would say: a theta whose grid, 28x28, looks where the upright digit's pixels have gone.
#
# - R, RTS and TC: the affine map from the digit's frame into the image, which is known.
# - P: where the four corners have gone is known. Eight equations give the eight numbers of a projective theta: for each
#   corner (x, y) that went to (u, v), t1 x + t2 y + t3 - u (t7 x + t8 y) = u, and the same with t4, t5, t6 and v.
# - E: the image shows at 4 x 4 regular points what the digit had elsewhere, so a spline goes from the image to the
#   digit. Its inverse is no spline. The one through the same pairs of points, the other way round, comes close.
#
# Both ways sample between pixels, TC's pieces stay, and what P has squeezed, as the first digit, cannot be had back.


# %%
def corners_to_theta(corners: np.ndarray) -> np.ndarray:
    """Return the projective theta (8,) that sends the corners of [-1, 1]^2, row by row, to corners (4, 2)."""
    equations, right = [], []
    for (x, y), (u, v) in zip([(-1, -1), (1, -1), (-1, 1), (1, 1)], corners, strict=True):
        equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.linalg.solve(equations, right)


def undo(data: DistortedDigits, found: Distorted) -> np.ndarray:
    """Return the digit (28, 28) that the true transformation makes of a distorted one again."""
    look: dict[str, Any] = {"size": (1, 1, 28, 28), "align_corners": True}
    if found.theta is not None:
        grid = F.affine_grid(tinyconv.tensor(found.theta[None]), **look)
    else:
        points = 2 * np.asarray(found.points) / (data.size - 1) - 1  # from pixels to [-1, 1]
        if data.kind == "p":
            grid = F.projective_grid(tinyconv.tensor(corners_to_theta(points)[None]), **look)
        else:
            regular = tinyconv.tensor(control_points(4)[None])
            grid = F.thin_plate_spline_grid(regular, **look, control=points / found.scale)
    return F.grid_sample(tinyconv.tensor(found.image[None].astype(float)), grid, align_corners=True).numpy()[0, 0]


print(f"\nmean difference of a pixel from the upright digit's, {SHOWN} digits: as they are, undone")
undone = {kind: [undo(data, data.distorted(i)) for i in range(SHOWN)] for kind, data in sets.items()}
for kind, data in sets.items():
    middle = slice(cut := (data.size - 28) // 2, cut + 28)
    before = np.mean([np.abs(image[0, middle, middle] - true) for (image, _), true in zip(data, upright, strict=True)])
    print(f"  {kind:3s} {before:.3f}  {np.mean(np.abs(np.array(undone[kind]) - upright)):.3f}")
alt = "the same digits after the true transformation has undone each distortion: upright again"
lesson.save(page({f"{kind.upper()}, undone": images for kind, images in undone.items()}), "undone", alt=alt)

# %% [markdown]
# ## What it is worth
#
# The simplest classifier there is: a digit is what the nearest of 5,000 training images is, pixel by pixel. Once it
# compares distorted digits with distorted digits, once undone ones with upright ones. The difference is what a perfect
# transformer would be worth to this classifier; convolutions with pooling may need it less.


# %%
def errors(kind: str) -> tuple[float, float]:
    """Return the nearest neighbour's test error, without undoing anything and after undoing all."""
    train, test = drawn(kind, "train", LEARNT), drawn(kind, "test", TESTED)
    flat = np.stack([undo(test, test.distorted(i)) for i in range(TESTED)])
    found = []
    for ours, theirs in ((test.arrays[0], train.arrays[0]), (flat, train.sources.images[:LEARNT])):
        a, b = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
        nearest = ((b * b).sum(axis=1) - 2 * a @ b.T).argmin(axis=1)
        found.append(float((train.arrays[1][nearest] != test.arrays[1]).mean()))
    return found[0], found[1]


if __name__ == "__main__":
    print(f"\nnearest of {LEARNT:,}, {TESTED:,} test digits, error: as they are, undone")
    for kind in SAID:
        print("  {:3s} {:.1%}  {:.1%}".format(kind, *errors(kind)))

# %% [markdown]
# ## Two digits to add, one digit to find; and no peeping
#
# The pairs have a digit in each of two channels; the label is the sum. The last set has no labels at all: all images
# show the same class somewhere. Digits of the test images are in no training image, nor are pieces of them.

# %%
if __name__ == "__main__":
    pairs = DigitPairs("test", SHOWN, seed=lesson.seed)
    rows = {f"one channel, sums {', '.join(str(label) for _, label in pairs)}": [image[0] for image, _ in pairs]}
    rows["the other channel"] = [image[1] for image, _ in pairs]
    for clutter in (0, 16):
        hidden = CoLocalisation(3, SHOWN, clutter=clutter, seed=lesson.seed)
        rows[f"threes in 84x84, {clutter} pieces of other digits"] = list(hidden.images[:, 0])
    alt = "pairs of digits in two channels, and threes in large images, alone and among pieces"
    lesson.save(page(rows), "pairs", alt=alt)
    ours, theirs = ({a.tobytes() for a in drawn("r", split, 0).sources.images} for split in ("train", "test"))
    print(f"\n{len(ours):,} digits to learn from, {len(theirs):,} to test; in both: {len(ours & theirs)}")
    epochs = [a.numpy() for loader in [DataLoader(drawn("r", "train", 4), 4)] for _ in range(2) for a, _ in loader]
    print(f"four training images are the same in the next epoch: {np.array_equal(*epochs)}")
    lesson.next(why="a network that undoes what it was not told")
