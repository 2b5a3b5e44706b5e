"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998), as in the paper: 60,000 trainable numbers, 340,908 connections.

Later "LeNets" have plain pooling, a fully connected C3 and a softmax. This one has learned subsampling, C3's table of
connections, the scaled tanh, and an output that measures the distance to a drawing of each digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyconv import creation, errors, nn, random
from tinyconv import functional as F
from tinyconv.models.registry import describe
from tinyconv.nn import init
from tinyconv.summary import Row, summary
from tinyconv.tensor import Tensor

# Table I: which maps of S2 each of the 16 maps of C3 sees.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# The background's pixel value (black is 1.175): the mean of a digit is then about 0, its variance about 1 (sec. II-B).
WHITE = -0.1

# Targets of the 84 units of F6, 7 x 12 pixels each (# is +1, . is -1), drawn in the manner of the paper's figure 3.
DIGITS = """
.#####. ...#... .#####. .#####. .....#. ####### ..####. ####### .#####. .#####.
##...## ..##... ##...## ##...## ....##. ##..... .##.... .....## ##...## ##...##
##...## .###... .....## .....## ...###. ##..... ##..... .....## ##...## ##...##
##...## ...#... .....## .....## ..##.#. ##..... ##..... ....##. ##...## ##...##
##..### ...#... ....##. .....## .##..#. ######. ##..... ....##. ##...## ##...##
##.#.## ...#... ....##. ..####. ##...#. .....## ######. ...##.. .#####. .######
###..## ...#... ...##.. .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...#... ..##... .....## .....#. .....## ##...## ..##... ##...## .....##
##...## ...#... .##.... .....## .....#. .....## ##...## ..##... ##...## .....##
##...## ...#... ##..... .....## .....#. .....## ##...## .##.... ##...## .....##
##...## ...#... ##..... ##...## .....#. ##...## ##...## .##.... ##...## ....##.
.#####. .#####. ####### .#####. .....#. .#####. .#####. .##.... .#####. .####..
"""


def codes(num_classes: int = 10) -> np.ndarray:
    """Return the (num_classes, 84) targets: the drawn digits, for more than ten classes random +-1 (fixed for ever).

    Random codes are the paper's own alternative (sec. II-B). With +-1, tanh's units work where they curve most.
    """
    if num_classes > 10:
        return random.generator(0, "lenet5.codes").integers(0, 2, (num_classes, 84)).astype(np.float32) * 2 - 1
    rows = [line.split() for line in DIGITS.split("\n") if line]
    drawn = [[1.0 if pixel == "#" else -1.0 for row in rows for pixel in row[digit]] for digit in range(num_classes)]
    return np.array(drawn, np.float32)


class Squash(nn.Module):
    """1.7159 tanh(2 a / 3): maps +-1 to +-1 (Appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x * (2 / 3)) * 1.7159


class Subsample(nn.Module):
    """Sum of each 2x2 square, times one coefficient per map, plus one bias: the trainable ancestor of pooling."""

    def __init__(self, channels: int, device: str, dtype: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(creation.empty(channels, dtype=dtype, device=device))
        self.bias = nn.Parameter(creation.zeros(channels, dtype=dtype, device=device))

    def forward(self, x: Tensor) -> Tensor:
        total = F.avg_pool2d(x, 2) * 4.0
        return total * self.weight.reshape(1, -1, 1, 1) + self.bias.reshape(1, -1, 1, 1)


class PartialConv2d(nn.Module):
    """Convolution in which each output map sees only some input maps; one kernel per connected pair."""

    def __init__(self, table: tuple[tuple[int, ...], ...], kernel_size: int, device: str, dtype: Any) -> None:
        super().__init__()
        self.kernel_size, self.pairs = kernel_size, [(k, c) for k, inputs in enumerate(table) for c in inputs]
        self.maps, self.channels = len(table), 1 + max(c for inputs in table for c in inputs)
        self.weight = nn.Parameter(
            creation.empty(len(self.pairs), kernel_size, kernel_size, dtype=dtype, device=device)
        )
        self.bias = nn.Parameter(creation.zeros(self.maps, dtype=dtype, device=device))
        # Which kernel connects output k with input c; those that are not connected share a kernel of zeros at the end.
        chosen = np.full((self.maps, self.channels), len(self.pairs), np.int64)
        for i, pair in enumerate(self.pairs):
            chosen[pair] = i
        self.register_buffer("chosen", creation.tensor(chosen, device=device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.weight.reshape(len(self.pairs), -1)
        none = creation.zeros(1, kernels.shape[1], dtype=kernels.dtype, device=kernels.device)
        full = F.embedding(self.chosen, F.cat([kernels, none]))
        return F.conv2d(x, full.reshape(self.maps, self.channels, self.kernel_size, self.kernel_size), self.bias)

    def extra_repr(self) -> str:
        return f"{self.channels}, {self.maps}, kernel_size={self.kernel_size}, {len(self.pairs)} connected pairs"


class EuclideanRBF(nn.Module):
    """Squared distance of the input to each class's fixed target: y_c = sum_j (x_j - w_cj)^2."""

    def __init__(self, targets: np.ndarray, device: str, dtype: Any) -> None:
        super().__init__()
        self.register_buffer("targets", creation.tensor(targets, dtype=dtype, device=device))

    def forward(self, x: Tensor) -> Tensor:
        difference = x.unsqueeze(1) - self.targets
        return (difference * difference).sum(2)


