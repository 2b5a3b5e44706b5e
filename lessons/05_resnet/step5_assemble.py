# %% [markdown]
# # ResNet 5: ResNet-50, whole
#
# minutes 20 | needs step4_signals.py | next step6_cifar_family.py
#
# Table 1 of the paper is five networks, 18 to 152 layers: four numbers each (blocks per stage) and a kind of block. The
# deep ones use *bottlenecks*: 1x1 to a quarter of the maps, 3x3 there, 1x1 back. 256 maps pass by, and a block costs
# about as much as one of two 3x3 on 64 maps.

# %%
from time import perf_counter

import numpy as np

import tinyconv
from tinyconv import models, nn
from tinyconv.data import CenterCrop, Compose, Resize, from_description, photographs, store
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## The architecture
#
# Names are the library's: conv4_2 is the second block of the stage that the paper calls conv4_x. Convolutions have no
# bias, since BN follows. Stages 3, 4 and 5 begin with a stride of 2. Where? In the paper's networks in the block's
# first 1x1 (v1); torchvision's, found later to be a little better, in the 3x3 (v1.5): the same parameters, 6 % more
# work. The pool goes with them: 112 pixels become 56 by windows from 0, 2, ... with the last one cut (v1), or from -1,
# 1, ...


# %%
class Block(nn.Module):
    """y = ReLU(F(x) + shortcut(x)); F is two 3x3 convolutions, or a bottleneck."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool, v15: bool, device: str) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        layers = [(width, 3, stride), (out, 3, 1)]  # filters, window, stride
        if bottleneck:
            layers = [(width, 1, 1 if v15 else stride), (width, 3, stride if v15 else 1), (out, 1, 1)]
        self.count, ins = len(layers), channels
        for i, (outs, k, s) in enumerate(layers, 1):
            setattr(self, f"conv{i}", nn.Conv2d(ins, outs, k, s, k // 2, bias=False, device=device))
            setattr(self, f"bn{i}", nn.BatchNorm2d(outs, device=device))
            ins = outs
        self.shortcut = nn.Identity()
        if stride > 1 or channels != out:  # option B
            projection = nn.Conv2d(channels, out, 1, stride, bias=False, device=device)
            self.shortcut = nn.Sequential({"conv": projection, "bn": nn.BatchNorm2d(out, device=device)})

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Return (N, out, H / stride, W / stride)."""
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(F.relu(y) if i > 1 else y))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """He et al. 2015, table 1."""

    BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

    def __init__(self, depth: int = 50, num_classes: int = 1000, v15: bool = False, device: str = "cpu") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False, device=device)
        self.bn1 = nn.BatchNorm2d(64, device=device)
        self.pool1 = nn.MaxPool2d(3, 2, 1) if v15 else nn.MaxPool2d(3, 2, ceil_mode=True)
        self.names, channels, bottleneck = [], 64, depth >= 50
        for stage, count in enumerate(self.BLOCKS[depth]):
            for number in range(count):
                stride, width = 2 if stage and not number else 1, 64 * 2**stage
                self.names.append(f"conv{stage + 2}_{number + 1}")
                setattr(self, self.names[-1], Block(channels, width, stride, bottleneck, v15, device))
                channels = 4 * width if bottleneck else width
        self.fc = nn.Linear(channels, num_classes, device=device)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: tinyconv.Tensor) -> tinyconv.Tensor:
        """Return the scores (N, num_classes) of images (N, 3, 224, 224)."""
        x = self.pool1(F.relu(self.bn1(self.conv1(x))))
        for name in self.names:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))


# %% [markdown]
# What the paper calls FLOPs are multiply-adds. On "meta" nothing is allocated. ResNet-152 is eight times as deep as
# VGG-19 and costs less (11 against 20 billion): few pixels after the first two layers, and 1x1 around each 3x3.


# %%
def print_table() -> None:
    """Print parameters and multiply-adds, the paper's, and whether the library builds the same."""
    print("layers   parameters     v1, mult.-adds   in the paper   v1.5, mult.-adds   as in the library")
    for depth, paper in ((18, 1.8), (34, 3.6), (50, 3.8), (101, 7.6), (152, 11.3)):
        v1, v15 = (tinyconv.summary(ResNet(depth, v15=v, device="meta"), (3, 224, 224)) for v in (False, True))
        same = all(same_as_library(depth, variant) for variant in ("v1", "v1.5"))
        print(
            f"{depth:6d} {v1.total_params:12,d} {v1.total_macs:18,d} {paper:9.1f} 10^9 {v15.total_macs:18,d}   {same}"
        )


def same_as_library(depth: int, variant: str) -> bool:
    """Return whether names and shapes of all parameters, and the work, are those of tinyconv.models.resnet()."""
    both = (ResNet(depth, v15=variant == "v1.5", device="meta"), models.resnet(depth, variant=variant, device="meta"))
    shapes = [[(name, p.shape) for name, p in model.named_parameters()] for model in both]
    return shapes[0] == shapes[1] and len({tinyconv.summary(model, (3, 224, 224)).total_macs for model in both}) == 1


# %% [markdown]
# With random weights only the time means something. `tinyconv data get resnet50` fetches weights that were trained on
# ImageNet (v1, with the padded pool); with those the answer does, too.


# %%
def one_forward() -> None:
    """Run a photograph through ResNet-50 with random weights; print the time (of the second pass)."""
    model, image, times = ResNet(50).eval(), photographs(Compose([Resize(256), CenterCrop(224)]))[0][0], []
    for _ in range(3):
        times.append(perf_counter())
        with tinyconv.no_grad():
            model(tinyconv.tensor(image[None]))
    print(f"\na forward pass of ResNet-50: {times[2] - times[1]:.2f} s")


def ask_a_trained_one() -> None:
    """Print what a trained ResNet-50 sees on the bundled photographs."""
    if not store.place("resnet50").is_file():
        print(f"a trained ResNet-50: {store.how_to_get('resnet50')}")
        return
    model = tinyconv.load(store.stored("resnet50")).eval()
    view = from_description(model.meta["transform"])
    for name, (photograph, _) in zip(("china.jpg", "flower.jpg"), photographs(), strict=True):
        with tinyconv.no_grad():
            shares = F.softmax(model(tinyconv.tensor(view(photograph)[None])), 1).numpy()[0]
        best = np.argsort(-shares)[:3]
        print(f"{name}: " + ", ".join(f"{model.meta['classes'][k]} {shares[k]:.0%}" for k in best))


# %%
if __name__ == "__main__":
    print_table()
    if not lesson.smoke:
        one_forward()
        ask_a_trained_one()
    lesson.next(why="the family for small images, up to 1202 layers")
