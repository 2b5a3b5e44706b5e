# %% [markdown]
# # GAN 8: DCGAN
#
# minutes 25 | needs step7_look_inside.py | next step9_features.py
#
# The GAN's networks are fully connected. Convolutional ones would not learn the game, until Radford, Metz and Chintala
# (2015) wrote down what worked:
#
# - no pooling: convolutions of stride 2 halve an image, transposed ones double it;
# - batch normalisation everywhere, but at the generator's output and the discriminator's input;
# - no hidden fully connected layers; ReLU in the generator, tanh at its end; LeakyReLU of 0.2 in the discriminator;
# - weights from N(0, 0.02^2), Adam with a rate of 0.0002 and beta1 of 0.5, images in [-1, 1].

# %%
import copy
from contextlib import nullcontext
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import data, models, nn
from tinyconv.generative.figures import interpolations, nearest
from tinyconv.generative.training import train_gan
from tinyconv.nn import functional as F
from tinyconv.nn.modes import held

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Stamps
#
# A transposed convolution is a convolution's way back: each pixel stamps the whole filter, times its own value, two
# places further than the pixel before it. What overlaps is added; `padding` rows are cut off, `output_padding` of them
# kept at the far end. With 5x5 some places get 9 stamps, others 4: the chequered patterns of such generators.


# %%
def stamped(x: np.ndarray, w: np.ndarray, stride: int = 2, padding: int = 2, output_padding: int = 1) -> np.ndarray:
    """Return the transposed convolution of one map (H, W) with one filter (K, K)."""
    canvas = np.zeros([stride * (n - 1) + len(w) + output_padding for n in x.shape])
    for i, j in np.ndindex(x.shape):
        canvas[stride * i : stride * i + len(w), stride * j : stride * j + len(w)] += x[i, j] * w
    return canvas[padding : len(canvas) - padding, padding : canvas.shape[1] - padding]


# %% [markdown]
# ## The paper's figure 1
#
# One vector becomes 1,024 maps of 4x4, four transposed convolutions make them an image of 64x64, and the discriminator
# goes back. Names are the library's. A bias before a batch normalisation would be taken away by it.


# %%
def generator(maps: tuple[int, ...] = (1024, 512, 256, 128), out: int = 3, side: int = 4, z: int = 100, **where: Any):
    """Return G: z becomes maps[0] maps of side x side, which are doubled once for each number of maps."""
    first = nn.Linear(z, maps[0] * side * side, bias=False, **where)
    layers = {"project": first, "maps": nn.Unflatten(1, (maps[0], side, side))}
    for k, (before, after) in enumerate(zip(maps, (*maps[1:], out), strict=True), 1):
        layers[f"bn{k}"], layers[f"relu{k}"] = nn.BatchNorm2d(before, **where), nn.ReLU()
        layers[f"deconv{k}"] = nn.ConvTranspose2d(before, after, 5, 2, 2, 1, bias=k == len(maps), **where)
    return nn.Sequential({**layers, "tanh": nn.Tanh()})


def discriminator(maps: tuple[int, ...] = (128, 256, 512, 1024), channels: int = 3, side: int = 4, **where: Any):
    """Return D, which ends with maps of side x side and one logit."""
    layers = {}
    for k, (before, after) in enumerate(zip((channels, *maps), maps, strict=False), 1):
        layers[f"conv{k}"] = nn.Conv2d(before, after, 5, 2, 2, bias=k == 1, **where)
        if k > 1:
            layers[f"bn{k}"] = nn.BatchNorm2d(after, **where)
        layers[f"lrelu{k}"] = nn.LeakyReLU(0.2)
    fc = nn.Linear(maps[-1] * side * side, 1, **where)
    return nn.Sequential({**layers, "flatten": nn.Flatten(), "fc": fc, "logit": nn.Flatten(0)})


def table(network: nn.Sequential, x: tinyconv.Tensor) -> int:
    """Print what each layer with weights puts out, and return how many parameters there are."""
    for name, layer in network.named_children():
        x, count = layer(x), sum(p.numel() for p in layer.parameters())
        if count > 1e4:
            print(f"  {name:8s} {' x '.join(map(str, x.shape[1:])):>15s} {count:12,}")
    return sum(p.numel() for p in network.parameters())


# %% [markdown]
# ## Real and made images apart
#
# Batch normalisation takes mean and deviation over a batch. With real and made images in one, each kind is measured
# against the other. A D that learns so may go by which of them lies above the mean of both, and in G's turn, with made
# ones only, it is another function. So they go in apart. Below is a D that has learnt them apart: among real ones it is
# another function, too, one that nobody has trained, and need not tell more. And the running means and variances are a
# part of the networks: in D's turn G's must not move.


