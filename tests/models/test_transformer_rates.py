"""The rates of localisation networks: whose parameters learn slower, wherever in a network they stand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import nn
from tinyconv.models import SpatialTransformer, st_cub, st_svhn
from tinyconv.models.spatial_transformer import parameter_groups


def two_depths() -> nn.Sequential:
    """Return a network that transforms the image, and the maps of a convolution."""
    looks = [nn.Sequential(nn.Flatten(), nn.Linear(inputs, 6)) for inputs in (64, 3 * 36)]
    return nn.Sequential(
        SpatialTransformer(looks[0]), nn.Conv2d(1, 3, 3), SpatialTransformer(looks[1]), nn.Flatten(), nn.Linear(108, 3)
    )


@pytest.mark.parametrize(
    ("model", "factor", "part"),
    [
        (lambda: st_svhn(form="multi", scale="lesson"), 0.1, ".localisation."),
        (lambda: st_svhn(form="single", scale="lesson"), 0.1, ".localisation."),
        (lambda: st_cub(transformers=2, scale="lesson"), 1e-4, "localisation."),
        (two_depths, 0.3, ".localisation."),
        (lambda: nn.Sequential(st_cub(transformers=2, scale="lesson")), 0.1, ".localisation."),  # shared, below the top
    ],
)
def test_localisation_networks_learn_slower(model: Any, factor: float, part: str) -> None:
    network = model()
    rest, slow = parameter_groups(network, 0.02, factor)
    assert (rest["lr"], slow["lr"]) == (0.02, 0.02 * factor)
    names = {id(p): name for name, p in network.named_parameters()}
    found = [names[id(p)] for group in (rest, slow) for p in group["params"]]
    assert sorted(found) == sorted(names.values())  # all, once
    assert {names[id(p)] for p in slow["params"]} == {name for name in names.values() if part in f".{name}"}
    assert [group["lr"] for group in tinyconv.optim.SGD([rest, slow], lr=0.02).param_groups] == [0.02, 0.02 * factor]


def test_a_network_without_transformers_has_one_rate() -> None:
    (group,) = parameter_groups(st_svhn(form="none", scale="lesson"), 0.1, 0.1)
    assert group["lr"] == 0.1 and len(group["params"]) == 2 * (8 + 3)


def test_a_localisation_network_that_moves_no_transformer_is_like_the_rest() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    model.localisation = nn.Linear(4, 5)
    (group,) = parameter_groups(model, 0.1, 0.5)
    assert group["lr"] == 0.1 and len(group["params"]) == 4


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf, "fast", None, True])
@pytest.mark.parametrize("name", ["lr", "factor"])
def test_a_wrong_rate_is_named(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError) as error:
        parameter_groups(nn.Linear(2, 3), **({"lr": 0.1, "factor": 1.0} | {name: wrong}))
    assert str(error.value) == f"parameter_groups: {name} must be a finite number of at least 0, got {wrong!r}"


def test_a_factor_of_0_keeps_transformers_where_they_begin() -> None:
    assert [group["lr"] for group in parameter_groups(two_depths(), np.float32(0.5), 0)] == [0.5, 0.0]
