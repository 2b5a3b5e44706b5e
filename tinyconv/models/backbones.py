"""What Fast and Faster R-CNN are built on: the convolutions of a classifier. See :func:`backbone`.

Layers have the names that they have in the classifier (conv1_1, conv5, fc6), so its weights fit: ``init_from``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tinyconv import errors, nn
from tinyconv.models.stack import wide
from tinyconv.models.svd import factored
from tinyconv.models.vgg import CONFIGS
from tinyconv.models.vgg import SCALES as VGG_SCALES
from tinyconv.models.zfnet import SCALES as ZF_SCALES


class Plan(NamedTuple):
    """A detector's layers: ("conv", name, filters, window, stride, padding), ("pool", name, window, stride, padding),
    ("norm", name); then the side of the map that RoI pooling makes of a box, and the units of fc6, fc7.
    """

    layers: tuple[tuple[Any, ...], ...]
    roi: int
    hidden: tuple[int, ...]
    stride: int  # of the last map, in pixels of the image


def _vgg16() -> Plan:
    layers: list[tuple[Any, ...]] = []
    for group, (kernels, filters) in enumerate(zip(CONFIGS["D"], VGG_SCALES["paper"][2], strict=True), 1):
        layers += [("conv", f"{group}_{i}", filters, k, 1, k // 2) for i, k in enumerate(kernels, 1)]
        if group < 5:
            layers.append(("pool", group, 2, 2, 0))
    return Plan(tuple(layers), 7, (4096, 4096), 16)


def _zf() -> Plan:
    """Return ZF Net with every window padded to half its size, so that unit i of the map lies over pixel 16 i."""
    convolutions = ZF_SCALES["paper"][2]
    layers: list[tuple[Any, ...]] = []
    for number, (filters, kernel, stride, _) in enumerate(convolutions, 1):
        layers.append(("conv", number, filters, kernel, stride, kernel // 2))
        if number < 3:
            layers += [("pool", number, 3, 2, 1), ("norm", number)]
    return Plan(tuple(layers), 6, (4096, 4096), 16)


_SMALL = Plan(
    (("conv", 1, 16, 3, 1, 1), ("pool", 1, 2, 2, 0), ("conv", 2, 32, 3, 1, 1), ("pool", 2, 2, 2, 0),
     ("conv", 3, 32, 3, 1, 1)), 5, (128,), 4,
)  # fmt: skip
#: By scale; the first one is the default.
BACKBONES = {"paper": {"vgg16": _vgg16(), "zf": _zf()}, "lesson": {"small": _SMALL}}


#: Where detectors without regions of their own look: arguments of ``selective_search``. The paper's fast mode; for
#: scenes of 64 pixels, whose objects are 14 to 28 wide, four hierarchies (lesson 06, step 2 has their recall).
SEARCH: dict[str, dict[str, Any]] = {
    "paper": {"mode": "fast"},
    "lesson": {"k": (50, 100), "min_size": 8, "min_side": 4, "colours": ("rgb", "lab"), "measures": ("ctsf",)},
}


def plan_of(who: str, name: str | None, scale: str) -> tuple[str, Plan]:
    """Return the name and the plan of a backbone; None is the scale's default."""
    known = BACKBONES[scale]
    name = next(iter(known)) if name is None else name
    errors.check_choice(who, f"backbone at scale={scale!r}", name, tuple(known))
    return name, known[name]


def backbone(plan: Plan, in_channels: int, width: float, where: dict[str, Any]) -> tuple[nn.Sequential, int]:
    """Return the convolutions with their ReLUs, pools and normalisations, and the channels of the last map.

    Every layer takes images of any size.
    """
    layers: dict[str, nn.Module] = {}
    channels = in_channels
    for kind, name, *numbers in plan.layers:
        if kind == "conv":
            filters = wide(numbers[0], width)
            layers[f"conv{name}"] = nn.Conv2d(channels, filters, *numbers[1:], **where)
            layers[f"relu{name}"] = nn.ReLU()
            channels = filters
        elif kind == "pool":
            layers[f"pool{name}"] = nn.MaxPool2d(*numbers)
        else:  # AlexNet's constants, as in zfnet
            layers[f"norm{name}"] = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, alpha_over_size=False)
    return nn.Sequential(layers), channels


def head(
    who: str, plan: Plan, channels: int, width: float, dropout: float, ranks: tuple[int, ...] | None,
    where: dict[str, Any],
) -> tuple[nn.Sequential, int]:  # fmt: skip
    """Return the fully connected layers over the pooled maps (R, channels, roi, roi), and how many units they end in.

    With ``ranks`` each of them is two: :func:`tinyconv.models.svd.factored`.
    """
    if ranks is not None and (not isinstance(ranks, (tuple, list)) or len(ranks) != len(plan.hidden)):
        raise ValueError(f"{who}: svd must be {len(plan.hidden)} numbers, one for each layer, got {ranks!r}")
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    units = channels * plan.roi**2
    for place, hidden in enumerate(plan.hidden):
        number, out = place + 6, wide(hidden, width)
        layers[f"fc{number}"] = factored(units, out, ranks[place], where) if ranks else nn.Linear(units, out, **where)
        layers[f"relu{number}"] = nn.ReLU()
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        units = out
    return nn.Sequential(layers), units
