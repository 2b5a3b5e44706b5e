"""RNN and LSTM: lengths, states at the ends, two directions by hand, the summary, bad inputs, a copied checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, gradcheck, nn, summary
from tinyconv.nn import functional as F


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_one_step_by_hand() -> None:
    layer = nn.RNN(2, 1, nonlinearity="relu", batch_first=True)
    values = {"weight_ih_l0": [[1, 2]], "weight_hh_l0": [[0.5]], "bias_ih_l0": [0.25], "bias_hh_l0": [-1]}
    layer.load_state_dict({k: np.array(v, np.float32) for k, v in values.items()})
    output, h = layer(tinyconv.tensor([[[1.0, 1.0], [0.0, 1.0]]]))
    assert output.tolist() == [[[2.25], [2.375]]]  # 3 - .75; 2 - .75 + 2.25 / 2
    assert h.tolist() == [[[2.375]]]


def test_two_directions_are_two_layers_side_by_side() -> None:
    """The second reads the sequence from its end, with its own weights."""
    both = nn.RNN(3, 4, batch_first=True, bidirectional=True).double()
    x, lengths = normal(3, 5, 3), [5, 2, 0]
    output, h = both(Tensor(x), lengths=lengths)
    for suffix, columns, number in (("", slice(0, 4), 0), ("_reverse", slice(4, 8), 1)):
        one = nn.RNN(3, 4, batch_first=True).double()
        names = list(one.state_dict())
        one.load_state_dict({name: both.state_dict()[name + suffix] for name in names})
        turned = x.copy()
        for n, length in enumerate(lengths):
            if suffix:
                turned[n, :length] = x[n, :length][::-1]
        alone, end = one(Tensor(turned), lengths=lengths)
        for n, length in enumerate(lengths):
            steps = alone.detach().numpy()[n, :length]
            found = output.detach().numpy()[n, :length, columns]
            np.testing.assert_array_equal(found[::-1] if suffix else found, steps)
        np.testing.assert_array_equal(h.detach().numpy()[number], end.detach().numpy()[0])
    assert not output.detach().numpy()[1, 2:].any() and not output.detach().numpy()[2].any()


def test_reversing_a_sentence_and_swapping_the_weights_reverses_the_states_exactly() -> None:
    """Karpathy & Fei-Fei's BRNN: e_t goes to both directions, hf + hb is what the word gets."""
    e = normal(4, 9, 16).astype(np.float32)
    forward, back = (Tensor(normal(16, 16, seed=s).astype(np.float32) / 4) for s in (1, 2))
    lengths = np.array([9, 3, 1, 6])
    turned = np.zeros_like(e)
    for n, length in enumerate(lengths):
        turned[n, :length] = e[n, :length][::-1]

    def states(x: np.ndarray, first: Tensor, second: Tensor) -> np.ndarray:
        relu = {"lengths": lengths, "nonlinearity": "relu"}
        return (F.rnn(Tensor(x), first, **relu) + F.rnn(Tensor(x), second, reverse=True, **relu)).numpy()

    there, again = states(e, forward, back), states(turned, back, forward)
    for n, length in enumerate(lengths):
        np.testing.assert_array_equal(again[n, :length][::-1], there[n, :length])


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_states_at_the_ends_follow_the_lengths(kind: str) -> None:
    """A sequence of no steps ends as it began."""
    layer = getattr(nn, kind)(3, 4, batch_first=True, bidirectional=True).double()
    start = Tensor(normal(2, 3, 4))
    output, ends = layer(
        Tensor(normal(3, 5, 3)), (start, start) if kind == "LSTM" else start, Tensor(np.array([2, 5, 0]))
    )
    h = ends[0] if kind == "LSTM" else ends
    steps = output.detach().numpy()
    np.testing.assert_array_equal(h.detach().numpy()[0, :2], steps[[0, 1], [1, 4], :4])
    np.testing.assert_array_equal(h.detach().numpy()[1, :2], steps[:2, 0, 4:])
    for end in ends if kind == "LSTM" else (ends,):
        np.testing.assert_array_equal(end.detach().numpy()[:, 2], start.numpy()[:, 2])


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_gradient_through_layers_directions_and_time(kind: str) -> None:
    layer = getattr(nn, kind)(2, 2, num_layers=2, batch_first=True, bidirectional=True).double()
    states = 2 if kind == "LSTM" else 1

    def run(x: Tensor, *hx: Tensor) -> tuple[Tensor, ...]:
        output, ends = layer(x, hx if states == 2 else hx[0], [3, 0, 2])
        return output, *(ends if states == 2 else (ends,))

    gradcheck(run, [normal(3, 3, 2), *[normal(4, 3, 2, seed=s) for s in range(states)]], rtol=1e-6)


