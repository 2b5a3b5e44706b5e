"""RNN and LSTM against PyTorch's layers in float64: outputs, states at the ends, every gradient; packed sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")

N, T, F, H = 5, 7, 3, 4
LENGTHS = [4, 7, 1, 6, 4]

LAYERS = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
    ("RNN", {"num_layers": 2, "bias": False}),
    ("RNN", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    ("LSTM", {}),
    ("LSTM", {"batch_first": True, "bias": False}),
    ("LSTM", {"num_layers": 2}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
]
layers = pytest.mark.parametrize(
    ("kind", "options"), LAYERS, ids=[f"{kind}-{','.join(f'{k}={v}' for k, v in o.items())}" for kind, o in LAYERS]
)


def twins(kind: str, options: dict[str, Any]) -> tuple[nn.Module, Any]:
    """Return our layer and PyTorch's with the same float64 weights."""
    ours, theirs = getattr(nn, kind)(F, H, **options).double(), getattr(torch.nn, kind)(F, H, **options).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [p.shape for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def inputs(kind: str, options: dict[str, Any]) -> list[np.ndarray]:
    """Return x and the states before the first steps."""
    rng = np.random.default_rng(0)
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    shape = (N, T, F) if options.get("batch_first") else (T, N, F)
    return [rng.standard_normal(s) for s in (shape, *[(count, N, H)] * (2 if kind == "LSTM" else 1))]


def flat(result: Any) -> list[Any]:
    """Return output, h_n and, of an LSTM, c_n."""
    output, ends = result
    return [output, *(ends if isinstance(ends, tuple) else (ends,))]


def compare(
    ours: Any, theirs: Any, ours_in: list[Any], theirs_in: list[Any], found: list[Any], want: list[Any]
) -> None:
    """Compare results, then the gradients of inputs and parameters for fixed random gradients of all results."""
    rng = np.random.default_rng(1)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-9)
    upstream = [rng.standard_normal(a.shape) for a in found]
    sum((a * Tensor(u)).sum() for a, u in zip(found, upstream, strict=True)).backward()
    sum((b * torch.tensor(u)).sum() for b, u in zip(want, upstream, strict=True)).backward()
    pairs = [*zip(ours_in, theirs_in, strict=True), *zip(ours.parameters(), theirs.parameters(), strict=True)]
    for a, b in pairs:
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-9)


@layers
@pytest.mark.parametrize("given", [False, True], ids=["from 0", "given states"])
def test_whole_sequences(kind: str, options: dict[str, Any], given: bool) -> None:
    ours, theirs = twins(kind, options)
    arrays = inputs(kind, options)[: None if given else 1]
    a, b = [Tensor(x, requires_grad=True) for x in arrays], [torch.tensor(x, requires_grad=True) for x in arrays]
    hx, theirs_hx = [(tuple(t[1:]) if len(t) > 2 else t[1]) if given else None for t in (a, b)]
    compare(ours, theirs, a, b, flat(ours(a[0], hx)), flat(theirs(b[0], theirs_hx)))


@layers
def test_unequal_lengths_are_packed_sequences(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = twins(kind, options)
    first = options.get("batch_first", False)
    arrays = inputs(kind, options)
    a, b = [Tensor(x, requires_grad=True) for x in arrays], [torch.tensor(x, requires_grad=True) for x in arrays]
    hx, theirs_hx = [tuple(t[1:]) if len(t) > 2 else t[1] for t in (a, b)]
    rnn = torch.nn.utils.rnn
    packed = rnn.pack_padded_sequence(b[0], torch.tensor(LENGTHS), batch_first=first, enforce_sorted=False)
    output, ends = theirs(packed, theirs_hx)
    want = flat((rnn.pad_packed_sequence(output, batch_first=first, total_length=T)[0], ends))
    compare(ours, theirs, a, b, flat(ours(a[0], hx, np.array(LENGTHS))), want)


@layers
def test_one_sequence_without_a_batch(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = twins(kind, options)
    x, *states = inputs(kind, options)
    arrays = [x[0] if options.get("batch_first") else x[:, 0], *[s[:, 0] for s in states]]
    a, b = [Tensor(x, requires_grad=True) for x in arrays], [torch.tensor(x, requires_grad=True) for x in arrays]
    hx, theirs_hx = [tuple(t[1:]) if len(t) > 2 else t[1] for t in (a, b)]
    compare(ours, theirs, a, b, flat(ours(a[0], hx)), flat(theirs(b[0], theirs_hx)))


@layers
def test_printed_as_there(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = twins(kind, options)
    plain = repr(ours).replace(", nonlinearity=relu", "")  # which PyTorch does not print
    assert plain == repr(theirs)


def test_first_weights_are_spread_as_there() -> None:
    tinyconv.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = nn.LSTM(30, 100), torch.nn.LSTM(30, 100)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        values = a.detach().numpy()
        assert np.abs(values).max() <= 0.1  # 1 / sqrt(100), whatever the inputs are
        np.testing.assert_allclose(values.std(), b.detach().numpy().std(), rtol=0.12, err_msg=name)
