# %% [markdown]
# # ResNet 1: deeper is worse, and it is not overfitting
#
# minutes 20 | needs lesson 03 | next step2_residual_block.py
#
# VGG stopped at 19 layers. By 2015 the old obstacles were gone: good initial weights and batch normalisation let
# signals through any depth. So He et al. stacked more layers, and found that beyond some depth a network gets worse:
# 34 layers worse than 18 on ImageNet, 56 worse than 20 on CIFAR-10. Not only on test images, which would be
# overfitting: on the *training* images. This is the puzzle; they call it degradation. This step reproduces it, small.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models, nn, optim
from tinyconv.data import ArrayDataset, DataLoader, shapes10
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Why it is a puzzle
#
# Take a trained network of 8 layers and put 12 layers behind it that hand on what they get. It has 20 layers, and the
# same error. So among all weights of the 20-layer network there are some that are at least as good as those of the
# 8-layer one. Whoever fails to find them has a problem with optimisation, not with the network's capacity.
#
# ## Four networks
#
# Section 4.2's recipe at half its width: a 3x3 convolution; 2n of them with 8 maps, 2n with 16, 2n with 32, batch
# normalisation after each; the mean of each map; a linear layer. That is 6n + 2 layers. "plain" is just that. "res"
# adds, around every two convolutions, a shortcut that copies the input (step 2 looks into it). Shortcuts of this kind
# have no weights: both kinds have exactly the same parameters.

# %%
NETWORKS = {f"{kind}-{depth}": (depth, kind == "res") for depth in (8, 20) for kind in ("plain", "res")}
STEPS, DROP = (6, 4) if lesson.smoke else (400, 300)


def network(depth: int, residual: bool) -> models.ResNet:
    """Return an untrained network for images (3, 16, 16); the same seed for all."""
    tinyconv.manual_seed(lesson.seed)
    return models.resnet_cifar(depth, residual=residual, width=0.5, image_size=16)


for name, (depth, residual) in NETWORKS.items():
    made = network(depth, residual)
    convolutions = sum(isinstance(m, nn.Conv2d) for m in made.modules())
    print(f"{name:8s} {convolutions} convolutions and fc, {sum(p.numel() for p in made.parameters()):6,d} parameters")

# %% [markdown]
# ## The race
#
# 2,000 drawn shapes of 16x16 pixels, ten classes; 400 steps of 32 images; SGD with momentum 0.9 and weight decay
# 1e-4, rate 0.1, a tenth of it after 300 steps. Everything is fixed before looking, and the same for all four.

# %%
training = shapes10(2000, 16, (4, 6), seed=lesson.seed)
test = shapes10(1000, 16, (4, 6), seed=1000 + lesson.seed)
if lesson.smoke:
    training, test = (ArrayDataset(part.images[:96], part.labels[:96]) for part in (training, test))


def train(model: nn.Module) -> list[float]:
    """Return the loss of each step."""
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loader, losses = DataLoader(training, 32, shuffle=True, drop_last=True, seed=lesson.seed), []
    while True:
        for images, labels in loader:
            if len(losses) == DROP:
                optimizer.param_groups[0]["lr"] = 0.01
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == STEPS:
                return losses


curves, found = {}, {}
print("\n          training loss   training error   test error   (after training, all images; guessing: 2.303, 90 %)")
for name, (depth, residual) in NETWORKS.items():
    model, start = network(depth, residual), perf_counter()
    curves[name] = train(model)
    on_training, on_test = (tinyconv.evaluate(model, DataLoader(part, 500)) for part in (training, test))
    found[name] = on_training["loss"], 1 - on_training["accuracy"], 1 - on_test["accuracy"]
    loss, error, unseen = found[name]
    print(f"{name:8s} {loss:14.3f} {error:16.1%} {unseen:12.1%}   {perf_counter() - start:.0f} s", flush=True)

# %% [markdown]
# Read it in three comparisons.
#
# - plain-8 and plain-20: more layers, more parameters, and the *training* loss is many times higher. Overfitting would
#   look the other way round: a lower training loss and a higher test error.
# - plain-20 and res-20: the same parameters, the same work. The shortcuts alone make the difference.
# - plain-8 and res-8: at this depth there was nothing to cure, and nothing is gained.
#
# What is not in it: that res-20 is better than res-8. For shapes and 400 steps 8 layers are enough, and 20 begin later.
# Shortcuts take away the harm; what depth is good for takes harder images and more time (table in README.md).
#
# 400 steps are few: would plain-20 arrive if it had more time? Probably nearer. The paper gave its plain-34 three times
# as many steps, and it stayed behind. `claims.py` repeats this run with three seeds, and on clothes.

# %%
ratios = found["plain-20"][0] / found["plain-8"][0], found["res-20"][0] / found["plain-20"][0]
print(f"\ntraining loss: plain-20 has {ratios[0]:.1f} times that of plain-8; res-20 has {ratios[1]:.2f} of plain-20's")

fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained", sharey=True)
for axis, kind in zip(axes, ("plain", "res"), strict=True):
    for depth, colour in ((8, "C0"), (20, "C3")):
        losses = curves[f"{kind}-{depth}"]
        width = min(20, len(losses))
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        axis.plot(np.arange(len(smooth)) + width, smooth, colour, label=f"{kind}-{depth}")
    axis.axvline(DROP, color="grey", lw=0.8, ls=":")
    axis.set(title={"plain": "plain", "res": "with shortcuts"}[kind], xlabel="step", ylim=(0, 2.5))
    axis.legend()
axes[0].set_ylabel("training loss, mean of 20 steps")
axes[1].text(DROP - 4, 2.4, "rate / 10", ha="right", va="top", color="grey", fontsize=8)
alt = "plain, the training loss of 20 layers hardly falls; with shortcuts it does, somewhat later than that of 8"
lesson.save(fig, "degradation", alt=alt)
lesson.next(why="what is a shortcut, and what does it do to the gradient?")
