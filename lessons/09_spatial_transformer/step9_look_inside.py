# %% [markdown]
# # Spatial transformers 9: what it has learnt to undo
#
# minutes 25 | needs step8_train.py | next step10_together.py
#
# Nobody told the transformer of step 8 an angle, a size or a place; but we know them, since we have drawn the digits.
# So one can ask which of the three it takes back, and whether that is what the classifier needed.

# %%
import matplotlib.pyplot as plt
import numpy as np
from digits09 import build, digits, learn
from looking09 import ANGLES, NAMES, Looked, Turn, apart, blame, drift, looked, probabilities, through_a_turn

import tinyconv
from tinyconv.explain.attended_figures import attended_figure

lesson = tinyconv.lesson_step(__name__)
MEASURED, TURNED = 1000, 100  # images

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
    alt = "what the transformer says of angle, scale, x and y against what is so, a dot for each image"
    lesson.save(fig, "undone", alt=alt)


# %% [markdown]
# ## One digit, turned through 360 degrees
#
# In training no digit was turned by more than 45 degrees. Here each is turned about its middle, through a whole turn.
# If the transformer undid it, what comes out would be one and the same picture. How much it changes is measured as the
# distance from what comes out at 0 degrees, over the mean distance of two digits (1: it could as well be another one).
# Then the classifier: does it still see its digit?


# %%
def show_turned(turn: Turn) -> None:
    """Draw one digit through a turn, and what comes out; curves of all."""
    changed = {"what comes in": apart(turn.images), "what comes out": apart(turn.outputs)}
    back, p = np.median(turn.back, axis=1), turn.probabilities.mean(axis=1)
    fig, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for name, values in changed.items():
        axes[0].plot(ANGLES, values, "o-", ms=3, label=name)
    axes[0].legend(fontsize=8)
    axes[1].plot(ANGLES, back, "o-", ms=3)
    axes[1].plot(ANGLES, ANGLES, "k--", lw=1)
    axes[2].plot(ANGLES, p, "o-", ms=3)
    titles = ("distance from 0 degrees", "turned back (median)", "probability of the digit")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="turned by, degrees", xticks=range(-180, 181, 90))
        axis.axvspan(-45, 45, color="0.9", zorder=0)
    alt = "by the angle: how much pictures change, what is turned back, the digit's probability; grey: as in training"
    lesson.save(fig, "turn-curves", alt=alt)
    shown = np.arange(0, len(ANGLES), 2)
    looks, alt = (
        [(turn.grids[shown, 0], turn.outputs[shown, 0])],
        "one digit turned through 360 degrees, and what comes out",
    )
    lesson.save(attended_figure(turn.images[shown, 0], looks, [str(a) for a in ANGLES[shown]]), "turn", alt=alt)
    for k in np.flatnonzero(np.isin(ANGLES, (30, 45, 90, 180))):
        inside, outside = (values[k] for values in changed.values())
        print(f"  turned by {ANGLES[k]:3d}: comes in {inside:.2f} away, comes out {outside:.2f}; ", end="")
        print(f"turned back by {back[k]:5.1f}; the digit's probability {p[k]:.2f}")


# %% [markdown]
# ## Where it fails
#
# Is the transformer to blame? If it were, digits that are told wrongly would be those that it looks at badly: turned
# otherwise than the others after what it does, or off the middle.
#
# ## How theta drifts
#
# All images begin with one theta. While it learns two things can happen: the mean of theta moves away from where it
# began, which helps all images alike, and thetas of different images part, which is what a transformer is for. A mean
# that runs away ends outside of the image, where there is no gradient. At a tenth of the rate it goes slower.


# %%
def show_drift(epochs: int, n: int | None) -> None:
    """Train two networks anew, and draw where theta goes."""
    fig, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for factor, colour in ((1.0, "C0"), (0.1, "C1")):
        rows = drift(lesson.seed, factor, epochs, n)
        for column, style, what in ((0, "o-", "the mean's way"), (1, "s--", "apart")):
            axis.plot(1 + np.arange(epochs), rows[:, column], style, ms=3, color=colour, label=f"x {factor:g}, {what}")
        print(
            f"rate x {factor:g}, {epochs} epochs: theta's mean moves {rows[-1, 0]:.2f}, thetas part {rows[-1, 1]:.2f}"
        )
    axis.set(xlabel="epoch", title="theta, from the identity on")
    axis.legend(fontsize=8)
    alt = "how far theta's mean moves and how far thetas part, by epoch, at two rates of the localisation network"
    lesson.save(fig, "drift", alt=alt)


# %%
if __name__ == "__main__":
    count, some = (40, 5) if lesson.smoke else (MEASURED, TURNED)
    n, epochs = (128, 1) if lesson.smoke else (None, 8)
    model = lesson.load_or_train(
        lambda: build("ST-CNN", "rts", lesson.seed),
        lambda model: learn(model, digits("rts", "train", lesson.seed, n), epochs, lesson.seed),
        short="128 digits, one epoch" if lesson.smoke else "8 epochs, 20 s",
    )
    test = digits("rts", "test", lesson.seed)
    truths = [test.distorted(i) for i in range(count)]
    images, labels = np.stack([t.image for t in truths]), np.array([t.label for t in truths])
    seen = looked(model, images, truths)
    show_numbers(seen)
    order = np.argsort(seen.true[:, 0])[np.linspace(0, count - 1, 8).astype(int)]
    looks = model.attended(tinyconv.tensor(images[order]))
    titles = [f"{seen.true[i, 0]:.0f}, {seen.found[i, 0]:.0f}" for i in order]
    alt = "eight digits by their angle and what comes out of the transformer; above: true angle, the transformer's"
    lesson.save(attended_figure(images[order], looks, titles), "by-angle", alt=alt)
    print(f"{some} digits turned through 360 degrees")
    show_turned(through_a_turn(model, test.sources.images[:some], test.sources.labels[:some], images.shape[-1]))
    p = probabilities(model, images)
    wrong = p.argmax(axis=1) != labels
    print(f"wrong: {wrong.sum()} of {count}")
    for name, (right, other) in blame(seen, wrong).items() if 0 < wrong.sum() < count else ():
        print(f"  {name}: missed by {right:.1f} if right, {other:.1f} if wrong (medians, from the mean miss)")
    worst = np.argsort(np.where(wrong, -p.max(axis=1), 1))[:8]
    looks = model.attended(tinyconv.tensor(images[worst]))
    titles = [f"{labels[i]}: {p[i].argmax()}" for i in worst]
    alt = "eight test digits that are told wrongly with the most confidence: the digit, and what it is taken for"
    lesson.save(attended_figure(images[worst], looks, titles), "wrong", alt=alt)
    show_drift(epochs, n)
    lesson.next(why="several transformers, and finding things without labels")