def test_lengths_of_all_steps_change_nothing() -> None:
    layer = nn.LSTM(3, 4)
    x = Tensor(normal(5, 2, 3).astype(np.float32))
    for a, b in zip(layer(x)[1], layer(x, None, [5, 5])[1], strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_empty_batch() -> None:
    output, (h, c) = nn.LSTM(3, 4, batch_first=True)(tinyconv.zeros(0, 5, 3), lengths=[])
    assert (output.shape, h.shape, c.shape) == ((0, 5, 4), (1, 0, 4), (1, 0, 4))


def test_summary_counts_what_a_step_multiplies() -> None:
    steps, inputs, hidden = 6, 3, 4
    rnn = nn.RNN(inputs, hidden, batch_first=True)
    assert summary(rnn, (steps, inputs)).total_macs == steps * hidden * (inputs + hidden)
    assert summary(rnn, (steps, inputs)).total_params == hidden * (inputs + hidden + 2)
    assert summary(rnn, (steps, inputs)).rows[0].output_shape == (steps, hidden)
    lstm = nn.LSTM(inputs, hidden, num_layers=2, batch_first=True, bidirectional=True)
    first, second = (2 * 4 * hidden * (width + hidden) for width in (inputs, 2 * hidden))
    assert summary(lstm, (steps, inputs)).total_macs == steps * (first + second)


def test_meta_knows_shapes() -> None:
    layer = nn.RNN(3, 4, bidirectional=True, device="meta")
    output, h = layer(tinyconv.zeros(5, 2, 3, device="meta"), lengths=tinyconv.zeros(2, device="meta").long())
    assert (output.device, output.shape, h.shape) == ("meta", (5, 2, 8), (2, 2, 4))


def test_first_weights_depend_on_the_seed_only() -> None:
    drawn = []
    for _ in range(2):
        tinyconv.manual_seed(3)
        drawn.append([p.detach().numpy() for p in nn.RNN(2, 25, num_layers=2).parameters()])
    for a, b in zip(*drawn, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a).max() <= 0.2 and a.std() > 0.05
    assert len({a.tobytes() for a in drawn[0]}) == 8


X = Tensor(np.zeros((2, 5, 3), np.float32))


@pytest.mark.parametrize(
    ("build", "call", "kind", "message"),
    [
        ({"hidden_size": 0}, {}, ValueError, "RNN: hidden_size must be an int of at least 1, got 0"),
        ({"num_layers": True}, {}, ValueError, "RNN: num_layers must be an int of at least 1, got True"),
        ({"nonlinearity": "sigmoid"}, {}, ValueError, "RNN: nonlinearity must be one of 'tanh', 'relu', got 'sigmoid'"),
        ({}, {"x": np.zeros((2, 5, 3))}, TypeError, "RNN: x must be a Tensor, got ndarray"),
        ({}, {"x": Tensor(np.zeros(3))}, ValueError, r"RNN: x must be \(N, T, input_size\) or .*got shape \(3,\)"),
        ({"input_size": 4}, {}, ValueError, r"RNN: x must be .* with input_size 4 .*got shape \(2, 5, 3\)"),
        ({}, {"x": X[:, :0]}, ValueError, r"RNN: x must be .* at least one step, got shape \(2, 0, 3\)"),
        ({}, {"hx": tinyconv.zeros(1, 3, 4)}, ValueError, r"RNN: hx must have shape \(1, 2, 4\), got \(1, 3, 4\)"),
        ({"num_layers": 2}, {"hx": tinyconv.zeros(1, 2, 4)}, ValueError, r"RNN: hx must have shape \(2, 2, 4\)"),
        ({}, {"hx": tinyconv.zeros(2, 4)}, ValueError, r"RNN: hx must be \(layers, N, hidden_size\)"),
        ({}, {"lengths": [5]}, ValueError, r"rnn: lengths must be \(N,\) with N = 2 as x has, got shape \(1,\)"),
        ({}, {"lengths": [5, 6]}, ValueError, r"rnn: lengths must be in \[0, 5\], the steps of x, got 6"),
    ],
)
def test_refused(build: dict[str, Any], call: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        nn.RNN(**{"input_size": 3, "hidden_size": 4, "batch_first": True, **build})(**{"x": X, **call})


def test_lstm_wants_a_pair_of_states() -> None:
    for hx in (tinyconv.zeros(1, 2, 4), (tinyconv.zeros(1, 2, 4),)):
        with pytest.raises(TypeError, match=r"^LSTM: hx must be a pair \(h_0, c_0\) of Tensors, got (Tensor|tuple)"):
            nn.LSTM(3, 4, batch_first=True)(X, hx)
