# %% [markdown]
# # ZF Net 6: the whole network
#
# minutes 15 | needs step5_large_filters.py | next step7_train.py
#
# AlexNet with what the pictures of its inside suggested: 7x7 filters with stride 2 in the first layer, stride 2 in the
# second, and no groups, since it ran on one GPU. On ImageNet that was 38.4 % top-1 errors in place of the authors' own
# AlexNet's 40.5 %.

# %%
from time import perf_counter

import numpy as np

import tinyconv
from tinyconv import explain, models, nn, optim
from tinyconv.data import CenterCrop, Compose, Resize, photographs
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The architecture
#
# Convolution, ReLU, pool, *then* normalise: AlexNet normalised first. Trap: the paper prints the sides 224, 110, 55,
# 26, 13, 13, 13, 13, 6, but no padding. With padding 1 in conv1, none in conv2, and pools that keep a last window that
# hangs over the edge (`ceil_mode`), they come out; without that padding conv1 would give 109. Nor does it print the
# constants of the normalisation; here they are AlexNet's.


# %%
class ZFNet(nn.Module):
    """Zeiler & Fergus 2013, fig. 3."""

    def __init__(self, num_classes: int = 1000, device: str = "cpu") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2, padding=1, device=device)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, alpha_over_size=False)
        self.conv2 = nn.Conv2d(96, 256, 5, stride=2, device=device)
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, alpha_over_size=False)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1, device=device)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, device=device)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, device=device)
        self.pool5 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096, device=device)
        self.dropout6 = nn.Dropout(0.5, inverted=False)
        self.fc7 = nn.Linear(4096, 4096, device=device)
        self.dropout7 = nn.Dropout(0.5, inverted=False)
        self.fc8 = nn.Linear(4096, num_classes, device=device)
        # Sec. 3: "initialized to 1e-2", which must mean the deviation: equal weights would stay equal. Biases 0.
        for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
            nn.init.normal_(getattr(self, name).weight, 0.0, 0.01)
            nn.init.zeros_(getattr(self, name).bias)

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Return the scores (N, num_classes) of images (N, 3, 224, 224)."""
        x = self.norm1(self.pool1(F.relu(self.conv1(x))))
        x = self.norm2(self.pool2(F.relu(self.conv2(x))))
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = self.pool5(F.relu(self.conv5(x)))
        x = self.dropout6(F.relu(self.fc6(x.flatten(1))))
        x = self.dropout7(F.relu(self.fc7(x)))
        return self.fc8(x)


# %% [markdown]
# ## Its table beside the paper's sizes, and beside AlexNet's costs
#
# Half the stride in two layers quadruples the maps: conv1 and conv2 cost 1.6 and 1.9 times AlexNet's multiply-adds.
# The paper prints no counts of parameters; these follow from its sizes.

# %%
PAPER_SIDES = {"conv1": 110, "pool1": 55, "conv2": 26, "pool2": 13, "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6}


def print_table() -> None:
    """Print shapes, fields, parameters, multiply-adds of the full network, and the paper's sides of the maps."""
    library = models.zfnet(device="meta")
    alex = {row.name: row.macs for row in tinyconv.summary(models.alexnet(device="meta")).rows}
    summary = tinyconv.summary(ZFNet(device="meta"), (3, 224, 224))
    print("layer   output        side in paper   field, apart    parameters   multiply-adds   AlexNet's")
    for row in summary.rows:
        if row.params or row.name in PAPER_SIDES:
            shape = "x".join(map(str, row.output_shape))
            field = explain.receptive_field(library, row.name)
            seen = "        all" if field.whole else f"{field.size[0]:6d}, {field.stride[0]:3d}"
            costs = f"{row.params:14,d} {row.macs:15,d} {alex[row.name]:11,d}" if row.params else ""
            print(f"{row.name:7s} {shape:14s} {PAPER_SIDES.get(row.name, ''):12} {seen:>14s} {costs}")
    print(f"total {summary.total_params:57,d} {summary.total_macs:15,d} {sum(alex.values()):11,d}")


def same_as_library() -> bool:
    """Return whether names and shapes of all parameters are those of tinyconv.models.zfnet()."""
    ours, theirs = ZFNet(device="meta"), models.zfnet(device="meta")
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (ours, theirs)]
    return shapes[0] == shapes[1]


# %% [markdown]
# ## One step at full size
#
# First what only this lesson can do: the strongest activation of the untrained network's last pool, projected down to
# 224x224 pixels. Then two photographs forward, backward, updated, and the filters held at an RMS of 0.1.


# %%
def full_step() -> None:
    """Take one projection and one training step at full size, and print their times."""
    model = models.zfnet()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    optimizer.register_step_post_hook(optim.renormalise_filters(model, limit=0.1))
    view = Compose([Resize(256), CenterCrop(224)])
    pixels = np.stack([view(image) for image, _ in photographs()])
    images = tinyconv.tensor(255 * (pixels - pixels.mean()))  # the paper's range: 0..255, centred
    start = perf_counter()
    shown = explain.deconvnet(model, images, "pool5")
    field = explain.receptive_field(model, "pool5").size[0]
    columns = [np.flatnonzero(np.abs(image).sum(axis=(0, 1))) for image in shown]
    print(f"\ntwo projections from pool5: {perf_counter() - start:.2f} s (loads kernels); they reach over ", end="")
    print(" and ".join(str(c[-1] - c[0] + 1) for c in columns), f"columns, which cannot be more than {field}")
    start = perf_counter()
    loss = F.cross_entropy(model(images), tinyconv.tensor([0, 1]))
    loss.backward()
    optimizer.step()
    print(f"one training step, two images: {perf_counter() - start:.2f} s, loss {loss.item():.3f}")


# %% [markdown]
# The loss begins near ln(1000) = 6.9, as AlexNet's did: a network that knows nothing.

# %%
if __name__ == "__main__":
    print_table()
    print("the same parameters as tinyconv.models.zfnet():", same_as_library())
    if not lesson.smoke:
        full_step()
    lesson.next(why="a small ZF Net learns clothes, watched")
