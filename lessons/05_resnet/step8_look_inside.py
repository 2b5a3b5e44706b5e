# %% [markdown]
# # ResNet 8: small responses, spare blocks, and two networks at once
#
# minutes 20 | needs step7_train.py | next step9_trained.py
#
# Three looks at step 7's network, and at a plain twin that this step trains for two epochs of 5,000 images. How much
# does each layer change (fig. 7)? What happens if a block is taken out, after training (Veit et al. 2016)? And what do
# two networks know together?

# %%
import matplotlib.pyplot as plt
import numpy as np
from step7_train import build, loaders, train_briefly

import tinyconv
from tinyconv import models, nn, views
from tinyconv.models.residual import SubsampleAndPad

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Responses
#
# The paper's conjecture is that F is a small correction, since the shortcut carries the rest. Its evidence: the
# standard deviation of each layer's output, after BN and before ReLU or sum, is smaller in residual nets than in plain
# ones, and the smaller the deeper they are. BN begins with a deviation of 1 everywhere, so it takes training to see
# anything; the paper measured after 64,000 steps, we after some 2,200 (residual) and 160 (plain): step 9 has better.


# %%
def responses(model: nn.Module, images: np.ndarray) -> dict[str, float]:
    """Return the standard deviation of what each 3x3 layer gives after its BN, over images, pixels and maps."""
    found: dict[str, list[np.ndarray]] = {}
    hooks = [
        layer.register_forward_hook(lambda m, args, y, name=name: found.setdefault(name, []).append(y.numpy()))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    views.outputs(model, images)
    for hook in hooks:
        hook.remove()
    return {name: float(np.concatenate(parts).std()) for name, parts in found.items()}


def draw_responses(networks: dict[str, nn.Module], images: np.ndarray) -> plt.Figure:
    """Draw the responses in the order of the layers, and sorted."""
    print("\ndeviation after BN, mean over the layers")
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.5), layout="constrained", sharey=True)
    for (name, model), colour in zip(networks.items(), ("C3", "C0"), strict=True):
        found = responses(model, images)
        sizes = np.array(list(found.values()))
        branch = ", ".join(f"{s:.2f}" for k, s in found.items() if k.endswith("bn2"))
        print(f"{name:9s} {sizes.mean():.2f}; of the second layers of the blocks: {branch}")
        axes[0].plot(np.arange(1, len(sizes) + 1), sizes, colour, marker="o", ms=3, label=name)
        axes[1].plot(np.arange(1, len(sizes) + 1), np.sort(sizes)[::-1], colour, marker="o", ms=3, label=name)
    axes[0].set(title="standard deviation after BN", xlabel="layer", ylim=(0, None))
    axes[1].set(title="the same, sorted", xlabel="rank")
    axes[0].legend()
    return fig


# %% [markdown]
# ## One block less
#
# Take a block out of the trained network: what came into it goes on to the next one (every second pixel, zero maps,
# where the shape changes). No retraining. A plain network has one way from image to scores, and every block lies on it.
# The residual one has 2^6 = 64 ways, and half of them never passed through the block.


# %%
class Bypass(nn.Module):
    """What is left of a block: the identity, or shortcut A."""

    def __init__(self, block: models.residual.BasicBlock) -> None:
        super().__init__()
        convolution = block.conv1
        extra = convolution.out_channels - convolution.in_channels
        self.shortcut, self.relu = SubsampleAndPad(extra, convolution.stride[0]), nn.ReLU()

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Return ReLU(shortcut(x)); x is positive already."""
        return self.relu(self.shortcut(x))


def one_less(model: models.ResNet, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the error without each of the blocks."""
    errors = {}
    for name, block in model.blocks():
        setattr(model, name, Bypass(block))
        errors[name] = views.top_k_error(views.outputs(model, images), labels)
        setattr(model, name, block)
    return errors


def draw_one_less(networks: dict[str, models.ResNet], images: np.ndarray, labels: np.ndarray) -> plt.Figure:
    """Draw and print the errors."""
    print(f"\nerror on {len(images)} held-out images, whole and without one block")
    fig, axis = plt.subplots(figsize=(8.5, 3.5), layout="constrained")
    for (name, model), colour, shift in zip(networks.items(), ("C3", "C0"), (-0.2, 0.2), strict=True):
        whole, errors = views.top_k_error(views.outputs(model, images), labels), one_less(model, images, labels)
        print(f"{name:9s} {whole:.1%}; without " + ", ".join(f"{b[4:]}: {e:.0%}" for b, e in errors.items()))
        axis.bar(np.arange(len(errors)) + shift, 100 * np.array(list(errors.values())), 0.4, color=colour, label=name)
        axis.axhline(100 * whole, color=colour, ls=":", lw=1)
    axis.set_xticks(range(len(errors)), [block.removeprefix("conv") for block in errors])
    axis.set(title="error without one block (%); dotted: with all", xlabel="block taken out", ylim=(0, 115))
    axis.legend(ncols=2, loc="upper left")
    return fig


# %% [markdown]
# ## Several know more, if they are equals
#
# The paper won ImageNet 2015 with six networks whose softmax outputs were averaged: 3.57 % top-5 error, where the best
# of them alone has 4.49 % (on other images). Averaging helps where they err on different images, and hurts where one is
# much worse. Cheap equals are two views: the image, and its mirror image. The plain twin, after 160 steps, is no equal.
# (`claims.py` averages three that are.)


# %%
def together(networks: dict[str, nn.Module], images: np.ndarray, labels: np.ndarray) -> None:
    """Print the errors of each network, of means, and how often both are wrong."""
    single = {name: views.predict(model, images) for name, model in networks.items()}
    mirrored = views.predict(networks["residual"], images[..., ::-1])
    wrong = {name: shares.argmax(1) != labels for name, shares in single.items()}
    means = {"residual, two views": (single["residual"] + mirrored) / 2, "both networks": sum(single.values()) / 2}
    print("\ntogether")
    for name, shares in {**single, **means}.items():
        print(f"{name:20s} error {views.top_k_error(shares, labels):.1%}")
    print(f"wrong for both: {np.mean(wrong['residual'] & wrong['plain']):.1%}; for just one of them: "
          f"{np.mean(wrong['residual'] ^ wrong['plain']):.1%}")  # fmt: skip


# %%
if __name__ == "__main__":
    short = "2 epochs of 5,000 images, about 20 s"
    networks = {
        "residual": lesson.load_or_train(build, lambda model: train_briefly(model, lesson.smoke), short=short),
        "plain": build(residual=False),
    }
    print(f"training the plain twin: {short}", flush=True)
    train_briefly(networks["plain"], lesson.smoke)
    batches = list(loaders(10, 40 if lesson.smoke else 2000)[1])
    images, labels = (np.concatenate([batch[i].numpy() for batch in batches]) for i in (0, 1))
    alt = "standard deviations of 13 layers, in order and sorted, of the residual and the plain network"
    lesson.save(draw_responses(networks, images[:500]), "responses", alt=alt)
    alt = "without one block the residual network errs 2 to 7 times as often, the plain one only guesses"
    lesson.save(draw_one_less(networks, images, labels), "one_block_less", alt=alt)
    together(networks, images, labels)
    lesson.next(why="the same, in networks that were trained to the end")
