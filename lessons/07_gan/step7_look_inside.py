# %% [markdown]
# # GAN 7: how good is it?
#
# minutes 25 | needs step6_train.py | next step8_dcgan.py
#
# A generator has no test error: nobody says which picture it should have drawn. One can look at its samples, which
# flatters one that has learnt images by heart; so one looks at the nearest training images, and at what lies between
# two samples. The paper also gives a number, by Parzen windows. And last: what the paper's own rates do here.

# %%
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from blurred07 import blurred
from digits07 import digits
from step6_train import SAMPLES, TRAIN, compared, judge, learn

import tinyconv
from tinyconv import models
from tinyconv.generative.figures import interpolations, nearest, strip
from tinyconv.generative.measures import nearest_distance, spread, verdict
from tinyconv.generative.parzen import Parzen, log_likelihood
from tinyconv.generative.training import PAPER
from tinyconv.models.gan import SCALES, uniform_

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Parzen windows
#
# Put a small Gaussian around each sample; their mean is a density, and test points should be likely under it. Its width
# sigma is chosen on other points of the data: too narrow, and a point between two samples is impossible; too wide, and
# the density is nothing but a blur. The number does not see copies, and it rewards blur: around the
# training digits themselves it is higher than around G's samples, around means of such a digit and two of its nearest
# far higher still.


# %%
def ring(n: int) -> np.ndarray:
    """Return points (n, 2) near a circle, which stand for images."""
    angles, radii = lesson.rng.uniform(0, 2 * np.pi, n), lesson.rng.normal(1, 0.08, n)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def windows_in_the_plane(n: int) -> dict[float, float]:
    """Draw windows around n samples of a ring by their width; return other points' mean log-likelihood for each."""
    samples, others, sigmas = ring(n), ring(500), (0.02, 0.1, 0.5)
    line = np.linspace(-1.7, 1.7, 120)
    places = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
    found = {sigma: float(log_likelihood(others, samples, sigma).mean()) for sigma in sigmas}
    for axis, (sigma, nat) in zip(axes, found.items(), strict=True):
        density = np.exp(log_likelihood(places, samples, sigma)).reshape(120, 120)
        axis.imshow(density, extent=(-1.7, 1.7, -1.7, 1.7), origin="lower", cmap="Blues")
        axis.plot(*samples.T, "k.", ms=2)
        axis.set(title=f"sigma {sigma}: {nat:.2f} nat", xticks=[], yticks=[])
    alt = f"windows around {n} points of a ring, of three widths: the wider, the more the dots become one blot"
    lesson.save(fig, "windows", alt=alt)
    return found


# %%
def print_judgement(found: dict[str, Parzen], count: int, n: int) -> None:
    """Print the log-likelihoods, draw how they depend on the width, and say what they are not."""
    print(f"\nnat of the test digits, windows around {count:,} samples or means, {min(count, n):,} training images")
    fig, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for name, one in found.items():
        print(f"  {name:26s} {one.mean:7.1f} +- {one.standard_error:.1f}, sigma {one.sigma:.3f}")
        axis.plot(one.sigmas, one.validation_means, "o-", label=name)
    axis.set(xscale="log", xlabel="sigma", ylabel="nat, the other digits", ylim=(-800, 350))
    axis.legend(fontsize=8)
    lesson.save(fig, "parzen", alt=f"log-likelihood against the windows' width, a curve each for {', '.join(found)}")
    print("in the paper, on all of MNIST: GAN 225 +- 2, deep GSN 214 +- 1.1, DBN 138 +- 2, stacked CAE 121 +- 1.6")
    print("the authors warn of it: high variance, and not good in so many dimensions (there are 784)")


def show(model: Any, n: int) -> None:
    """Save samples with their nearest training digits, and what lies between pairs of them."""
    samples, known = model.sample(20, lesson.seed), digits("train", n).images
    alt = "twenty samples, each above the training digit that is nearest to it"
    lesson.save(nearest(samples, known), "copies", alt=alt)
    alt = "eight rows, each from one sample to another by way of what lies between their latent points"
    lesson.save(interpolations(model, seed=lesson.seed), "interpolations", alt=alt)
    others = digits("test").images[:500]
    away = [np.median(nearest_distance(images, known)) for images in (model.sample(500, 1), others)]
    print(f"median distance to the nearest training digit: samples {away[0]:.2f}, test digits {away[1]:.2f}")
    print(f"spread: samples {spread(model.sample(500, 1)):.3f}, training digits {spread(known):.3f}")


# %% [markdown]
# ## The paper's rates
#
# SGD, both rates 0.1, momentum from 0.5 on. With the initial weights of our small networks, which are as large as each
# layer's width asks for, D learns much faster than G: it is right about nearly everything, and G's images become the
# same specks, later a few coarse pictures. The paper's D begins within +-0.005, on a plateau: for ten epochs G stays
# where it is; then it runs through the same specks, but comes out at digits, and D loses its lead.


# %%
def by_the_paper(n: int, epochs: int, limit: float | None) -> Any:
    """Train the lesson's networks by the paper's recipe; draw what comes of the same 12 points; return the history.

    With a ``limit`` D's weights begin within it.
    """
    tinyconv.manual_seed(lesson.seed)
    model, frames, names = models.gan(scale="lesson"), [], []
    points, looks = model.latent(300, lesson.seed), {1, 3, 5, 8, 12, 16, epochs}
    if limit is not None:
        uniform_(model.discriminator, limit)

    def look(state: Any) -> None:
        images = model.sample(points)
        state.row["sample_spread"] = spread(images)
        if state.epoch in looks:
            frames.append(images[:12])
            names.append(f"epoch {state.epoch}")

    history = learn(model, "gan", n, seed=lesson.seed, recipe=PAPER, epochs=epochs, callbacks=[look], progress=False)
    name, weights = ("rates", "our weights") if limit is None else ("rates-and-weights", f"D within {limit}")
    figure = strip(frames, names, title=f"the paper's rates, {weights}")
    lesson.save(figure, name, alt=f"what G makes of twelve latent points, a column each, after {', '.join(names)}")
    return history


# %%
if __name__ == "__main__":
    short = lesson.smoke
    for sigma, nat in windows_in_the_plane(20 if short else 200).items():
        print(f"points of a ring, windows of sigma {sigma}: {nat:.2f} nat")
    n, epochs = (200, 2) if short else (TRAIN["gan"], 21)
    model = lesson.load_or_train(
        lambda: models.gan(scale="lesson"),
        lambda model: learn(model, "gan", n, seed=lesson.seed, epochs=1 if short else 20, progress=False),
        short="200 digits, one epoch" if short else "20 epochs, 20 s",
    )
    show(model, n)
    count, some = (200, 50) if short else (SAMPLES, None)
    found = {"GAN": judge(model.sample(count, lesson.seed), some), **compared(count, n, some, lesson.seed)}
    means = judge(blurred(digits("train", n).images, count, seed=lesson.seed), some)
    print_judgement({**found, "means of three neighbours": means}, count, n)
    for limit in (None, SCALES["paper"][-1]):
        history = by_the_paper(n, epochs, limit)
        print(f"the paper's rates, D's weights within {limit or '1 / sqrt(inputs)'}")
        for row in history.rows[:: max(1, epochs // 4)]:
            print(f"  epoch {row['epoch']:2d}: D right {row['discriminator_accuracy']:.3f}, ", end="")
            print(f"spread {row['sample_spread']:.3f}")
        print(verdict(history, spread(digits("train", n).images)) or "  nothing went wrong")
    lesson.next(why="networks of convolutions")
