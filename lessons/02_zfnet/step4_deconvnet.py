# %% [markdown]
# # ZF Net 4: the deconvnet
#
# minutes 25 | needs step3_transposed_filters.py | next step5_large_filters.py
#
# Now all of it. Keep one activation of some layer, set all others to zero, and go down: at each layer *unpool* by the
# switches, *rectify*, *filter* by stamping; until pixels are reached (sec. 2.1). What appears is what this activation
# responded to, in this image.

# %%
import numpy as np

import tinyconv
from tinyconv import explain, nn
from tinyconv.data import photographs
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)
rng = lesson.rng

# %% [markdown]
# ## A network made by hand
#
# conv1: eight detectors of edges in eight directions (5x5). Then ReLU and a 3x3 pool with stride 2. conv2: one unit
# that wants horizontal edges above and vertical ones on the left, and none in other directions: a corner.

# %%
yy, xx = np.mgrid[-2:3, -2:3]
angles = np.arange(8) * np.pi / 4
edge = np.stack([(xx * np.cos(t) + yy * np.sin(t)) * np.exp(-(xx**2 + yy**2) / 4) for t in angles])[:, None]
corner = np.full((1, 8, 5, 5), -0.15)
corner[0, 2, :2, :], corner[0, 0, :, :2] = 1.0, 1.0
HAND = {"edge": edge / np.abs(edge).sum(axis=(1, 2, 3), keepdims=True), "corner": corner}


