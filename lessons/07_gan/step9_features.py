# %% [markdown]
# # GAN 9: what the discriminator knows
#
# minutes 20 | needs step8_dcgan.py | next step10_lapgan.py
#
# To tell real digits from made ones a discriminator has to know what digits are like, and nobody told it which is
# which. Radford and others (2015) take its maps as features for a linear classifier that gets few labels. With a D
# that had learnt ImageNet they had 82.8 % right on CIFAR-10; on SVHN, 1,000 labels, 22.48 % wrong, the same network
# trained on labels alone 28.87 %. Here: DCGAN with 16 and 32 maps, and handwritten digits.

# %%
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from digits07 import digits

import tinyconv
from tinyconv import data, models, nn
from tinyconv.generative.features import discriminator_features, svm_error
from tinyconv.generative.training import train_gan
from tinyconv.nn import functional as F
from tinyconv.random import generator

lesson = tinyconv.lesson_step(__name__)
TRAIN, WIDTH, COSTS = 4500, 0.5, (0.003, 0.01, 0.03)  # the last 500 training digits choose the machines' cost


# %%
def build(seed: int) -> Any:
    """Return an untrained DCGAN: 16 maps of 14x14 and 32 of 7x7 in the discriminator."""
    tinyconv.manual_seed(seed)
    return models.dcgan(scale="lesson", width=WIDTH)


def learn(model: Any, epochs: int, n: int = TRAIN, seed: int = 0, **how: Any) -> Any:
    """Train on the first n digits, by the library's recipe. Labels are not looked at."""
    return train_gan(model, data.Subset(digits("train"), range(n)), epochs=epochs, seed=seed, progress=False, **how)


def settle(model: Any, images: np.ndarray) -> Any:
    """Let D normalise by the statistics of one batch of real images; in training made ones mixed in."""
    for layer in (one for one in model.discriminator.modules() if isinstance(one, nn.BatchNorm2d)):
        layer.momentum = 1.0  # what was there before does not count
    with tinyconv.no_grad():
        model.discriminator.train()(model.scaled(tinyconv.tensor(images)))
    return model.eval()


# %% [markdown]
# ## 7,168 and 28,672 numbers
#
# Every convolution's maps, after normalisation and LeakyReLU, are max-pooled to 4x4: 16 numbers a map. The program for
# SVHN has 64, 128 and 256 maps, 7,168 numbers. The paper's 28,672 for CIFAR-10 do not come from the network of its
# figure 1 but from one of six convolutions, for images of 32x32.


# %%
def by_hand(judge: nn.Module, x: tinyconv.Tensor) -> np.ndarray:
    """Return the features (N, F): what comes out of each LeakyReLU, pooled to at most 4x4."""
    rows = []
    with tinyconv.no_grad():
        for layer in judge.eval().children():
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                rows.append(F.adaptive_max_pool2d(x, min(4, x.shape[2])).numpy().reshape(len(x), -1))
    return np.concatenate(rows, axis=1)


