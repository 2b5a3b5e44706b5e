"""Who may import whom: read from the sources, so that a wrong import fails even where nobody runs it."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ["tinyconv", "kernels", "lessons", "tests", "tools"]
FILES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py") if "skeletons" not in p.parts)
LINES = 400

# Below: a module imports from its own layer or from lower ones when it is loaded. What is not named is a tool.
LAYERS = [
    {"device", "errors", "exchange", "random", "files", "interrupt", "threads"},
    {"function"},
    {"autograd", "methods"},
    {"tensor"},
    {"creation", "functional"},
    {"gradcheck", "gradcheck_diagnosis", "gradcheck_evidence", "gradcheck_subject", "nn"},
    {"text", "vision"},  # on arrays; detectors and caption models are made of them
    {"models", "summary"},
]
TOOLS = len(LAYERS)  # data, optim, train, explain, lesson, checkpoint ...: beside each other, above the engine
COMMANDS = {"cli", "course", "stepper", "__main__"}  # above everything: only they import each other
# Inside a function, an operator needs the function it stands for, and a gradient must become a Tensor.
UPWARD = {("methods", "functional"), ("function", "tensor"), ("autograd", "tensor")}


@functools.cache
def imports(path: Path) -> tuple[tuple[str, bool, int], ...]:
    """Return what :func:`_imports` finds; three tests ask for each file."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, bool, int]]:
    """Yield (module, whether it is imported on loading, line) for every import but those for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(ROOT / "kernels" if "kernels" in path.parts else ROOT).parent.parts
    skipped = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    lazy = {
        child
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node not in lazy, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) + 1 - node.level], *filter(None, [node.module])])
            base = base if node.level else str(node.module)
            for name in node.names:
                yield f"{base}.{name.name}", node not in lazy, node.lineno


def part(module: str) -> str:
    """Return the second name of a module of ours ("" for the package itself and for names in it that are no module)."""
    names = module.split(".")
    if len(names) == 1:
        return ""
    folder = ROOT / "tinyconv"
    return names[1] if (folder / names[1]).is_dir() or (folder / f"{names[1]}.py").is_file() else ""


def rank(name: str) -> int:
    """Return the number of a module's layer."""
    found = [i for i, layer in enumerate(LAYERS) if name in layer]
    return found[0] if found else TOOLS + (name in COMMANDS)


def own_name(path: Path) -> str:
    """Return "functional" for tinyconv/functional/pool.py, "tensor" for tinyconv/tensor.py."""
    return path.relative_to(ROOT / "tinyconv").parts[0].removesuffix(".py")


def files(*below: str) -> list[Path]:
    """Return the Python files below a folder."""
    return [p for p in FILES if p.is_relative_to(ROOT.joinpath(*below))]


def name(path: Path) -> str:
    """Return a path's name for pytest."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", files("kernels"), ids=name)
def test_kernels_import_numpy_and_numba_only(path):
    allowed = {"numpy", "numba", "llvmlite", "tinyconv_kernels", "_numba_cuda_redirector"}  # some are Numba's own
    for module, _, line in imports(path):
        top = module.split(".")[0]
        assert top in allowed or top in sys.stdlib_module_names, f"{name(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", files("tinyconv"), ids=name)
def test_tinyconv_imports_downwards(path):
    own = own_name(path)
    if own == "__init__":
        return
    for module, on_loading, line in imports(path):
        if module.split(".")[0] != "tinyconv":
            continue
        other = part(module)
        message = f"{name(path)}:{line}: {own} imports {module}"
        if rank(own) < TOOLS:
            assert other, f"{message}: import the module, not the package that imports everything"
            if rank(other) > rank(own):
                assert not on_loading and (own, other) in UPWARD, f"{message}, which is above it"
        elif rank(own) == TOOLS:
            assert other not in COMMANDS, f"{message}: only commands import {other}"


@pytest.mark.parametrize("path", files("tinyconv"), ids=name)
def test_importing_tinyconv_stays_light(path):
    """Only NumPy (and through the kernels Numba) is imported on loading; the rest when it is first needed."""
    for module, on_loading, line in imports(path):
        top = module.split(".")[0]
        ours = top in {"tinyconv", "tinyconv_kernels", "numpy"} or top in sys.stdlib_module_names
        later = {"matplotlib", "PIL", "tqdm", "threadpoolctl", "jinja2", "scipy"}
        optional = {"numba": "cli", "cuda": "cli", "pytest": "pytest_plugin"}  # where it is what the file is about
        fits = ours or (top in later and not on_loading) or own_name(path) == optional.get(top)
        assert fits, f"{name(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", files("tinyconv") + files("kernels"), ids=name)
def test_nothing_imports_lessons_or_tests(path):
    others = {p.name for p in (ROOT / "lessons").iterdir()} | {"lessons", "tests", "cases", "conftest"}
    assert not [module for module, _, _ in imports(path) if module.split(".")[0] in others]


@pytest.mark.parametrize("path", files("tinyconv") + files("kernels"), ids=name)
def test_private_files_stay_in_their_folder(path):
    for module, _, line in imports(path):
        names = module.split(".")
        if names[0] not in ("tinyconv", "tinyconv_kernels"):
            continue
        private = [i for i, n in enumerate(names) if n.startswith("_") and not n.startswith("__")]
        folders = [ROOT.joinpath("kernels" if names[0] == "tinyconv_kernels" else "", *names[:i]) for i in private]
        for i, folder in zip(private, folders, strict=True):
            if (folder / f"{names[i]}.py").is_file():
                assert path.is_relative_to(folder), f"{name(path)}:{line} imports the private file {module}"


def test_numba_cuda_is_imported_in_one_place():
    """It needs NumPy mended before, and it will be another package one day."""
    found = [name(path) for path in files("tinyconv") + files("kernels") for module, *_ in imports(path)
             if module == "numba.cuda"]  # fmt: skip
    assert found == ["kernels/tinyconv_kernels/cuda/_cuda.py"]


def test_backends_have_the_same_files():
    backends = [p.parent for p in (ROOT / "kernels/tinyconv_kernels").glob("*/__init__.py")]
    public = {b.name: {p.name for p in b.glob("*.py") if not p.name.startswith("_")} for b in backends}
    extra = {"cuda": {"launch.py", "memory.py", "dlpack.py"}}  # grid sizes, device memory, and who shares it
    assert len(public) >= 2
    for backend, found in public.items():
        assert found - extra.get(backend, set()) == public["reference"], backend


def test_star_imports_only_where_a_module_renames_another():
    stars = {
        name(path)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and any(n.name == "*" for n in node.names)
    }
    assert stars <= {"tinyconv/nn/functional.py"}


def test_no_file_is_longer_than_400_lines():
    long = {name(p): n for p in FILES if (n := len(p.read_text(encoding="utf-8").splitlines())) > LINES}
    assert not long, f"split or shorten: {long}"


def test_this_test_sees_what_it_should(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "tinyconv" / "nn" / "layer.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\nfrom . import a\nfrom ..tensor import Tensor\nimport numpy.linalg\n"
        "if TYPE_CHECKING:\n    import matplotlib\ntry:\n    import tqdm\nexcept ImportError:\n    pass\n"
        "def f():\n    from tinyconv import data\n"
    )
    assert list(imports(path)) == [
        ("typing.TYPE_CHECKING", True, 1),
        ("tinyconv.nn.a", True, 2),
        ("tinyconv.tensor.Tensor", True, 3),
        ("numpy.linalg", True, 4),
        ("tqdm", True, 8),
        ("tinyconv.data", False, 12),
    ]
