# %% [markdown]
# # ResNet 2: one block, forwards and backwards
#
# minutes 25 | needs step1_degradation.py | next step3_shortcuts.py
#
# Two layers that should learn some function H(x) are asked for F(x) = H(x) - x instead, and x is added (sec. 3.1):
#
#     y = ReLU(F(x) + x)        F = convolution, BN, ReLU, convolution, BN
#
# If the best thing to do is nothing, F has to be zero, which weights find more easily than an identity. This step
# writes the block in NumPy, gradient-checks it, and breaks it: some slips the check catches, some it cannot.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.models.residual import BasicBlock

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# The convolution is lesson 03's: nine shifted copies. Batch normalisation gives each map mean 0 and variance 1, then a
# learned scale and shift. Each returns its output and a function from the output's gradient to its arguments'.

# %%
SHIFTS = list(np.ndindex(3, 3))


def shifted(x, i, j):
    """Return maps (N, C, H, W) moved by (1 - i, 1 - j), zeros from outside."""
    H, W = x.shape[2:]
    return np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))[:, :, i : i + H, j : j + W]


def conv(x, w):
    """3x3, stride 1, padding 1, no bias: the BN that follows would take it away with the mean."""

    def back(dy):
        dw = np.stack([np.einsum("nkhw,nchw->kc", dy, shifted(x, i, j)) for i, j in SHIFTS], -1).reshape(w.shape)
        return sum(np.einsum("nkhw,kc->nchw", shifted(dy, 2 - i, 2 - j), w[:, :, i, j]) for i, j in SHIFTS), dw

    return sum(np.einsum("nchw,kc->nkhw", shifted(x, i, j), w[:, :, i, j]) for i, j in SHIFTS), back


def batch_norm(x, gamma, beta, eps=1e-5):
    """Over images and pixels. Mean and deviation depend on x, too: hence the two means that backward takes away."""
    over, scale = (0, 2, 3), gamma[:, None, None]
    inverse = 1 / np.sqrt(x.var(axis=over, keepdims=True) + eps)
    xhat = (x - x.mean(axis=over, keepdims=True)) * inverse

    def back(dy):
        common = dy.mean(axis=over, keepdims=True) + xhat * (dy * xhat).mean(axis=over, keepdims=True)
        return scale * inverse * (dy - common), (dy * xhat).sum(axis=over), dy.sum(axis=over)

    return scale * xhat + beta[:, None, None], back


# %% [markdown]
# ## The block
#
# Forwards x goes two ways and the results are added. Backwards the gradient of the sum goes two ways *unchanged*, once
# through F and once past it, and where the ways met at x the two gradients are added. That is all of ResNet.


# %%
class Block(tinyconv.Function):
    """y = ReLU(F(x) + x)."""

    # The output, and what its gradient is multiplied by on its way into the branch and into the shortcut.
    join = staticmethod(lambda branch, x: (np.maximum(branch + x, 0), (branch + x > 0, branch + x > 0)))
    meet = staticmethod(lambda from_branch, from_shortcut: from_branch + from_shortcut)  # the gradient of x

    @classmethod
    def forward(cls, ctx, x, w1, g1, b1, w2, g2, b2):
        a, back_a = conv(x, w1)
        b, back_b = batch_norm(a, g1, b1)
        c, back_c = conv(np.maximum(b, 0), w2)
        d, back_d = batch_norm(c, g2, b2)
        y, gates = cls.join(d, x)
        ctx.parts = back_a, back_b, b > 0, back_c, back_d, gates
        return y

    @classmethod
    def backward(cls, ctx, dy):
        back_a, back_b, positive, back_c, back_d, gates = ctx.parts
        dc, dg2, db2 = back_d(dy * gates[0])
        db, dw2 = back_c(dc)
        da, dg1, db1 = back_b(db * positive)
        dx, dw1 = back_a(da)
        return cls.meet(dx, dy * gates[1]), dw1, dg1, db1, dw2, dg2, db2


def variant(name, **parts):
    """Return a block that differs from Block in some parts."""
    return type(name, (Block,), {part: staticmethod(function) for part, function in parts.items()})


BROKEN = [
    variant("ForgetsTheShortcut", meet=lambda branch, shortcut: branch),
    variant("TakesTheGatesOfF", join=lambda branch, x: (np.maximum(branch + x, 0), (branch + x > 0, branch > 0))),
    variant("ReluBeforeTheSum", join=lambda branch, x: (np.maximum(branch, 0) + x, (branch > 0, np.ones_like(x)))),
    variant("NoReluAfterTheSum", join=lambda branch, x: (branch + x, (np.ones_like(x), np.ones_like(x)))),
]


def weights(C):
    """Return random w, gamma, beta of both layers; He's deviation for w."""
    rng, he = lesson.rng, (2 / (9 * C)) ** 0.5
    layers = [(rng.normal(0, he, (C, C, 3, 3)), rng.uniform(0.5, 1.5, C), rng.normal(0, 0.3, C)) for _ in range(2)]
    return [*layers[0], *layers[1]]


C = 2 if lesson.smoke else 3
x, parameters = lesson.rng.standard_normal((2, C, 3, 4) if lesson.smoke else (3, C, 4, 5)), weights(C)
library = BasicBlock(C, C, 1, "A", "v1", {"dtype": np.float64})
for parameter, value in zip(library.parameters(), parameters, strict=True):
    parameter.data[...] = value
theirs = library(tinyconv.tensor(x)).detach().numpy()
print("off from the library's block, and what the gradient check says")
for block in (Block, *BROKEN):
    try:
        tinyconv.gradcheck(block.apply, [x, *parameters])
        said = "passes"
    except tinyconv.GradientError as error:
        said = "caught:" + str(error).splitlines()[0].partition(":")[2]
    off = np.abs(block.apply(*map(tinyconv.tensor, [x, *parameters])).numpy() - theirs).max()
    print(f"{block.__name__:19s} {off:5.0e}   {said}")

# %% [markdown]
# The last two pass, and are not ResNet: their gradients belong to what they compute. Only a comparison with the paper's
# definition tells. What the ReLU before the sum changes is seen in a stack: F can then only add, never take away, and
# the signal grows with every block (figure). And the promise that doing nothing is easy: with gamma and beta of the
# last BN at 0, F is 0 and the block is ReLU(x).

# %%
idle = Block.apply(*map(tinyconv.tensor, [x, *parameters[:4], np.zeros(C), np.zeros(C)])).numpy()
print("\nlast gamma and beta 0: the block is ReLU(x), bit by bit:", np.array_equal(idle, np.maximum(x, 0)))
depth, fig = (4 if lesson.smoke else 24), plt.figure(figsize=(6.5, 3.6), layout="constrained")
for block, label in ((Block, "ReLU(F + x)"), (BROKEN[2], "ReLU(F) + x"), (BROKEN[3], "F + x")):
    y = np.maximum(lesson.rng.standard_normal((16, 8, 8, 8)), 0)
    means = [y.mean()]
    for _ in range(depth):
        y = block.apply(*map(tinyconv.tensor, [y, *weights(8)])).numpy()
        means.append(y.mean())
    print(f"mean of the maps after {depth} blocks with random weights, {label:11s}: {means[-1]:5.2f}")
    plt.plot(means, label=label)
plt.legend(title="mean of the maps after so many blocks")
lesson.save(fig, "orders", alt="after 24 blocks the mean is 10 with the ReLU before the sum, 3 after it, 0 without")
lesson.next(why="shortcuts where the shape changes")
