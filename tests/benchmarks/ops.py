"""Single operations, forward and backward, and one step of an optimiser, at the papers' sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .engines import check_equal, load_torch, threads
from .timing import Rule, compare

Pair = tuple[Callable[[], Any], Callable[[], Any]]  # the same work by tinyconv and by PyTorch; both return arrays


class Op(NamedTuple):
    """One line of the table. PyTorch's names are tinyconv's, so one lambda serves both: lib is either's functional."""

    name: str
    goal: float | None  # tinyconv's time over PyTorch's, at most
    function: Callable[..., Any]
    inputs: tuple[tuple[Any, ...], ...]  # shapes of what gets a gradient; ("turned", degrees, n, h, w): a grid
    constants: tuple[Any, ...] = ()  # shapes of what gets none; ("classes", n, k): n numbers of k classes
    relu: bool = False  # the first input is what a ReLU leaves: half of it zeros

    @property
    def key(self) -> str:
        """Name and sizes."""
        return f"{self.name} {' '.join('x'.join(map(str, shape)) for shape in self.inputs[:1])}"


def _pool(kernel: int, stride: int) -> Callable[..., Any]:
    return lambda lib, x: lib.max_pool2d(x, kernel, stride)


def _rnn(lib: Any, x: Any, weight_ih: Any, weight_hh: Any) -> Any:
    """Run tanh units over whole sequences (N, T, F): a small recurrent weight, or rounding errors would grow."""
    weight_hh = weight_hh * len(weight_hh) ** -0.5
    if hasattr(lib, "rnn"):
        return lib.rnn(lib.linear(x, weight_ih), weight_hh)
    torch = load_torch()
    h0 = x.new_zeros(1, len(x), len(weight_hh))
    return torch.rnn_tanh(x, h0, [weight_ih, weight_hh], False, 1, 0.0, False, False, True)[0]


def _ops() -> list[Op]:
    batch_norm = lambda lib, x, w, b, mean, var: lib.batch_norm(x, mean, var, w, b, True)  # noqa: E731
    ops = [
        Op("max-pool 3x3 s2", 0.4, _pool(3, 2), ((16, 96, 55, 55),), relu=True),
        Op("max-pool 2x2 s2", 0.4, _pool(2, 2), ((4, 64, 224, 224),), relu=True),
        Op(
            "LRN n=5",
            0.15,
            lambda lib, x: lib.local_response_norm(x, 5, 1e-4, 0.75, 2.0),
            ((16, 96, 55, 55),),
            relu=True,
        ),
    ]
    for shape in ((8, 256, 56, 56), (128, 16, 32, 32)):
        vector = shape[1:2]
        ops.append(Op("batch norm, training", 0.8, batch_norm, (shape, vector, vector), (vector, vector)))
    for shape in ((4, 64, 224, 224), (16, 96, 55, 55)):
        ops.append(Op("ReLU", 1.0, lambda lib, x: lib.relu(x), (shape,)))
    for classes in (1000, 10):
        target = ("classes", 128, classes)
        ops.append(
            Op("softmax cross-entropy", 1.0, lambda lib, x, t: lib.cross_entropy(x, t), ((128, classes),), (target,))
        )
    for n in (16, 128):
        shapes = ((n, 9216), (4096, 9216), (4096,))
        ops.append(Op("linear to 4096,", 1.0, lambda lib, x, w, b: lib.linear(x, w, b), shapes, relu=True))
    sample = lambda lib, x, grid: lib.grid_sample(x, grid, align_corners=True)  # noqa: E731
    for name, degrees in (("grid sample, identity,", 0), ("grid sample, turned by 20 degrees,", 20)):
        ops.append(Op(name, 1.0, sample, ((16, 64, 56, 56), ("turned", degrees, 16, 56, 56))))
    for n, steps, hidden in ((50, 14, 64), (100, 20, 512)):
        weight = hidden, hidden
        ops.append(Op("recurrent, tanh,", None, _rnn, ((n, steps, hidden), weight, weight)))
    return ops


