"""``make gpu-check`` in the simulator: it passes, it sees a wrong kernel, it says what it cannot know."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compared import quick_barriers  # noqa: F401 (a fixture)

import tinyconv
from gpu_check import products, report, rows, steps
from gpu_check.report import Report, StoppedError
from tinyconv import nn

pytestmark = pytest.mark.cuda
ROOT = Path(__file__).parents[2]


def test_rows_of_one_operation_are_green(tmp_path):
    command = [sys.executable, "-m", "tests.gpu_check", "--rows", "relu-3x4", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("gpu-check on simulator") and done.stdout.endswith("green: no difference found\n")
    assert '"failures": []' in (tmp_path / "found.json").read_text()


@pytest.fixture
def wrong(monkeypatch):
    from tinyconv_kernels.cuda import elementwise

    right = elementwise.relu_backward
    monkeypatch.setattr(elementwise, "relu_backward", lambda dy, y, dx: right(dy, dy, dx))


def test_a_wrong_kernel_is_seen_at_once(wrong, capsys):
    found = Report()
    rows.check(found, "relu-3x4")
    assert found.failures and all("differs at" in line and "the CPU gives" in line for line in found.failures)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"FAILED {found.failures[0]}" and printed[-1].startswith("rows: ")


@pytest.fixture
def tiny(monkeypatch):
    def build(name, found, **options):
        tinyconv.manual_seed(0)
        layers = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(18, 3)
        model = nn.Sequential(*layers)
        model.config, model.input_shape = {"arguments": {"num_classes": 3}}, (1, 5, 5)
        for p in model.parameters():
            p.data = p.data.astype(options.get("dtype", "float32"))
        return model

    monkeypatch.setattr(steps, "_build", build)
    monkeypatch.setattr(steps, "names", lambda: ["alexnet"])
    monkeypatch.setattr(steps, "chosen", lambda name, simulated: {})


def test_a_training_step_is_compared(tiny):
    found = Report()
    steps.check(found, simulated=True)
    assert not found.failures and found.lines[0].startswith("step: alexnet(): loss ")


def test_a_wrong_gradient_of_a_network_is_seen(tiny, wrong):
    found = Report()
    steps.check(found, simulated=True)
    (line,) = found.failures
    assert line.startswith("step of alexnet(): loss ") and "gradients differ by" in line


def test_a_step_that_fails_does_not_end_the_others(monkeypatch, capsys):
    found, tried = Report(), []
    monkeypatch.setattr(steps, "names", lambda: ["lenet5", "alexnet"])
    monkeypatch.setattr(steps, "chosen", lambda name, simulated: {})

    def compare(report, name, arguments):
        tried.append(name)
        raise ValueError(f"no {name}")

    monkeypatch.setattr(steps, "compare", compare)
    steps.check(found, simulated=True)
    assert tried == ["lenet5", "alexnet"]
    assert found.failures == ["step of lenet5: ValueError: no lenet5", "step of alexnet: ValueError: no alexnet"]


def test_rounding_is_told_from_errors(monkeypatch):
    """Where the CPU's own float32 is far from its float64, the GPU may be as far."""
    gradients = {("cuda", "float32"): 1.02, ("cpu", "float32"): 1.0, ("cpu", "float64"): 1.01}
    monkeypatch.setattr(
        steps, "one_step", lambda n, f, device, dtype="float32": (2.0, {"w": np.array([gradients[device, dtype]])})
    )
    found = Report()
    steps.compare(found, "lenet5", {})
    assert not found.failures and "rounding explains 5.0e-02" in found.lines[0]
    gradients["cpu", "float64"] = 1.00001
    steps.compare(found, "lenet5", {})
    assert len(found.failures) == 1


def test_an_error_that_stays_stops_the_checks(monkeypatch, capsys):
    """After an illegal address every call to the driver gives that error again: hundreds of failures with no news."""

    def broken():
        raise RuntimeError("[700] Call to cuCtxSynchronize results in CUDA_ERROR_ILLEGAL_ADDRESS\nmore")

    def kernel(*_):
        raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

    from tinyconv_kernels.cuda import elementwise

    monkeypatch.setattr(elementwise, "relu", kernel)
    found = Report()
    rows.check(found, "leaky_relu-3x4")
    rows.check(found, "relu-3x4", quick=True)
    assert found.failures == ["relu-3x4-distinct (float32): RuntimeError: CUDA_ERROR_ILLEGAL_ADDRESS"]  # and it went on
    monkeypatch.setattr(tinyconv.cuda, "synchronize", broken)
    found = Report()
    with pytest.raises(StoppedError, match=r"stopped at relu-.* CUDA_ERROR_ILLEGAL_ADDRESS; nothing that follows"):
        rows.check(found, "relu-")
    assert len(found.failures) == 1 and capsys.readouterr().out.count("\n") < 10