def up(image: np.ndarray, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run edge - relu - pool - corner - relu on an image (1, H, W), and keep what the way down needs."""
    z1 = F.conv2d(tinyconv.tensor(image[None]), tinyconv.tensor(weights["edge"]), padding=2)
    pooled, switches = F.max_pool2d(F.relu(z1), 3, 2, return_indices=True)
    z2 = F.conv2d(pooled, tinyconv.tensor(weights["corner"]), padding=2)
    return {"z1": z1.numpy()[0], "switches": switches.numpy()[0], "z2": z2.numpy()[0], "y": F.relu(z2).numpy()[0]}


# %% [markdown]
# ## Down, with three rules for the ReLU
#
# Backpropagation and the deconvnet differ in one line. Coming down to a ReLU with a signal g, whose input was z on the
# way up: the *gradient* keeps g where z > 0; the *deconvnet* keeps g where g > 0, whatever z was; *guided*
# backpropagation (Springenberg 2015) keeps it where both hold.


# %%
def rectify(g: np.ndarray, z: np.ndarray, rule: str) -> np.ndarray:
    """Return the signal below a ReLU."""
    keep = {"gradient": z > 0, "deconvnet": g > 0, "guided": (z > 0) & (g > 0)}[rule]
    return np.where(keep, g, 0)


def stamp(g: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return a signal (K, H, W) filtered down by weight (K, C, 5, 5), stride 1, padding 2 (step 3, by whole maps)."""
    (_, C, n, _), (_, H, W) = weight.shape, g.shape
    x = np.zeros((C, H + n - 1, W + n - 1))
    for i, j in np.ndindex(n, n):
        x[:, i : i + H, j : j + W] += np.einsum("khw,kc->chw", g, weight[:, :, i, j])
    return x[:, 2 : 2 + H, 2 : 2 + W]


def project(image: np.ndarray, weights: dict[str, np.ndarray], rule: str, unpool: str = "write") -> np.ndarray:
    """Return what the strongest corner of an image looks like in pixels."""
    seen = up(image, weights)
    g = np.where(np.arange(seen["y"].size).reshape(seen["y"].shape) == seen["y"].argmax(), seen["y"], 0)
    g = stamp(rectify(g, seen["z2"], rule), weights["corner"])
    below = np.zeros((8, *image.shape[1:]))
    for c in range(8):
        if unpool == "add":
            np.add.at(below[c].reshape(-1), seen["switches"][c].ravel(), g[c].ravel())
        else:
            there = g[c].ravel() != 0  # see the trap below
            below[c].flat[seen["switches"][c].ravel()[there]] = g[c].ravel()[there]
    return stamp(rectify(below, seen["z1"], rule), weights["edge"])


photo = photographs()[0][0].mean(axis=0)[None, 100:229, 250:379].astype(np.float64)
layers = {
    "edge": nn.Conv2d(1, 8, 5, 1, 2, bias=False, dtype=np.float64), "relu1": nn.ReLU(), "pool": nn.MaxPool2d(3, 2),
    "corner": nn.Conv2d(8, 1, 5, 1, 2, bias=False, dtype=np.float64), "relu2": nn.ReLU(),
}  # fmt: skip
model = nn.Sequential(layers)
for name, weight in HAND.items():
    getattr(model, name).weight.data[:] = weight
for unpool in ("write", "add"):
    theirs = explain.deconvnet(model, photo[None], "relu2", 0, unpool=unpool)[0]
    difference = np.abs(project(photo, HAND, "deconvnet", unpool) - theirs).max()
    print(f"forty lines of NumPy against tinyconv.explain.deconvnet, {unpool}: largest difference {difference:.1e}")
value = up(photo, HAND)["y"].max()
for rule in ("gradient", "guided"):
    theirs = value * explain.saliency(model, photo[None], 0, rule=rule, layer="relu2")[0]
    print(f"rule {rule}: largest difference {np.abs(project(photo, HAND, rule, 'add') - theirs).max():.1e}")

# %% [markdown]
# ## An identity, and breaking it
#
# With no negative number anywhere, every mask is open: the projection is the activation times its gradient, here by the
# engine's own backward pass, if unpooling adds. It says that switches, filters and order are right. It fails with
# "write" where windows share a switch, and with signed weights, as it should: the deconvnet is then no gradient.


# %%
def activation_times_gradient(image: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Return the strongest activation times its gradient with respect to the image."""
    x = tinyconv.tensor(image[None], requires_grad=True)
    pooled = F.max_pool2d(F.relu(F.conv2d(x, tinyconv.tensor(weights["edge"]), padding=2)), 3, 2)
    strongest = F.relu(F.conv2d(pooled, tinyconv.tensor(weights["corner"]), padding=2)).max()
    return strongest.item() * tinyconv.grad(strongest, x).numpy()[0]


positive = {name: np.abs(rng.standard_normal(weight.shape)) for name, weight in HAND.items()}
for title, weights, unpool in (
    ("non-negative weights, add", positive, "add"),
    ("non-negative weights, write", positive, "write"),
    ("signed weights, add", HAND, "add"),
):
    expected, found = activation_times_gradient(photo, weights), project(photo, weights, "deconvnet", unpool)
    print(f"{title:28s} off by {np.abs(found - expected).max() / np.abs(expected).max():8.1e} of the largest value")

# %% [markdown]
# ## Trap: zeros that write
#
# A strong activation is usually the maximum of several windows, which all noted the same switch. One is kept, the
# others are set to zero. If "write" lets those zeros write too, they erase the one that was kept: the projection is
# empty. An early version of this library did that; its pictures were grey, and no test had noticed.
#
# ## See it
#
# The unit's strongest corner. The gradient says which pixels would raise it or lower it. The deconvnet shows the
# pattern that it would like to see there, guided backpropagation that pattern where the image has it: at a unit's
# strongest place that is nearly the same.

# %%
row, column = np.unravel_index(up(photo, HAND)["y"].argmax(), (64, 64))
top, left, bottom, right = explain.receptive_field(model, "relu2").box(row, column, photo.shape[1:])
around = (slice(None), slice(max(top - 8, 0), bottom + 8), slice(max(left - 8, 0), right + 8))
maps = {rule: project(photo, HAND, rule)[around][None] for rule in ("gradient", "deconvnet", "guided")}
fig = explain.figures.rules_in_a_row(photo[around][None], maps, ["the strongest corner"])
alt = "around one corner: the gradient is a few pixels of both signs; deconvnet and guided draw its edges, much alike"
lesson.save(fig, "rules", alt=alt)
lesson.next(why="a rule that keeps single filters from taking over")
