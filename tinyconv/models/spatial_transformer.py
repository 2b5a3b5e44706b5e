"""The spatial transformer of Jaderberg et al. 2015, a layer that chooses what it sees: :class:`SpatialTransformer`.

Localisation network -> theta -> sampling grid -> sampler; all of it learns by the gradient of whatever follows.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import creation, device, errors, nn
from tinyconv import functional as F
from tinyconv.function import no_grad
from tinyconv.functional.grids import control_points
from tinyconv.nn import init
from tinyconv.tensor import Tensor

_ALIGN = True  # -1 and 1 are the centres of the corner pixels, in the grid and in the sampler alike
POINTS = 4  # thin-plate splines have 4 x 4 control points (sec. 3.2 and appendix)


class Transform(NamedTuple):
    """A family of transformations.

    Attributes
    ----------
    shape : tuple of int
        Of one theta, as the grid's function takes it.
    grid : callable
        (theta (N, *shape), size (N, C, H, W), align_corners) -> grid (N, H, W, 2).
    start : callable
        (scale) -> the numbers of the theta that shows the middle of the input, ``scale`` times as wide: 1 is the
        identity.
    """

    shape: tuple[int, ...]
    grid: Callable[..., Tensor]
    start: Callable[[float], Sequence[float]]

    @property
    def numbers(self) -> int:
        """How many numbers theta has."""
        return math.prod(self.shape)


TRANSFORMS = {
    "affine": Transform((2, 3), F.affine_grid, lambda s: (s, 0, 0, 0, s, 0)),
    "attention": Transform((3,), F.attention_grid, lambda s: (s, 0, 0)),
    "projective": Transform((8,), F.projective_grid, lambda s: (s, 0, 0, 0, s, 0, 0, 0)),
    "tps": Transform(
        (POINTS * POINTS, 2), F.thin_plate_spline_grid, lambda s: (s * control_points(POINTS)).ravel().tolist()
    ),
}


class SpatialTransformer(nn.Module):
    """Sample the input where a localisation network says (Jaderberg et al. 2015, sec. 3).

    theta = localisation(x);  (x_s, y_s) = T_theta(x_t, y_t) for every output position;  y = x sampled at (x_s, y_s)

    T maps positions of the output to positions of the input, both in [-1, 1] from the centre of the first pixel to that
    of the last; all channels are sampled alike. What lies outside of the input is 0. It can stand before any layer of
    any network; a smaller ``out_size`` also shrinks.

    Parameters
    ----------
    localisation : Module or None
        (N, C, H, W) -> (N, numbers of the transform). Its last Linear, in the order of assignment, begins with weights
        0 and the biases of ``start``, so that all images begin with one transformation (sec. 4 and appendix). None:
        theta is given in every call, as where several transformers have one localisation network.
    transform : {"affine", "attention", "projective", "tps"}
        6 numbers: (x_s, y_s) = [[t1, t2, t3], [t4, t5, t6]] (x_t, y_t, 1), eq. 1; 3: scale and shift, eq. 2; 8: the
        affine ones and the two of the denominator; 32: where the spline sends 4 x 4 control points.
    out_size : int or (int, int), optional
        Height and width of the output in pixels; by default the input's.
    start : float, sequence of floats, or None
        The first theta: its scale, 1 is the identity and .5 the middle quarter; or all its numbers. None leaves the
        localisation network's own initial weights.
    fixed_scale : float, optional
        Of "attention": theta is only the shift (2 numbers), as in the paper's networks for birds (sec. 4.3).

    Raises
    ------
    ValueError
        An unknown transform; a size below 1; a start of another length, or not of finite numbers; a fixed scale that
        is not positive; a localisation network whose last fully connected layer does not put out theta.

    Examples
    --------
    >>> look = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 32), nn.ReLU(), nn.Linear(32, 6))
    >>> SpatialTransformer(look)(tinyconv.rand(2, 1, 28, 28)).shape
    (2, 1, 28, 28)
    """

    def __init__(
        self,
        localisation: nn.Module | None,
        transform: str = "affine",
        out_size: int | tuple[int, int] | None = None,
        *,
        start: float | Sequence[float] | None = 1.0,
        fixed_scale: float | None = None,
    ) -> None:
        super().__init__()
        name = "SpatialTransformer"
        errors.check_choice(name, "transform", transform, tuple(TRANSFORMS))
        if fixed_scale is not None and transform != "attention":
            raise ValueError(f'{name}: fixed_scale is for transform="attention", got {transform!r}; leave it out')
        self.transform = transform
        self.fixed_scale = None if fixed_scale is None else _number(name, "fixed_scale", fixed_scale, positive=True)
        self.out_size = None if out_size is None else errors.pair(name, "out_size", out_size, 1)
        self.numbers = TRANSFORMS[transform].numbers - (fixed_scale is not None)
        self.localisation = localisation
        first = None if start is None else self._numbers(start)
        if localisation is not None and first is not None:
            start_with(localisation, first)

    def _numbers(self, start: float | Sequence[float]) -> Sequence[float]:
        """Return the first theta."""
        wanted = f"a scale or {self.numbers} numbers for {self.transform}"
        given = _finite(start, wanted)
        if not given.ndim:
            whole = TRANSFORMS[self.transform].start(float(given))
            return whole[len(whole) - self.numbers :]  # without the scale, where that is fixed
        if given.shape != (self.numbers,):
            got = len(given) if given.ndim == 1 else f"shape {given.shape}"
            raise ValueError(f"SpatialTransformer: start must be {wanted}, got {got}")
        return given.tolist()

    def theta(self, x: Tensor) -> Tensor:
        """Return what the localisation network says of x (N, C, H, W): (N, numbers)."""
        if self.localisation is None:
            raise ValueError("SpatialTransformer: it has no localisation network; give theta (N, numbers) in the call")
        return self.localisation(x)

    def grid(self, theta: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the positions (N, OH, OW, 2), x first, that an output of size (OH, OW) shows."""
        if theta.ndim != 2 or theta.shape[1] != self.numbers:
            raise ValueError(
                f"SpatialTransformer: theta must be (N, {self.numbers}) for {self.transform}, got shape {theta.shape}; "
                "mind the last layer of the localisation network"
            )
        if self.fixed_scale is not None:
            scales = creation.full((len(theta), 1), self.fixed_scale, dtype=theta.dtype, device=theta.device)
            theta = F.cat([scales, theta], 1)
        family = TRANSFORMS[self.transform]
        return family.grid(theta.reshape(-1, *family.shape), (len(theta), 1, *size), align_corners=_ALIGN)

    def forward(self, x: Tensor, theta: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to (N, C, OH, OW)."""
        return self.look(x, theta)[1]

    def look(self, x: Tensor, theta: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the grid (N, OH, OW, 2) and the output (N, C, OH, OW)."""
        errors.check_ndim("SpatialTransformer", "x", x, 4, "(N, C, H, W)")
        size = (x.shape[2], x.shape[3]) if self.out_size is None else self.out_size
        grid = self.grid(self.theta(x) if theta is None else theta, size)
        return grid, F.grid_sample(x, grid, align_corners=_ALIGN)

    def extra_repr(self) -> str:
        parts = [repr(self.transform)]
        parts += [f"out_size={self.out_size}"] if self.out_size is not None else []
        parts += [f"fixed_scale={self.fixed_scale}"] if self.fixed_scale is not None else []
        return ", ".join(parts)


def on_host(looks: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return grids (N, OH, OW, 2) and outputs (N, C, OH, OW) of transformers as arrays."""
    return [(device.host(grid.data), device.host(output.data)) for grid, output in looks]


def start_with(localisation: nn.Module, theta: Sequence[float]) -> None:
    """Make a localisation network say these numbers of every image: last weights 0, last biases the numbers."""
    values = _finite(theta, "a sequence of numbers")
    if values.ndim != 1:
        raise ValueError(f"SpatialTransformer: start must be a sequence of numbers, got shape {values.shape}")
    linear = [layer for layer in localisation.modules() if isinstance(layer, nn.Linear)]
    last = linear[-1] if linear else None
    if last is None or last.bias is None or last.bias.shape != values.shape:
        got = "none" if last is None else f"{last.weight.shape[0]}{' without biases' if last.bias is None else ''}"
        raise ValueError(
            f"SpatialTransformer: the last Linear of the localisation network must have {len(values)} outputs and "
            f"biases, got {got}; start=None leaves it as it is"
        )
    init.zeros_(last.weight)
    with no_grad():
        last.bias.copy_(Tensor(device.move(values.astype(last.bias.dtype), last.bias.device)))


def parameter_groups(model: nn.Module, lr: float, factor: float) -> list[dict[str, Any]]:
    """Return an optimizer's groups: the localisation networks learn at ``factor`` times the rate ``lr`` of the rest.

    The paper's are 1 (MNIST), .1 (SVHN) and 1e-4 (birds).

    Raises
    ------
    ValueError
        ``lr`` or ``factor`` is negative, or no finite number.
    """
    lr, factor = (_number("parameter_groups", name, value) for name, value in (("lr", lr), ("factor", factor)))
    networks = [module.localisation for module in model.modules() if _localises(module)]
    slow = {id(p): p for network in networks for p in network.parameters()}
    rest = [p for p in model.parameters() if id(p) not in slow]
    groups = [{"params": rest, "lr": lr}, {"params": list(slow.values()), "lr": lr * factor}]
    return [group for group in groups if group["params"]]


def _localises(module: nn.Module) -> bool:
    """Say whether a module has a localisation network: a transformer's own, or one for several transformers in it."""
    network = getattr(module, "localisation", None)
    return isinstance(network, nn.Module) and any(isinstance(m, SpatialTransformer) for m in module.modules())


def _finite(start: Any, wanted: str) -> np.ndarray:
    """Return the numbers of a start, or raise unless they are finite."""
    try:
        values = np.asarray(start)
    except ValueError:  # rows of different lengths
        values = np.array(None)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"SpatialTransformer: start must be {wanted}, got {start!r}")
    if not np.isfinite(values).all():
        raise ValueError(f"SpatialTransformer: start must be finite, got {start!r}")
    return values


def _number(op: str, name: str, value: Any, positive: bool = False) -> float:
    """Return a factor as a float, or raise unless it is finite and at least 0, or positive."""
    real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if not real or not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{op}: {name} must be a finite number{', positive' if positive else ' of at least 0'}, "
                         f"got {value!r}")  # fmt: skip
    return float(value)