def convolutions(widths: tuple[int, ...], kernel: int, strides: tuple[int, ...]) -> nn.Sequential:
    """Return a discriminator's convolutions on colour images, without its last layer."""
    layers: list[nn.Module] = []
    for before, after, stride in zip((3, *widths), widths, strides, strict=False):
        layers += [nn.Conv2d(before, after, kernel, stride, kernel // 2), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


SVHN, CIFAR = ((64, 128, 256), 5, (2, 2, 2)), ((128, 128, 256, 256, 512, 512), 3, (1, 2, 1, 2, 1, 2))


# %% [markdown]
# ## Few labels
#
# Ten linear machines, one for each digit, learn 100 or 1,000 labelled digits from three kinds of numbers: pixels, the
# features of a D that has learnt nothing, and those of the same D after the game. 500 more labels choose their cost.
# Random filters with a ReLU and a pool are features, too: what the game adds is what lies between the last two. Side by
# side as they come, both lose to pixels with 100 labels: the second layer is normalised, the first is not and has
# smaller values, and a linear machine listens to what is large. *Level*, with the same mean norm, they win.


# %%
def parts(n: int | None = None) -> dict[str, Any]:
    """Return images and labels of what the machines learn from, of what chooses their cost, and of the test."""
    train, test = digits("train"), digits("test")
    cuts = {"learn": (train, slice(0, n or TRAIN)), "choose": (train, slice(TRAIN, TRAIN + n if n else None))}
    return {name: (d.images[cut], d.labels[cut]) for name, (d, cut) in {**cuts, "test": (test, slice(n))}.items()}


def features(model: Any | None, sets: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return each set's features: D's, or without a model the pixels."""
    of = (lambda x: x.reshape(len(x), -1)) if model is None else lambda x: discriminator_features(model, x)
    return {name: of(images) for name, (images, _) in sets.items()}


def level(x: dict[str, np.ndarray], first: int = 16 * 16) -> dict[str, np.ndarray]:
    """Return features of which the first layer's, so many, and the others have a mean norm of 1 each."""
    one, two = (np.linalg.norm(part, axis=1).mean() for part in np.split(x["learn"], [first], axis=1))
    return {name: np.hstack([v[:, :first] / one, v[:, first:] / two]) for name, v in x.items()}


def errors(kinds: dict[str, Any], sets: dict[str, Any], count: int, seed: int, draws: int) -> dict[str, list[float]]:
    """Return each kind's errors on the test digits, one for each draw of ``count`` labelled digits."""
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    (_, known), (_, choose), (_, test) = sets.values()
    for draw in range(draws):
        i = generator(seed, "labelled digits", draw).permutation(len(known))[:count]
        for kind, x in kinds.items():
            found[kind] += [svm_error(x["learn"][i], known[i], x["choose"], choose, x["test"], test, COSTS).error]
    return found


# %%
if __name__ == "__main__":
    seed, short = lesson.seed, lesson.smoke
    for name, plan in {"SVHN": SVHN, "CIFAR-10": CIFAR}.items():
        count = by_hand(convolutions(*plan), tinyconv.zeros(1, 3, 32, 32)).shape[1]
        print(f"{name:8s} maps {plan[0]}, 16 x {sum(plan[0])} = {count:,} features")
    sets = parts(100 if short else None)
    model, other, began = build(seed), build(seed), perf_counter()
    history = learn(model, *((1, 100) if short else (15, TRAIN)), seed)
    print(f"D learnt {history.last['step']} steps without labels, {perf_counter() - began:.0f} s", flush=True)
    kinds = {"pixels": features(None, sets)}
    for kind, one in (("random D", other), ("trained D", model)):
        kinds[kind] = features(settle(one, sets["learn"][0][:1000]), sets)
        kinds[f"{kind}, level"] = level(kinds[kind])
    few = by_hand(model.discriminator, tinyconv.tensor(2 * sets["test"][0][:20] - 1)) - kinds["trained D"]["test"][:20]
    print(f"{few.shape[1]} features, by hand and the library's: {np.abs(few).max():.0e} apart")
    norms = [np.linalg.norm(part, axis=1).mean() for part in np.split(kinds["trained D"]["test"], [256], axis=1)]
    print(f"mean norms of the trained D's layers: {norms[0]:.2f}, {norms[1]:.2f}")
    fig, axis = plt.subplots(figsize=(9, 3.8), layout="constrained")
    for count, several in ((30, 1),) if short else ((100, 5), (1000, 1)):
        found = errors(kinds, sets, count, seed, several)
        print(f"{count:5d} labels: " + ", ".join(f"{kind} {np.mean(e):.1%}" for kind, e in found.items()), flush=True)
        axis.plot(list(found), [100 * np.mean(e) for e in found.values()], "o--", label=f"{count:,} labels")
    axis.set(title="test digits told wrong, %", ylim=(0, None))
    axis.legend()
    lesson.save(fig, "features", alt="errors by pixels and by features of a random and a trained D, by labels")
    lesson.next(why="images from coarse to fine")
