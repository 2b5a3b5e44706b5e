"""Operations whose arguments are no row of tensors, written so that one function runs tinyconv and PyTorch alike."""

from __future__ import annotations

import importlib
import operator
from typing import Any

from tinyconv.nn import functional


def library(x: Any) -> Any:
    """Return the package that a tensor belongs to."""
    return importlib.import_module("torch" if type(x).__module__.startswith("torch") else "tinyconv")


def with_number(x: Any, sign: str, number: float) -> Any:
    """Return ``x sign number``."""
    return getattr(operator, sign)(x, number)


def number_with(x: Any, sign: str, number: float) -> Any:
    """Return ``number sign x``."""
    return getattr(operator, sign)(number, x)


def with_itself(x: Any, sign: str) -> Any:
    """Return ``x sign x``: both gradients belong to one tensor."""
    return getattr(operator, sign)(x, x)


def where(condition: Any, x: Any, y: Any) -> Any:
    """Choose by a condition given as 0 and 1."""
    return library(condition).where(condition == 1, x, y)


def where_number(condition: Any, x: Any, y: float) -> Any:
    """Choose between a tensor and a number."""
    return library(condition).where(condition == 1, x, y)


def cat(*tensors: Any, dim: int = 0) -> Any:
    """Join along an axis."""
    return library(tensors[0]).cat(tensors, dim)


def stack(*tensors: Any, dim: int = 0) -> Any:
    """Join along a new axis."""
    return library(tensors[0]).stack(tensors, dim)


def split(x: Any, size: Any, dim: int = 0) -> Any:
    """Cut along an axis."""
    return library(x).split(x, size, dim)


def getitem(x: Any, key: Any) -> Any:
    """Return ``x[key]``."""
    return x[key]


def getitem_at(x: Any, *indices: Any) -> Any:
    """Return ``x[indices]`` where the indices are tensors."""
    return x[indices]


def getitem_twice(x: Any, first: Any, second: Any) -> Any:
    """Return an index of an index."""
    return x[first][second]


def getitem_where_positive(x: Any) -> Any:
    """Choose by a boolean tensor."""
    return x[x > 0]


def all(x: Any) -> Any:
    """Return whether all elements are true."""
    return library(x).all(x)


def method(x: Any, name: str, arguments: tuple = ()) -> Any:
    """Return ``x.name(*arguments)``."""
    return getattr(x, name)(*arguments)


def regions(x: Any, index: Any, corners: Any) -> Any:
    """Return (R, 5) of x's dtype from the images' indices (R, 1) and corners (R, 4), whole numbers of quarter pixels.

    Quarters are exact in either float, so that both round alike; half of the regions end before they begin.
    """
    return library(x).cat([index, corners * 0.25], 1).to(x.dtype)


def roi_pool(x: Any, index: Any, corners: Any, **options: Any) -> Any:
    """Pool regions made of whole numbers."""
    return functional.roi_pool(x, regions(x, index, corners), **options)


def roi_align(x: Any, index: Any, corners: Any, **options: Any) -> Any:
    """Average regions made of whole numbers."""
    return functional.roi_align(x, regions(x, index, corners), **options)


def projective_grid(theta: Any, **options: Any) -> Any:
    """Look through 2/5 of numbers in (-1, 1), so that denominators are at least 1/5."""
    return functional.projective_grid(theta * 0.4, **options)
