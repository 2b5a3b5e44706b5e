# %% [markdown]
# # ResNet 4: signals through 56 layers
#
# minutes 20 | needs step3_shortcuts.py | next step5_assemble.py
#
# Why do deep plain networks train badly? "Vanishing gradients" is the usual answer, and the paper says no: with batch
# normalisation the signals forward have healthy sizes, and the gradients backward too (sec. 4.1). This step looks: the
# size of the activations and of the gradients after every block of a network of 56 layers, before any training, with
# and without shortcuts, with and without batch normalisation.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models, nn
from tinyconv.data import shapes10
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)
DEPTH = 20 if lesson.smoke else 56

# %% [markdown]
# ## What to expect
#
# A convolution with He's weights and a ReLU keeps the size of a signal on average; call its variance 1. Then
#
# - plain, no BN: the size stays roughly 1. Roughly, 54 times: small deviations multiply.
# - residual, no BN: F has about the variance of x, and x + F twice as much. 27 blocks give 2^27, a size of 2^13.5 =
#   11,600. Without normalisation He's weights are wrong for residual nets.
# - residual, BN: F always has variance 1. After k blocks the sum has grown to a size of about sqrt(k), no more. Seen
#   from there the next block's F is a small part of the sum, 1 of k. So a block changes the gradient by a factor of
#   about 1 + 1 / k, and the product of these grows like a power of k; not exponentially.
# - plain, BN: the signal has size 1 after every BN. Backwards, a ReLU lets half of the squared gradient pass; BN
#   divides it by the variance of its input, and that comes from ReLU(u) with u of variance 1, whose variance is 1/2 -
#   1/(2 pi) = 0.34. So the squared gradient grows by 0.5 / 0.34 = 1.47 per layer, its size by 1.21 (Yang et al. 2019,
#   for wide networks), and 1.21^54 is 30,000.

# %%
shapes = shapes10(8 if lesson.smoke else 32, 32, (6, 11), seed=lesson.seed)


def network(residual: bool, norm: bool) -> models.ResNet:
    """Return an untrained network of DEPTH layers; without ``norm`` nothing stands in the place of BN."""
    tinyconv.manual_seed(lesson.seed)
    model = models.resnet_cifar(DEPTH, residual=residual)
    for module in [] if norm else list(model.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return model


def size(t: tinyconv.Tensor) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(t.detach().numpy().astype(np.float64) ** 2)))


def signals(model: models.ResNet) -> tuple[np.ndarray, np.ndarray]:
    """Return the sizes of each block's output, and there of the gradient of the loss."""
    outputs: list[tinyconv.Tensor] = []
    hooks = [block.register_forward_hook(lambda module, args, y: outputs.append(y)) for _, block in model.blocks()]
    loss = F.cross_entropy(model(tinyconv.tensor(shapes.images)), tinyconv.tensor(shapes.labels))
    gradients = tinyconv.grad(loss, outputs)
    for hook in hooks:
        hook.remove()
    return np.array([size(y) for y in outputs]), np.array([size(g) for g in gradients])


found = {}
print(f"{DEPTH} layers, before training      first block    last block    from block to block")
for residual in (False, True):
    for norm in (False, True):
        name = f"{'residual' if residual else 'plain'}, {'BN' if norm else 'no BN'}"
        found[name] = signals(network(residual, norm))
        for what, sizes in zip(("signal", "gradient"), found[name], strict=True):
            factor = (sizes[-1] / sizes[0]) ** (1 / (len(sizes) - 1))
            if what == "gradient":
                factor = 1 / factor
            print(f"{name:16s} {what:9s} {sizes[0]:16.2g} {sizes[-1]:13.2g} {factor:14.3f} per block")

# %% [markdown]
# The last column follows the direction: signals from the first block to the last, gradients from the last to the first.
#
# - Forwards the paper is right: with BN both networks are healthy.
# - Backwards nothing vanishes in the plain net with BN. It is the other way round: the gradient *grows* on its way
#   down, 1.36-fold per block, that is 1.16-fold per layer: 1.20 in the first stage, as expected, less above, nothing
#   where a stage begins; thousandfold over 56 layers. A step that suits the upper layers is probably too large below.
# - With shortcuts the gradient is about ten times larger at the bottom, and most of that comes from the first blocks.
#
# So BN needs shortcuts, and shortcuts need BN: BN alone keeps signals in order whatever the weights are, and hands the
# trouble to the gradients; shortcuts alone let signals double with each block. Together they keep both within a factor
# of ten. So do He's weights in the plain net without either, at the start; BN is there for when weights change.
# This explains the start only. What keeps a plain net back later is not settled by this picture; the paper did not
# claim to know either, and guesses that such nets converge exponentially slowly.

# %%
ratios = {name: gradients[0] / gradients[-1] for name, (_, gradients) in found.items()}
print("\ngradient at the first block over that at the last:")
for name, ratio in ratios.items():
    print(f"  {name:16s} {ratio:9,.1f}")

fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for name, style in zip(found, ("C0--", "C0-", "C3--", "C3-"), strict=True):
    forward, backward = found[name]
    blocks = np.arange(1, len(forward) + 1)
    axes[0].semilogy(blocks, forward, style, label=name)
    axes[1].semilogy(blocks, backward / backward[-1], style, label=name)
axes[0].set(title="size of the signal after each block", xlabel="block (dotted: a new stage)")
axes[1].set(title="size of the gradient there, last block = 1", xlabel="block")
n = len(found["plain, BN"][0]) // 3
for axis in axes:
    axis.legend(fontsize=8)
    for border in (n, 2 * n):
        axis.axvline(border + 0.5, color="grey", lw=0.8, ls=":")
alt = "without BN residual signals explode; with BN plain gradients grow thousandfold downwards, residual ones tenfold"
lesson.save(fig, "signals", alt=alt)
lesson.next(why="the whole of ResNet-50")
