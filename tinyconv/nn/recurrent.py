"""Recurrent layers with PyTorch's names and parameters: see :class:`RNN` and :class:`LSTM`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import creation, device, errors, functional
from tinyconv.nn import init
from tinyconv.nn.module import Module, Parameter
from tinyconv.nn.weighted import _check_sizes
from tinyconv.tensor import Tensor


class _Recurrent(Module):
    """What both layers share: parameters, layers upon each other, two directions, the states at the ends."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        bidirectional: bool,
        device: str,
        dtype: Any,
    ) -> None:
        super().__init__()
        _check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bool(bias), bool(batch_first), bool(bidirectional)
        self._suffixes = ("", "_reverse") if bidirectional else ("",)
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * len(self._suffixes)
            for suffix in self._suffixes:
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (inputs,), "weight_hh": (hidden_size,)}
                shapes |= {"bias_ih": (), "bias_hh": ()} if bias else {}
                for name, columns in shapes.items():
                    shape = (self.gates * hidden_size, *columns)
                    parameter = Parameter(creation.empty(shape, dtype=dtype, device=device))
                    init.uniform_(parameter, -bound, bound)
                    self.register_parameter(f"{name}_l{layer}{suffix}", parameter)

    def _sequence(
        self, x: Tensor, weight: Tensor, starts: list[Tensor | None], lengths: Any, reverse: bool
    ) -> tuple[Tensor, ...]:
        """Run one direction of one layer on projected inputs; return all its states, of each kind."""
        raise NotImplementedError

    def _run(self, x: Tensor, states: tuple[Tensor, ...], kinds: int, lengths: Any) -> tuple[Tensor, list[Tensor]]:
        """Return the last layer's states at all steps, and every layer's states at the ends, of each kind."""
        name, count = type(self).__name__, self.num_layers * len(self._suffixes)
        layout = "(N, T, input_size)" if self.batch_first else "(T, N, input_size)"
        errors.check_ndim(name, "x", x, (2, 3), f"{layout} or (T, input_size)")
        for state in states:
            errors.check_ndim(name, "hx", state, x.ndim, "(layers, N, hidden_size), without N if x is")
        shape, unbatched = x.shape, x.ndim == 2
        if unbatched:
            x, states = x.unsqueeze(0), tuple(s.unsqueeze(1) for s in states)
        elif not self.batch_first:
            x = x.transpose(0, 1)
        if x.shape[1] < 1 or x.shape[2] != self.input_size:
            wanted = f"{layout} with input_size {self.input_size} and at least one step"
            raise ValueError(f"{name}: x must be {wanted}, got shape {shape}")
        for state in states:
            errors.check_shape(name, "hx", state, (count, x.shape[0], self.hidden_size))
        ends: list[list[Tensor]] = [[] for _ in range(kinds)]
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self._suffixes:
                weight_ih, weight_hh, bias = self._parameters_of(f"_l{layer}{suffix}")
                starts: list[Tensor | None] = [s[len(ends[0])] for s in states] or [None] * kinds
                projected = functional.linear(x, weight_ih, bias)
                runs = self._sequence(projected, weight_hh, starts, lengths, suffix != "")
                for end, run, start in zip(ends, runs, starts, strict=True):
                    end.append(_at_end(run, start, lengths, suffix != ""))
                outputs.append(runs[0])
            x = outputs[0] if len(outputs) == 1 else functional.cat(outputs, 2)
        last = [functional.stack(end) for end in ends]
        if unbatched:
            return x.squeeze(0), [s.squeeze(1) for s in last]
        return x if self.batch_first else x.transpose(0, 1), last

    def _parameters_of(self, suffix: str) -> tuple[Tensor, Tensor, Tensor | None]:
        bias = getattr(self, "bias_ih" + suffix) + getattr(self, "bias_hh" + suffix) if self.bias else None
        return getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix), bias

    def extra_repr(self) -> str:
        usual = {"num_layers": 1, "nonlinearity": "tanh", "bias": True, "batch_first": False, "bidirectional": False}
        parts = [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k, v) != v]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *parts])


def _at_end(run: Tensor, start: Tensor | None, lengths: Any, reverse: bool) -> Tensor:
    """Return the states (N, H) after each sample's last step; a sample without steps stays as it was."""
    if lengths is None or run.device == "meta":
        return run[:, 0 if reverse else -1]
    counts = np.asarray(device.host(lengths.data) if isinstance(lengths, Tensor) else lengths, np.int64)
    last = run[:, 0] if reverse else run[np.arange(len(counts)), np.maximum(counts, 1) - 1]
    if start is None or counts.all():
        return last
    return functional.where(Tensor(counts > 0).to(run.device).unsqueeze(1), last, start)


