"""Features in files: NumPy's as they are, MATLAB's turned; without SciPy one line says what to install."""

import sys

import numpy as np
import pytest

from tinyconv.data.captions import CaptionedImages
from tinyconv.data.feature_files import read_features

ROWS = np.arange(12, dtype=np.float64).reshape(4, 3)  # 4 images
WHY = "SciPy is not installed: pip install 'tinyconv[captions]'"


def test_a_numpy_file(tmp_path):
    np.save(tmp_path / "f.npy", ROWS)
    found = read_features(tmp_path / "f.npy")
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, ROWS)
    data = CaptionedImages(["a", "b"], [["x"], ["y"]], ["train", "test"], [3, 1])
    np.testing.assert_array_equal(found[data.split("test").ids], ROWS[[1]])


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros(3), r"must hold numbers of two axes, got float64 of shape \(3,\)"),
        (np.zeros((1, 2, 3)), "must hold numbers of two axes"),
        (np.array([["a"]]), "must hold numbers of two axes, got <U1"),
        (np.zeros((2, 2), complex), "must hold numbers of two axes, got complex128"),
        (np.array([[1, 2], [3, np.nan]]), "features must be finite, got NaN or inf for image 1"),
        (np.array([[1, np.inf], [3, 4]]), "features must be finite, got NaN or inf for image 0"),
        (np.array([[None]]), "is no array of numbers"),
    ],
)
def test_faults_of_an_array(array, message, tmp_path):
    np.save(tmp_path / "f.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message) as caught:
        read_features(tmp_path / "f.npy")
    assert "f.npy" in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("cut", [0, 5, 100, 130])
def test_a_damaged_numpy_file(cut, tmp_path):
    np.save(tmp_path / "f.npy", ROWS)
    whole = (tmp_path / "f.npy").read_bytes()
    (tmp_path / "f.npy").write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"read_features: .*f\.npy is no array of numbers"):
        read_features(tmp_path / "f.npy")


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"read_features: there is no file .*none\.npy"):
        read_features(tmp_path / "none.npy")
    (tmp_path / "f.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"read_features: wanted a file \.npy or \.mat, got .*f\.csv"):
        read_features(tmp_path / "f.csv")


def test_matlab_7_3_is_refused_with_or_without_scipy(tmp_path):
    (tmp_path / "f.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(200))
    with pytest.raises(ValueError, match=r"f\.mat is a MATLAB 7\.3 file \(HDF5\), which is not read; save it .* -v7"):
        read_features(tmp_path / "f.mat")


def test_without_scipy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    (tmp_path / "f.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(
        ImportError, match=r"a \.mat file needs SciPy: pip install tinyconv\[captions\]; or save"
    ) as caught:
        read_features(tmp_path / "f.mat")
    assert len(str(caught.value).splitlines()) == 1


def test_a_matlab_file_is_turned(tmp_path):
    io = pytest.importorskip("scipy.io", reason=WHY)
    io.savemat(tmp_path / "f.mat", {"feats": ROWS.T, "other": np.array([[1.0, 2]])})
    np.testing.assert_array_equal(read_features(tmp_path / "f.mat"), ROWS)
    np.testing.assert_array_equal(read_features(str(tmp_path / "f.mat"), key="other"), [[1], [2]])
    with pytest.raises(ValueError, match=r"f\.mat must hold an array 'none', it has feats, other; say key="):
        read_features(tmp_path / "f.mat", key="none")
    io.savemat(tmp_path / "c.mat", {"feats": np.array(["a", "b"], object)})
    with pytest.raises(ValueError, match="must hold numbers of two axes, got object"):
        read_features(tmp_path / "c.mat")


@pytest.mark.parametrize("cut", [0, 40, 130, 150, 180])
def test_a_damaged_matlab_file(cut, tmp_path):
    io = pytest.importorskip("scipy.io", reason=WHY)
    io.savemat(tmp_path / "f.mat", {"feats": ROWS.T})
    (tmp_path / "f.mat").write_bytes((tmp_path / "f.mat").read_bytes()[:cut])
    with pytest.raises(
        ValueError, match=r"read_features: .*f\.mat (is no MATLAB file, or a damaged one|must hold an array)"
    ):
        read_features(tmp_path / "f.mat")
