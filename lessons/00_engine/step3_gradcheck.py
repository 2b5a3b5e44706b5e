# %% [markdown]
# # Step 3: how a gradient is checked, and three ways to get one wrong
#
# 25 minutes | needs: step 2 | next: step4_convolution.py
#
# A wrong backward raises no error. The network still learns, only worse, and one looks for the reason everywhere else.
# So every operation is checked against what the derivative *is*: f'(x) is about (f(x + e) - f(x - e)) / (2 e).

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import Function, GradientError, gradcheck
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## How large a step?
# For f = sin we know f' = cos, so we see the error. A large step e is wrong because the curve is not a line: the
# one-sided difference errs by about e f''/2, the central one only by e² f'''/6. A small step is wrong because f(x + e)
# and f(x - e) agree in nearly all digits, and their difference is made of rounding: about u / e, where u is 1e-16 in
# float64 and 6e-8 in float32. The best step lies where both errors are equal.

# %%
steps = 10.0 ** np.arange(-13, 0.1, 0.125)
points = np.linspace(0.5, 1.3, 51)
curves = {}
for label, dtype, central in (
    ("one-sided, float64", np.float64, False),
    ("central, float64", np.float64, True),
    ("central, float32", np.float32, True),
):
    x, e = points.astype(dtype)[:, None], steps.astype(dtype)
    slope = (np.sin(x + e) - np.sin(x - e)) / (2 * e) if central else (np.sin(x + e) - np.sin(x)) / e
    curves[label] = np.median(abs(slope / np.cos(x.astype(np.float64)) - 1), axis=0)

print(f"{'difference':22}{'best step':>10}{'error there':>13}{'error at 1e-3':>15}{'error at 1e-9':>15}")
figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for label, error in curves.items():
    best, coarse, fine = (np.argmin(error), *(np.argmin(abs(np.log10(steps) - p)) for p in (-3, -9)))
    print(f"{label:22}{steps[best]:>10.0e}{error[best]:>13.0e}{error[coarse]:>15.0e}{error[fine]:>15.0e}")
    axes.loglog(steps, error, label=label)
axes.set(
    title="Error of a numerical derivative of sin (median over 51 points)",
    xlabel="step e",
    ylabel="relative error",
    ylim=(1e-13, 10),
)
axes.grid(alpha=0.3)
axes.legend()
lesson.save(
    figure, "error_against_step", alt="Three V-shaped curves: rounding on the left, the bent curve on the right."
)
digits = {label: int(-np.log10(error.min())) for label, error in curves.items()}
print(f"\nRight digits at best: {digits}. So gradients are checked in float64, with central differences.\n")


# %% [markdown]
# ## Three wrong gradients
# `gradcheck` compares backward with central differences: element by element, and along random directions that move all
# elements at once. When they differ it says where, by how much, and what that looks like.


# %%
class Square(Function):
    """x x, with the derivative by one factor only."""

    @staticmethod
    def forward(ctx, x):
        ctx.save(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return dy * x


class AddBias(Function):
    """x + b for a batch x of N rows; b was used N times, but the gradient of one use is returned."""

    @staticmethod
    def forward(ctx, x, b):
        return x + b

    @staticmethod
    def backward(ctx, dy):
        return dy, dy[0]


class MaxPool(Function):
    """The maximum of each window; where windows overlap, backward assigns to the chosen pixel instead of adding."""

    @staticmethod
    def forward(ctx, x, size, stride):
        y, switches = F.max_pool2d(tinyconv.Tensor(x), size, stride, return_indices=True)
        ctx.save(switches.numpy())
        ctx.shape = x.shape
        return y.numpy()

    @staticmethod
    def backward(ctx, dy):
        dx = np.zeros((dy.shape[0], dy.shape[1], ctx.shape[2] * ctx.shape[3]))
        n, c = np.ogrid[: dy.shape[0], : dy.shape[1]]
        dx[n[..., None, None], c[..., None, None], ctx.saved[0]] = dy  # np.add.at(dx, (n, c, switches), dy) would add
        return dx.reshape(ctx.shape), None, None


# Permuted numbers for max pooling: no two are equal, and none so close that a nudge changes which one is the largest.
images = lesson.rng.permutation(98).reshape(2, 1, 7, 7) / 98
random = lesson.rng.normal(size=(4, 3))
checks = {
    "Square": (Square.apply, [random]),
    "AddBias": (AddBias.apply, [random, np.zeros(3)]),
    "MaxPool, windows 2, stride 2": (lambda x: MaxPool.apply(x, 2, 2), [images]),
    "MaxPool, windows 3, stride 2": (lambda x: MaxPool.apply(x, 3, 2), [images]),
    "tinyconv's max_pool2d, 3, 2": (lambda x: F.max_pool2d(x, 3, 2), [images]),
    "relu where x is 0": (F.relu, [np.array([-1.0, 0.0, 2.0])]),
}
for label, (operation, inputs) in checks.items():
    try:
        gradcheck(operation, inputs, name=label)
        print(f"{label}: right\n")
    except GradientError as error:
        print(f"{error}\n")

# %% [markdown]
# Two things to keep. The broken MaxPool passes when windows do not overlap: a check is worth what its *shapes* are
# worth, so tinyconv's tests check every operation at many geometries. And at a kink (relu at 0, two equal maxima) there
# is no derivative: inputs for a check must stay away from there.
#
# Where does the broken MaxPool go wrong? At pixels that are the maximum of more than one window.

# %%
x = tinyconv.tensor(images[:1], requires_grad=True)
right = tinyconv.grad(F.max_pool2d(x, 3, 2).sum(), x).numpy()[0, 0]
wrong = tinyconv.grad(MaxPool.apply(x, 3, 2).sum(), x).numpy()[0, 0]
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
titles = "input x (7 by 7)", "gradient of sum(y): added", "gradient of sum(y): assigned"
for panel, image, top, title in zip(panels, (images[0, 0], right, wrong), (1, 4, 4), titles, strict=True):
    shown = panel.imshow(image, vmin=0, vmax=top)
    panel.set(title=title, xlabel="column", ylabel="row")
    figure.colorbar(shown, ax=panel, shrink=0.8)
alt = "A random image; its gradient, up to 4 at a pixel; the wrong gradient, never above 1."
lesson.save(figure, "max_pool_gradient", alt=alt)
print(f"sum of the gradient: added {right.sum():.0f}, assigned {wrong.sum():.0f}; there are 9 windows")

lesson.next(why="convolution, from seven loops to compiled ones")
