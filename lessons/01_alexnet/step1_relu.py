# %% [markdown]
# # AlexNet 1: why the paper says relu
#
# minutes 15 | needs lesson 00 (gradient, gradient check) | next step2_local_response_norm.py
#
# Before 2012 a unit was usually squashed by `tanh`. AlexNet's units output `max(0, x)` instead, and the paper's first
# figure shows a small network that gets there in about a sixth of the time. This step asks where that factor comes
# from, and then looks for a set-up in which it vanishes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

import tinyconv
from tinyconv.data import digits

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The two functions, and what they let through backwards
#
# Backpropagation multiplies the gradient by the slope at every unit. `tanh` has slope `1 - tanh(x)^2`: near 1 around
# zero and as good as 0 beyond |x| = 4. Such a unit is *saturated*: its weights learn nothing. ReLU's slope is 1
# wherever x > 0.

# %%
print("      x   tanh(x)  its slope   relu(x)  its slope")
for x in (-4.0, 0.5, 2.0, 8.0):
    print(f"{x:7.1f} {np.tanh(x):9.4f} {1 - np.tanh(x) ** 2:10.1e} {max(0.0, x):9.1f} {float(x > 0):10.0f}")

# %% [markdown]
# ## How many units are awake?
#
# 1,000 units with random weights see inputs of a given size. AlexNet was fed centred raw pixels, within about +-128.

# %%
scales = np.logspace(-1, 2.5, 30)
z = lesson.rng.standard_normal((256, 64)) @ lesson.rng.normal(0, 1 / 8, (64, 1000))  # pre-activations of size 1
awake_tanh = [np.mean(1 - np.tanh(z * s) ** 2 > 0.01) for s in scales]
for s in (1, 10, 100):
    share = np.mean(1 - np.tanh(z * s) ** 2 > 0.01)
    print(
        f"inputs of size {s:3d}: slope above 0.01 in {share:5.1%} of the tanh units, {np.mean(z > 0):.1%} of the relus"
    )

# %% [markdown]
# ## Check the slopes by nudging, then break one on purpose
#
# The gradient check of lesson 00 nudges every input and compares. It accepts both functions of the library, and
# catches a bug that is easily made: tanh's slope is `1 - y^2` of the *output*, not `1 - x^2` of the input.


# %%
class BrokenTanh(tinyconv.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save(x)
        return np.tanh(x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return dy * (1 - x * x)


x = lesson.rng.standard_normal((4, 5))
print("gradient check: tanh", tinyconv.gradcheck(tinyconv.tanh, [x]), "| relu", tinyconv.gradcheck(tinyconv.relu, [x]))
try:
    tinyconv.gradcheck(BrokenTanh.apply, [x])
except tinyconv.GradientError as error:
    print(f"caught:\n{error}")

# %% [markdown]
# ## The race
#
# A four-layer network on the bundled 8x8 digits, in 25 lines of NumPy. Each activation gets several learning rates
# and keeps its best one. Two set-ups: *raw* (pixels 0..255 minus their mean, Gaussian weights with std 0.03, as in
# the paper's time) and *friendly* (pixels within [-1, 1], weights scaled to the layer's width, as today).

# %%
train = digits("train")
pixels = train.images.reshape(len(train), -1) / 16.0
rates, steps = ((0.001, 0.003, 0.01), 150) if lesson.smoke else ((0.0003, 0.001, 0.003, 0.01, 0.03, 0.1), 600)


def race(activation: str, scale: float, std: float | None, rate: float) -> list[float]:
    """Return the training error after every tenth step of SGD with momentum 0.9 and batches of 32."""
    rng = np.random.default_rng(0)
    inputs, errors = (pixels - pixels.mean()) * scale, []
    good = np.sqrt((2 if activation == "relu" else 1) / 64)  # He et al. 2015, Glorot & Bengio 2010
    weights = [rng.normal(0, std or good, shape) for shape in ((64, 64), (64, 64), (64, 64), (64, 10))]
    velocity = [np.zeros_like(w) for w in weights]
    act = np.tanh if activation == "tanh" else lambda z: np.maximum(z, 0)
    for step in range(1, steps + 1):
        rows = rng.integers(0, len(inputs), 32)
        h = [inputs[rows]]
        for w in weights[:-1]:
            h.append(act(h[-1] @ w))
        d = np.exp((z := h[-1] @ weights[-1]) - z.max(1, keepdims=True))
        d /= d.sum(1, keepdims=True)
        d[np.arange(32), train.labels[rows]] -= 1  # gradient of the cross-entropy: softmax minus one-hot
        for layer in (3, 2, 1, 0):
            gradient = h[layer].T @ d / 32
            if layer:
                d = (d @ weights[layer].T) * (1 - h[layer] ** 2 if activation == "tanh" else h[layer] > 0)
            velocity[layer] = 0.9 * velocity[layer] - rate * gradient
            weights[layer] = weights[layer] + velocity[layer]
        if step % 10 == 0:
            out = inputs
            for w in weights[:-1]:
                out = act(out @ w)
            errors.append(float(np.mean((out @ weights[-1]).argmax(1) != train.labels)))
    return errors


curves = {}
threadpool_limits(1)  # for products this small a second thread costs more than it brings
print("steps to 10 % training error, each with its best rate")
for setup, scale, std in (("raw", 255.0, 0.03), ("friendly", 1.0, None)):
    for activation in ("relu", "tanh"):
        runs = {rate: race(activation, scale, std, rate) for rate in rates}
        needed = {rate: next((10 * i for i, e in enumerate(runs[rate], 1) if e < 0.1), np.inf) for rate in rates}
        best = min(rates, key=needed.get)
        curves[setup, activation] = runs[best]
        print(f"  {setup:9s} {activation}: {needed[best]:4.0f}   (rate {best})")

# %% [markdown]
# On raw inputs ReLU is several times faster; on friendly ones the two are level. The famous factor is not about ReLU
# but about *saturation*, which AlexNet's inputs and weights invited. `claims.py` repeats it with convolutions.

# %%
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
grid = np.linspace(-5, 5, 201)
left.plot(grid, np.tanh(grid), "C1", label="tanh")
left.plot(grid, 1 - np.tanh(grid) ** 2, "C1--", label="slope of tanh")
left.plot(grid, np.maximum(grid, 0), "C0", label="relu")
left.plot(grid, grid > 0, "C0--", label="slope of relu")
left.set(ylim=(-1.2, 3), xlabel="x", title="the functions and their slopes")
middle.semilogx(scales, awake_tanh, "C1", label="tanh")
middle.axhline(np.mean(z > 0), color="C0", label="relu")
middle.set(ylim=(0, 1.05), xlabel="size of the inputs", title="share of units with slope > 0.01")
for (setup, activation), errors in curves.items():
    style = ("C0" if activation == "relu" else "C1") + ("-" if setup == "raw" else ":")
    right.plot(10 * np.arange(1, len(errors) + 1), errors, style, label=f"{activation}, {setup} inputs")
right.set(xlabel="step", title="training error, best rate each", ylim=(0, 1))
for axis in (left, middle, right):
    axis.legend(fontsize=8)
lesson.save(fig, "relu", alt="on raw pixels most tanh units are flat, so it trains slower")
lesson.next(why="what AlexNet does with activations that have no ceiling")
