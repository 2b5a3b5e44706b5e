# %% [markdown]
# # AlexNet 5: dropout, the paper's way and today's
#
# minutes 15 | needs step4_two_gpus.py | next step6_augmentation.py
#
# AlexNet has 61 million parameters and overfits badly. In fc6 and fc7 every unit is therefore switched off with
# probability one half, drawn anew for every image and step (sec. 4.2). No unit can rely on one certain partner being
# there. It costs: training takes about twice the steps.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.nn import functional as F
from tinyconv.random import training_step

lesson = tinyconv.lesson_step(__name__)
rng = lesson.rng

# %% [markdown]
# ## Two forms
#
# While testing all units are there: twice the input for the next layer. The *paper* halves the outputs at test time.
# The *inverted* form, today's usual one, doubles those kept during training, so that testing changes nothing.


# %%
def dropout(x: np.ndarray, p: float, training: bool, inverted: bool) -> np.ndarray:
    """Drop with probability p, in either form."""
    if not training:
        return x if inverted else x * (1 - p)
    kept = rng.random(x.shape) >= p
    return x * kept / (1 - p) if inverted else x * kept


x = np.full((20000, 4), 2.0)
print("mean over 20,000 draws of an activation of 2:   training   test")
for name, inverted in (("paper", False), ("inverted", True)):
    print(f"  {name:44s}{dropout(x, 0.5, True, inverted).mean():9.3f} {dropout(x, 0.5, False, inverted).mean():6.3f}")
print("in each form, training and test agree on average; the forms differ by a factor of 2\n")

# %% [markdown]
# ## Is the test-time network the average of all the thinned ones?
#
# For one linear layer exactly. Through a ReLU and a softmax only nearly; the paper uses it because averaging really
# would cost thousands of runs. Here 4,000 thinned networks vote on one input.

# %%
hidden = np.maximum(rng.standard_normal(256), 0)
weight1, weight2 = rng.normal(0, 0.09, (256, 128)), rng.normal(0, 0.15, (128, 10))


def softmax(z: np.ndarray) -> np.ndarray:
    """Return probabilities along the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


draws = np.repeat(hidden[None], 400 if lesson.smoke else 4000, axis=0)
thinned = dropout(draws, 0.5, True, False) @ weight1
whole = dropout(hidden[None], 0.5, False, False) @ weight1
votes = softmax(dropout(np.maximum(thinned, 0), 0.5, True, False) @ weight2)
single = softmax(dropout(np.maximum(whole, 0), 0.5, False, False) @ weight2)[0]
print(f"linear layer: mean of the draws is off by {np.abs(thinned.mean(axis=0) - whole[0]).max():.3f} at most")
print("probabilities:  average vote", np.round(votes.mean(axis=0), 2))
print("                halved once ", np.round(single, 2), "\n")

# %% [markdown]
# ## Masks that can be repeated
#
# A random mask is trouble: a gradient check needs the same function twice, and a resumed run should go on as if
# nothing had happened. In tinyconv the mask is a function of (seed, step, which image, which unit) and of nothing
# else. Cutting the batch in two changes no mask; the next step has others.

# %%
ones = tinyconv.ones(8, 64)
with training_step(step=7, samples=range(8)):
    together = F.dropout(ones, 0.5).numpy()
with training_step(step=7, samples=range(3)):
    first = F.dropout(ones[:3], 0.5).numpy()
with training_step(step=7, samples=range(3, 8)):
    rest = F.dropout(ones[3:], 0.5).numpy()
with training_step(step=8, samples=range(8)):
    later = F.dropout(ones, 0.5).numpy()
print("one batch of 8 = batches of 3 and 5:", np.array_equal(together, np.concatenate([first, rest])))
print(f"units that change between step 7 and step 8: {np.mean(together != later):.0%}\n")

# %% [markdown]
# ## Gradient check, and two ways to break it
#
# A unit that was dropped passes no gradient: backward needs *the same* mask. Drawing a new one there is caught. So is
# leaving the mask free to change from call to call, since then there is no function whose slope could be measured.


# %%
class NewMaskBackward(tinyconv.Function):
    """Forward and backward each draw."""

    @staticmethod
    def forward(ctx, x):
        return x * (np.random.default_rng(1).random(x.shape) >= 0.5)

    @staticmethod
    def backward(ctx, dy):
        return dy * (np.random.default_rng(2).random(dy.shape) >= 0.5)


def repeatable(x: tinyconv.Tensor) -> tinyconv.Tensor:
    """Dropout whose mask is pinned to step 7."""
    with training_step(step=7, samples=None):
        return F.dropout(x, 0.5, inverted=False)


x = rng.standard_normal((4, 6))
print("pinned mask:", tinyconv.gradcheck(repeatable, [x]))
for name, function in (("new mask in backward", NewMaskBackward.apply), ("free mask", lambda x: F.dropout(x, 0.5))):
    try:
        tinyconv.gradcheck(function, [x], name=name)
    except tinyconv.GradientError as error:
        print(f"{name}: caught\n{error}")

# %%
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(12.5, 3.3), layout="constrained")
left.imshow(together > 0, cmap="Blues", vmax=1.5, aspect="auto", interpolation="nearest")
left.axhline(2.5, color="C3")
left.set(title="masks of step 7 (above the line: images 0-2)", xlabel="unit", ylabel="image")
middle.hist(thinned[:, 0], bins=40, color="C0")
middle.axvline(whole[0, 0], color="C1", label="test time")
middle.axvline(thinned[:, 0].mean(), color="k", ls=":", label="mean of draws")
middle.set(title="one unit of a linear layer", xlabel="pre-activation", yticks=[])
middle.legend(fontsize=8)
right.bar(np.arange(10) - 0.2, votes.mean(axis=0), 0.4, label="average of the thinned networks")
right.bar(np.arange(10) + 0.2, single, 0.4, label="one network, outputs halved")
right.set(title="probability per class", xlabel="class", xticks=range(10), ylim=(0, 0.24))
right.legend(fontsize=8)
lesson.save(fig, "dropout", alt="halved outputs give the mean of the thinned networks, nearly so after the softmax")
lesson.next(why="more images out of the ones you have")
