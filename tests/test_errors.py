"""Every message of errors.py: who, what was wanted, what came, what to do. A row for each ``raise`` in that file."""

from __future__ import annotations

import ast
import traceback
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import errors
from tinyconv.nn import functional as F

x34 = tc.zeros(3, 4)
image = tc.zeros(2, 4, 5, 5)

ROWS = [
    (
        lambda: errors.pair("f", "stride", 1.5),
        TypeError,
        "f: stride must be an int or a pair (height, width) of ints, got 1.5",
    ),
    (
        lambda: errors.pair("f", "stride", True),
        TypeError,
        "f: stride must be an int or a pair (height, width) of ints, got True",
    ),
    (lambda: errors.pair("f", "stride", (1, 2, 3)), TypeError, "got (1, 2, 3)"),
    (lambda: errors.pair("f", "stride", (1, 0), 1), ValueError, "f: stride must be at least 1, got (1, 0)"),
    (
        lambda: errors.check_tensor("f", "x", np.zeros(2)),
        TypeError,
        "f: x must be a Tensor, got ndarray; wrap it in tinyconv.tensor(...)",
    ),
    (
        lambda: errors.check_window("f", (0, 5), (1, 1), (1, 1), (1, 1)),
        ValueError,
        "f: the image must have at least one pixel, got 0 x 5",
    ),
    (
        lambda: errors.check_ndim("f", "x", x34, (3, 4), "(N, C, H, W)"),
        ValueError,
        "f: x must be (N, C, H, W), got shape (3, 4)",
    ),
    (
        lambda: errors.check_float("f", "x", tc.arange(3)),
        TypeError,
        "f: x must be float32 or float64, got int64; convert it with x.float()",
    ),
    (
        lambda: errors.check_integer("f", "target", x34),
        TypeError,
        "f: target must hold integers, got float32; convert it with target.long()",
    ),
    (
        lambda: errors.check_same("f", x=x34, weight=x34.double()),
        TypeError,
        "f: x and weight must have one dtype, got float32 and float64; convert one with .float() or .double()",
    ),
    (
        lambda: errors.check_same("f", x=x34, bias=None, weight=x34.to("meta")),
        RuntimeError,
        'f: x and weight must be on one device, got "cpu" and "meta"; move one with .to("cpu") or .to("meta")',
    ),
    (
        lambda: errors.check_target("f", ("gpu",), None, None),
        ValueError,
        'f: wanted a device ("cpu", "cuda", "meta") or a dtype such as "float64", got \'gpu\'',
    ),
    (
        lambda: errors.check_shape("f", "x", x34, (3, 5), "as y"),
        ValueError,
        "f: x must have shape (3, 5) as y, got (3, 4)",
    ),
    (
        lambda: errors.check_in_place("add_", x34, np.zeros(3)),
        ValueError,
        "add_: a value of shape (3,) cannot be broadcast to the tensor's shape (3, 4)",
    ),
    (
        lambda: errors.check_in_place("add_", tc.arange(3), 0.5),
        TypeError,
        "add_: the result is floating and does not fit into this int64 tensor; convert it first",
    ),
    (
        lambda: errors.check_window("f", (5, 2), (3, 3), (1, 1), (0, 0)),
        ValueError,
        "f: the window's width 3 is larger than the padded image's width 2 (2 + 2 * 0); use a larger image or more pad",
    ),
    (
        lambda: errors.check_window("f", (4, 9), (3, 3), (1, 1), (0, 0), (2, 2)),
        ValueError,
        "f: the window's height 5 is larger than the padded image's height 4 (4 + 2 * 0)",
    ),
    (
        lambda: errors.check_pool_padding("f", (3, 3), (1, 2)),
        ValueError,
        "f: padding must be at most half of kernel_size (3, 3), got (1, 2)",
    ),
    (lambda: errors.check_axis("f", 1.0, 2), TypeError, "f: dim must be an int, got 1.0"),
    (lambda: errors.check_axis("f", 2, 2), IndexError, "f: dim must be in [-2, 1], got 2"),
    (lambda: errors.check_axis("f", -2, 0), IndexError, "f: dim must be in [-1, 0], got -2"),
    (
        lambda: errors.check_range("f", "target", np.array([0, 3, -100]), 3, -100),
        IndexError,
        "f: target must be in [0, 3), got 3",
    ),
    (
        lambda: errors.check_range("f", "target", np.array([0, -1]), 3),
        IndexError,
        "f: target must be in [0, 3), got -1",
    ),
    (lambda: errors.check_probability("f", "p", "half"), TypeError, "f: p must be a number, got 'half'"),
    (lambda: errors.check_probability("f", "p", 1.5), ValueError, "f: p must be a probability in [0, 1], got 1.5"),
    (lambda: errors.check_probability("f", "p", float("nan")), ValueError, "got nan"),
    (
        lambda: errors.check_choice("f", "mode", "same", ("valid", "full")),
        ValueError,
        "f: mode must be one of 'valid', 'full', got 'same'",
    ),
    (lambda: errors.check_dtype("f", "float99"), TypeError, "f: dtype must be one of float32, float64, int8, "),
    (lambda: errors.check_dtype("f", np.float16), TypeError, "got float16"),
    (
        lambda: errors.check_dtype("f", ">f8"),
        TypeError,
        "f: bytes must be in this machine's order; convert with array.astype(np.float64)",
    ),
    (
        lambda: errors.check_filters("f", image, tc.zeros(3, 4, 1, 1), 1.5),
        TypeError,
        "f: groups must be an int, got 1.5",
    ),
    (
        lambda: errors.check_filters("f", image, tc.zeros(3, 4, 1, 1), 3),
        ValueError,
        "f: groups must divide the 4 channels of x, got 3",
    ),
    (
        lambda: errors.check_filters("f", image, tc.zeros(0, 4, 1, 1), 1),
        ValueError,
        "f: weight must have at least one filter, channel and pixel",
    ),
    (
        lambda: errors.check_filters("f", image, tc.zeros(3, 4, 1, 1), 1, True),
        ValueError,
        "f: weight must be (C, K // groups, KH, KW) with C = 4 as x has, got shape (3, 4, 1, 1)",
    ),
    (
        lambda: errors.check_filters("f", image, tc.zeros(3, 4, 1, 1), 2),
        ValueError,
        "f: weight must be (K, C // groups, KH, KW) with C // groups = 4 // 2 = 2, got shape (3, 4, 1, 1)"
        "; x has 4 channels, this weight reads 8",
    ),
    (
        lambda: errors.check_filters("f", image, tc.zeros(3, 2, 1, 1), 2),
        ValueError,
        "f: groups must divide the 3 filters, got 2",
    ),
]


