# %% [markdown]
# # GAN 1: fooled in one step
#
# minutes 25 | needs lesson 06 | next step2_ostrich.py
#
# Szegedy and others (2013) found that a picture can be changed by so little that nobody sees it, and a network that was
# right is sure of something else. Goodfellow and others (2014) say that this takes one step, and why: not because
# networks are so crooked, but because they are so straight. Their panda (57.7 % sure) becomes a gibbon (99.3 %) when
# each pixel of GoogLeNet's input moves by 0.007 of the range. This step fools two networks that read digits.

# %%
import matplotlib.pyplot as plt
import numpy as np
from digits07 import TEST, TRAIN, digits, judge, learn, network, rivals

import tinyconv
from tinyconv.explain.adversarial import fgsm, random_signs, scores
from tinyconv.nn import functional as F
from tinyconv.views import probabilities

lesson = tinyconv.lesson_step(__name__)
EPOCHS = 1 if lesson.smoke else 20
TRAINING, TESTING = digits("train", 500 if lesson.smoke else TRAIN), digits("test", 100 if lesson.smoke else TEST)
images, labels = TESTING.images, TESTING.labels
NETWORKS = {"softmax": (), "MLP": (200, 200)}  # softmax regression, and two hidden layers of 200 ReLUs
models = {
    name: learn(network(hidden, seed=lesson.seed), TRAINING, epochs=EPOCHS, seed=lesson.seed)
    for name, hidden in NETWORKS.items()
}

# %% [markdown]
# ## The fast gradient sign method
#
# Which change of at most eps per pixel raises the loss J most? If J were linear in x, J + g . r, each pixel on its own
# would go as far as it may in the direction of its gradient:
#
#     x' = x + eps sign(dJ / dx)
#
# The gradient of the loss to the *image* is what backward gives when the image is asked and not the weights. The mean
# over a batch divides by its size, which a sign does not see.
#
# What a sign does see is rounding. The gradient to the scores is p - onehot(label), and a network that is sure has
# p = 1 in float32: the gradient is then 0, or noise, and the network looks safer than it is. With m, the logarithm of
# the sum of exp(z_k) over the other classes, less the label's z, J is softplus(m): it rises with m, so that both have
# the same signs, and m's gradient does not fade.


# %%
def by_hand(model, images, labels, eps, fades):
    """Return the images after one step up J, whose gradient fades, or up m; not clipped."""
    x, own = tinyconv.tensor(images, requires_grad=True), np.eye(10, dtype=np.float32)[labels]
    z = model(x)
    rest = z - tinyconv.tensor(1000 * own)  # without the label: exp(-1000) is 0
    highest = tinyconv.tensor(rest.detach().numpy().max(axis=1, keepdims=True))
    m = (rest - highest).exp().sum(dim=1).log() - (z * tinyconv.tensor(own)).sum(dim=1)
    slope = tinyconv.grad(F.cross_entropy(z, tinyconv.tensor(labels)) if fades else m.sum(), x).numpy()
    return images + np.float32(eps) * np.sign(slope)


for name, model in models.items():
    theirs = fgsm(model, images, labels, 0.25, clip=None)
    for what, fades in (("J", True), ("m", False)):
        mine = by_hand(model, images, labels, 0.25, fades)
        other, error = (mine != theirs).mean(), judge(model, mine, labels)[0]
        print(f"{name}, eps 0.25 up {what}: {other:6.2%} of pixels not as by the library's fgsm; error {error:.1%}")

# %% [markdown]
# ## What it does
#
# Pixels are in [0, 1], and eps = 0.25 is the paper's for MNIST. The control moves every pixel by eps, too, but in a
# random direction. Pictures have no pixels below 0 or above 1, so "clipped" limits what comes out; most of a digit's
# pixels are 0, and half of a random pattern is then lost. The paper did not clip. Say which one you did.

# %%
SIZES = (0.0, 0.05, 0.1, 0.25)
print(f"\n{len(labels)} test digits; for each eps the error, and how sure the network is where it is wrong")
print("                 " + "".join(f"     eps {eps:4.2f} " for eps in SIZES))
curves = {}
for name, model in models.items():
    for what, clip in (("", None), (", clipped", (0.0, 1.0))):
        attacked = [fgsm(model, images, labels, eps, clip=clip) for eps in SIZES]
        at_random = [random_signs(images, eps, clip=clip, seed=lesson.seed) for eps in SIZES]
        for kind, changed in (("gradient", attacked), ("random", at_random)):
            found = [judge(model, x, labels) for x in changed]
            curves[name, kind + what] = [error for error, _ in found]
            print(f"{name:7s} {kind + what:18s}" + "".join(f"{e:6.1%} {sure:5.2f}  " for e, sure in found))

