# %% [markdown]
# # ZF Net 5: filters that take over
#
# minutes 15 | needs step4_deconvnet.py | next step6_assemble.py
#
# Looking at the first layer while it trained, the authors saw a few filters dominate. Their cure is one line after
# every step (sec. 3): a filter, all weights of one output map, whose root mean square is above 0.1 is scaled so that it
# is 0.1. The reason is the input: centred pixels lie in about [-128, 128], and so do gradients of the first filters.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import nn, optim
from tinyconv.data import fashion_mnist
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The rule in plain NumPy, and three misreadings
#
# RMS = sqrt(mean(w^2)) over all weights of a filter: every input channel, every place. Misread as one number per
# *layer*, a large filter hides among small ones; as one per *channel* of a filter, it changes how the filter weighs
# colours; as "set to 0.1", it also blows up the small ones. Three properties tell them apart.


# %%
def renormalise(w: np.ndarray, limit: float = 0.1, axes: tuple = (1, 2, 3), always: bool = False) -> np.ndarray:
    """Return w (K, C, n, n) with every filter's RMS at most ``limit``."""
    rms = np.sqrt((w**2).mean(axis=axes, keepdims=True))
    return w * (limit / rms if always else np.minimum(limit / rms, 1))


def properties(rule) -> list[bool]:
    """Return whether a rule leaves no filter above 0.1, leaves small ones alone, and keeps each filter's direction."""
    weight = lesson.rng.standard_normal((6, 3, 7, 7)) * np.array([0.01, 0.02, 0.05, 0.2, 0.5, 2])[:, None, None, None]
    weight[:, 0] *= 0.2  # channels of different size
    after = rule(weight)
    rms = np.sqrt((after**2).mean(axis=(1, 2, 3)))
    flat, flat_after = weight.reshape(6, -1), after.reshape(6, -1)
    cosine = (flat * flat_after).sum(1) / np.linalg.norm(flat, axis=1) / np.linalg.norm(flat_after, axis=1)
    return [bool(rms.max() < 0.1 + 1e-9), np.array_equal(after[:3], weight[:3]), bool(cosine.min() > 1 - 1e-9)]


def library(weight: np.ndarray) -> np.ndarray:
    """Return what the library's hook makes of the weight."""
    model = nn.Sequential(nn.Conv2d(3, 6, 7, dtype=np.float64))
    model[0].weight.data[:] = weight
    optim.renormalise_filters(model, limit=0.1)(None, (), {})
    return model[0].weight.data


print("                       none above 0.1   small ones untouched   directions kept")
for name, rule in (
    ("the rule", renormalise),
    ("tinyconv.optim's", library),
    ("one RMS per layer", lambda w: renormalise(w, axes=(0, 1, 2, 3))),
    ("one per channel", lambda w: renormalise(w, axes=(2, 3))),
    ("set, not limited", lambda w: renormalise(w, always=True)),
):
    held = properties(rule)
    print(f"{name:22s} {held[0]!s:16s} {held[1]!s:22s} {held[2]!s:10s}{'' if all(held) else '  <- caught'}")

# %% [markdown]
# ## With and without, on raw pixels
#
# A small network in the paper's manner: pixels 0..255 minus their mean, weights N(0, 0.01^2), SGD with momentum 0.9. It
# trains twice, from the same weights on the same images; only the line after the step differs.

# %%
STEPS = 20 if lesson.smoke else 200
clothes = fashion_mnist("train")
pixels = clothes.images[:3000].astype(np.float32)
pixels -= pixels.mean()
runs = {}
for name in ("without the rule", "with the rule"):
    tinyconv.manual_seed(lesson.seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(32 * 2 * 2, 10),
    )  # fmt: skip
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    if name == "with the rule":
        optimizer.register_step_post_hook(optim.renormalise_filters(model, limit=0.1))
    rms, losses = [], []
    for step in range(STEPS):
        rows = np.arange(64 * step, 64 * step + 64) % len(pixels)
        loss = F.cross_entropy(model(tinyconv.tensor(pixels[rows])), tinyconv.tensor(clothes.labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rms.append(optim.filter_rms(model[0].weight.detach()).numpy())
        losses.append(loss.item())
    runs[name] = np.array(rms), losses, model[0].weight.data[:, 0].copy()
    print(f"{name:17s} largest RMS in conv1 {rms[-1].max():6.3f}, median {np.median(rms[-1]):.3f}, ", end="")
    print(f"{(rms[-1] > 0.1 + 1e-6).sum():2d} of 16 above 0.1; loss {np.mean(losses[-20:]):.3f}")

# %% [markdown]
# Without the rule the filters grow until, within some steps, all units of a layer are shut; then nothing moves any more
# and the loss stays at ln 10. With it the same network goes on learning. One run proves little: `claims.py` tries more
# seeds. Today inputs have deviation 1 and weights the size that suits the layer, and the problem hardly arises.

# %%
fig, axes = plt.subplots(1, 4, figsize=(13, 3.3), layout="constrained", width_ratios=(1, 1, 0.8, 0.8))
for i, (name, (rms, losses, filters)) in enumerate(runs.items()):
    axes[0].plot(rms.max(axis=1), f"C{1 - i}", label=f"largest, {name}")
    axes[0].plot(np.median(rms, axis=1), f"C{1 - i}:", label=f"median, {name}")
    axes[1].plot(np.convolve(losses, np.ones(10) / 10, "valid"), f"C{1 - i}", label=name)
    rows = np.pad(filters, ((0, 0), (0, 1), (0, 1)), constant_values=np.nan).reshape(4, 4, 6, 6)
    top = np.abs(filters).max()
    axes[2 + i].imshow(rows.swapaxes(1, 2).reshape(24, 24), cmap="RdBu_r", vmin=-top, vmax=top)
    axes[2 + i].set(title=f"conv1, {name}", xticks=[], yticks=[])
axes[0].set(title="RMS of conv1's filters", xlabel="step", yscale="log")
axes[1].set(title="training loss", xlabel="step")
axes[0].legend(fontsize=7)
axes[1].legend(fontsize=7)
alt = "without the rule some filters of the first layer grow beyond an RMS of 0.1, with it none does"
lesson.save(fig, "large_filters", alt=alt)
lesson.next(why="the whole network")
