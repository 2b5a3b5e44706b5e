"""``tinyconv doctor``: every check, made to find what it looks for; the verdict and the exit code."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tinyconv.cli import doctor_checks as checks
from tinyconv.cli import doctor_gpu as gpu
from tinyconv.cli.doctor_checks import BROKEN, GOOD, NOTE, Finding
from tinyconv.cli.main import main


def levels(findings):
    """Return the worst level."""
    return max(finding.level for finding in findings)


@pytest.fixture
def only(monkeypatch):
    """Make these findings the only ones."""

    def replace(*findings):
        monkeypatch.setattr(checks, "CHECKS", (lambda: list(findings),))
        monkeypatch.setattr(gpu, "driver", lambda: [])

    return replace


def test_on_this_machine_nothing_is_broken(capsys):
    code = main(["doctor"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "all good" in out.splitlines()[-1]
    for word in ("python", "numpy", "llvmlite", "numba-cuda", "cores", "BLAS", "SVML", "cache", "GPU"):
        assert word in out, word
    assert "equals its definition" in out


def test_all_good(only, capsys):
    only(Finding("a", "fine"))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "  a            fine\n\nall good\n"


def test_notes_do_not_fail_but_broken_things_do_and_come_first(only, capsys):
    only(Finding("a", "odd", "try x", NOTE), Finding("b", "wrong", "do y", BROKEN))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "! a            odd", "X b            wrong", "", "1. broken: b: do y", "2. note: a: try x",
    ]  # fmt: skip
    only(Finding("a", "odd", "try x", NOTE))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "all good, but for the notes"


def test_a_check_that_fails_is_reported_and_the_others_still_run(monkeypatch, capsys):
    def strange():
        raise OSError("no such thing")

    monkeypatch.setattr(checks, "CHECKS", (strange, lambda: [Finding("b", "fine")]))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "X strange      OSError: no such thing" in out and "  b            fine" in out


def test_missing_packages(monkeypatch):
    monkeypatch.setattr(checks, "version", lambda name: None if name == "tqdm" else "1.0")
    broken = [finding for finding in checks.versions() if finding.level == BROKEN]
    assert [finding.what for finding in broken] == ["tqdm"] and broken[0].advice.startswith("pip install tqdm")


@pytest.mark.parametrize("name", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_ENABLE_CUDASIM", "NUMBA_DEBUG"])
def test_slow_environment_variables(name, monkeypatch):
    for other in ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_ENABLE_CUDASIM", "NUMBA_DEBUG"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "0")
    assert checks.environment() == []
    monkeypatch.setenv(name, "1")
    assert [finding.what for finding in checks.environment()] == [name]


def test_more_threads_than_cores(monkeypatch):
    import numba

    monkeypatch.setattr(checks, "available_cores", lambda: 2.5)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 8)
    (finding,) = checks.cores()
    assert finding.level == NOTE and "NUMBA_NUM_THREADS=2" in finding.advice
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 2)
    assert levels(checks.cores()) == GOOD


def test_the_containers_quota_counts(monkeypatch, tmp_path):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(checks, "Path", lambda name: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    for text, expected in (("150000 100000", 1.5), ("max 100000", 16), ("rubbish", 16)):
        quota.write_text(text)
        assert checks.available_cores() == expected
    quota.unlink()
    assert checks.available_cores() == 16


def test_the_cache_is_counted_cleared_and_checked(monkeypatch, tmp_path, capsys, only):
    import tinyconv_kernels

    folder = tmp_path / "tinyconv" / "numba-1-now"
    older = tmp_path / "tinyconv" / "numba-1-old" / "cpu_1"
    older.mkdir(parents=True)
    for name in ("f.nbi", "f.nbc"):
        (older / name).write_bytes(bytes(1000))
    (older / "notes.txt").write_text("not ours")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(tinyconv_kernels, "cache_folder", lambda: folder)
    (finding,) = checks.cache()
    assert finding.level == GOOD and "2 files, 0.0 MB" in finding.text
    only(Finding("a", "fine"))
    assert main(["doctor", "--clear-cache"]) == 0
    assert capsys.readouterr().out.startswith("deleted 2 files of compiled kernels, 0.0 MB")
    assert [p.name for p in older.iterdir()] == ["notes.txt"]


def test_with_numba_cache_dir_only_our_kernels_are_cleared(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for folder in ("cpu_0a", "someone_else_0b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f.nbi").write_bytes(b"x")
    assert levels(checks.cache()) == NOTE
    assert checks.clear_cache() == (1, 1)
    assert (tmp_path / "someone_else_0b" / "f.nbi").exists()


def test_a_cache_that_cannot_be_written_is_broken(monkeypatch, tmp_path):
    import tinyconv_kernels

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tinyconv_kernels, "cache_folder", lambda: tmp_path / "file" / "folder")
    (finding,) = checks.cache()
    assert finding.level == BROKEN and "NUMBA_CACHE_DIR=" in finding.advice


def test_wrong_kernels_are_broken(monkeypatch):
    from tinyconv_kernels import cpu

    def wrong(x, y, switches, *geometry):
        y[...], switches[...] = 0, 0

    monkeypatch.setattr(cpu.pool, "max_pool2d_forward", wrong)
    (finding,) = checks.kernels()
    assert finding.level == BROKEN and "--clear-cache" in finding.advice


def test_a_full_disk_and_a_folder_of_others(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2e8}))
    monkeypatch.setattr(checks.os, "access", lambda path, mode: False)
    found = checks.disk()
    assert [finding.level for finding in found] == [NOTE, NOTE] and "--out" in found[1].advice


class Driver:
    """What the driver's library answers: CUDA 12.4, one device."""

    def __init__(self, code=0):
        self.code = code

    def cuInit(self, flags):
        return self.code

    def cuDriverGetVersion(self, number):
        number._obj.value = 12040

    def cuDeviceGetCount(self, count):
        count._obj.value = 1

    def cuDeviceGetName(self, name, length, device):
        name.value = b"NVIDIA Test"


