# %% [markdown]
# # VGG 2: a bug that one layer hides
#
# minutes 20 | needs step1_small_filters.py | next step3_six_configurations.py
#
# VGG has no new layer: nothing here that lesson 01 has not had. What is new is the depth. A convolution needs two
# gradients: with respect to its weights, to learn; and with respect to its input, for the layer below. With one layer
# the second is never used, so a slip in it stays unseen, and the layer even learns. In a stack it poisons everything
# below.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.data import digits
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## A 3x3 convolution in NumPy: nine shifted copies
#
# Stride 1, padding 1: the output is the sum of nine shifted copies of the image, each times its own C x K weights. No
# patches, no loop over pixels. Backwards the same nine shifts: the weights' gradient compares each shifted image with
# dy; the image's gradient shifts dy the *other* way round.

# %%
SHIFTS = list(np.ndindex(3, 3))


def shifted(x: np.ndarray, i: int, j: int) -> np.ndarray:
    """Return maps (N, C, H, W) moved by (1 - i, 1 - j), with zeros from outside."""
    H, W = x.shape[2:]
    return np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))[:, :, i : i + H, j : j + W]


class Conv3x3(tinyconv.Function):
    """y = sum over (i, j) of w[:, :, i, j] applied to the shifted image."""

    back = staticmethod(lambda i, j: (2 - i, 2 - j))  # the shift that undoes (i, j)

    @staticmethod
    def forward(ctx, x, w):
        ctx.save(x, w)
        return sum(np.einsum("nchw,kc->nkhw", shifted(x, i, j), w[:, :, i, j]) for i, j in SHIFTS)

    @classmethod
    def backward(cls, ctx, dy):
        x, w = ctx.saved
        dw = np.zeros_like(w)
        for i, j in SHIFTS:
            dw[:, :, i, j] = np.einsum("nkhw,nchw->kc", dy, shifted(x, i, j))
        dx = sum(np.einsum("nkhw,kc->nchw", shifted(dy, *cls.back(i, j)), w[:, :, i, j]) for i, j in SHIFTS)
        return dx, dw


class Conv3x3Unflipped(Conv3x3):
    """The slip: dy is shifted as the image was."""

    back = staticmethod(lambda i, j: (i, j))


x = lesson.rng.standard_normal((2, 2, 5, 4))
w = lesson.rng.standard_normal((3, 2, 3, 3))
theirs = F.conv2d(tinyconv.tensor(x), tinyconv.tensor(w), padding=1).numpy()
ours = Conv3x3.apply(tinyconv.tensor(x), tinyconv.tensor(w)).numpy()
print(f"off from F.conv2d by {np.abs(ours - theirs).max():.0e}\n")

# %% [markdown]
# ## One layer: the check of the weights passes
#
# A careless test asks: are the gradients of the *parameters* right? Then the same question for two layers.


# %%
def stack(conv: type[Conv3x3], x: np.ndarray, *weights: tinyconv.Tensor) -> tinyconv.Tensor:
    """Apply convolutions with a softened ReLU between them (without the corner, where no gradient can be checked)."""
    y = tinyconv.tensor(x)
    for w in weights:
        y = F.softplus(conv.apply(y, w))
    return y


weights = [w, lesson.rng.normal(0, 0.3, (3, 3, 3, 3)), lesson.rng.normal(0, 0.3, (2, 3, 3, 3))]
for conv in (Conv3x3, Conv3x3Unflipped):
    for depth in (1, 2) if lesson.smoke else (1, 2, 3):
        try:
            tinyconv.gradcheck(lambda *ws: stack(conv, x, *ws), weights[:depth], name="the stack")  # noqa: B023
            print(f"{conv.__name__}, {depth} layers, weights checked: passes")
        except tinyconv.GradientError as error:
            print(f"{conv.__name__}, {depth} layers, weights checked: caught\n  {str(error).splitlines()[0]}")
try:
    tinyconv.gradcheck(Conv3x3Unflipped.apply, [x, w])
except tinyconv.GradientError as error:
    print(f"\nand one layer, its input checked as well: caught at once\n{error}\n")

# %% [markdown]
# So: check every argument of every operation, not only what is trained. The library's table of tests
# (`tests/cases/conv.py`) does that.
#
# ## What the slip costs
#
# Train on the 8x8 digits, one layer deep and four deep, right and wrong. With the slip the deep network learns too,
# from its top layers, whose gradients are right; it is merely worse, and nothing crashes. Such bugs live long.

# %%
data = digits("train")
images, labels = data.images.astype(np.float32) / 16 - 0.3, data.labels
steps = 4 if lesson.smoke else 120


def train(conv: type[Conv3x3], depth: int, seed: int = 0) -> list[float]:
    """Return the training loss of each step: convolutions of 8 maps, then one linear layer; plain SGD."""
    rng = np.random.default_rng(seed)
    shapes = [(8, 1 if i == 0 else 8, 3, 3) for i in range(depth)] + [(10, 8 * 64)]
    params = [tinyconv.tensor(rng.normal(0, (2 / np.prod(s[1:])) ** 0.5, s).astype(np.float32)) for s in shapes]
    for p in params:
        p.requires_grad = True
    losses = []
    for _ in range(steps):
        rows = rng.integers(0, len(images), 64)
        y = tinyconv.tensor(images[rows])
        for p in params[:-1]:
            y = F.relu(conv.apply(y, p))
        loss = F.cross_entropy(F.linear(y.flatten(1), params[-1]), tinyconv.tensor(labels[rows]))
        loss.backward()
        with tinyconv.no_grad():
            for p in params:
                p -= 0.05 * p.grad
                p.grad = None
        losses.append(loss.item())
    return losses


curves = {(conv, depth): train(conv, depth) for conv in (Conv3x3, Conv3x3Unflipped) for depth in (1, 4)}
for (conv, depth), losses in curves.items():
    print(f"{conv.__name__:17s} {depth} layers: mean loss of the last quarter {np.mean(losses[-steps // 4 :]):.3f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
for axis, depth in zip(axes, (1, 4), strict=True):
    for conv, style in ((Conv3x3, "C0"), (Conv3x3Unflipped, "C3--")):
        smooth = np.convolve(curves[conv, depth], np.ones(5) / 5, mode="valid")
        axis.plot(np.arange(len(smooth)) + 5, smooth, style, label="right" if conv is Conv3x3 else "filters not turned")
    axis.set(title=f"{depth} convolution{'s' * (depth > 1)}", xlabel="step", ylim=(0, 2.6))
    axis.legend()
axes[0].set_ylabel("training loss")
lesson.save(fig, "slip", alt="with one layer both curves are the same; with four the wrong gradient learns more slowly")
lesson.next(why="the six networks of the paper, counted")
