# %% [markdown]
# # Step 2: the same idea in tinyconv
#
# 20 minutes | needs: step 1 | next: step3_gradcheck.py
#
# Step 1 again, as the engine has it. Three things differ. A `Tensor` holds one `Node`, the operation that made it;
# nodes point to nodes, so a tensor in the middle that nobody needs any more is freed. An operation is a class,
# `Function`, with a `forward` and a `backward` on raw NumPy arrays. And the arithmetic itself is in *kernels*, which
# know nothing of tensors: `kernels/tinyconv_kernels/reference/` defines them, `cpu/` has the fast form.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import Function

lesson = tinyconv.lesson_step(__name__)

a, b = tinyconv.tensor([1.0, 2.0], requires_grad=True), tinyconv.tensor(3.0, requires_grad=True)
y = (a * b + a).mean()
y.backward()
print(f"y = {y}\ndy/da = {a.grad}\ndy/db = {b.grad}   (step 1: 2, 2 and 1.5)\n")


# %% [markdown]
# ## An operation of your own
# Swish(x) = x sigmoid(x), with derivative s + x s (1 - s) for s = sigmoid(x). What backward needs, forward saves.


# %%
class Swish(Function):
    @staticmethod
    def forward(ctx, x):
        s = 1 / (1 + np.exp(-x))
        ctx.save(x, s)
        return x * s

    @staticmethod
    def backward(ctx, dy):
        x, s = ctx.saved
        return dy * (s + x * s * (1 - s))


x = tinyconv.tensor(lesson.rng.normal(size=(4, 3)))
w = tinyconv.tensor(lesson.rng.normal(size=(3, 2)), requires_grad=True)
b = tinyconv.zeros(2, dtype=x.dtype, requires_grad=True)
h = x @ w + b
y = Swish.apply(h) + h
loss = (y * y).mean()

# %% [markdown]
# ## The graph
# `loss.node` is the last operation, and `node.inputs` leads to what it was computed from: nodes, leaf tensors, or None
# where no gradient goes (x asked for none). That is the whole record. We draw it, from leaves to loss; a mean is
# a sum and a division.


# %%
def graph(root):
    """Return {id: node or leaf}, all edges (id of source, id of node), and each one's longest way to the root."""
    found, edges, todo = {id(root): root}, [], [root]
    while todo:
        node = todo.pop()
        for source in getattr(node, "inputs", ()):  # a leaf tensor has no inputs
            if source is not None:
                edges.append((id(source), id(node)))
                if id(source) not in found:
                    found[id(source)] = source
                    todo.append(source)
    way = dict.fromkeys(found, 0)
    for _ in found:
        for source, node in edges:
            way[source] = max(way[source], way[node] + 1)
    return found, edges, way


found, edges, way = graph(loss.node)
leaves = {id(w): "w", id(b): "b"}
place = {}
for n in found:  # one column for each distance from the loss
    place[n] = -1.5 * way[n], 0.5 - sum(way[other] == way[n] for other in place)
figure, axes = plt.subplots(figsize=(11, 2.8), layout="constrained")
for i, (source, node) in enumerate(edges):
    twins = edges.count((source, node)) - 1
    bend = -0.5 if way[source] > way[node] + 1 else 0.2 * twins * (-1) ** edges[:i].count((source, node))
    style = {"arrowstyle": "-|>", "connectionstyle": f"arc3,rad={bend}", "shrinkA": 24, "shrinkB": 24, "color": "gray"}
    axes.annotate("", place[node], place[source], arrowprops=style)
for n, (across, up) in place.items():
    label = f"leaf {leaves[n]}\n{found[n].shape}" if n in leaves else f"{found[n].name}\n{found[n].outputs[0][0]}"
    box = {"boxstyle": "round,pad=0.4", "facecolor": "#ffe9b0" if n in leaves else "#cfe3f7", "edgecolor": "gray"}
    axes.text(across, up, label, ha="center", va="center", fontsize=9, bbox=box)
axes.set(title="The graph of mean(y²), y = Swish(h) + h, h = x w + b: operations and shapes of their results")
axes.set(xlim=(-1.5 * max(way.values()) - 0.7, 0.7), ylim=(-1.2, 1.6))
axes.axis("off")
lesson.save(figure, "graph", alt="Boxes joined by arrows, from the leaves w and b to the mean.")
print(f"The graph has {len(found) - len(leaves)} operations, {len(leaves)} leaves and {len(edges)} edges.\n")

# %% [markdown]
# ## Hooks: look at a gradient on its way, or change it
# `h` feeds two operations. Its hook is called once, with the sum of both gradients. The hook on `b` returns something,
# and that is used instead: so one can clip gradients, or freeze a part of a network.

# %%
h.register_hook(lambda dh: print(f"hook: dh has shape {dh.shape}, largest entry {abs(dh.numpy()).max():.4f}"))
b.register_hook(lambda db: db * 0)
loss.backward()
s = 1 / (1 + np.exp(-h.detach().numpy()))
by_hand = 2 * y.detach().numpy() / y.numel() * (s + h.detach().numpy() * s * (1 - s) + 1)
print(f"by hand:                     largest entry {abs(by_hand).max():.4f}")
print(f"dw against the same by hand: largest difference {abs(w.grad.numpy() - x.numpy().T @ by_hand).max():.1e}")
print(f"db after its hook:           {b.grad.numpy()}\n")

# %% [markdown]
# ## What it refuses
# Mistakes that would give a wrong gradient are errors, and each says what to do.


# %%
def twice():
    loss.backward()


def changed_in_place():
    z = w * w  # saves w, to multiply by it in backward
    with tinyconv.no_grad():
        w.add_(1)
    z.sum().backward()


def not_a_scalar():
    (w * 2).backward()


for mistake in (twice, changed_in_place, not_a_scalar):
    try:
        mistake()
    except RuntimeError as error:
        print(f"{mistake.__name__}:\n    {error}")

lesson.next(why="how a gradient is checked, and three ways to get one wrong.")
