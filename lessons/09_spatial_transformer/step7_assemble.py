# %% [markdown]
# # Spatial transformers 7: the layer
#
# minutes 30 | needs step6_distorted_digits.py | next step8_train.py
#
# A localisation network says theta, theta makes a grid, the sampler reads the image there: steps 1 to 4, in a layer. It
# has no loss of its own. Whatever stands behind it tells it, by its gradient, where it should have looked.

# %%
from typing import Any

import numpy as np
from digits09 import digits

import tinyconv
from tinyconv import models, nn
from tinyconv.explain.attended_figures import attended_figure
from tinyconv.models.spatial_transformer import SpatialTransformer

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## By hand
#
# Grid and sampler out of plain tensor operations, which know their gradients. `floor` picks four pixels and has none;
# their weights have one. That is the floor form of step 3.


# %%
def grid_of(theta: tinyconv.Tensor, height: int, width: int) -> tinyconv.Tensor:
    """Return the grid (N, height, width, 2) of affine maps theta (N, 6)."""
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    target = tinyconv.tensor(np.stack([x.ravel(), y.ravel(), np.ones(x.size)]).astype(theta.dtype))
    return (theta.reshape(-1, 2, 3) @ target).transpose(1, 2).reshape(-1, height, width, 2)


def sample(u: tinyconv.Tensor, grid: tinyconv.Tensor) -> tinyconv.Tensor:
    """Return u (N, C, H, W) at the grid's positions, 0 outside: (N, C, OH, OW)."""
    size = u.shape[3], u.shape[2]
    positions = [(grid[..., k] + 1) * ((size[k] - 1) / 2) for k in (0, 1)]
    first = [np.floor(p.detach().numpy()) for p in positions]
    rest = [p - tinyconv.tensor(f) for p, f in zip(positions, first, strict=True)]
    image, total = np.arange(len(u))[:, None, None], 0
    for over in ((0, 0), (1, 0), (0, 1), (1, 1)):  # x, y
        column, row = (f.astype(int) + o for f, o in zip(first, over, strict=True))
        there = (column >= 0) & (column < size[0]) & (row >= 0) & (row < size[1])
        wx, wy = (a if o else 1 - a for a, o in zip(rest, over, strict=True))
        pixel = u[image, :, row.clip(0, size[1] - 1), column.clip(0, size[0] - 1)]  # (N, OH, OW, C)
        total = total + pixel * (wx * wy * tinyconv.tensor(there.astype(u.dtype))).unsqueeze(3)
    return total.permute(0, 3, 1, 2)


class ByHand(nn.Module):
    """Localisation network, grid, sampler."""

    def __init__(self, localisation: nn.Module, out_size: tuple[int, int]) -> None:
        super().__init__()
        self.localisation, self.out_size = localisation, out_size

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Map (N, C, H, W) to (N, C, *out_size)."""
        return sample(x, grid_of(self.localisation(x), *self.out_size))


def look(**where: Any) -> nn.Sequential:
    """Return a localisation network for 28x28: two hidden layers of 32 units, the paper's for ST-FCN."""
    hidden = [nn.Linear(28**2, 32, **where), nn.ReLU(), nn.Linear(32, 32, **where), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(32, 6, **where))


def compare(x: np.ndarray) -> tuple[float, float]:
    """Return by how much outputs and gradients of the layer by hand and the library's differ, at most."""
    network, found = look(dtype=np.float64), []
    for layer in (ByHand(network, (20, 14)), SpatialTransformer(network, "affine", (20, 14), start=None)):
        network.zero_grad()
        given = tinyconv.tensor(x, requires_grad=True)
        y = layer(given)
        (y * y).sum().backward()
        found.append([y.detach().numpy(), given.grad.numpy(), *(p.grad.numpy().copy() for p in network.parameters())])
    outputs, *slopes = (np.abs(a - b).max() / np.abs(b).max() for a, b in zip(*found, strict=True))
    return outputs, max(slopes)


