# %% [markdown]
# # GoogLeNet 10: at equal cost
#
# minutes 15 | needs step9_views.py | next exercises.py
#
# The module is worth something only if it beats what one would have built otherwise for the same money. Here are two
# small networks with the same beginning, a 5x5 and a pool: one goes on with two Inception modules, the other with two
# plain 3x3 convolutions, as wide as about the same number of multiply-adds allows. The images are drawn
# shapes with noise.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import nn, views
from tinyconv.claims_training import images, initialise, judge, train
from tinyconv.models.inception import Inception, Widths

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Two networks

# %%
MODULES = (Widths(8, 12, 16, 4, 8, 8), Widths(16, 16, 32, 8, 16, 16))
PLAIN = (27, 36)


def network(kind: str, device: str = "cpu") -> nn.Sequential:
    """Return a network for images of 3x24x24 with ten classes: a stem, two modules or convolutions, one layer."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 5, padding=2, device=device), nn.ReLU(), nn.MaxPool2d(2)]
    channels = 16
    for widths, filters in zip(MODULES, PLAIN, strict=True):
        if kind == "Inception":
            layers += [Inception(channels, widths, device=device), nn.MaxPool2d(2)]
            channels = widths.out
        else:
            layers += [nn.Conv2d(channels, filters, 3, padding=1, device=device), nn.ReLU(), nn.MaxPool2d(2)]
            channels = filters
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 9, 10, device=device))


for kind in ("Inception", "plain"):
    summary = tinyconv.summary(network(kind, "meta"), (3, 24, 24))
    print(f"{kind:10s} {summary.total_params:7,d} parameters, {summary.total_macs:9,d} multiply-adds")

# %% [markdown]
# Equal multiply-adds are not equal time: a module has six small convolutions where the plain network has one, and small
# ones use a processor badly. The time is printed, too.
#
# ## Train both
#
# 1,500 images, 600 steps of SGD with momentum, He's weights, two seeds each. Then the answers of the two networks of a
# kind are averaged, as the paper does with seven: an ensemble.

# %%
training, test = images(160 if lesson.smoke else 1500, 0.25, 0), images(100 if lesson.smoke else 1000, 0.25, 1000)
curves, found, seconds = {}, {}, {}
for kind in ("Inception", "plain"):
    start = perf_counter()
    for seed in (0, 1):
        tinyconv.manual_seed(seed)
        model = network(kind)
        initialise(model, "he")
        steps, every = (20, 10) if lesson.smoke else (600, 100)
        for step in train(model, training, steps, 0.01, weight_decay=5e-4, seed=seed, every=every):
            curves.setdefault((kind, seed), []).append((step, *judge(model, training)[:1], *judge(model, test)[:1]))
        found.setdefault(kind, []).append(views.predict(model, test.images))
    seconds[kind] = (perf_counter() - start) / 2
print("\n              test error of seeds 0, 1     mean   their average   training error   seconds each")
for kind, parts in found.items():
    each = [views.top_k_error(part, test.labels) for part in parts]
    both, fitted = views.top_k_error(np.mean(parts, axis=0), test.labels), [curves[kind, s][-1][1] for s in (0, 1)]
    print(f"{kind:10s} {each[0]:15.1%}, {each[1]:.1%} {np.mean(each):14.1%} {both:15.1%} {np.mean(fitted):16.1%} "
          f"{seconds[kind]:14.1f}")  # fmt: skip

# %% [markdown]
# Two seeds are two seeds. `claims.py` has three, on other images each time: after 600 steps one of them came out the
# other way round, after 1,800 none did (rows X8 and X8').

# %%
fig, axis = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
for (kind, seed), points in curves.items():
    steps, fitted, errors = zip(*points, strict=True)
    colour = "C0" if kind == "Inception" else "C1"
    axis.plot(steps, errors, colour, ls="-" if seed == 0 else "--", label=f"{kind}, seed {seed}: test")
    axis.plot(steps, fitted, colour, ls="-" if seed == 0 else "--", lw=0.8, alpha=0.6)
axis.set(title="error (thin: on the training images)", xlabel="step", ylim=(0, 0.95))
axis.legend()
lesson.save(fig, "equal_cost", alt="test and training errors of two networks of equal cost over 600 steps")
lesson.next("exercises.py", why="write these parts yourself; lesson 05_resnet goes on with depth")