# %%
def told_right(model: Any, real: tinyconv.Tensor, fake: tinyconv.Tensor) -> dict[str, float]:
    """Return the share of made images that D calls made, if they go in alone, and if real ones are among them."""
    with tinyconv.no_grad(), held(model.discriminator.train()):
        alone, both = model.discriminator(fake), model.discriminator(tinyconv.cat([real, fake]))
    return {"alone": float((alone.numpy() < 0).mean()), "mixed": float((both.numpy()[len(real) :] < 0).mean())}


def noted(model: Any, z: tinyconv.Tensor, guard: Any) -> float:
    """Return by how much G's running statistics change when it makes images for D's turn."""
    G = copy.deepcopy(model.generator).train()
    before = [buffer.numpy().copy() for buffer in G.buffers()]
    with tinyconv.no_grad(), guard(G):
        G(z)
    return max(float(np.abs(b.numpy() - a).max()) for a, b in zip(before, G.buffers(), strict=True))


# %%
if __name__ == "__main__":
    seed, short = lesson.seed, lesson.smoke
    x, w = (lesson.rng.standard_normal((k, k)) for k in (3, 5))
    theirs = F.conv_transpose2d(*(tinyconv.tensor(v[None, None]) for v in (x, w)), None, 2, 2, 1).numpy()[0, 0]
    print(f"3x3 becomes {theirs.shape}; stamps and the library are {np.abs(stamped(x, w) - theirs).max():.0e} apart")
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for i, j in np.ndindex(3, 3):
        axes[0].add_patch(plt.Rectangle((2 * j, 2 * i), 5, 5, fc=f"C{3 * i + j}", ec="k", alpha=0.25))
    axes[0].set(title="nine stamps of 5x5", xlim=(0, 9), ylim=(9, 0), aspect="equal")
    for axis, k in zip(axes[1:], (5, 4), strict=True):
        counts = stamped(np.ones((6, 6)), np.ones((k, k)), padding=0, output_padding=0)
        axis.set(title=f"stamps of {k}x{k} at each place")
        fig.colorbar(axis.imshow(counts, vmin=0, vmax=9), ax=axis)
        print(f"filters of {k}x{k}: {', '.join(f'{v:.0f}' for v in np.unique(counts[4:-4, 4:-4]))} stamps at a place")
    lesson.save(fig, "stamps", alt="overlapping squares; with 5x5 a chequered pattern of 4, 6 and 9 stamps, 4x4 even")
    print("figure 1 (layers of more than 10,000 parameters)")
    z, image = (tinyconv.zeros(*shape, device="meta") for shape in ((1, 100), (1, 3, 64, 64)))
    count = table(generator(device="meta"), z), table(discriminator(device="meta"), image)
    whole = sum(p.numel() for p in models.dcgan(device="meta").parameters())
    print(f"  G {count[0]:,}, D {count[1]:,}, together {sum(count):,}; the library's {whole:,}")
    clothes, (n, epochs) = data.fashion_mnist(), (100, 1) if short else (2000, 10)
    some = data.Subset(clothes, range(n))
    text = "1 epoch of 100 clothes" if short else "10 epochs of 2,000 clothes, about half a minute"
    brief = lambda model: train_gan(model, some, epochs=epochs, seed=seed, progress=False)  # noqa: E731
    model: Any = lesson.load_or_train(lambda: models.dcgan(scale="lesson"), brief, name="dcgan", short=text)
    images = clothes.images[: 200 if short else 5000].astype(np.float32) / 255
    points = tinyconv.tensor(model.latent(100, seed))
    moved = [noted(model, points, guard) for guard in (lambda network: nullcontext(), held)]
    print(f"D's turn moves G's running statistics by {moved[0]:.3f} if nobody takes care, by {moved[1]:.3f} in held()")
    with tinyconv.no_grad(), held(model.generator.train()):
        fake = model.generator(points)
    found = told_right(model, model.scaled(tinyconv.tensor(images[:100])), fake)
    print(f"made images that D tells: in a batch of their own {found['alone']:.0%}, among real {found['mixed']:.0%}")
    lesson.save(interpolations(model.eval(), 5, 10, seed), "walks", alt="samples on five lines between latent points")
    lesson.save(nearest(model.sample(20, seed), images), "clothes", alt="samples, below each the nearest real image")
    lesson.next(why="what does D know about digits?")