found = compare(lesson.rng.random((3, 1, 28, 28)))
print("by hand and the library's: outputs differ by {:.0e}, gradients by {:.0e} of the largest".format(*found))

# %% [markdown]
# ## Where it begins
#
# With random last weights the frame is small and askew, and nearly the same for all images. So the last layer begins
# with weights 0 and the biases of the identity: every image begins with itself. In the first step only this last layer
# has a gradient, since its weights, 0, lie between the others and the loss; from the second on all have.


# %%
def begin(start: float | None, images: np.ndarray) -> Any:
    """Print what a new transformer does to images and which layers get a gradient; return it."""
    tinyconv.manual_seed(lesson.seed)
    layer, x = SpatialTransformer(look(), start=start), tinyconv.tensor(images)
    y = layer(x)
    ((y - 0.5) ** 2).sum().backward()
    slopes = [np.abs(m.weight.grad.numpy()).max() for m in layer.localisation if isinstance(m, nn.Linear)]
    off, kept = np.abs(y.detach().numpy() - images).max(), float(y.detach().numpy().sum() / images.sum())
    print(f"start={start}: output and input differ by {off:.0e}, ink {kept:.2f} times as much; ", end="")
    print("largest gradients of the three layers' weights", ", ".join(f"{s:.1e}" for s in slopes))
    return layer


if __name__ == "__main__":
    test = digits("r", "test", lesson.seed)
    images = np.stack([test[i][0] for i in range(8)])
    for start, said in ((1.0, "identity"), (None, "random")):
        layer = begin(start, images)
        with tinyconv.no_grad():
            looks = [tuple(part.numpy() for part in layer.look(tinyconv.tensor(images)))]
        alt = f"eight digits, outlines of what an untrained transformer looks at from {said} weights, and what it sees"
        lesson.save(attended_figure(images, looks, title=f"begins: {said}"), f"begins-{said}", alt=alt)

# %% [markdown]
# ## The paper's networks
#
# All of one experiment have about 400,000 parameters, here 60,000: what the localisation network takes, the classifier
# goes without. Multiply-accumulates (MACs) are of one image; the sampler's, four for each value read, are 10 % at most.
# The lesson's ST-CNN needs a sixth of CNN's, since what is put out is averaged 2x2; with the paper's convolutions it is
# not, at 42x42: they would not fit into 21x21. House numbers have a transformer before the first convolution, or each
# of four (6 % slower in the paper). For birds two or four look at half height and width, an Inception network each.


# %%
def row(name: str, builder: str, sampled: int = 0, **how: Any) -> None:
    """Print a network's counts, and what reading ``sampled`` values between pixels adds: 4 MACs each."""
    found = tinyconv.summary(models.build(builder, device="meta", **how))
    share = f"{4 * sampled:10,d} ({4 * sampled / found.total_macs:.2%})" if sampled else ""
    print(f"  {name:34s} {found.total_params:11,d} {found.total_macs:14,d} {share}".rstrip())


if __name__ == "__main__":
    print(f"\n  {'':34s}  parameters           MACs    sampler's")
    for scale in ("paper", "lesson"):
        for name, builder in (("FCN", "st_fcn"), ("CNN", "st_cnn")):
            how = {"scale": scale, "image_size": 42}
            row(f"{name}, 42x42, {scale}", builder, transform=None, **how)
            for kind in ("affine", "projective", "tps"):
                row(f"ST-{name}, {kind}", builder, 42**2, transform=kind, **how)
    parts = (3 * 64**2, 48 * 32**2, 64 * 32**2, 128 * 16**2)
    for form, sampled in (("none", 0), ("single", parts[0]), ("multi", sum(parts))):
        row(f"house numbers, 64x64, {form}", "st_svhn", sampled, form=form)
    for count in (0, 2, 4):
        row(f"birds, 448x448, {count} transformers", "st_cub", count * 3 * 224**2, transformers=count, image_size=448)
    lesson.next(why="it learns")
