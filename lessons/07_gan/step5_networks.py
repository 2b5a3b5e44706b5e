# %% [markdown]
# # GAN 5: maxout, and the two networks
#
# minutes 25 | needs step4_game.py | next step6_train.py
#
# The networks that Goodfellow and others (2014) released for handwritten digits are small, and no layer is new but one:
# D is made of *maxout* units (Goodfellow and others, 2013). A maxout unit has no fixed curve such as ReLU's. It puts
# out the largest of a few linear functions of its inputs, its *pieces*, and learns all of them.

# %%
from typing import Any

import numpy as np
from maxout07 import draw, time_it

import tinyconv
from tinyconv import models, nn
from tinyconv_kernels import cpu

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Forward and backward
#
# x holds P pieces of U units for N images, side by side, at M places (one, behind a linear layer). The winner is noted
# as a *switch*, and gets all of the gradient: a piece that lost could be moved a little, and nothing would change.


# %%
def forward(x: np.ndarray, y: np.ndarray, switches: np.ndarray) -> None:
    """Write the maxima y (N, U, M) of x (N, U, P, M), and which piece they are; the first of equal ones."""
    for n, u, m in np.ndindex(y.shape):
        best, at = x[n, u, 0, m], 0
        for p in range(1, x.shape[2]):
            if x[n, u, p, m] > best:
                best, at = x[n, u, p, m], p
        y[n, u, m], switches[n, u, m] = best, at


def backward(dy: np.ndarray, switches: np.ndarray, dx: np.ndarray) -> None:
    """Write dx (N, U, P, M): dy where a piece won, else 0."""
    dx[...] = 0
    for n, u, m in np.ndindex(dy.shape):
        dx[n, u, switches[n, u, m], m] = dy[n, u, m]


class Maxout(tinyconv.Function):
    """Our loops as an operation on (N, U * 3)."""

    learn: Any = staticmethod(backward)

    @staticmethod
    def forward(ctx: Any, x: np.ndarray) -> np.ndarray:
        pieces = x.reshape(len(x), -1, 3, 1)
        y, ctx.switches, ctx.shape = np.empty((*pieces.shape[:2], 1)), np.empty((*pieces.shape[:2], 1), int), x.shape
        forward(pieces, y, ctx.switches)
        return y[..., 0]

    @classmethod
    def backward(cls, ctx: Any, dy: np.ndarray) -> np.ndarray:
        dx = np.empty((*dy.shape, 3, 1))
        cls.learn(dy[..., None], ctx.switches, dx)
        return dx.reshape(ctx.shape)


LEARN: dict[str, Any] = {
    "the winner": backward,  # and two slips
    "all": lambda dy, switches, dx: np.copyto(dx, dy[:, :, None]),
    "the second": lambda dy, switches, dx: backward(dy, np.ones_like(switches), dx),
}


def check_gradients() -> None:
    """Print what the gradient check says of the loops, and of the slips."""
    x = lesson.rng.permutation(24).reshape(2, 12) / 24  # all different: no kinks
    for name, learn in LEARN.items():
        try:
            tinyconv.gradcheck(type("Maxout", (Maxout,), {"learn": staticmethod(learn)}).apply, [x])
            print(f"gradient check, {name} of the pieces learns: passes")
        except tinyconv.GradientError as error:
            print(f"gradient check, {name} of the pieces learns: caught\n  {str(error).splitlines()[0]}")


# %% [markdown]
# NumPy has max, argmax and put_along_axis, but goes over x twice; the library's kernel goes once.


# %%
def max_and_argmax(x: np.ndarray, y: np.ndarray, switches: np.ndarray) -> None:
    """Forward, by NumPy."""
    y[...], switches[...] = x.max(axis=2), x.argmax(axis=2)


def put(dy: np.ndarray, switches: np.ndarray, dx: np.ndarray) -> None:
    """Backward, by NumPy."""
    dx[...] = 0
    np.put_along_axis(dx, switches[:, :, None], dy[:, :, None], axis=2)


WAYS = {"loops": (forward, backward), "NumPy": (max_and_argmax, put)}
WAYS["the kernel"] = cpu.maxout.maxout_forward, cpu.maxout.maxout_backward

# %% [markdown]
# ## The networks
#
# z is uniform within +-sqrt(3), which has variance 1. Before training G's last biases become log(m / (1 - m)), with m
# the mean image, so that z = 0 gives m: the border is black from the start. D loses a fifth of the pixels and half of
# the units to dropout; what is left is multiplied by 1.25 and 2.


# %%
def networks(
    z: int = 100, hidden: int = 1200, units: int = 240, pieces: int = 5, limits: Any = (0.05, 0.005)
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return G and D; weights are uniform within +-limits, biases 0."""
    before = [nn.Linear(z, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    G = nn.Sequential(*before, nn.Linear(hidden, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))
    first = [nn.Flatten(), nn.Dropout(0.2), nn.Linear(784, units * pieces), nn.Maxout(pieces), nn.Dropout(0.5)]
    second = [nn.Linear(units, units * pieces), nn.Maxout(pieces), nn.Dropout(0.5)]
    D = nn.Sequential(*first, *second, nn.Linear(units, 1), nn.Flatten(0))
    for net, limit in ((G, limits[0]), (D, limits[1])):
        for p in net.parameters():
            nn.init.uniform_(p, -limit, limit) if p.ndim > 1 else nn.init.zeros_(p)
    return G, D


def print_table() -> None:
    """Print each layer with its parameters, at the paper's scale and the lesson's."""
    both = [tinyconv.summary(models.gan(scale=scale, device="meta")) for scale in ("paper", "lesson")]
    rows = [[row for row in found.rows if row.params] for found in both]
    print("\nlayer                outputs  parameters  lesson's  parameters")
    for paper, small in zip(*rows, strict=True):
        print(f"{paper.name:18s} {paper.output_shape[0]:9,d} {paper.params:11,d}", end="")
        print(f" {small.output_shape[0]:9,d} {small.params:11,d}")


if __name__ == "__main__":
    check_gradients()
    times = time_it(WAYS, 5 if lesson.smoke else 100, lesson.rng).items()
    print("maxout, 240 units of 5 pieces: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in times))
    alt = "two lines make an angle, five tangents nearly a parabola; of two inputs, planes that meet in straight edges"
    lesson.save(draw(lesson.rng), "maxout", alt=alt)
    tinyconv.manual_seed(lesson.seed)
    ours = networks()
    tinyconv.manual_seed(lesson.seed)
    weights = [[p.detach().numpy() for net in nets for p in net.parameters()] for nets in (ours, [models.gan()])]
    same = all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    print(f"the same weights as those of tinyconv.models.gan(): {same}")
    print_table()
    lesson.next(why="both learn, by turns")
