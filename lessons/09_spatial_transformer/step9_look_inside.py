# %% [markdown]
# # Spatial transformers 9: what it has learnt to undo
#
# minutes 25 | needs step8_train.py | next step10_together.py
#
# Nobody told step 8's transformer an angle, a size or a place; we know them, since we have drawn the digits. Which of
# the three does it take back?

# %%
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from digits09 import build, digits, learn, undone
from looking09 import ANGLES, NAMES, Looked, Turn, apart, blame, drift, looked, probabilities, through_a_turn

import tinyconv
from tinyconv.explain.attended_figures import attended_figure

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Angle, size, place
#
# The true theta maps the upright digit's frame to where it lies in the image; a perfect transformer would say it, or it
# after any fixed change: the classifier does not mind if all digits come out a little turned, as long as all do. So
# what counts is how the numbers go together, not whether they are equal.


# %%
def show_numbers(seen: Looked) -> None:
    """Print and draw what it says against what is so."""
    fig, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
    print("correlations of what the transformer says with what is so")
    for axis, name, r, true, found in zip(axes, NAMES, seen.correlations(), seen.true.T, seen.found.T, strict=True):
        print(f"  {name:5s} {r:5.2f}; mean {found.mean():6.2f} +- {found.std():.2f}, ", end="")
        print(f"truly {true.mean():6.2f} +- {true.std():.2f}")
        axis.plot(true, found, ".", ms=3)
        axis.plot([true.min(), true.max()], [true.min(), true.max()], "k--", lw=1)
        axis.set(title=f"{name}: r = {r:.2f}", xlabel="true")
    print(f"  mirrored: {seen.mirrored:.0%}")
    axes[0].set_ylabel("the transformer's")
    lesson.save(fig, "taken-back", alt="angle, scale, x and y as the transformer says them against what is so")


def looks_at(model: Any, images: np.ndarray, titles: list[str]) -> Any:
    """Return a figure of what the transformer looks at in images."""
    return attended_figure(images, model.attended(tinyconv.tensor(images)), titles)


# %% [markdown]
# Places come back nearly always, sizes in part, angles not at all. Perhaps a classifier with convolutions, pooling and
# a hidden layer stands a turn by 45 degrees well enough, but not a digit that may be anywhere.
#
# ## One digit, turned through 360 degrees
#
# So here is a second network, which has to turn: ST-FCN, which has no convolutions, and R, digits in the middle that
# are turned by up to 90 degrees. Each digit is turned about its middle, through a whole turn. If the transformer undid
# it, what comes out would be one and the same picture. How much it changes is measured as the distance from what comes
# out at 0 degrees, over the mean distance of two digits (1: it could as well be another one). Then the classifier: does
# it still see its digit?


# %%
def show_turned(turns: dict[str, Turn]) -> None:
    """Print and draw what a turn changes: curves for each network, one digit for the last."""
    fig, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for k, (name, turn) in enumerate(turns.items()):
        inside, outside = apart(turn.images), apart(turn.outputs)
        back, p = np.median(turn.back, axis=1), turn.probabilities.mean(axis=1)
        axes[0].plot(ANGLES, inside, ":", color=f"C{k}", label=f"{name}, comes in")
        curves = (outside, f"{name}, comes out"), (back, name), (p, name)
        for axis, (values, label) in zip(axes, curves, strict=True):
            axis.plot(ANGLES, values, "o-", ms=3, color=f"C{k}", label=label)
        for a in np.flatnonzero(np.isin(ANGLES, (-90, -45, 45, 90, 180))):
            print(f"  {name}, turned by {ANGLES[a]:3d}: in {inside[a]:.2f} away, out {outside[a]:.2f}; ", end="")
            print(f"turned back by {back[a]:5.1f}; the digit's probability {p[a]:.2f}")
    axes[1].plot(ANGLES, ANGLES, "k--", lw=1)
    for axis, title in zip(axes, ("distance from 0 degrees", "turned back (median)", "probability"), strict=True):
        axis.set(title=title, xlabel="turned by, degrees", xticks=range(-180, 181, 90))
    axes[0].legend(fontsize=7)
    alt = "by the angle: how much pictures change, what is turned back, and the digit's probability, of two networks"
    lesson.save(fig, "turn-curves", alt=alt)
    shown = np.arange(0, len(ANGLES), 2)
    looks, titles = [(turn.grids[shown, 0], turn.outputs[shown, 0])], list(map(str, ANGLES[shown]))
    alt = f"a digit, turned, what {name} looks at, and what comes out"
    lesson.save(attended_figure(turn.images[shown, 0], looks, titles), "turn", alt=alt)


