# %% [markdown]
# # GAN 6: training
#
# minutes 5 | needs step5_networks.py | next step7_look_inside.py
#
# Algorithm 1, with the second loss of step 4: one step of D on a batch of real and as many made images, one of G
# through the new D, and again. First one step of it by hand, then the whole: GAN's two networks learn 4,500 handwritten
# digits, DCGAN's (step 8) 5,000 pieces of clothing. Nobody looks at labels. Rates and epochs are the library's recipe;
# step 7 shows what the paper's make of networks as small as these.

# %%
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from digits07 import digits

import tinyconv
from tinyconv import data, models, optim
from tinyconv.generative.algorithm import AlgorithmOne
from tinyconv.generative.figures import training_curves
from tinyconv.generative.measures import spread
from tinyconv.generative.parzen import Parzen, parzen, references
from tinyconv.generative.training import optimizers, recipe_of, train_gan
from tinyconv.generative.watch import Watch
from tinyconv.models.gan import bias_to_mean
from tinyconv.nn import functional as F
from tinyconv.random import initial_seed, training_step

lesson = tinyconv.lesson_step(__name__)
SOURCES: dict[str, Any] = {"gan": data.mnist, "dcgan": data.fashion_mnist}
TRAIN = {"gan": 4500, "dcgan": 5000}  # the last 500 digits choose the width of the Parzen windows
FILES = {"gan": "model", "dcgan": "dcgan"}  # .npz; the first is the lesson's model
SAMPLES = 10_000  # for the Parzen windows

# %% [markdown]
# ## One step by hand
#
# D's loss is half of both cross-entropies: -log D(x) is softplus(-logit), -log(1 - D(G(z))) is softplus(logit). G's is
# the second, -log D(G(z)). What matters is who learns. For D made images are just numbers (no_grad). G's gradient goes
# back through all of D, but its optimizer has only G's weights. Dropout in D stays on, as in the released program.


# %%
def one_step(model: Any, real: tinyconv.Tensor, between: Any = lambda: None) -> None:
    """Do the first step of algorithm 1; ``between`` is called after D's part."""
    D, G, n, seed, recipe = model.discriminator, model.generator, len(real), initial_seed(), recipe_of(model)
    learn_d = optim.Adam(D.parameters(), recipe.discriminator, (recipe.beta1, 0.999))
    learn_g = optim.Adam(G.parameters(), recipe.generator, (recipe.beta1, 0.999))
    z = tinyconv.tensor(model.latent(n, seed, "gan.discriminator"))  # as the library draws it
    with tinyconv.no_grad():
        fake = G(z)
    loss = (F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()) * 0.5
    learn_d.zero_grad()
    loss.backward()
    learn_d.step()
    between()
    loss = F.softplus(-D(G(tinyconv.tensor(model.latent(n, seed, "gan.generator"))))).mean()
    learn_g.zero_grad()
    loss.backward()
    learn_g.step()


def compare(seed: int, n: int) -> tuple[bool, float, float]:
    """Return whether D's part left G as it was, by how much D's weights changed, and how far the library's are off."""
    seen, real = [], tinyconv.tensor(digits("train", n).images)
    for by_hand in (True, False):
        tinyconv.manual_seed(seed)
        model = models.gan(scale="lesson")
        with training_step(0, range(n)):
            if by_hand:
                seen.append(weights(model))
                one_step(model, real, lambda: seen.append(weights(model)))  # noqa: B023
            else:
                optimizer, _ = optimizers(model, recipe_of(model), None, 1, 1)
                AlgorithmOne()(model, optimizer, real, None, 0)
        seen.append(weights(model))
    start, middle, *ends = seen
    still, moved = (most(start[part], middle[part]) for part in start)
    return still == 0, moved, max(most(ends[0][part], ends[1][part]) for part in start)


def weights(model: Any) -> dict[str, list[np.ndarray]]:
    """Return copies of both networks' weights."""
    return {k: [p.data.copy() for p in getattr(model, k).parameters()] for k in ("generator", "discriminator")}


def most(left: list[np.ndarray], right: list[np.ndarray]) -> float:
    """Return the largest difference."""
    return max(float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))


# %%
def learn(model: Any, name: str, n: int | None = None, *, seed: int = 0, **how: Any) -> Any:
    """Train a "gan" or "dcgan" on the first n images of its kind; return the history. More for ``train_gan``."""
    return train_gan(model, data.Subset(SOURCES[name](), range(n or TRAIN[name])), seed=seed, **how)


def held_out(n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the digits that choose the windows' width, and those of the test; in a smoke run n of each."""
    return digits("train").images[TRAIN["gan"] :][:n], digits("test").images[:n]


def judge(samples: np.ndarray, n: int | None = None) -> Parzen:
    """Return the log-likelihood of the test digits under windows around samples."""
    return parzen(samples, *held_out(n))


def compared(count: int, n: int, few: int | None = None, seed: int = 0) -> dict[str, Parzen]:
    """Return the same for count of n training digits as if they were samples, a Gaussian, and the mean digit."""
    return references(digits("train", n).images, *held_out(few), count, seed)


def watched(model: Any, name: str, n: int, epochs: int, folder: Path, **how: Any) -> Any:
    """Train with a look at the same 64 samples now and then; draw the curves, the strip and the film."""
    images, began = SOURCES[name]().images[:n].astype(np.float32) / 255, perf_counter()
    watch = Watch(model, folder, every=max(1, epochs // 20), data_spread=spread(images))
    if name == "gan":
        bias_to_mean(model, images[:500])  # train_gan would do the same: here for the picture of epoch 0
    if not how.get("resume"):
        watch.before(model)
    history = learn(model, name, n, epochs=epochs, print_every=max(1, epochs // 10), callbacks=[watch], **how)
    print(f"{perf_counter() - began:.0f} s; {', '.join(map(str, watch.finish()))}")
    alt = "losses of both networks, D's share of right answers, and how much the samples differ, by epoch"
    lesson.save(training_curves(history, spread(images)), f"curves-{name}", alt=f"{name}: {alt}")
    return history


# %%
if __name__ == "__main__":
    seed, short = lesson.seed, lesson.smoke
    still, moved, off = compare(seed, 100)
    print(f"D's part of a step: its weights change by at most {moved:.1e}; G's are as they were: {still}")
    print(f"both parts: by hand and by AlgorithmOne, weights differ by at most {off:.1e}")
    for name in SOURCES:
        tinyconv.manual_seed(seed)
        model = models.build(name, scale="lesson")
        counts = [sum(p.numel() for p in net.parameters()) for net in (model.generator, model.discriminator)]
        recipe, n = recipe_of(model), 200 if short else TRAIN[name]
        print(f"\n{name}: G {counts[0]:,} parameters, D {counts[1]:,}; {n:,} images", flush=True)
        how = {"seed": seed, "checkpoint": lesson.checkpoint(FILES[name]), "resume": lesson.resume}
        watched(model, name, n, 1 if short else recipe.epochs, lesson.out / f"samples-{name}", **how)
        if name == "gan":
            count, some = (200, 50) if short else (SAMPLES, None)
            print(judge(model.sample(count, seed), some))
            for text, found in compared(count, n, some, seed).items():
                print(f"  to compare, {text}: {found.mean:.1f}")
    print(f"try one: tinyconv sample --weights {lesson.checkpoint()}")
    lesson.next(why="what has it learnt, and why not by the paper's rates?")
