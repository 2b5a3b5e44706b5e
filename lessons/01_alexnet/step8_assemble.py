# %% [markdown]
# # AlexNet 8: the whole network
#
# minutes 20 | needs step7_kernels.py | next step9_train.py
#
# All parts are there: convolutions in two groups, ReLU, normalisation, overlapping pools, dropout. Put together at
# full size they must give the paper's numbers: every shape, 60 million parameters, 650,000 neurons.

# %%
from time import perf_counter

import numpy as np

import tinyconv
from tinyconv import models, nn, optim
from tinyconv.data import CenterCrop, Compose, Resize, photographs
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The architecture, in the paper's order
#
# Convolution, ReLU, *then* normalise, then pool. Trap: the paper says 224x224 inputs, but (224 - 11) / 4 is no whole
# number. With 227x227 and no padding everything else in the paper fits, so 227 it is.


# %%
class AlexNet(nn.Module):
    """Krizhevsky, Sutskever & Hinton 2012, fig. 2, with the two GPUs as groups=2."""

    def __init__(self, num_classes: int = 1000, device: str = "cpu") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4, device=device)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, alpha_over_size=False)
        self.pool1 = nn.MaxPool2d(3, stride=2)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2, device=device)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, alpha_over_size=False)
        self.pool2 = nn.MaxPool2d(3, stride=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1, device=device)  # the GPUs talk here
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2, device=device)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2, device=device)
        self.pool5 = nn.MaxPool2d(3, stride=2)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096, device=device)
        self.dropout6 = nn.Dropout(0.5, inverted=False)
        self.fc7 = nn.Linear(4096, 4096, device=device)
        self.dropout7 = nn.Dropout(0.5, inverted=False)
        self.fc8 = nn.Linear(4096, num_classes, device=device)
        # Sec. 5: N(0, 0.01^2). A bias of 1 keeps these layers' units above zero at first, where a ReLU learns.
        for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
            layer = getattr(self, name)
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.constant_(layer.bias, 1.0 if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0)

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Return the scores (N, num_classes) of images (N, 3, 227, 227)."""
        x = self.pool1(self.norm1(F.relu(self.conv1(x))))
        x = self.pool2(self.norm2(F.relu(self.conv2(x))))
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = self.pool5(F.relu(self.conv5(x)))
        x = self.dropout6(F.relu(self.fc6(x.flatten(1))))
        x = self.dropout7(F.relu(self.fc7(x)))
        return self.fc8(x)


# %% [markdown]
# ## Its table beside the paper's numbers
#
# The device "meta" knows shapes only, so 61 million parameters cost nothing here. The paper prints the neurons per
# layer; its first number is a slip (55 * 48 * 96: one 55 became a 48), all others agree.

# %%
PAPER_NEURONS = {"conv1": 253_440, "conv2": 186_624, "conv3": 64_896, "conv4": 64_896, "conv5": 43_264, "fc6": 4096,
                 "fc7": 4096, "fc8": 1000}  # fmt: skip


def print_table() -> None:
    """Print shapes, parameters, multiply-adds and neurons of the full network, and the paper's numbers."""
    summary = tinyconv.summary(AlexNet(device="meta"), (3, 227, 227))
    print("layer   output          parameters  multiply-adds  neurons   in the paper")
    total = 0
    for row in summary.rows:
        if row.name not in PAPER_NEURONS:
            continue
        shape, neurons = "x".join(map(str, row.output_shape)), int(np.prod(row.output_shape))
        total += neurons
        paper = PAPER_NEURONS[row.name]
        note = "" if paper == neurons else "  <- a slip: 55 * 48 * 96"
        print(f"{row.name:7s} {shape:14s} {row.params:11,d} {row.macs:14,d} {neurons:8,d} {paper:14,d}{note}")
    print(f"{'total':22s} {summary.total_params:11,d} {summary.total_macs:14,d} {total:8,d}        650,000")
    print(f"{'in the paper':22s} {'60 million':>11s}")


# %% [markdown]
# ## One step of training at full size
#
# The two photographs as a batch of two, one forward pass, one backward pass, one update by the paper's rule. Weights,
# gradients and velocities are the three large things in memory; that is why two GPUs were needed.


# %%
def full_step() -> None:
    """Build the network, take one training step, print time and memory."""
    start = perf_counter()
    model = AlexNet()
    optimizer = optim.AlexNetSGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    print(f"\nbuilding and initialising  {perf_counter() - start:6.2f} s")
    view = Compose([Resize(256), CenterCrop(227)])
    pixels = np.stack([view(image) for image, _ in photographs()])
    images = tinyconv.tensor(255 * (pixels - pixels.mean()))  # the paper's range: 0..255, centred
    labels = tinyconv.tensor([0, 1])
    for turn in ("first step (loads kernels)", "second step")[: 1 if lesson.smoke else 2]:
        times = [perf_counter()]
        loss = F.cross_entropy(model(images), labels)
        times.append(perf_counter())
        loss.backward()
        times.append(perf_counter())
        optimizer.step()
        times.append(perf_counter())
        optimizer.zero_grad()
        forward, backward, update = np.diff(times)
        print(f"{turn:26s} {times[-1] - times[0]:6.2f} s   loss {loss.item():.3f}   ", end="")
        print(f"forward {forward:.2f}, backward {backward:.2f}, update {update:.2f} s")
    size = sum(p.data.nbytes for p in model.parameters()) / 1e6
    print(f"memory: weights {size:.0f} MB, gradients {size:.0f} MB, velocities {size:.0f} MB")


def same_as_library() -> bool:
    """Return whether names and shapes of all parameters are those of tinyconv.models.alexnet()."""
    ours, theirs = AlexNet(device="meta"), models.alexnet(device="meta")
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (ours, theirs)]
    return shapes[0] == shapes[1]


# %% [markdown]
# The loss begins near ln(1000) = 6.9: a network that knows nothing gives each of 1000 classes the same probability.

# %%
if __name__ == "__main__":
    print_table()
    print("the same parameters as tinyconv.models.alexnet():", same_as_library())
    full_step()
    lesson.next(why="a small AlexNet learns clothes")
