"""The summary: counts by hand, unusual modules, and a model that is left as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, nn, summary
from tinyconv.nn import functional as F


def test_counts_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 5, 2, stride=2),
        nn.Flatten(),
        nn.Linear(5 * 8 * 8, 7),
    )
    found = summary(model, (4, 8, 8))
    assert [(r.name, r.kind, r.output_shape, r.params, r.macs) for r in found.rows] == [
        ("0", "Conv2d", (6, 4, 4), 6 * 2 * 9, 6 * 4 * 4 * 2 * 9),
        ("1", "BatchNorm2d", (6, 4, 4), 12, 0),
        ("2", "ReLU", (6, 4, 4), 0, 0),
        ("3", "ConvTranspose2d", (5, 8, 8), 6 * 5 * 4 + 5, 6 * 4 * 4 * 5 * 4),
        ("4", "Flatten", (320,), 0, 0),
        ("5", "Linear", (7,), 320 * 7 + 7, 320 * 7),
    ]
    assert found.total_params == 108 + 12 + 125 + 2247
    assert found.total_macs == 1728 + 1920 + 2240


class Residual(nn.Module):
    """Functions beside layers, a layer used twice, a head that only training uses, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.kernel = nn.Parameter(np.ones((3, 2, 1, 1), np.float32))
        self.fixed = tinyconv.ones(3, 3)  # a plain tensor, no buffer
        self.head = nn.Linear(3, 9)
        self.input_shape = (2, 5, 5)

    def forward(self, x: Tensor) -> dict:
        y = self.conv(self.conv(x)) + x
        pooled = F.conv2d(y, self.kernel).mean((2, 3)) @ self.fixed
        return {"scores": (pooled, y), "aux": self.head(pooled) if self.training else None}


def test_module_with_functions() -> None:
    model = Residual()
    rows = {row.name: row for row in summary(model).rows}
    assert rows["conv"].macs == 2 * (2 * 25 * 2 * 9)
    assert rows[""].params == 6
    assert rows[""].macs == 3 * 25 * 2 + 3 * 3
    assert rows[""].output_shape == (3,)
    assert rows["head"].output_shape is None
    assert (rows["head"].params, rows["head"].macs) == (36, 0)
    text = str(summary(model))
    assert "(itself)" in text
    assert "(not run)" in text


def test_shared_and_frozen_parameters_and_no_grad() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared).requires_grad_(False)
    with tinyconv.no_grad():
        found = summary(model, (4,))
    assert found.total_params == 20
    assert found.total_macs == 32


def test_an_empty_list_of_modules_is_no_row() -> None:
    model = Residual()
    before = summary(model).rows
    model.extra = nn.ModuleList([])
    assert summary(model).rows == before


def test_several_inputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x @ y

    found = summary(Two(), [(3, 4), (4, 5)])
    assert found.total_macs == 60
    assert "input 3 x 4, 4 x 5" in str(found)
    assert summary(nn.ReLU(), ()).rows[0].output_shape == ()


def test_the_model_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 2))
    model[2].eval()
    calls: list = []
    model[0].register_forward_hook(lambda *a: calls.append(a))
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    versions = {n: t._version.value for n, t in [*model.named_parameters(), *model.named_buffers()]}
    arrays = {n: id(t.data) for n, t in model.named_parameters()}
    attributes = {name: copy.copy(vars(m)) for name, m in model.named_modules()}
    tinyconv.manual_seed(5)
    wanted = tinyconv.randn(2).tolist()
    tinyconv.manual_seed(5)
    summary(model, (1, 4, 4))
    assert tinyconv.randn(2).tolist() == wanted
    assert calls == []
    assert [m.training for m in model] == [True, True, False, True, True]
    assert {n: t._version.value for n, t in [*model.named_parameters(), *model.named_buffers()]} == versions
    assert {n: id(t.data) for n, t in model.named_parameters()} == arrays
    for name, module in model.named_modules():
        assert vars(module).keys() == attributes[name].keys()
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])
    assert all(p.grad is None for p in model.parameters())


def test_float64_models_and_meta_models() -> None:
    assert summary(nn.Linear(3, 2, dtype=tinyconv.float64), (3,)).total_macs == 6
    big = nn.Sequential(nn.Linear(10**6, 10**6, device="meta"))
    assert summary(big, (10**6,)).total_params == 10**12 + 10**6


def test_table() -> None:
    text = repr(summary(nn.Sequential({"fc": nn.Linear(2000, 10)}), (2000,)))
    lines = text.split("\n")
    assert lines[0] == "Sequential, input 2000; MACs per image"
    assert lines[4].split() == ["fc", "Linear", "10", "20,010", "20,000"]
    assert lines[-1].split() == ["total", "Sequential", "20,010", "20,000"]
    assert len({len(line) for line in lines[1:] if line.endswith(("0", "-"))}) == 1


def test_errors() -> None:
    with pytest.raises(
        ValueError, match=r"summary: Linear has no input_shape; give .* summary\(model, \(3, 32, 32\)\)"
    ):
        summary(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="model must be a Module, got int"):
        summary(3)
    for shape in (3, (0, 2), (1.5,), "ab", [(1,), (0,)]):
        with pytest.raises(ValueError, match="input_shape must be positive ints without the batch axis"):
            summary(nn.ReLU(), shape)
    with pytest.raises(ValueError, match="linear: x must be") as caught:
        summary(nn.Linear(2, 2), (3,))
    assert caught.value.__notes__ == ["summary: Linear was called with a batch of 1 of shape 3"]