def test_differences_are_named():
    differences, a, b = rows.differences, np.array([1.0, np.nan, np.inf]), np.array([1.0, 2.0, np.inf])
    assert list(differences([b], [b], 0.0)) == []
    assert "array 0 differs at (1,): " in next(differences([a], [b], 1.0))
    assert "float64 (3,), the CPU's float32 (3,)" in next(differences([a], [b.astype(np.float32)], 1.0))
    assert next(differences([], [b], 1.0)) == "0 arrays, the CPU gives 1"


def test_products_run_by_every_tile(monkeypatch, quick_barriers):  # noqa: F811
    from tinyconv_kernels.cuda import _correlate, _gemm

    used = set()

    def noting(name, make):
        return lambda tile, dtype, *rest: used.add((name, tile, str(dtype))) or make(tile, dtype, *rest)

    for module, name in ((_gemm, "tiled"), (_correlate, "by_tiles"), (_correlate, "weights_by_tiles")):
        make = getattr(module, name)
        monkeypatch.setattr(module, name, noting(name, make))
    found = Report()
    products.check(found, simulated=True, quick=True)
    assert not found.failures and found.lines == ["tiles: 6 products in float32, float64, TF32, 0 differences"]
    kinds = {(name, dtype, tile.tf32) for name, tile, dtype in used}
    for name in ("tiled", "by_tiles", "weights_by_tiles"):
        assert {(name, "float32", False), (name, "float64", False), (name, "float32", True)} <= kinds


def test_large_products_take_tiles_and_not_threads():
    """On a GPU the arrays are those of LARGE: all are beyond what threads compute one by one."""
    from tinyconv_kernels.cuda import conv, matmul

    assert matmul._FEW == conv._FEW
    for _, _, shapes in products.LARGE:
        assert np.prod(shapes[0]) * shapes[1][0 if len(shapes) > 2 else -1] > matmul._FEW


# ------------------------------------------------------------------------------------------------------- the report


def _figures():
    found = Report()
    found.lines.append("rows: 3 operations")
    found.figures += [
        {"what": "copying", "unit": "GB/s", "ours": 1234.5},
        {"what": "matmul", "unit": "GFLOP/s", "ours": 5.0, "share": 0.5, "of": "GEMM", "torch": 10.0, "ratio": 2.0},
    ]
    return found


def test_the_section_says_what_was_found_and_measured():
    text = report.section(_figures(), "H1; NumPy 2")
    assert text.startswith("## On a GPU\n\n`make gpu-check`, 20") and ": H1; NumPy 2.\n" in text
    assert "- rows: 3 operations\n\nNo difference from the CPU was found." in text
    assert "| copying | 1234 | GB/s |  |  |  |" in text or "| copying | 1235 | GB/s |  |  |  |" in text
    assert "| matmul | 5 | GFLOP/s | 50% of GEMM | 10 | 2.00 |" in text
    bad = _figures()
    bad.failures.append("relu: wrong")
    assert "1 failures:\n\n- FAILED relu: wrong" in report.section(bad, "")


def test_writing_replaces_the_section_and_nothing_else(tmp_path):
    between, last, none = (tmp_path / name for name in ("between.md", "last.md", "none.md"))
    between.write_text("# A\n\ntext\n\n## On a GPU\n\nold\n\n### part\n\nold\n\n## After\n\nrest\n")
    last.write_text("# A\n\n## On a GPU\n\nold\n")
    none.write_text("# A\n")
    for _ in range(2):
        report.write("## On a GPU\n\nnew \\1\n", (between, last, none))
    assert between.read_text() == "# A\n\ntext\n\n## On a GPU\n\nnew \\1\n\n## After\n\nrest\n"
    assert last.read_text() == none.read_text() == "# A\n\n## On a GPU\n\nnew \\1\n"
    for file in report.FILES:
        assert "\n## On a GPU\n" in file.read_text(encoding="utf-8")


def test_figures_are_shares_of_limits():
    from gpu_check import speed

    assert speed._share(50.0, 2.0, {"copying": 100.0}, "copying") == (0.25, "copying")
    assert speed._share(50.0, 2.0, {}, "copying") is None
    row = speed.row("x", "GB/s", 8.0, 2.0, 4.0, (0.25, "copying"))
    assert row == {"what": "x", "unit": "GB/s", "ours": 4.0, "share": 0.25, "of": "copying", "torch": 2.0, "ratio": 0.5}
    assert "25% of copying   PyTorch 2   time ratio 0.50" in report.text_of(row)
