# %% [markdown]
# # VGG 4: deep networks that do not start
#
# minutes 20 | needs step3_six_configurations.py | next step5_assemble.py
#
# VGG's authors could train configuration A from random weights, but not the deeper ones: they trained A first and
# copied its first four convolutions and its fully connected layers into each deeper network (sec. 3.1). Later they
# noted that a better choice of the random weights makes that unnecessary. This step finds out what goes wrong, and
# what helps.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models, nn, optim
from tinyconv.data import CenterCrop, Compose, Resize, mnist, photographs
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The gain of one layer
#
# An output of a convolution is a sum of fan_in = C * 9 products. With weights N(0, s^2) its variance is fan_in * s^2
# times the mean square of its inputs; a ReLU keeps half of that. So a layer multiplies the size of the signal by
#
#     g = s * sqrt(fan_in / 2)
#
# and sixteen layers multiply it by the product. He et al. (2015) choose s = sqrt(2 / fan_in), which makes g = 1.

# %%
print("filters below    fan_in   g for s = 0.01   g for s = 0.1   He's s")
for channels in (64, 128, 256, 512):
    fan_in = 9 * channels
    gains = [s * (fan_in / 2) ** 0.5 for s in (0.01, 0.1)]
    print(f"{channels:13d} {fan_in:9d} {gains[0]:16.2f} {gains[1]:15.2f} {(2 / fan_in) ** 0.5:8.3f}")

# %% [markdown]
# The paper draws from a normal distribution "with the zero mean and 10^-2 variance", so s = 0.1; many took it for s =
# 0.01, AlexNet's. With one, the signal of a full-size network dies out; with the other it explodes. Watch it on a
# photograph, through the thirteen convolutions of VGG-16 at full width, and watch the gradient come back.


# %%
def start(model: nn.Module, s: float | None) -> nn.Module:
    """Draw all weights from N(0, s^2), or by He's rule if s is None; biases 0."""
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight) if s is None else nn.init.normal_(layer.weight, std=s)
            nn.init.zeros_(layer.bias)
    return model


def sizes(convolutions: nn.Sequential, image: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the root mean square of each ReLU's output, and there of the gradient of the end's sum times noise."""
    x, outputs = tinyconv.tensor(image[None], requires_grad=True), []
    for layer in convolutions:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            outputs.append(x)
    noise = tinyconv.tensor(lesson.rng.standard_normal(x.shape).astype(np.float32))
    gradients = tinyconv.grad((x * noise).sum(), outputs)
    return (
        *([float(np.sqrt(np.mean(t.detach().numpy().astype(float) ** 2))) for t in ts] for ts in (outputs, gradients)),
    )


side, width = (32, 0.125) if lesson.smoke else (64, 1.0)
photograph = Compose([Resize(side), CenterCrop(side)])(photographs()[0][0])
photograph = (photograph - photograph.mean()) / photograph.std()
whole = models.vgg(config="D", image_size=side, width=width, device="meta")  # described; only its convolutions are made
trunk = whole[: [name for name, _ in whole.named_children()].index("flatten")]
names = [name.removeprefix("relu") for name, layer in trunk.named_children() if isinstance(layer, nn.ReLU)]
signals = {}
for name, s in (("s = 0.01", 0.01), ("s = 0.1", 0.1), ("He", None)):
    made = nn.Sequential(
        *[nn.Conv2d(m.in_channels, m.out_channels, 3, padding=1) if isinstance(m, nn.Conv2d) else m for m in trunk]
    )
    forward, backward = signals[name] = sizes(start(made, s), photograph)
    print(f"{name:9s} signal after conv1_1 {forward[0]:.1e}, after conv5_3 {forward[-1]:.1e}; gradient at conv1_1 is "
          f"{backward[0] / backward[-1]:.1e} of that at conv5_3")  # fmt: skip

# %% [markdown]
# ## Does it train?
#
# Configuration D, an eighth as wide, on handwritten digits, SGD with momentum as in the paper. A is trained first, from
# He's weights. Then D three times: from He's weights alone; from A's layers (`init_from`), the new ones by He's rule;
# and from A's layers, the new ones with s = 0.01.

# %%
digits = mnist("train")
images = np.pad(digits.images[:2000].astype(np.float32) / 255, ((0, 0), (0, 0), (2, 2), (2, 2)))
images, labels = (images - images.mean()) / images.std(), digits.labels[:2000]


def network(config: str, s: float | None) -> models.VGG:
    """Return a narrow network for the digits."""
    tinyconv.manual_seed(lesson.seed)
    return start(models.vgg(10, config=config, in_channels=1, image_size=32, width=1 / 8), s)


def train(model: nn.Module, steps: int) -> list[float]:
    """Return the loss of each step."""
    optimizer, rng, losses = optim.SGD(model.parameters(), lr=0.01, momentum=0.9), np.random.default_rng(0), []
    for _ in range(3 if lesson.smoke else steps):
        rows = rng.integers(0, len(images), 16)
        loss = F.cross_entropy(model(tinyconv.tensor(images[rows])), tinyconv.tensor(labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


shallow = network("A", None)
curves = {"A, He": train(shallow, 300), "D, He": train(network("D", None), 130)}
for name, s in (("D, He, copied from A", None), ("D, s = 0.01, copied from A", 0.01)):
    deep = network("D", s)
    copied = deep.init_from(shallow)
    curves[name] = train(deep, 130)
print(f"\ncopied: {', '.join(copied)}")
for name, losses in curves.items():
    print(f"{name:26s} {len(losses)} steps, mean loss of the last 20 {np.mean(losses[-20:]):.3f} (ln 10 = 2.303)")

# %% [markdown]
# Both networks sit on a plateau first, the deeper one longer (A had 300 steps, each D 130). With A's layers D leaves it
# after some thirty steps: the copied ones already pass on what matters. But copying alone does not do it: with s = 0.01
# the nine new layers in between let nothing through, and the loss stays at ln 10 as if nothing were trained. (With the
# paper's s = 0.1, at this width, it moved in two of our four tries.) He's weights alone need more patience (`claims.py`
# goes on for 400 steps of twice the batch), but no other network; hence nobody copies from A any more.

# %%
fig, axes = plt.subplots(1, 3, figsize=(13, 3.7), layout="constrained")
for name, (forward, backward) in signals.items():
    axes[0].semilogy(names, forward, "o-", ms=3, label=name)
    axes[1].semilogy(names, np.array(backward) / backward[-1], "o-", ms=3, label=name)
for name, losses in curves.items():
    smooth = np.convolve(losses, np.ones(10) / 10, mode="valid") if len(losses) > 10 else losses
    axes[2].plot(smooth, "--" if "0.01" in name else "-", label=name)
axes[0].set_title("size of the signal after each layer")
axes[1].set_title("size of the gradient there, conv5_3 = 1")
axes[2].set(title="training loss, mean of 10 steps", xlabel="step", ylim=(0, 3))
for axis in axes:
    axis.legend(fontsize=8)
for axis in axes[:2]:
    axis.tick_params(axis="x", rotation=90)
lesson.save(fig, "initial_weights", alt="0.01 makes signals vanish, 0.1 explode; D starts sooner with A's layers")
lesson.next(why="the whole of VGG-16")