@pytest.mark.parametrize("call, error, message", ROWS)
def test_message(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
    assert type(caught.value) is error


def test_every_raise_has_a_row():
    path = Path(errors.__file__)
    raises = {node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise)}
    reached = set()
    for call, error, _ in ROWS:
        try:
            call()
        except error as problem:
            frames = traceback.extract_tb(problem.__traceback__)
            reached.add(next(f.lineno for f in reversed(frames) if f.filename == str(path)))
    missing = sorted(line for line in raises if not any(line <= r <= line + 4 for r in reached))
    assert not missing, f"no row of this test raises at lines {missing} of errors.py"


@pytest.mark.parametrize(
    "check, value",
    [
        (lambda: errors.pair("f", "stride", 2), (2, 2)),
        (lambda: errors.pair("f", "stride", np.int64(2)), (2, 2)),
        (lambda: errors.pair("f", "stride", [2, 3]), (2, 3)),
        (lambda: errors.check_window("f", (7, 6), (3, 2), (2, 2), (1, 0), (1, 1), True), (4, 3)),
        (lambda: errors.check_axis("f", -1, 3), 2),
        (lambda: errors.check_axis("f", np.int64(1), 3), 1),
        (lambda: errors.check_dtype("f", "float32"), np.float32),
        (lambda: errors.check_dtype("f", None), np.float32),
        (lambda: errors.check_dtype("f", float), np.float64),
    ],
)
def test_value(check, value):
    assert check() == value


@pytest.mark.parametrize(
    "check",
    [
        lambda: errors.check_tensor("f", "x", tc.nn.Parameter(tc.zeros(2))),
        lambda: errors.check_range("f", "index", np.zeros(0, int), 0),
        lambda: errors.check_probability("f", "p", 0),
        lambda: errors.check_same("f", x=x34, weight=None),
        lambda: errors.check_same("f", x=None),
    ],
)
def test_accepts(check):
    assert check() is None


class _Foreign:
    """Looks like the tensor of another library."""

    requires_grad, dtype, shape = False, np.float32, (2,)
    data = None


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: F.max_pool2d(tc.zeros(3, 32), 2),
            ValueError,
            "max_pool2d: x must be (N, C, H, W) or (C, H, W), got shape (3, 32)",
        ),
        (lambda: F.relu(np.zeros(3)), TypeError, "relu: x must be a Tensor, got ndarray"),
        (lambda: F.relu(_Foreign()), TypeError, "relu: x must be a Tensor, got _Foreign; wrap it"),
        (lambda: F.max_pool2d(tc.zeros(1, 1, 0, 4), 2, padding=1), ValueError, "max_pool2d: the image must have at"),
        (
            lambda: F.adaptive_avg_pool2d(image, (2, 2, 2)),
            TypeError,
            "adaptive_avg_pool2d: output_size must be an int or a pair (height, width) of ints, got (2, 2, 2)",
        ),
        (
            lambda: F.max_unpool2d(image, tc.zeros(2, 4, 5, 5, dtype=tc.int64), 2, output_size="all"),
            TypeError,
            "max_unpool2d: output_size must be an int or a pair (height, width) of ints, got 'all'",
        ),
        (
            lambda: F.avg_pool2d(image, 2, divisor_override=2.5),
            ValueError,
            "avg_pool2d: divisor_override must be an int of at least 1, got 2.5",
        ),
        (
            lambda: F.cross_entropy(x34, tc.zeros(3, dtype=tc.bool)),
            TypeError,
            "cross_entropy: target must hold integers, got bool; convert it with target.long()",
        ),
        (lambda: F.relu(tc.arange(3)), TypeError, "relu: x must be float32 or float64, got int64"),
        (lambda: F.embedding(tc.tensor([0, 4]), x34), IndexError, "embedding: index must be in [0, 3), got 4"),
        (lambda: tc.zeros(2, 3).sum(2), IndexError, "sum: dim must be in [-2, 1], got 2"),
    ],
)
def test_messages_name_the_operation_a_user_called(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
