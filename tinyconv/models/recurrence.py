"""What the recurrent networks of Karpathy & Fei-Fei 2015 are made of. See :class:`Recurrence`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import creation, nn
from tinyconv.nn import functional as F
from tinyconv.nn import init
from tinyconv.tensor import Tensor


class Recurrence(nn.Module):
    """h_t = f(x_t + W h_{t-1} + b), f = ReLU or tanh: the part of a recurrent network that goes through time.

    ``forward`` maps x (N, T, H), which is already as wide as the states, to the states (N, T, H); those after a
    sentence's end are 0. With ``reverse`` time runs from a sentence's last word to its first.

    Parameters
    ----------
    units : int
        H. The weight is drawn from U(-1 / sqrt(H), 1 / sqrt(H)), the bias is 0.
    """

    def __init__(
        self, units: int, nonlinearity: str = "relu", reverse: bool = False, device: str = "cpu",
        dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        super().__init__()
        self.nonlinearity, self.reverse = nonlinearity, reverse
        self.weight = nn.Parameter(creation.empty(units, units, dtype=dtype, device=device))
        self.bias = nn.Parameter(creation.zeros(units, dtype=dtype, device=device))
        init.uniform_(self.weight, -(units**-0.5), units**-0.5)

    def forward(self, x: Tensor, h0: Tensor | None = None, lengths: Any = None) -> Tensor:
        return F.rnn(x + self.bias, self.weight, h0, lengths, self.nonlinearity, self.reverse)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.nonlinearity}{', reverse' if self.reverse else ''}"
