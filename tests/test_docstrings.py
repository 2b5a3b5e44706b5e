"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import tinyconv

MODULES = [m.name for m in pkgutil.walk_packages(tinyconv.__path__, "tinyconv.") if "__main__" not in m.name]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    names = {"np": np, "tinyconv": tinyconv, "Tensor": tinyconv.Tensor, **vars(module)}
    failed, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert failed == 0
