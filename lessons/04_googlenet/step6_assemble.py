# %% [markdown]
# # GoogLeNet 6: the whole network
#
# minutes 15 | needs step5_no_fully_connected.py | next step7_train.py
#
# A stem as in AlexNet's time (7x7, pool, normalisation, 3x3), nine modules in three groups, two heads on the way, one
# linear layer: 22 layers with weights on the longest path. Everything but the filters is the same in all nine modules,
# so a table of 54 numbers builds them.

# %%
from time import perf_counter

import tinyconv
from tinyconv import models, nn
from tinyconv.data import CenterCrop, Compose, Resize, photographs

lesson = tinyconv.lesson_step(__name__)
MODULES = {  # filters of 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 behind the pool
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
PAPER = {"conv1": ("2.7", 34), "conv2": ("112", 360), "3a": ("159", 128), "3b": ("380", 304), "4a": ("364", 73),
         "4b": ("437", 88), "4c": ("463", 100), "4d": ("580", 119), "4e": ("840", 170), "5a": ("1072", 54),
         "5b": ("1388", 71), "fc": ("1000", 1)}  # fmt: skip  # parameters / K and operations, millions


# %%
def unit(channels: int, filters: int, kernel: int, stride: int, device: str) -> nn.Sequential:
    """Return a convolution and its ReLU; a border of half the window, so stride 1 keeps the size."""
    conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, device=device)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.constant_(conv.bias, 0.2)  # the Caffe port's: the paper says nothing of initial weights
    return nn.Sequential({"conv": conv, "relu": nn.ReLU()})


class Inception(nn.Module):
    """Four branches; their maps on top of each other."""

    def __init__(self, channels: int, filters: tuple[int, ...], device: str) -> None:
        super().__init__()
        ones, reduce3, threes, reduce5, fives, pooled = filters
        self.ones = unit(channels, ones, 1, 1, device)
        self.threes = nn.Sequential(unit(channels, reduce3, 1, 1, device), unit(reduce3, threes, 3, 1, device))
        self.fives = nn.Sequential(unit(channels, reduce5, 1, 1, device), unit(reduce5, fives, 5, 1, device))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(channels, pooled, 1, 1, device))
        self.out = ones + threes + fives + pooled

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Map (N, channels, H, W) to (N, out, H, W)."""
        return tinyconv.cat([self.ones(x), self.threes(x), self.fives(x), self.pooled(x)], 1)


def linear(inputs: int, outputs: int, bias: float, device: str) -> nn.Linear:
    """Return a fully connected layer with Glorot's initial weights."""
    layer = nn.Linear(inputs, outputs, device=device)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.constant_(layer.bias, bias)
    return layer


class GoogLeNet(nn.Module):
    """Szegedy et al. 2014, table 1."""

    def __init__(self, num_classes: int = 1000, device: str = "cpu") -> None:
        super().__init__()
        layers = {
            "conv1": unit(3, 64, 7, 2, device), "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
            "norm1": nn.LocalResponseNorm(5), "conv2_reduce": unit(64, 64, 1, 1, device),
            "conv2": unit(64, 192, 3, 1, device), "norm2": nn.LocalResponseNorm(5),
            "pool2": nn.MaxPool2d(3, 2, ceil_mode=True),
        }  # fmt: skip
        channels, heads = 192, {}
        for name, filters in MODULES.items():
            layers[f"inception_{name}"] = module = Inception(channels, filters, device)
            channels = module.out
            if name in ("3b", "4e"):
                layers[f"pool{name[0]}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
            if name in ("4a", "4d"):
                heads["aux1" if name == "4a" else "aux2"] = nn.Sequential({
                    "pool": nn.AvgPool2d(5, 3), "conv": unit(channels, 128, 1, 1, device), "flatten": nn.Flatten(),
                    "fc1": linear(128 * 4 * 4, 1024, 0.2, device), "relu": nn.ReLU(), "dropout": nn.Dropout(0.7),
                    "fc2": linear(1024, num_classes, 0.0, device),
                })  # fmt: skip
        layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "dropout": nn.Dropout(0.4)}
        layers["fc"] = linear(channels, num_classes, 0.0, device)
        self.trunk = list(layers)
        for name, layer in (layers | heads).items():
            self.add_module(name, layer)

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor | tuple[tinyconv.Tensor, ...]:
        """Return the scores of images (N, 3, 224, 224); in training (scores, those of aux1, of aux2)."""
        aux = []
        for name in self.trunk:
            x = getattr(self, name)(x)
            if self.training and name in ("inception_4a", "inception_4d"):
                aux.append((self.aux1 if name.endswith("a") else self.aux2)(x))
        return (x, *aux) if self.training else x


# %% [markdown]
# ## Its table
#
# The exact numbers beside the paper's. Parameters there are in units of 1024, without biases, and do not always follow
# from the filters. conv1's 2.7 K and 34 M are the cost of a vertical and a horizontal filter of 7 instead of a 7x7:
# (7 + 7) * 3 * 64 = 2,688, times 112 * 112. Every port has the 7x7.


# %%
def print_table() -> None:
    """Print output, parameters and multiply-adds of every row of table 1, and the paper's numbers."""
    model, shapes = GoogLeNet(device="meta").eval(), {}
    for name in model.trunk:
        getattr(model, name).register_forward_hook(lambda m, x, y, name=name: shapes.__setitem__(name, y.shape[1:]))
    model(tinyconv.zeros(1, 3, 224, 224, device="meta"))
    rows = tinyconv.summary(model, (3, 224, 224)).rows
    print("row      output         parameters   in the paper    multiply-adds  in the paper")
    for name, (paper_k, paper_m) in PAPER.items():
        layer = name if name in shapes else f"inception_{name}"
        inside = [row for row in rows if row.name.split(".")[0] in (layer, f"{name}_reduce")]
        params, macs = sum(row.params for row in inside), sum(row.macs for row in inside)
        shape = "x".join(map(str, shapes[layer]))
        print(f"{name:8s} {shape:12s} {params:12,d} {paper_k:>12s} K {macs:16,d} {paper_m:11d} M")
    trunk = [row for row in rows if not row.name.startswith("aux")]
    params, macs = sum(row.params for row in trunk), sum(row.macs for row in trunk)
    print(f"{'total':21s} {params:12,d} {'':14s} {macs:16,d}; with both heads {sum(row.params for row in rows):,d}")
    megabytes = [4e-6 * sum(row.params for row in part) for part in (trunk, rows)]
    print(f"in float32: {megabytes[0]:.0f} MB of weights without the heads, {megabytes[1]:.1f} MB with them")
    ours, theirs = ({n: p.shape for n, p in net.named_parameters()} for net in (model, models.googlenet(device="meta")))
    print("the same parameters as tinyconv.models.googlenet():", ours == theirs)


# %%
if __name__ == "__main__":
    print_table()
    if not lesson.smoke:
        image = Compose([Resize(256), CenterCrop(224)])(photographs()[0][0])
        model, x = GoogLeNet().eval(), tinyconv.tensor((image - image.mean((1, 2), keepdims=True))[None])
        for turn in ("first", "second"):
            start = perf_counter()
            with tinyconv.no_grad():
                scores = model(x)
            print(f"{turn} forward pass of one image: {perf_counter() - start:.2f} s, {scores.shape[1]} scores")
    lesson.next(why="a small one learns, with all three heads")
