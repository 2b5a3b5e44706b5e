"""The pytest plugin, seen from a student's own test session."""

from __future__ import annotations

import configparser
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STUDENT = """
import numpy as np
import tinyconv.nn
from tinyconv import Function

class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        return FACTOR * ctx.saved[0] * dy

class Scale(tinyconv.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = tinyconv.nn.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        return Square.apply(x * self.weight)

def test_function(gradcheck, rng):
    assert gradcheck(Square, [rng.standard_normal((2, 3))])

def test_module(gradcheck, rng):
    assert gradcheck(Scale(), [rng.standard_normal((2, 3))])

def test_plain_function(gradcheck, rng):
    assert gradcheck(lambda x: (Square.apply(x) * 3).sum(), rng.standard_normal((2, 3)))
"""


def session(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest in the temporary folder as a user whose installed tinyconv brings the plugin."""
    return pytester.runpytest_inprocess("-p", "tinyconv.pytest_plugin", *arguments)


def test_gradcheck_fixture_accepts_right_layers(pytester):
    pytester.makepyfile(STUDENT.replace("FACTOR", "2"))
    session(pytester).assert_outcomes(passed=3)


def test_gradcheck_fixture_tells_what_is_wrong(pytester):
    pytester.makepyfile(STUDENT.replace("FACTOR", "4"))
    result = session(pytester)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*Square: wrong gradient of argument 0 (x)*", "*likely cause: exactly 2 times*"])


def test_rng_is_the_same_in_every_test(pytester):
    pytester.makepyfile(
        """
        import numpy as np
        import pytest

        @pytest.mark.parametrize("run", range(2))
        def test_first_number(rng, run):
            assert rng.random() == np.random.default_rng(0).random()
        """
    )
    session(pytester).assert_outcomes(passed=2)


MARKED = """
    import pytest

    @pytest.mark.slow
    def test_a(): pass

    @pytest.mark.slow
    def test_b(): pass

    @pytest.mark.cuda
    def test_c(): pass

    def test_d(): pass
"""


@pytest.fixture
def marked(pytester):
    pytester.makepyfile(MARKED)
    pytester.makeini("[pytest]\nmarkers =\n    slow: slow\n    cuda: cuda\naddopts = -m 'not slow and not cuda'\n")
    return pytester


def test_says_what_was_deselected_and_how_to_run_it(marked):
    result = session(marked)
    result.assert_outcomes(passed=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            'deselected: 1 test marked "cuda"; to run: NUMBA_ENABLE_CUDASIM=1 pytest -m cuda*',
            'deselected: 2 tests marked "slow"; to run: pytest -m slow',
        ]
    )


def test_deselecting_by_name_says_nothing(marked):
    session(marked, "-m", "", "-k", "test_d").stdout.no_fnmatch_line("*to run:*")


def test_choosing_a_marker_says_nothing(marked):
    result = session(marked, "-m", "slow")
    result.assert_outcomes(passed=2, deselected=2)
    result.stdout.no_fnmatch_line("*to run:*")


def test_task_marker_is_registered(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.task(id="3.2", points=3, minutes=20, difficulty=2)
        def test_task(): pass
        """
    )
    session(pytester, "--strict-markers").assert_outcomes(passed=1)


def test_importing_it_imports_neither_numba_nor_the_engine():
    # The package tinyconv itself is imported with its plugin, so the file is loaded on its own here.
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('plugin', {str(ROOT / 'tinyconv/pytest_plugin.py')!r})\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'numba', 'numpy', 'tinyconv', 'tinyconv_kernels'}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_setup_names_it_as_the_conftest_does():
    # Under two names pytest would refuse to load the one module twice.
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, _, target = setup["options.entry_points"]["pytest11"].strip().partition(" = ")
    assert name == target == importlib.import_module("tinyconv.pytest_plugin").__name__
    assert target in importlib.import_module("conftest").pytest_plugins
