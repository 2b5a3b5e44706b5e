# %% [markdown]
# # Step 1: an autograd engine in 100 lines
#
# 20 minutes | needs: NumPy, the chain rule | next: step2_graph.py
#
# A network is a long formula, and training needs the derivative of one number, the loss, by every weight in it.
# Reverse-mode differentiation gets them all in one sweep: while the formula is computed, each operation writes down
# where its inputs came from and how to turn "d loss / d my output" into "d loss / d my input". Afterwards we walk that
# record backwards. Everything is written out here; from step 2 on we use tinyconv's own.
# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv

lesson = tinyconv.lesson_step(__name__)


# %% [markdown]
# ## The tensor
# An operation makes a Tensor that lists its parents, each with a *pull*: a function from `dy` (the gradient of the loss
# by this output) to the gradient by that parent. Every derivative stands right beside the formula it belongs to.
# %%
class Tensor:
    """An array that remembers how it was made."""

    def __init__(self, data, *parents):
        self.data = np.asarray(data, dtype=np.float64)
        self.grad = np.zeros_like(self.data)
        self.parents = parents  # pairs (parent, pull)

    def __add__(self, other):
        return Tensor(self.data + other.data, (self, lambda dy: dy), (other, lambda dy: dy))

    def __mul__(self, other):
        a, b = self.data, other.data
        return Tensor(a * b, (self, lambda dy: dy * b), (other, lambda dy: dy * a))

    def __matmul__(self, other):
        a, b = self.data, other.data
        return Tensor(a @ b, (self, lambda dy: dy @ b.T), (other, lambda dy: a.T @ dy))

    def tanh(self):
        y = np.tanh(self.data)
        return Tensor(y, (self, lambda dy: dy * (1 - y**2)))

    def mean(self):
        return Tensor(self.data.mean(), (self, lambda dy: np.full(self.data.shape, dy / self.data.size)))

    def backward(self):  # add d self / d t to t.grad for every tensor t that self was made from
        self.grad = np.ones_like(self.data)
        for node in reversed(inputs_first(self)):
            for parent, pull in node.parents:
                # += and not =: a tensor used twice gets a share of the gradient from each use.
                parent.grad += unbroadcast(pull(node.grad), parent.data.shape)


def inputs_first(root):
    """Return all tensors under root, each after its parents.

    Depth first, with a stack of our own: a recursive function dies at about 1000 nested calls, and networks go deeper.
    """
    order, seen, stack = [], {root}, [(root, iter(root.parents))]
    while stack:
        node, parents = stack[-1]
        for parent, _ in parents:  # goes on where it stopped the last time
            if parent not in seen:
                seen.add(parent)
                stack.append((parent, iter(parent.parents)))
                break
        else:  # all parents are done
            order.append(node)
            stack.pop()
    return order


def unbroadcast(dy, shape):
    """Sum dy over the axes along which NumPy repeated an array of this shape."""
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    return dy.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


# %% [markdown]
# ## By hand
# y = mean(a b + a) with a = (1, 2) and b = 3: dy/da = (b + 1) / 2 = 2 and dy/db = (1 + 2) / 2 = 1.5. `b` is one number
# used for two elements, so its gradient is a sum; `a` is used twice, so two gradients meet in `a.grad`.
# %%
a, b = Tensor([1.0, 2.0]), Tensor(3.0)
(a * b + a).mean().backward()
print(f"dy/da = {a.grad} (by hand: 2, 2)   dy/db = {b.grad} (by hand: 1.5)\n")

# %% [markdown]
# ## A problem: two moons
# Points of two classes on two interlocked arcs, with targets -1 and +1. A net with one hidden layer gives a number from
# -1 to 1 per point; the loss is the mean squared distance from the targets. Is its gradient right? Nudge one weight up
# and down: the loss must change by the gradient times the nudge (step 3 says how large a nudge is good).
# %%
angle, targets = lesson.rng.uniform(0, np.pi, (200, 1)), np.repeat([[-1.0], [1.0]], 100, axis=0)
points = np.hstack([np.cos(angle), np.sin(angle)])
points = np.where(targets > 0, [1.0, 0.4] - points, points) + lesson.rng.normal(0, 0.12, (200, 2))
shapes = {"W1": (2, 32), "b1": (32,), "W2": (32, 1), "b2": (1,)}
weights = {k: Tensor(lesson.rng.normal(0, shape[0] ** -0.5, shape) * (len(shape) > 1)) for k, shape in shapes.items()}


def network(x, W1, b1, W2, b2):
    return ((Tensor(x) @ W1 + b1).tanh() @ W2 + b2).tanh()


def loss():
    error = network(points, **weights) + Tensor(-targets)
    return (error * error).mean()


loss().backward()
print(f"{'weight':8}{'shape':>10}{'largest |gradient|':>21}{'largest error':>16}")
for name, weight in weights.items():
    numeric = np.zeros(weight.data.shape)
    for i, kept in np.ndenumerate(weight.data.copy()):
        for nudge in (1e-5, -1e-5):
            weight.data[i] = kept + nudge
            numeric[i] += loss().data / (2 * nudge)
        weight.data[i] = kept
    error = abs(weight.grad - numeric).max()
    print(f"{name:8}{weight.data.shape!s:>10}{abs(numeric).max():>21.6f}{error:>16.1e}")

# %% Train: a step against the gradient, again and again
losses = []
for _ in range(50 if lesson.smoke else 1500):
    for weight in weights.values():
        weight.grad[...] = 0
    now = loss()
    now.backward()
    for weight in weights.values():
        weight.data -= 0.2 * weight.grad
    losses.append(float(now.data))
right = (np.sign(network(points, **weights).data) == targets).mean()
print(f"\n{len(losses)} steps: loss {losses[0]:.3f} -> {losses[-1]:.3f}; {right:.1%} of 200 points on the right side")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.semilogy(losses)
left.set(title="Loss while training", xlabel="step", ylabel="mean squared error")
x, y = np.meshgrid(np.linspace(-1.6, 2.6, 150), np.linspace(-1.2, 1.7, 150))
z = network(np.stack([x.ravel(), y.ravel()], axis=1), **weights).data.reshape(x.shape)
figure.colorbar(right.contourf(x, y, z, levels=13, cmap="RdBu_r", alpha=0.6), label="the net's output")
right.scatter(*points.T, s=12, c=np.where(targets[:, 0] > 0, "darkred", "navy"))
right.set(title="Output and targets (blue -1, red +1)", xlabel="first coordinate", ylabel="second coordinate")
lesson.save(figure, "two_moons", alt="The loss falls; the net's output changes sign between the two moons.")

lesson.next(why="the same idea in tinyconv: Tensor, Function, the graph drawn, hooks.")
