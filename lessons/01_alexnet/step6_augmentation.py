# %% [markdown]
# # AlexNet 6: more images out of the ones you have
#
# minutes 15 | needs step5_dropout.py | next step7_kernels.py
#
# The paper's other answer to overfitting: show the network every image in many versions that keep the label (sec.
# 4.1). Shifted crops, mirror images, and a change of colour as by another light. Here on the two bundled photographs.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.data import CenterCrop, Compose, PCAColor, RandomCrop, RandomMirror, Resize, TenCrop, photographs

lesson = tinyconv.lesson_step(__name__)
rng = lesson.rng

# %% [markdown]
# ## Crops and mirror images
#
# Shorter side to 256, the middle 256x256, and from it a random 224x224 window, mirrored half of the time. The paper
# counts a factor of 2048 = 32 * 32 * 2. Count the positions yourself: offsets 0 to 32 are 33 per direction, 2178 in
# all.

# %%
square = Compose([Resize(256), CenterCrop(256)])
images = [square(image) for image, _ in photographs()]
side = images[0].shape[1]
print(
    f"image {images[0].shape}, window 224: {side - 224 + 1} offsets per direction, {(side - 224 + 1) ** 2 * 2} versions"
)


def crop_and_mirror(image: np.ndarray, size: int = 224) -> np.ndarray:
    """Return a random window, mirrored half of the time."""
    top, left = rng.integers(image.shape[1] - size + 1, size=2)
    window = image[:, top : top + size, left : left + size]
    return window[:, :, ::-1] if rng.random() < 0.5 else window


# %% [markdown]
# ## Colour: a walk along the axes in which colours vary
#
# Collect all pixels of the training set as points in RGB space. Their covariance has three eigenvectors p: mostly
# light against dark, then bluish against yellowish, then little else. Per image and use, add
#
#     [p1 p2 p3] [a1 l1, a2 l2, a3 l3]        a ~ N(0, 0.1^2), l the eigenvalues
#
# to *every* pixel: one RGB vector for the whole image. Trap: l grows with the *square* of the pixel range. On pixels
# in [0, 1] the formula gives shifts of a few per cent; on 0..255 the same lines would add thousands.

# %%
pixels = np.concatenate([image.reshape(3, -1) for image in images], axis=1).astype(np.float64)
eigenvalues, p = np.linalg.eigh(np.cov(pixels))
eigenvalues, p = eigenvalues[::-1], p[:, ::-1] * np.sign(p[:, ::-1].sum(axis=0))  # largest first, + is brighter
print("eigenvalues on [0, 1]: ", np.round(eigenvalues, 4))
print("eigenvalues on 0..255: ", np.round(np.linalg.eigvalsh(np.cov(255 * pixels))[::-1]), "= 65,025 times as large")


def colour_shift(a: np.ndarray) -> np.ndarray:
    """Return the RGB vector for the draw a (3,)."""
    return p @ (a * eigenvalues)


# %% [markdown]
# Two checks. All pixels of an image move by the same vector; and over many draws the shifts have the covariance `P
# diag((0.1 l)^2) P^T` that the formula implies.

# %%
colour = PCAColor(eigenvalues, p)
moved = colour(images[0], rng) - images[0]
print(f"one draw moves all pixels alike: spread {np.ptp(moved.reshape(3, -1), axis=1).max():.1e}")
shifts = np.array([colour_shift(rng.normal(0, 0.1, 3)) for _ in range(20000)])
wanted = p @ np.diag((0.1 * eigenvalues) ** 2) @ p.T
print(f"covariance of 20,000 shifts: off by {np.abs(np.cov(shifts.T) / wanted - 1).max():.1%} at most\n")

# %%
fig, axes = plt.subplots(4, 7, figsize=(12.5, 7.2), layout="constrained")
for row, image in enumerate(images):
    kinds = {"crop and mirror": lambda image: image, "and colour": lambda image: colour(image, rng)}
    for line, (kind, change) in enumerate(kinds.items()):
        axes[2 * row + line, 0].imshow(image.transpose(1, 2, 0))
        axes[2 * row + line, 0].set_ylabel(kind)
        for axis in axes[2 * row + line, 1:]:
            axis.imshow(np.clip(change(crop_and_mirror(image)), 0, 1).transpose(1, 2, 0))
axes[0, 0].set_title("256 x 256")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
lesson.save(fig, "augmentation", alt="six random crops of each photograph, without and with the colour shift")

# %% [markdown]
# The shifts are gentle. To see what each axis does, walk along it ten times as far as a typical draw would.

# %%
fig, axes = plt.subplots(3, 5, figsize=(9.5, 5.9), layout="constrained")
for j, row in enumerate(axes):
    for amount, axis in zip((-10, -5, 0, 5, 10), row, strict=True):
        shifted = images[0] + colour_shift(0.1 * amount * np.eye(3)[j])[:, None, None]
        axis.imshow(np.clip(shifted, 0, 1).transpose(1, 2, 0))
        axis.set(xticks=[], yticks=[], title=f"a{j + 1} = {amount / 10:+.1f}")
    row[0].set_ylabel(f"axis {j + 1}\nl = {eigenvalues[j]:.4f}")
lesson.save(fig, "colour_axes", alt="the first colour axis is brightness, the second blue against yellow")

# %% [markdown]
# ## Testing: ten views
#
# Four corners, the middle, and their mirror images; the ten softmax outputs are averaged. In the paper this takes the
# top-1 error from 39.0 % to 37.5 %. The library does the same: `TenCrop` for testing, and for training the chain
# below. Its draws depend on (seed, epoch, image) only, so a loader with four threads sees what a loader with one
# sees.

# %%
ten = TenCrop(224)(images[1])
fig, axes = plt.subplots(2, 5, figsize=(9.5, 4.1), layout="constrained")
names = ("upper left", "upper right", "lower left", "lower right", "middle")
for view, (axis, crop) in enumerate(zip(axes.flat, ten, strict=True)):
    axis.imshow(crop.transpose(1, 2, 0))
    axis.set(xticks=[], yticks=[], title=names[view % 5] + (", mirrored" if view > 4 else ""))
lesson.save(fig, "ten_views", alt="four corner crops and the middle one, and the same five mirrored")
print(f"ten views: {ten.shape}")
training = Compose([Resize(256), CenterCrop(256), RandomCrop(224), RandomMirror(), colour])
again = [training(photographs()[0][0], tinyconv.random.generator(0, "augment", step=3, index=0)) for _ in range(2)]
print("the same (seed, epoch, image) gives the same view:", np.array_equal(*again))
lesson.next(why="how the convolution gets fast enough to train this")
