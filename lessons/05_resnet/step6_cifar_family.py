# %% [markdown]
# # ResNet 6: 20 to 1202 layers
#
# minutes 20 | needs step5_assemble.py | next step7_train.py
#
# For CIFAR-10 (32x32 pixels, ten classes) the paper has a family that depends on one number n (sec. 4.2): a 3x3
# convolution with 16 filters; 2n with 16, 2n with 32, 2n with 64, at 32x32, 16x16 and 8x8 pixels; the mean of each map;
# a linear layer. 6n + 2 layers, shortcut A around every two. n = 200 makes 1202 layers. This step counts them, builds
# them all, and takes one training step with the deepest.

# %%
import sys
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models, nn, optim
from tinyconv.data import shapes10
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The table
#
# A convolution from C to K maps has 9 C K weights and its BN 2 K numbers; it is used at every pixel of its output.


# %%
def count(n: int) -> tuple[int, int]:
    """Return parameters and multiply-adds of the network of 6n + 2 layers."""
    params, macs, before = 0, 0, 3
    for maps, side, layers in ((16, 32, 2 * n + 1), (32, 16, 2 * n), (64, 8, 2 * n)):  # conv1 is of the first kind
        for _ in range(layers):
            params, macs = params + 9 * before * maps + 2 * maps, macs + 9 * before * maps * side * side
            before = maps
    return params + 64 * 10 + 10, macs + 64 * 10


PAPER = {3: (0.27, 8.75), 5: (0.46, 7.51), 7: (0.66, 7.17), 9: (0.85, 6.97), 18: (1.7, 6.43), 200: (19.4, 7.93)}
COUNTED = [3, 5] if lesson.smoke else list(PAPER)
built = {n: models.resnet_cifar(6 * n + 2, device="meta") for n in COUNTED}  # "meta": shapes only
print("  n  layers   parameters     paper   multiply-adds   as in the library   test error in the paper")
for n in COUNTED:
    found, (millions, error) = tinyconv.summary(built[n]), PAPER[n]
    params, macs = count(n)
    same = (found.total_params, found.total_macs) == (params, macs)
    print(f"{n:3d} {6 * n + 2:7d} {params:12,d} {millions:6.4g} M {macs:16,d} {same!s:>19s} {error:23.2f} %")

# %% [markdown]
# Deeper is better up to 110 layers. With 1202 the training error still goes to nothing, below 0.1 %, but the test error
# rises again: *that* is overfitting, 19 million parameters for 50,000 images.
#
# ## Backwards through 1202 layers
#
# `backward` visits every operation once, after all that use its result. The obvious way to write it, a function that
# calls itself for each input, fails twice here. Python allows about a thousand calls within each other. And if it came
# back to an operation for every way that leads there, it would never end: each block offers two ways, so n blocks offer
# 2^n. The library keeps a stack of its own, and a set of what it has seen (`tinyconv/autograd.py`, task 0.1).


# %%
def graph(n: int) -> tuple[int, int, int]:
    """Return operations, the longest chain of them, and the number of ways from the loss to the first convolution."""
    tensor = tinyconv.empty(1, 3, 32, 32, device="meta")
    order, stack, seen = [], [(root := built[n](tensor).sum().node, iter(root.inputs))], {root}
    while stack:  # inputs first
        following = next((i for i in stack[-1][1] if hasattr(i, "inputs") and i not in seen), None)
        if following is None:
            order.append(stack.pop()[0])
        else:
            seen.add(following)
            stack.append((following, iter(following.inputs)))
    length, ways = {}, {}
    for node in order:
        inputs = [i for i in node.inputs if i is not None]
        length[node] = 1 + max(length.get(i, 0) for i in inputs)
        ways[node] = sum(1 if i is built[n].conv1.weight else ways.get(i, 0) for i in inputs)
    return len(order), length[root], ways[root]


print(f"\nPython allows {sys.getrecursionlimit()} calls within each other")
print("layers   operations   longest chain   ways through the blocks")
for n in COUNTED:
    operations, longest, ways = graph(n)
    print(f"{6 * n + 2:6d} {operations:12,d} {longest:15,d} {'2^' + str(ways.bit_length() - 1):>25s}")

# %% [markdown]
# ## One training step
#
# Eight images, forward, backward, update, at rate 0.01: the paper begins so with 110 layers and more, until the
# training error is below 80 %, since 0.1 is too much at the start. Time and memory are in proportion to the depth.
# What fills the memory is not the weights: it is what every layer keeps for its backward.

# %%
data = shapes10(8, 32, (6, 11), seed=lesson.seed)


def one_step(n: int) -> tuple[float, float, float, float]:
    """Return seconds, MB of weights and of the outputs that are kept for the way back, and the loss."""
    model, kept = models.resnet_cifar(6 * n + 2), []
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ReLU)):  # BN keeps its input, a convolution's output; the sum nothing
            module.register_forward_hook(lambda module, args, y: kept.append(y.numel() * 4e-6))
    optimizer, start = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4), perf_counter()
    loss = F.cross_entropy(model(tinyconv.tensor(data.images)), tinyconv.tensor(data.labels))
    loss.backward()
    optimizer.step()
    return perf_counter() - start, sum(p.numel() for p in model.parameters()) * 4e-6, sum(kept), loss.item()


one_step(1)  # not counted: the first step loads the compiled kernels
steps = {n: one_step(n) for n in ((1, 3) if lesson.smoke else (3, 9, 18, 200))}
print()
for n, (seconds, weights, outputs, _) in steps.items():
    print(f"{6 * n + 2:4d} layers: {seconds:5.2f} s for a step; weights {weights:5.1f} MB, kept {outputs:6,.0f} MB")

# %% [markdown]
# ## A sum over many shorter networks
#
# Write out the sums, and a residual net is, loosely, all its ways at once (Veit et al. 2016; F is not linear, so they
# do not just add up): of 54 blocks a way passes through some and past the others. Hardly any is 110 layers deep; most
# are half as deep. What this is good for shows in step 8.

# %%
fig, axes = plt.subplots(1, 3, figsize=(13, 3.7), layout="constrained")
depths = [6 * n + 2 for n in PAPER]
axes[0].semilogx(depths, [error for _, error in PAPER.values()], "o-")
axes[0].set(title="test error on CIFAR-10, in the paper (%)", xlabel="layers", ylim=(6, 9.2))
axes[1].loglog([6 * n + 2 for n in steps], [s[0] for s in steps.values()], "o-")
axes[1].set(title="seconds for a step of 8 images, here", xlabel="layers")
blocks = np.arange(55)
ways = np.cumprod([1.0, *((54 - k) / (k + 1) for k in range(54))])
axes[2].bar(2 * blocks + 2, ways / ways.sum(), width=1.6)
axes[2].set(title="ways through 110 layers: shares, by length", xlabel="layers on the way")
alt = "error falls to 110 layers and rises at 1202; time grows with depth; most ways have 40 to 70 of 110 layers"
lesson.save(fig, "family", alt=alt)
lesson.next(why="a network of 14 layers learns clothes")