class LeNet5(nn.Sequential):
    """The layers in order, by the paper's names C1, S2, C3, S4, C5, F6, OUT; see :func:`lenet5`."""

    def predict(self, x: Tensor) -> Tensor:
        """Return the class of each image: that of the nearest target."""
        return self(x).argmin(1)

    def summary_note(self, rows: Iterable[Row]) -> str:
        """Return the line below the table of :func:`tinyconv.summary`: what the paper counts in place of MACs."""
        return (
            f"connections, as the paper counts them: {sum(_connections(self, rows).values()):,}; "
            "C3 is computed as a full convolution, with zeros for the pairs that are not connected"
        )


def lenet5(num_classes: int = 10, *, output: str = "distances", device: str = "cpu", dtype: Any = np.float32) -> LeNet5:
    """Build LeNet-5 for images (N, 1, 32, 32) with initial weights (uniform on +-2.4 / fan-in, biases 0).

    A 28x28 digit is centred by a border of 2 pixels of :data:`WHITE`; pixels run from there to 1.175 (black).

    Parameters
    ----------
    output : str
        "distances" (N, num_classes), the paper's: the smallest is the answer. "scores": their negatives, of which the
        largest is, as everything that measures accuracy expects.
    """
    errors.check_choice("lenet5", "output", output, ("distances", "scores"))
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"lenet5: num_classes must be an int of at least 1, got {num_classes!r}")
    where = {"device": device, "dtype": dtype}
    layers: dict[str, nn.Module] = {
        "C1": nn.Conv2d(1, 6, 5, **where), "squash1": Squash(),
        "S2": Subsample(6, **where), "squash2": Squash(),
        "C3": PartialConv2d(C3_TABLE, 5, **where), "squash3": Squash(),
        "S4": Subsample(16, **where), "squash4": Squash(),
        "C5": nn.Conv2d(16, 120, 5, **where), "squash5": Squash(),
        "flatten": nn.Flatten(),
        "F6": nn.Linear(120, 84, **where), "squash6": Squash(),
        "OUT": EuclideanRBF(codes(num_classes), **where),
    }  # fmt: skip
    if output == "scores":
        layers["negate"] = _Negate()
    model = LeNet5(layers)
    for layer in model:
        _initialise(layer)
    name = np.dtype(dtype).name
    return describe(model, "lenet5", (1, 32, 32), num_classes=num_classes, output=output, dtype=name)


class _Negate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, PartialConv2d):
        # Fan-ins differ: 3, 4 or 6 input maps.
        init.uniform_(layer.weight, -1.0, 1.0)
        if layer.weight.device != "meta":
            inputs = [sum(k == other for other, _ in layer.pairs) for k, _ in layer.pairs]
            bounds = 2.4 / (np.array(inputs) * layer.kernel_size**2)
            layer.weight.data *= bounds.astype(layer.weight.dtype)[:, None, None]
    elif isinstance(layer, (nn.Conv2d, nn.Linear, Subsample)):
        bound = 2.4 / (4 if isinstance(layer, Subsample) else init.fans(layer.weight)[0])
        init.uniform_(layer.weight, -bound, bound)
        init.zeros_(layer.bias)


def map_loss(distances: Tensor, target: Tensor, j: float | None = 1.0) -> Tensor:
    """Maximum a posteriori loss, the mean of y_target + log(e^-j + sum_c e^-y_c) (LeCun 1998, eq. 9).

    The first term pulls the output to its class's target, the second pushes it away from the others; e^-j stands for
    images of no class and keeps what is already far from being pushed on.

    Parameters
    ----------
    distances : Tensor, (N, classes)
    target : Tensor of integers, (N,)
    j : float or None
        The paper gives no value. None leaves the second term out: the plain loss of eq. 8, without competition between
        the classes.
    """
    right = F.nll_loss(-distances, target)  # the mean distance to the right target
    if j is None:
        return right
    rubbish = creation.full((distances.shape[0], 1), -float(j), dtype=distances.dtype, device=distances.device)
    log_softmax = F.log_softmax(F.cat([-distances, rubbish], 1), 1)
    # log sum e^z = z_i - log_softmax(z)_i for any i: here the last, z_i = -j.
    return right - log_softmax[:, -1].mean() - float(j)


def connections(model: LeNet5) -> dict[str, int]:
    """Count the connections of each layer as the paper does: inputs of every unit, its bias included.

    The weights of a convolution count once per output position; a unit of S2 or S4 has 4 inputs and a bias.
    """
    return _connections(model, summary(model).rows)


def _connections(model: LeNet5, rows: Iterable[Row]) -> dict[str, int]:
    found = {}
    for row in rows:
        if row.output_shape is None:  # a layer that someone added and does not run
            continue
        if row.kind == "Subsample":
            found[row.name] = 5 * math.prod(row.output_shape)
        elif row.kind == "EuclideanRBF":
            found[row.name] = model.OUT.targets.numel()
        elif row.params:
            found[row.name] = row.params * math.prod(row.output_shape[1:])
    return found
