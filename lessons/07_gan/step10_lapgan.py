# %% [markdown]
# # GAN 10: from coarse to fine
#
# minutes 20 | needs step9_features.py | next exercises.py
#
# A generator that draws an image at once has to get everything right at once. Denton and others (2015) draw a small
# image first and then, size by size, only what is missing: LAPGAN. Of its samples people took about 40 % for
# photographs, of those of a GAN as above 10 %.

# %%
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from digits07 import digits

import tinyconv
from tinyconv import models
from tinyconv.data import photographs
from tinyconv.generative.measures import sharpness, spread
from tinyconv.generative.training import train_gan
from tinyconv.vision import pyramid

lesson = tinyconv.lesson_step(__name__)
RATES = (2e-3, 1e-3)  # of D and G, the library's for LAPGAN: D's dropout of one half makes it slow
COARSE, ALL, SINGLE = 30, 2, 40  # epochs: of the smallest image alone, of all levels, of a GAN to compare

# %% [markdown]
# ## What a smaller image has lost
#
# d takes means of 2x2 pixels, u doubles the side: a new pixel is 3/4 of the old one it lies in and 1/4 of the one next
# to that. An image is u(d(I)) and the rest, h = I - u(d(I)); adding them gives it back, whatever u is. Done again with
# d(I), this is a Laplacian pyramid (Burt and Adelson, 1983).


# %%
def down(x: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) at half the size."""
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def up(x: np.ndarray) -> np.ndarray:
    """Return images at twice the size; beyond the edge lies what lies at the edge."""
    for axis in (2, 3):
        ends = [x.take([0], axis), x, x.take([-1], axis)]
        before, after = (np.concatenate(some, axis) for some in (ends[:2], ends[1:]))
        before, after = np.delete(before, -1, axis), np.delete(after, 0, axis)
        x = np.stack([(3 * x + before) / 4, (3 * x + after) / 4], axis + 1).reshape(
            *x.shape[:axis], -1, *x.shape[axis + 1 :]
        )
    return x


def split(x: np.ndarray, levels: int) -> list[np.ndarray]:
    """Return [h_0, h_1, ..., the small image]."""
    parts = []
    for _ in range(levels):
        parts.append(x - up(down(x)))
        x = down(x)
    return [*parts, x]


def join(parts: list[np.ndarray]) -> np.ndarray:
    """Return the image."""
    x = parts[-1]
    for h in parts[-2::-1]:
        x = up(x) + h
    return x


# %% [markdown]
# ## A game for every size
#
# The smallest image, 7x7 here, comes from an ordinary GAN. Every doubling has a generator that sees the enlarged image
# and a map of noise and draws h, and a discriminator that sees the sum, u + h, and says whether h was the real one. The
# levels learn apart, all from real images: the 28x28 one enlarges *real* 14x14 images while it trains, and generated
# ones when it draws.


# %%
def learn(model: Any, epochs: int, coarse: int = COARSE, n: int = 5000, seed: int = 0, **how: Any) -> Any:
    """Train on the first n digits: the smallest networks alone, as a GAN, then all levels by the library's recipe."""
    small, how = digits("train", n, model.coarse.image_shape[1]), {"seed": seed, "progress": False, **how}
    train_gan(model.coarse, small, epochs=coarse, rates=RATES, seed=seed, progress=False)
    return train_gan(model, digits("train", n), epochs=epochs, **how)


def rival(count: int) -> Any:
    """Return a GAN of one size, of as many parameters as can be; step 5's networks, narrower."""
    off = {}
    for width in np.arange(8, 512, 4) / 512:
        model = models.gan(scale="lesson", width=width, device="meta")
        off[abs(sum(p.numel() for p in model.parameters()) - count)] = float(width)
    return models.gan(scale="lesson", width=off[min(off)])


