# %% [markdown]
# # ZF Net 2: back through a pool
#
# minutes 20 | needs step1_what_a_unit_sees.py | next step3_transposed_filters.py
#
# Max pooling throws away three pixels of four, and where the fourth came from. The paper's way back, *unpooling*, needs
# the second thing only: on the way up every window notes where its maximum was, the *switch*; on the way down every
# value returns there, and all else is zero (sec. 2.1).

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.data import photographs
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Up with switches, down by switches
#
# `max_pool` is that of lesson 01. One thing about `unpool` must be decided: windows of 3x3 that lie 2 apart share
# pixels, so two of them may have noted the same one. Their values meet. *Write*: one stays, here the last in reading
# order. *Add*: they add up. The paper does not say which.


# %%
def max_pool(x: np.ndarray, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return maxima of one map (H, W), and switches: flat indices h * W + w."""
    H, W = x.shape
    OH, OW = (H - size) // stride + 1, (W - size) // stride + 1
    y, switches = np.empty((OH, OW)), np.empty((OH, OW), int)
    for oh, ow in np.ndindex(OH, OW):
        top, left = oh * stride, ow * stride
        window = x[top : top + size, left : left + size]
        h, w = np.unravel_index(window.argmax(), window.shape)
        y[oh, ow], switches[oh, ow] = window[h, w], (top + h) * W + (left + w)
    return y, switches


def unpool(y: np.ndarray, switches: np.ndarray, shape: tuple[int, int], rule: str) -> np.ndarray:
    """Return a map of the given shape with every value at its switch."""
    x = np.zeros(shape)
    for value, at in zip(y.ravel(), switches.ravel(), strict=True):
        x.flat[at] = value if rule == "write" else x.flat[at] + value
    return x


peak = np.zeros((5, 5))
peak[2, 2] = 99
y, switches = max_pool(peak, 3, 2)
print("a peak of 99 in the middle of 5x5 wins all four 3x3 windows:", y.ravel(), "at", switches.ravel())
for rule in ("write", "add"):
    ours = unpool(y, switches, (5, 5), rule)
    theirs = F.max_unpool2d(
        tinyconv.tensor(y[None]), tinyconv.tensor(switches[None]), 3, 2, output_size=(5, 5), accumulate=rule == "add"
    ).numpy()[0]
    same = np.allclose(ours, theirs)
    print(f"  {rule:5s} gives it back as {ours[2, 2]:.0f}; the library's max_unpool2d agrees: {same}")

# %% [markdown]
# ## Which is right?
#
# Pooling with *fixed* switches is a linear map P: it picks pixels. What hands a signal down as backpropagation does is
# its transpose, the U for which `<P a, b> = <a, U b>` for any a and b. Only "add" is that; so only "add" can make a
# projection equal an activation times its gradient (step 4). "Write" keeps the size of an activation: 99 comes back as
# 99. The library lets you choose and starts with "write", as PyTorch's `max_unpool2d`.
#
# Then a slip: switches that count inside the window (0 ... 8), as some programs keep them, read as places in the map.


# %%
def inner_products(rule: str, size: int, slip: bool = False) -> tuple[float, float]:
    """Return <P a, b> and <a, U b> for random a and b, with the switches of a random map."""
    x, a = lesson.rng.standard_normal((2, 9, 9))
    pooled, switches = max_pool(x, size, 2)
    b = lesson.rng.standard_normal(pooled.shape)
    picked = a.ravel()[switches]
    if slip:
        rows, columns = np.divmod(switches, 9)
        oh, ow = np.indices(switches.shape)
        switches = (rows - 2 * oh) * size + (columns - 2 * ow)
    return float((picked * b).sum()), float((a * unpool(b, switches, x.shape, rule)).sum())


for rule, size, slip in (
    ("add", 2, False),
    ("write", 2, False),
    ("add", 3, False),
    ("write", 3, False),
    ("add", 3, True),
):
    left, right = inner_products(rule, size, slip)
    verdict = "equal" if np.isclose(left, right) else "DIFFERENT"
    note = ", switches counted inside the window" if slip else ""
    print(f"{rule:5s} {size}x{size} windows, 2 apart{note}: <P a, b> {left:7.3f}   <a, U b> {right:7.3f}   {verdict}")

# %% [markdown]
# ## What switches are worth
#
# A map of edges, pooled twice to a quarter of its side, and brought back up three ways. Without switches every
# value fills its window: blocks. With them it is one dot in each window, but exactly on the edge. The switches of
# another photograph put the same values beside it. So the fine lines in a deconvnet's picture come from the image that
# went up, not from the unit alone: no image, no picture.


# %%
def edges(image: np.ndarray) -> np.ndarray:
    """Return how much brighter or darker the image is two pixels further down and right: a map of edges."""
    smooth = np.lib.stride_tricks.sliding_window_view(image, (3, 3)).mean(axis=(2, 3))
    return np.abs(smooth[2:, 2:] - smooth[:-2, :-2])[:240, :240]


def up_through_pools(value: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return what is left after two pools of 2x2, and their switches."""
    levels = []
    for _ in range(2):
        value, switches = max_pool(value, 2, 2)
        levels.append(switches)
    return value, levels


flower, temple = (edges(photo.mean(axis=0)[40:290, 160:410]) for photo, _ in reversed([*photographs()]))
value, own = up_through_pools(flower)
pictures = {"a map of edges": flower, "up again without switches": np.kron(value, np.ones((4, 4)))}
for title, levels in (("with its switches", own), ("with another image's switches", up_through_pools(temple)[1])):
    signal = value
    for switches in reversed(levels):
        signal = unpool(signal, switches, (2 * len(switches), 2 * len(switches)), "write")
    pictures[title] = signal
    near = np.corrcoef(signal[signal > 0], flower[signal > 0])[0, 1]
    print(f"{title}: {np.count_nonzero(signal)} dots; they correlate with the map at their places by {near:.2f}")

fig, axes = plt.subplots(1, 4, figsize=(13, 3.5), layout="constrained")
for axis, (title, image) in zip(axes, pictures.items(), strict=True):
    dots = title.startswith("with ")
    axis.set_facecolor("black")
    axis.imshow((flower if dots else image)[60:130, 60:130] ** 0.6, cmap="gray", alpha=0.5 if dots else 1)
    if dots:
        axis.imshow(np.ma.masked_less_equal(image[60:130, 60:130], 0), cmap="autumn")
    axis.set(title=title, xticks=[], yticks=[])
alt = "without switches blocks come back; with its own, dots on the map's edges; with another image's, dots anywhere"
lesson.save(fig, "unpool", alt=alt)
lesson.next(why="going back through a convolution")
