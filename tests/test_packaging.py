"""setup.cfg against the files: packages, data, commands."""

from __future__ import annotations

import configparser
import importlib
import re
from pathlib import Path

import pytest

import tinyconv

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def setup():
    """Return setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text):
    """Return the entries of a list in setup.cfg."""
    return [line.strip() for line in text.strip().splitlines() if line.strip()]


def folders_of_packages():
    """Return each package's name and folder: the folders that hold an __init__.py."""
    for root in (ROOT / "tinyconv", ROOT / "kernels/tinyconv_kernels"):
        for file in root.rglob("__init__.py"):
            yield ".".join(file.parent.relative_to(root.parent).parts), file.parent


def test_every_package_is_listed(setup):
    listed = lines(setup["options"]["packages"])
    assert sorted(listed) == sorted(name for name, _ in folders_of_packages())
    assert listed == sorted(listed)


def test_every_folder_with_python_is_a_package():
    packages = {folder for _, folder in folders_of_packages()}
    for root in (ROOT / "tinyconv", ROOT / "kernels/tinyconv_kernels"):
        for file in root.rglob("*.py"):
            assert file.parent in packages, (
                f"{file.parent} holds {file.name} but no __init__.py: it would not be installed"
            )


def test_packages_are_one_folder_deep():
    assert all(name.count(".") <= 1 for name, _ in folders_of_packages())


def test_data_is_where_setup_says(setup):
    packages = dict(folders_of_packages())
    for package, patterns in setup["options.package_data"].items():
        for pattern in lines(patterns):
            assert list(packages[package].glob(pattern)), f"{package}: nothing matches {pattern}"


def test_every_data_file_is_installed(setup):
    packages = dict(folders_of_packages())
    installed = {
        file
        for package, patterns in setup["options.package_data"].items()
        for pattern in lines(patterns)
        for file in packages[package].glob(pattern)
    }
    for root in (ROOT / "tinyconv", ROOT / "kernels/tinyconv_kernels"):
        for file in root.rglob("*"):
            if file.is_file() and file.suffix not in (".py", ".pyc", ".nbi", ".nbc"):
                assert file in installed, f"{file.relative_to(ROOT)} would be missing in the wheel"


def test_every_licence_file_exists(setup):
    for pattern in lines(setup["metadata"]["license_files"]):
        assert list(ROOT.glob(pattern)), f"no file matches {pattern}"


def test_commands_and_plugins_exist(setup):
    for entries in setup["options.entry_points"].values():
        for entry in lines(entries):
            module, _, function = entry.partition("=")[2].strip().partition(":")
            found = importlib.import_module(module)
            assert not function or callable(getattr(found, function))


def test_version_is_written_once_more_and_the_same(setup):
    assert setup["metadata"]["version"] == tinyconv.__version__


def test_what_is_imported_is_required(setup):
    required = {re.split(r"[><=\[; ]", line)[0].lower() for line in lines(setup["options"]["install_requires"])}
    assert {"numpy", "numba", "numba-cuda", "matplotlib", "tqdm", "threadpoolctl", "jinja2"} <= required
    tests = {re.split(r"[><=\[; ]", line)[0] for line in lines(setup["options.extras_require"]["test"])}
    assert {"pytest", "hypothesis"} <= tests