OPS = _ops()
# By the libraries' names of classes and arguments, which are the same.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD, momentum 0.9, weight decay 5e-4": ("SGD", {"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4}),
    "Adam": ("Adam", {"lr": 1e-3}),
}


def measure(counts: list[int], rule: Rule) -> Iterator[dict[str, Any]]:
    """Yield one row per operation and number of threads."""
    for count in counts:
        with threads(count):
            for op in OPS:
                yield {"op": op.key, "threads": count, "goal": op.goal, **_compare(op.key, pair(op), rule)}
            for name in OPTIMIZERS:
                key = f"{name}: AlexNet's 61 M parameters"
                yield {"op": key, "threads": count, "goal": None, **_compare(key, optimizer_pair(name), rule)}


def _compare(name: str, pair: Pair, rule: Rule) -> dict[str, Any]:
    check_equal(name, pair[0](), pair[1]())
    return compare(*pair, rule)


def pair(op: Op) -> Pair:
    """Return the operation with its backward as either engine's autograd runs it: [y, gradient, ...]."""
    import tinyconv

    torch = load_torch()
    rng = np.random.default_rng(0)
    inputs = [_input(rng, shape) for shape in op.inputs]
    if op.relu:
        inputs[0] = np.maximum(inputs[0], 0)
    constants = [_constant(rng, shape) for shape in op.constants]
    functional = tinyconv.functional, torch.nn.functional
    tensors = [tinyconv.tensor(a, requires_grad=True) for a in inputs]
    others = [torch.from_numpy(a.copy()).requires_grad_() for a in inputs]
    fixed, other_fixed = [tinyconv.tensor(a) for a in constants], [torch.from_numpy(a.copy()) for a in constants]
    shape = op.function(functional[0], *tensors, *fixed).shape
    dy = rng.standard_normal(shape, np.float32) if shape else np.ones((), np.float32)
    upstream, other_upstream = tinyconv.tensor(dy), torch.from_numpy(dy)

    def ours() -> list[Any]:
        y = op.function(functional[0], *tensors, *fixed)
        return [t.data for t in (y, *tinyconv.grad(y, tensors, upstream))]

    def theirs() -> list[Any]:
        y = op.function(functional[1], *others, *other_fixed)
        return [t.detach() for t in (y, *torch.autograd.grad(y, others, other_upstream))]

    return ours, theirs


def _input(rng: np.random.Generator, shape: Any) -> np.ndarray:
    return _turned(*shape[1:]) if shape[0] == "turned" else rng.standard_normal(shape, np.float32)


def _turned(degrees: float, n: int, h: int, w: int) -> np.ndarray:
    """Return a sampler's positions (n, h, w, 2) that turn an image about its centre."""
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    grid = np.stack([cos * x - sin * y, sin * x + cos * y], -1)
    return np.tile(grid.astype(np.float32), (n, 1, 1, 1))


def _constant(rng: np.random.Generator, shape: Any) -> np.ndarray:
    if shape[:1] == ("classes",):
        return rng.integers(0, shape[2], shape[1])
    return np.ones(shape, np.float32)


def optimizer_pair(name: str, shapes: list[tuple[int, ...]] | None = None) -> Pair:
    """Return one step of an optimiser over the parameters (AlexNet's), whose gradients stay as they are."""
    import tinyconv

    torch = load_torch()
    kind, options = OPTIMIZERS[name]
    if shapes is None:
        shapes = [p.shape for p in tinyconv.models.build("alexnet", device="meta").parameters()]
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for shape in shapes:
        value, grad = (rng.standard_normal(shape, np.float32) for _ in range(2))
        ours.append(tinyconv.nn.Parameter(value.copy()))
        ours[-1].grad = tinyconv.tensor(grad)
        theirs.append(torch.nn.Parameter(torch.from_numpy(value)))
        theirs[-1].grad = torch.from_numpy(grad)
    first, second = getattr(tinyconv.optim, kind)(ours, **options), getattr(torch.optim, kind)(theirs, **options)

    def step() -> list[Any]:
        first.step()
        return [p.data for p in ours]

    def other_step() -> list[Any]:
        second.step()
        return [p.detach() for p in theirs]

    return step, other_step
