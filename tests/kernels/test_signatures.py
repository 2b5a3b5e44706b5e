"""Every backend folder exports the same kernels with the same signatures.

The sources are parsed, not imported: the CUDA folder is checked on machines without a GPU, too. A folder beside
``reference`` counts as a backend as soon as it exists.
"""

import ast
import importlib
import inspect
import types
from collections import Counter
from pathlib import Path

import pytest

import tinyconv_kernels

ROOT = Path(tinyconv_kernels.__file__).parent
BACKENDS = sorted(p.name for p in ROOT.iterdir() if p.is_dir() and any(p.glob("*.py")))
SUPPORT = {"launch", "memory", "dlpack"}  # public files of the CUDA backend that hold no kernels
FILES = [
    "conv", "elementwise", "index", "matmul", "maxout", "nms", "norm", "optim", "pool", "random", "recurrent",
    "reduce", "resize", "roi", "sampler", "softmax",
]  # fmt: skip


def kernel_files(backend):
    """Return {file name: syntax tree} of a backend's public files."""
    paths = (p for p in sorted((ROOT / backend).glob("*.py")) if not p.name.startswith("_") and p.stem not in SUPPORT)
    return {p.stem: ast.parse(p.read_text(encoding="utf-8")) for p in paths}


def kernels(tree):
    """Return {public function: its arguments as written} of one file."""
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {f.name: ast.unparse(f.args) for f in functions if not f.name.startswith("_")}


def test_the_two_cpu_backends_exist():
    assert {"reference", "cpu"} <= set(BACKENDS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_same_files(backend):
    assert sorted(kernel_files(backend)) == FILES


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FILES)
def test_same_kernels_and_signatures(backend, name):
    assert kernels(kernel_files(backend)[name]) == kernels(kernel_files("reference")[name])


@pytest.mark.parametrize("backend", BACKENDS)
def test_names_are_unique_over_all_files(backend):
    count = Counter(name for tree in kernel_files(backend).values() for name in kernels(tree))
    assert [name for name, times in count.items() if times > 1] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_kernel_has_a_docstring(backend):
    for name, tree in kernel_files(backend).items():
        assert ast.get_docstring(tree), f"{backend}/{name}.py"
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{backend}/{name}.py: {node.name}"


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", FILES)
def test_kernels_are_plain_functions(backend, name):
    """What Python sees agrees with the source: no jitted object, no decorator that hides a signature."""
    module = importlib.import_module(f"tinyconv_kernels.{backend}.{name}")
    other = importlib.import_module(f"tinyconv_kernels.reference.{name}")
    for kernel in kernels(kernel_files(backend)[name]):
        function = getattr(module, kernel)
        assert isinstance(function, types.FunctionType), f"{backend}/{name}.py: {kernel} must be a plain function"
        assert inspect.signature(function) == inspect.signature(getattr(other, kernel))
