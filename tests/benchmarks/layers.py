"""The convolutions that are measured: those of the papers' networks, at the papers' sizes."""

from __future__ import annotations

from typing import NamedTuple

from tinyconv_kernels.geometry import output_size

from .engines import BenchmarkError


class Layer(NamedTuple):
    """One convolution on a batch: square images, square windows, no bias."""

    network: str
    name: str
    batch: int
    channels: int
    filters: int
    kernel: int
    stride: int
    padding: int
    side: int  # of the input, in pixels
    groups: int = 1

    @property
    def key(self) -> str:
        """How results and the command line call it."""
        return f"{self.network}.{self.name}"

    @property
    def out(self) -> int:
        """Side of the output in pixels."""
        return output_size(self.side, self.kernel, self.stride, self.padding, 1, False)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.batch, self.channels, self.side, self.side

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(K, C // groups, KH, KW)."""
        return self.filters, self.channels // self.groups, self.kernel, self.kernel

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """(N, K, OH, OW)."""
        return self.batch, self.filters, self.out, self.out

    @property
    def flop(self) -> int:
        """Operations of one direction by the definition: 2 per multiply-add, padding counted."""
        return 2 * self.batch * self.out**2 * self.filters * self.channels // self.groups * self.kernel**2

    @property
    def text(self) -> str:
        """`96->256 5x5 @27`."""
        stride = f" s{self.stride}" if self.stride > 1 else ""
        groups = f" g{self.groups}" if self.groups > 1 else ""
        return f"{self.channels}->{self.filters} {self.kernel}x{self.kernel}{stride}{groups} @{self.side}"


def _alexnet() -> list[Layer]:
    """Krizhevsky 2012's sizes; conv2, conv4 and conv5 without groups and, as in the paper, with two."""
    plain = [
        Layer("alexnet", "conv1", 16, 3, 96, 11, 4, 0, 227),
        Layer("alexnet", "conv2", 16, 96, 256, 5, 1, 2, 27),
        Layer("alexnet", "conv3", 16, 256, 384, 3, 1, 1, 13),
        Layer("alexnet", "conv4", 16, 384, 384, 3, 1, 1, 13),
        Layer("alexnet", "conv5", 16, 384, 256, 3, 1, 1, 13),
    ]
    return plain + [plain[i]._replace(name=f"conv{i + 1}-g2", groups=2) for i in (1, 3, 4)]


def _zfnet() -> list[Layer]:
    """Zeiler & Fergus 2013: the two layers that are not AlexNet's."""
    return [Layer("zfnet", "conv1", 16, 3, 96, 7, 2, 1, 224), Layer("zfnet", "conv2", 16, 96, 256, 5, 2, 0, 55)]


def _vgg() -> list[Layer]:
    """Simonyan & Zisserman 2015, one convolution per size of configuration D, and conv1_1."""
    rows = [("1_1", 3, 64, 224), ("1_2", 64, 64, 224), ("2_2", 128, 128, 112), ("3_2", 256, 256, 56)]
    rows += [("4_2", 512, 512, 28), ("5_2", 512, 512, 14)]
    return [Layer("vgg", f"conv{name}", 4, c, k, 3, 1, 1, side) for name, c, k, side in rows]


def _googlenet() -> list[Layer]:
    """Szegedy 2015, three branches of the first module and of the last at 14x14."""
    rows = [
        ("3a", 28, ((192, 64, 1), (96, 128, 3), (16, 32, 5))),
        ("4e", 14, ((528, 256, 1), (160, 320, 3), (32, 128, 5))),
    ]
    return [
        Layer("googlenet", f"{module}-{kernel}x{kernel}", 16, c, k, kernel, 1, kernel // 2, side)
        for module, side, branches in rows
        for c, k, kernel in branches
    ]


def _resnet() -> list[Layer]:
    """He 2016, ResNet-50: the first convolution, and one bottleneck of each stage."""
    layers = [Layer("resnet", "conv1", 8, 3, 64, 7, 2, 3, 224)]
    for stage, (wide, narrow, side) in enumerate(((256, 64, 56), (512, 128, 28), (1024, 256, 14), (2048, 512, 7)), 1):
        layers.append(Layer("resnet", f"stage{stage}-reduce", 8, wide, narrow, 1, 1, 0, side))
        layers.append(Layer("resnet", f"stage{stage}-3x3", 8, narrow, narrow, 3, 1, 1, side))
        layers.append(Layer("resnet", f"stage{stage}-expand", 8, narrow, wide, 1, 1, 0, side))
    return layers


def _cifar() -> list[Layer]:
    """He 2016, section 4.2: the 3x3 convolutions of the networks for CIFAR-10."""
    return [Layer("cifar", f"{c}@{side}", 128, c, c, 3, 1, 1, side) for c, side in ((16, 32), (32, 16), (64, 8))]


LAYERS = [*_alexnet(), *_zfnet(), *_vgg(), *_googlenet(), *_resnet(), *_cifar()]
DIRECTIONS = ("forward", "input gradient", "weight gradient")


def choose(wanted: list[str] | None) -> list[Layer]:
    """Return the layers whose network or name (``vgg``, ``vgg.conv3_2``, ``conv3_2``) is wanted; None: all.

    Raises
    ------
    BenchmarkError
        A name fits no layer.
    """
    if not wanted:
        return LAYERS
    for name in wanted:
        if not any(name in (layer.network, layer.name, layer.key) for layer in LAYERS):
            known = ", ".join(dict.fromkeys(layer.network for layer in LAYERS))
            raise BenchmarkError(f"--layers: wanted {known}, or a layer such as vgg.conv3_2, got {name!r}")
    return [layer for layer in LAYERS if {layer.network, layer.name, layer.key} & set(wanted)]