# %% [markdown]
# ## Why: many small changes in one direction
#
# For a score w . x the step along sign(w) adds eps |w|_1, the sum of all absolute weights, exactly. Random signs cancel
# out: they add eps |w|_2 times something of deviation 1. With n pixels |w|_1 is up to sqrt(n) times |w|_2. So the same
# eps does more in a larger image, without being easier to see. Below w is the difference of the right class's weights
# and those of the class that comes second, of softmax regressions on the same digits at three sizes; fgsm, handed this
# one difference as its loss, is seen to take eps |w|_1 from it.

# %%
print("\nsoftmax regressions by image size; margin: right score - best other; means over the test digits")
print("pixels   |w|_1   |w|_2   ratio   sqrt(n)   margin / |w|_1   error   at eps 0.1   random signs")
for side in (7, 14, 28):
    training, test = digits("train", len(TRAINING), side), digits("test", len(labels), side)
    model = learn(network(side=side, seed=lesson.seed), training, epochs=EPOCHS, seed=lesson.seed)
    pair = rivals(z := scores(model, test.images), labels)
    margin, w = (z * pair).sum(axis=1), pair @ model[1].weight.detach().numpy()
    moved = fgsm(model, test.images, pair, 0.1, clip=None, loss=lambda z, pair: -(z * pair).sum())
    lost = ((scores(model, moved) - z) * pair).sum(axis=1)
    assert np.allclose(lost, -0.1 * np.abs(w).sum(axis=1), atol=1e-3)
    one, two = np.abs(w).sum(axis=1).mean(), np.linalg.norm(w, axis=1).mean()
    changes = test.images, fgsm(model, test.images, labels, 0.1, clip=None), random_signs(test.images, 0.1, clip=None)
    clean, along, signs = (judge(model, changed, labels)[0] for changed in changes)
    row = f"{side**2:6d} {one:7.1f} {two:7.2f} {one / two:7.1f} {side:9d} {margin.mean() / one:16.3f}"
    print(row + f"{clean:8.1%} {along:12.1%} {signs:14.1%}")

# %% [markdown]
# |w|_1 / |w|_2, what the right direction does over what a random one does, grows like sqrt(n), as it should: random
# signs get harmless, the gradient's worse. But |w|_1 itself grows by less, and the margin grows, too: the eps that uses
# it up in the mean, margin / |w|_1, does not fall like 1 / sqrt(n): .043, .047 and .032.
#
# The MLP is not linear, and does better at 0.05 (43 against 73 %). But ReLUs are linear nearly everywhere: at 0.25
# it is wrong on all digits but one, and 96 % sure; on the digits as they are it is wrong on five in a hundred, and 83 %
# sure there. One sees a change of 0.25 on so few pixels (first figure, clipped), but not another digit.

# %%
fig, axes = plt.subplots(2, 6, figsize=(11, 4.2), layout="constrained")
for line, (name, model) in zip(axes, models.items(), strict=True):
    some, their = images[:60], labels[:60]
    changed = fgsm(model, some, their, 0.25)
    before, after = (probabilities(scores(model, x)) for x in (some, changed))
    for k, i in enumerate(np.flatnonzero((before.argmax(1) == their) & (after.argmax(1) != their))[:2]):
        said = [f"{name}: {p[i].argmax()}, {p[i].max():.0%} sure" for p in (before, after)]
        line[3 * k].imshow(some[i, 0], cmap="gray", vmin=0, vmax=1)
        line[3 * k + 1].imshow(changed[i, 0] - some[i, 0], cmap="coolwarm", vmin=-0.25, vmax=0.25)
        line[3 * k + 2].imshow(changed[i, 0], cmap="gray", vmin=0, vmax=1)
        for axis, title in zip(line[3 * k : 3 * k + 3], (said[0], "change, at most 0.25", said[1]), strict=True):
            axis.set_title(title, fontsize=9)
for axis in axes.flat:
    axis.axis("off")
alt = "digits that are read rightly, changes of up to 0.25 per pixel, clipped, and the sums, read as other digits"
lesson.save(fig, "fooled", alt=alt)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
for axis, name in zip(axes, models, strict=True):
    for (whose, kind), errors in curves.items():
        if whose == name:
            colour, dashes = ("C0" if "random" in kind else "C3"), ("--" if "clipped" in kind else "-")
            axis.plot(SIZES, errors, colour + dashes, label=kind)
    axis.set(title=name, xlabel="eps", ylabel="error")
axes[1].legend()
alt = "error against eps: along the gradient it rises towards 100 %, by random signs of the same size hardly at all"
lesson.save(fig, "curves", alt=alt)
lesson.next(why="how small can a change be?")