def stages(model: Any, z: np.ndarray) -> dict[str, np.ndarray]:
    """Return the images of every size in [0, 1], smallest first; "enlarged" is the one before the last."""
    with tinyconv.no_grad():
        fine, middle, small = (np.clip((x.numpy() + 1) / 2, 0, 1) for x in model.eval().stages(tinyconv.tensor(z)))
    return {"7x7": small, "14x14": middle, "enlarged": up(middle), "28x28": fine}


def tiles(images: np.ndarray, side: int = 28) -> np.ndarray:
    """Return images (N, 1, H, W) side by side, each pixel enlarged to a square."""
    factor = side // images.shape[2]
    return np.concatenate([np.kron(image, np.ones((factor, factor))) for image in images[:, 0]], axis=1)


# %%
if __name__ == "__main__":
    seed, short = lesson.seed, lesson.smoke
    digit, photograph = digits("test", 1).images.astype(float), photographs().images[:1, :, :424].mean(1, keepdims=True)
    for name, image, levels in (("digit", digit, 2), ("photograph", photograph.astype(float), 3)):
        parts = split(image, levels)
        off = max(np.abs(a - b).max() for a, b in zip(parts, pyramid.laplacian_pyramid(image, levels), strict=True))
        print(f"{name}: given back to {np.abs(join(parts) - image).max():.0e}, the library's parts {off:.0e} apart")
        print(f"  deviation {image.std():.3f}; of h, finest first: {', '.join(f'{h.std():.3f}' for h in parts[:-1])}")
    fig, axes = plt.subplots(1, 5, figsize=(15, 2.6), layout="constrained")
    for axis, part, title in zip(axes, (photograph, *parts), ("I_0", "h_0", "h_1", "h_2", "I_3"), strict=True):
        edge = 0.2 if title[0] == "h" else None
        axis.imshow(part[0, 0], cmap="gray", vmin=edge and -edge, vmax=edge)
        axis.set(title=f"{title}, {part.shape[3]} x {part.shape[2]}", xticks=[], yticks=[])
    lesson.save(fig, "pyramid", alt="a photograph, its details at three sizes, which are edges, and the small image")
    tinyconv.manual_seed(seed)
    model, n, began = models.lapgan(scale="lesson"), 100 if short else 5000, perf_counter()
    count = sum(p.numel() for p in model.parameters())
    history = learn(model, *((1, 1) if short else (ALL, COARSE)), n, seed)
    took = perf_counter() - began
    print(f"\nLAPGAN: {count:,} parameters, {history.last['step']} steps of all levels, {took:.0f} s", flush=True)
    for side in (7, 14, 28):
        print(f"  D of {side}x{side}: right {history.last[f'discriminator_accuracy_{side}']:.1%}")
    tinyconv.manual_seed(seed)
    single, began = rival(count), perf_counter()
    train_gan(single, digits("train", n), epochs=1 if short else SINGLE, seed=seed, progress=False)
    print(f"GAN: {sum(p.numel() for p in single.parameters()):,} parameters, {perf_counter() - began:.0f} s")
    real, z = digits("test").images, model.latent(500, seed)
    pictures = {"real": real, "LAPGAN": model.sample(z), "GAN": single.sample(500, seed)}
    for name, images in pictures.items():
        print(f"{name:6s} sharpness {sharpness(images):.4f}, spread {spread(images):.3f}")
    rows = stages(model, z[:16]) | {name: pictures[name][:16] for name in ("GAN", "real")}
    fig, axis = plt.subplots(figsize=(12, 4.8), layout="constrained")
    axis.imshow(np.concatenate([tiles(images) for images in rows.values()]), cmap="gray")
    axis.set(xticks=[], title="LAPGAN draws 7x7, then 14x14, then 28x28")
    axis.set_yticks(14 + 28 * np.arange(6), list(rows))
    lesson.save(fig, "levels", alt="LAPGAN's samples at 7x7, 14x14, enlarged, at 28x28; a GAN's and real ones below")
    lesson.next("exercises.py", why="write these parts yourself")