def test_what_is_missing_for_a_gpu(monkeypatch):
    pathfinder = types.ModuleType("cuda.pathfinder")
    pathfinder.load_nvidia_dynamic_lib = lambda name: {"nvvm": "found"}[name]
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", pathfinder)
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setattr(gpu, "version", lambda package: "0.30.4")
    found = gpu.missing(12)
    assert [f.what for f in found] == ["nvrtc", "nvJitLink"] and {f.level for f in found} == {BROKEN}
    assert all(f.advice == 'pip install "tinyconv[cuda12]"' for f in found)
    monkeypatch.setattr(gpu, "version", lambda package: None)
    (finding,) = gpu.missing(13)
    assert finding.what == "numba-cuda" and finding.advice == 'pip install "tinyconv[cuda13]"'


def test_gpus(monkeypatch):
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setattr(gpu.ctypes, "CDLL", lambda name: Driver())
    monkeypatch.setattr(gpu, "missing", lambda major: [])
    monkeypatch.setattr(gpu, "version", lambda package: {"cuda-toolkit": "13.1.0"}.get(package))
    device, toolkit = gpu.driver()
    assert device.text.startswith("NVIDIA Test; the driver supports CUDA 12.4") and device.level == GOOD
    assert toolkit.level == NOTE and 'pip install "cuda-toolkit==12.4.*"' in toolkit.advice
    monkeypatch.setattr(gpu, "version", lambda package: "12.4.1")
    assert len(gpu.driver()) == 1
    monkeypatch.setattr(gpu.ctypes, "CDLL", lambda name: Driver(100))
    assert "cuInit gives error 100" in gpu.driver()[0].text

    def none(name):
        raise OSError

    monkeypatch.setattr(gpu.ctypes, "CDLL", none)
    monkeypatch.setenv("CUDA_HOME", f"/usr/local/cuda{os.pathsep}/opt/cuda")
    found = gpu.driver()
    assert "no NVIDIA driver" in found[0].text and found[1].what == "CUDA_HOME"
    monkeypatch.setenv("CUDA_HOME", str(Path.cwd()))
    assert len(gpu.driver()) == 1


def test_the_random_image_of_the_kernel_check_has_no_ties():
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 7)).astype(np.float32)
    assert len(np.unique(x)) == x.size