class RNN(_Recurrent):
    """Recurrent layers upon each other (Elman 1990): h[t] = f(W_ih x[t] + b_ih + W_hh h[t - 1] + b_hh).

    See :func:`tinyconv.functional.rnn`. Parameters are PyTorch's: ``weight_ih_l0`` (H, inputs), ``weight_hh_l0``
    (H, H), ``bias_ih_l0`` and ``bias_hh_l0`` (H,), for further layers ``_l1`` and so on, for the direction from the end
    to the beginning ``_l0_reverse``; at first uniform on +-1 / sqrt(H). PyTorch's ``dropout=`` between layers is not
    offered.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        Each further layer reads the states of the one below.
    nonlinearity : "tanh" or "relu"
    bias : bool
    batch_first : bool
        Whether x is (N, T, input_size), else (T, N, input_size).
    bidirectional : bool
        Whether a second network reads from the end; a step's output has both states, side by side.

    Examples
    --------
    >>> layer = RNN(3, 4, batch_first=True, bidirectional=True)
    >>> output, h_n = layer(tinyconv.randn(2, 5, 3), lengths=[5, 2])
    >>> output.shape, h_n.shape
    ((2, 5, 8), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        *,
        bidirectional: bool = False,
        device: str = "cpu",
        dtype: Any = np.float32,
    ) -> None:
        errors.check_choice("RNN", "nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, bidirectional, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x: Tensor, hx: Tensor | None = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Return (output, h_n).

        Parameters
        ----------
        x : Tensor, (T, N, input_size), (N, T, input_size) if ``batch_first``, or (T, input_size) for one sequence
        hx : Tensor, (num_layers * directions, N, hidden_size), optional
            The states before the first steps; 0 by default.
        lengths : array or Tensor of N ints in [0, T], optional
            Steps of each sequence, in any order (in the place of PyTorch's packed sequences).

        Returns
        -------
        output : Tensor, (T, N, directions * hidden_size) or as x is
            The last layer's states, 0 behind a sequence's end.
        h_n : Tensor, (num_layers * directions, N, hidden_size)
            The states after each sequence's last step.
        """
        output, (h,) = self._run(x, () if hx is None else (hx,), 1, lengths)
        return output, h

    def _sequence(
        self, x: Tensor, weight: Tensor, starts: list[Tensor | None], lengths: Any, reverse: bool
    ) -> tuple[Tensor, ...]:
        return (functional.rnn(x, weight, starts[0], lengths, self.nonlinearity, reverse),)


class LSTM(_Recurrent):
    """Layers of long short-term memory upon each other: see :func:`tinyconv.functional.lstm`, and :class:`RNN`.

    Its parameters have :class:`RNN`'s names and four times as many rows: those of the gates i, f, g, o, one after the
    other. PyTorch's ``dropout=`` and ``proj_size=`` are not offered, nor packed sequences: give ``lengths=``.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        Each further layer reads the states of the one below.
    bias : bool
    batch_first : bool
        Whether x is (N, T, input_size), else (T, N, input_size).
    bidirectional : bool
        Whether a second network reads from the end; a step's output has both states, side by side.

    Examples
    --------
    >>> layer = LSTM(3, 4, batch_first=True)
    >>> output, (h_n, c_n) = layer(tinyconv.randn(2, 5, 3), lengths=[5, 2])
    >>> output.shape, h_n.shape, c_n.shape
    ((2, 5, 4), (1, 2, 4), (1, 2, 4))
    >>> output, _ = layer(tinyconv.randn(2, 1, 3), (h_n, c_n))  # a step further
    >>> output.shape
    (2, 1, 4)
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        *,
        bidirectional: bool = False,
        device: str = "cpu",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, bidirectional, device, dtype)

    def forward(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None, lengths: Any = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return (output, (h_n, c_n)).

        Parameters
        ----------
        x : Tensor, (T, N, input_size), (N, T, input_size) if ``batch_first``, or (T, input_size) for one sequence
        hx : pair (h_0, c_0) of Tensors, (num_layers * directions, N, hidden_size) each, optional
            The states and the cells before the first steps; 0 by default.
        lengths : array or Tensor of N ints in [0, T], optional
            Steps of each sequence, in any order (in the place of PyTorch's packed sequences).

        Returns
        -------
        output : Tensor, (T, N, directions * hidden_size) or as x is
            The last layer's states, 0 behind a sequence's end.
        h_n, c_n : a pair of Tensors, (num_layers * directions, N, hidden_size) each
            The states and the cells after each sequence's last step.

        Raises
        ------
        TypeError
            hx is no pair.
        ValueError
            A shape does not fit, or a length is not in [0, T].
        """
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise TypeError(f"LSTM: hx must be a pair (h_0, c_0) of Tensors, got {type(hx).__name__}")
        output, (h, c) = self._run(x, () if hx is None else tuple(hx), 2, lengths)
        return output, (h, c)

    def _sequence(
        self, x: Tensor, weight: Tensor, starts: list[Tensor | None], lengths: Any, reverse: bool
    ) -> tuple[Tensor, ...]:
        return functional.lstm(x, weight, starts[0], starts[1], lengths, reverse)
