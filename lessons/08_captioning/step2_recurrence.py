# %% [markdown]
# # Captions 2: a network that remembers what it has read
#
# minutes 30 | needs step1_sentences.py | next step3_words_and_regions.py
#
# "a three is left of a five" and "a five is left of a three" have the same words. Who reads a sentence word by word has
# to keep something from step to step. A *recurrent* network (Elman, 1990) has a state h: from the new word and the old
# state it makes a new one, by the same weights at every step:
#
#     h_t = f(x_t + W h_{t-1})        f is tanh or, in this paper, ReLU; x_t is the word as it reaches the units
#
# In time it is a deep network, one layer for each word, all with the same W. Its gradient needs nothing new.

# %%
from typing import Any

import numpy as np
from recurrence08 import SCALES, draw, on_cuda, on_the_way, one_unit, time_it

import tinyconv
from tinyconv_kernels import cpu

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Forward, and back through time
#
# A state is used twice: whoever looks at the network's output sees it, and the next step does. Backward, what comes
# from both adds up (`dh`); times the slope of f it is the gradient at x_t, and `W.T` takes it one step back.
#
# Sentences have different lengths. A sentence's states end with it: 0 behind its end. A network that reads from behind
# has to begin at the sentence's own last word; in the padding it would read what is no word, and remember it.


# %%
def forward(x: Any, weight: Any, h0: Any, lengths: Any, reverse: bool, relu: bool, y: np.ndarray) -> None:
    """Write the states y (N, T, H) of N samples; sample n takes lengths[n] steps, begins with h0[n], and reads x[n]."""
    y[...] = 0
    for n, length in enumerate(lengths):
        h = h0[n]
        for t in range(length)[:: -1 if reverse else 1]:
            a = x[n, t] + weight @ h
            h = y[n, t] = np.maximum(a, 0) if relu else np.tanh(a)


def backward(dy: Any, y: Any, weight: Any, lengths: Any, reverse: bool, relu: bool, dx: Any, dh0: Any) -> None:
    """Write dx (N, T, H) and dh0 (N, H): at each step backwards, what comes from above and what comes from behind."""
    dx[...] = 0
    for n, length in enumerate(lengths):
        back = np.zeros_like(dh0[n])
        for t in range(length)[:: 1 if reverse else -1]:
            dh = dy[n, t] + back
            dx[n, t] = dh * ((y[n, t] > 0) if relu else 1 - y[n, t] ** 2)
            back = weight.T @ dx[n, t]
        dh0[n] = back


# %% [markdown]
# W is used at every step, so its gradient is a sum over steps: of dx_t times the state that the step began with. That
# is one matrix product for all steps of all samples, outside the loop.
#
# Two slips, caught by the gradient check: to forget that later steps used the state, and to go back by W instead of its
# transpose. With the first one it still trains: it uses what its state happens to keep, but never learns what to keep.


# %%
class Recurrent(tinyconv.Function):
    """Our loops as an operation of (x, weight), tanh, first states 0."""

    learn: Any = staticmethod(backward)
    lengths = np.array([3, 1])

    @classmethod
    def forward(cls, ctx: Any, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        y, zero = np.empty_like(x), np.zeros((len(x), len(weight)))
        forward(x, weight, zero, cls.lengths, False, False, y)
        ctx.save(weight, y)
        return y

    @classmethod
    def backward(cls, ctx: Any, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight, y = ctx.saved
        dx, before = np.empty_like(y), np.zeros_like(y)
        cls.learn(dy, y, weight, cls.lengths, False, False, dx, np.empty((len(y), len(weight))))
        before[:, 1:] = y[:, :-1]
        return dx, np.einsum("nti,ntj->ij", dx, before)


SLIPS: dict[str, Any] = {
    "as above": backward,
    "only from above": lambda dy, y, w, *rest: backward(dy, y, 0 * w, *rest),
    "back by W": lambda dy, y, w, *rest: backward(dy, y, w.T, *rest),
}


def check_gradients() -> None:
    """Print what the gradient check says of the loops, and of the slips."""
    given = [lesson.rng.standard_normal(shape) for shape in ((2, 3, 4), (4, 4))]
    for name, learn in SLIPS.items():
        try:
            tinyconv.gradcheck(type("Recurrent", (Recurrent,), {"learn": staticmethod(learn)}).apply, given)
            print(f"gradient check, {name}: passes")
        except tinyconv.GradientError as error:
            print(f"gradient check, {name}: caught\n  {str(error).splitlines()[0]}")


def from_behind(x: np.ndarray, weight: np.ndarray, lengths: list[int]) -> np.ndarray:
    """Return the states (N, T, H) of ReLUs that read from behind, told these lengths."""
    y = np.empty_like(x)
    forward(x, weight, np.zeros_like(x[:, 0]), lengths, True, True, y)
    return y


# %% [markdown]
# ## Vanishing and exploding
#
# Going back k steps multiplies by W.T k times, and by slopes. If that shortens vectors, the words of long ago get no
# gradient; if it lengthens them, they get all of it, and a step along such a gradient destroys what was learnt. tanh's
# slopes are at most 1, and small where it saturates; ReLU's are 0 or 1, so that half of a vector is lost at each step,
# and an orthogonal W has to be 1.41 times as large to keep its length. The figure shows both. (An LSTM adds to its
# memory instead, by gates that it learns: step 7.)
#
# Against explosion the paper limits each element of a gradient to +-5. Below, one ReLU unit with w = 1.2 and no input,
# from h = 1, shall be at 1 after 30 steps, and w learns by SGD with a rate of 0.001.


# %%
if __name__ == "__main__":
    check_gradients()
    x, weight = lesson.rng.standard_normal((2, 6, 4)), np.eye(4) * 0.5
    x[1, 2:] = 7  # padding, if sample 1 has two words
    for told in ([6, 2], [6, 6]):
        found = np.round(from_behind(x, weight, told)[1, 0], 2)
        print(f"read from behind, told that the lengths are {told}: first state of sample 1 {found}")
    kinds = [(relu, scale) for relu in (False, True) for scale in SCALES]
    norms = {kind: on_the_way(cpu.recurrent.rnn_backward, *kind, lesson.rng) for kind in kinds}
    for (relu, scale), found in norms.items():
        print(f"{'ReLU' if relu else 'tanh'}, weight {scale:4.2f} x orthogonal: 10 steps back {found[10]:.1e}", end="")
        print(f", 30 steps back {found[30]:.1e}")
    alt = "gradients by steps back: 0.5 vanishes, 2 explodes; tanh at 1 and ReLU at 1.41 stay within a factor of ten"
    lesson.save(draw(norms), "through_time", alt=alt)
    for limit in (None, 5.0):
        path = one_unit(limit)
        print(f"one unit, limit {limit}: w {path[0]:.2f}, {path[1]:.2f}, {path[2]:.2f} ... {path[-1]:.3f}")
    ways = {"loops": (forward, backward), "the kernel": (cpu.recurrent.rnn_forward, cpu.recurrent.rnn_backward)}
    shape = (5, 5, 64) if lesson.smoke else (50, 14, 128)
    times = ", ".join(f"{name} {ms:.2f} ms" for name, ms in time_it(ways, shape, lesson.rng).items())
    print("both ways, {} sentences of up to {} words, {} units: {}".format(*shape, times))
    print("on a GPU, {}: largest difference from the CPU {:.0e}".format(*on_cuda(lesson.rng)))
    lesson.next(why="sentences meet pictures")