# %% [markdown]
# ## Where it fails
#
# Is the transformer to blame? Hardly: places of right and of wrong digits are missed alike, by about a pixel.
#
# ## How theta drifts
#
# All images begin with one theta. While it learns two things can happen: the mean of theta moves away from where it
# began, which helps all images alike, and thetas of different images part, which is what a transformer is for. A mean
# that runs away ends outside of the image, where there is no gradient.


# %%
def show_drift(epochs: int, n: int | None) -> None:
    """Train two networks anew, and draw where theta goes."""
    fig, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for factor, colour in ((1.0, "C0"), (0.1, "C1")):
        rows = drift(lesson.seed, factor, epochs, n)
        for values, style, what in zip(rows.T, ("o-", "s--"), ("the mean's way", "apart"), strict=True):
            axis.plot(1 + np.arange(epochs), values, style, ms=3, color=colour, label=f"x {factor:g}, {what}")
        print(
            f"rate x {factor:g}, {epochs} epochs: theta's mean moves {rows[-1, 0]:.2f}, thetas part {rows[-1, 1]:.2f}"
        )
    axis.set(xlabel="epoch", title="theta, from the identity on")
    axis.legend(fontsize=8)
    lesson.save(fig, "drift", alt="how far theta's mean moves and thetas part, by epoch, at two rates")


# %%
if __name__ == "__main__":
    count, some = (40, 5) if lesson.smoke else (1000, 100)
    n, epochs = (128, 1) if lesson.smoke else (None, 8)
    model = lesson.load_or_train(
        lambda: build("ST-CNN", "rts", lesson.seed),
        lambda model: learn(model, digits("rts", "train", lesson.seed, n), epochs, lesson.seed),
        short="128 digits, one epoch" if lesson.smoke else "8 epochs, 20 s",
    )
    test = digits("rts", "test", lesson.seed)
    truths = [test.distorted(i) for i in range(count)]
    images, labels = (np.array([getattr(t, name) for t in truths]) for name in ("image", "label"))
    seen = looked(model, images, truths)
    show_numbers(seen)
    order = np.argsort(seen.true[:, 0])[np.linspace(0, count - 1, 8).astype(int)]
    titles = [f"{seen.true[i, 0]:.0f}, {seen.found[i, 0]:.0f}" for i in order]
    alt = "eight digits by their angle and what comes out of the transformer; above: true angle, the transformer's"
    lesson.save(looks_at(model, images[order], titles), "by-angle", alt=alt)
    turning = build("ST-FCN", "r", lesson.seed)
    learn(turning, digits("r", "train", lesson.seed, n), 1 if lesson.smoke else 20, lesson.seed)
    print(f"ST-FCN on R: correlation of angles {undone(turning, digits('r', 'test', lesson.seed), count):.2f}")
    upright = test.sources.images[:some], test.sources.labels[:some]
    sizes = {"ST-CNN": (model, 42), "ST-FCN": (turning, 28)}
    show_turned({name: through_a_turn(one, *upright, size) for name, (one, size) in sizes.items()})
    wrong = (p := probabilities(model, images)).argmax(axis=1) != labels
    print(f"wrong: {wrong.sum()} of {count}")
    for name, (right, other) in blame(seen, wrong).items() if wrong.any() else ():
        print(f"  {name}: missed by {right:.1f} if right, {other:.1f} if wrong (medians, from the mean miss)")
    worst = np.argsort(np.where(wrong, -p.max(axis=1), 1))[:8]
    alt = "eight test digits that are told wrongly with the most confidence: the digit, and what it is taken for"
    lesson.save(looks_at(model, images[worst], [f"{labels[i]}: {p[i].argmax()}" for i in worst]), "wrong", alt=alt)
    show_drift(epochs, n)
    lesson.next(why="several transformers, and finding things without labels")
