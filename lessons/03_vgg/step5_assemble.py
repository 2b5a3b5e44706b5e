# %% [markdown]
# # VGG 5: VGG-16, whole
#
# minutes 15 | needs step4_initialising.py | next step6_scale_jitter.py
#
# Configuration D, known as VGG-16: thirteen convolutions, three fully connected layers, 138 million parameters. The
# network is so regular that a table of five numbers builds it.

# %%
from time import perf_counter

import numpy as np

import tinyconv
from tinyconv import models, nn
from tinyconv.data import CenterCrop, Compose, Resize, photographs
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The architecture
#
# A group is n convolutions of 3x3 with ReLUs, which keep the side, and a pool of 2x2, which halves it. After five
# groups 224 pixels have become 7. The layers' names are the usual ones: conv3_2 is the second of the third group.


# %%
class VGG16(nn.Module):
    """Simonyan & Zisserman 2014, table 1, configuration D."""

    GROUPS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions and filters

    def __init__(self, num_classes: int = 1000, device: str = "cpu") -> None:
        super().__init__()
        channels = 3
        for group, (count, filters) in enumerate(self.GROUPS, 1):
            for number in range(1, count + 1):
                layer = nn.Conv2d(channels, filters, 3, padding=1, device=device)
                setattr(self, f"conv{group}_{number}", layer)
                channels = filters
        self.fc6 = nn.Linear(512 * 7 * 7, 4096, device=device)
        self.dropout6 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096, device=device)
        self.dropout7 = nn.Dropout(0.5)
        self.fc8 = nn.Linear(4096, num_classes, device=device)
        for _, layer in self.named_children():  # Glorot & Bengio 2010: needs no shallower network to begin with
            if hasattr(layer, "weight"):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def features(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Return the output of pool5, (N, 512, H / 32, W / 32)."""
        for group, (count, _) in enumerate(self.GROUPS, 1):
            for number in range(1, count + 1):
                x = F.relu(getattr(self, f"conv{group}_{number}")(x))
            x = F.max_pool2d(x, 2)
        return x

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Return the scores (N, num_classes) of images (N, 3, 224, 224)."""
        x = self.features(x).flatten(1)
        x = self.dropout6(F.relu(self.fc6(x)))
        x = self.dropout7(F.relu(self.fc7(x)))
        return self.fc8(x)


# %% [markdown]
# ## Its table
#
# On "meta" 138 million parameters cost nothing. The first two layers hold almost half of all activations: that, not
# the weights, is what limits the batch when training.


# %%
def print_table() -> None:
    """Print shapes, parameters, multiply-adds and activations, and the paper's number of parameters."""
    summary = tinyconv.summary(VGG16(device="meta"), (3, 224, 224))
    rows = [row for row in summary.rows if row.params]
    activations = sum(int(np.prod(row.output_shape)) for row in rows)
    print("layer     output         parameters   multiply-adds  activations")
    for row in rows:
        shape, count = "x".join(map(str, row.output_shape)), int(np.prod(row.output_shape))
        print(f"{row.name:9s} {shape:12s} {row.params:12,d} {row.macs:15,d} {count:12,d}")
    print(f"{'total':22s} {summary.total_params:12,d} {summary.total_macs:15,d} {activations:12,d}")
    print(f"{'in the paper':22s}  138 million")
    first = sum(int(np.prod(row.output_shape)) for row in rows[:2])
    print(f"conv1_1 and conv1_2 have {first / activations:.0%} of the activations, and {rows[0].params:,d} and "
          f"{rows[1].params:,d} parameters")  # fmt: skip


def same_as_library() -> bool:
    """Return whether names and shapes of all parameters are those of tinyconv.models.vgg(config="D")."""
    ours, theirs = VGG16(device="meta"), models.vgg(config="D", device="meta")
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (ours, theirs)]
    return shapes[0] == shapes[1]


# %% [markdown]
# ## One image through it
#
# A photograph, the shorter side resized to 256, the middle 224x224, the mean colour subtracted: the paper's only
# preprocessing. The weights are random, so the answer means nothing; but it takes all of the 15 billion
# multiplications.


# %%
def one_forward() -> None:
    """Build the network with weights, run one photograph through it, print time and memory."""
    start = perf_counter()
    model = VGG16().eval()
    size = sum(p.data.nbytes for p in model.parameters())
    print(f"\nbuilding and initialising  {perf_counter() - start:6.2f} s, {size / 1e6:.0f} MB of weights")
    photograph = Compose([Resize(256), CenterCrop(224)])(photographs()[0][0])
    image = tinyconv.tensor(255 * (photograph - photograph.mean(axis=(1, 2), keepdims=True))[None])
    for turn in ("first forward pass", "second forward pass")[: 1 if lesson.smoke else 2]:
        start = perf_counter()
        with tinyconv.no_grad():
            scores = model(image).numpy()
        seconds = perf_counter() - start
        print(f"{turn:26s} {seconds:6.2f} s, {2 * 15.47 / seconds:5.0f} billion operations per second")
    print(f"the scores: {scores.shape[1]} numbers with mean {scores.mean():.2f} and deviation {scores.std():.2f}")


# %%
if __name__ == "__main__":
    print_table()
    print('the same parameters as tinyconv.models.vgg(config="D"):', same_as_library())
    if not lesson.smoke:
        one_forward()
    lesson.next(why="training images of all sizes")
