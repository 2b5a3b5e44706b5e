"""Files that are written at the same time by several processes or threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tinyconv.files import atomic_write, writable_folder, write_text


def test_a_temporary_file_that_another_process_renames_meanwhile_is_no_obstacle(tmp_path, monkeypatch):
    gone = tmp_path / ".a.npz.1.tmp"
    monkeypatch.setattr(type(tmp_path), "glob", lambda folder, pattern: iter([gone]))
    assert write_text(tmp_path / "a.npz", "whole").read_text() == "whole"


def test_threads_that_write_one_file_do_not_meet(tmp_path):
    path, started = tmp_path / "a.json", threading.Barrier(3, timeout=60)

    def write(text):
        def slowly(file):
            file.write(text)
            started.wait()  # all three are at it

        atomic_write(path, slowly)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, (b"0" * 999, b"1" * 999, b"2" * 999)))
    assert len(set(path.read_bytes())) == 1 and len(path.read_bytes()) == 999
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_written_to_is_one_line_with_advice(tmp_path):
    assert list(writable_folder(tmp_path / "a" / "b", "f", "no").iterdir()) == []
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"^f: cannot write to the folder .*(file|below) \(.*\); choose another$"):
            writable_folder(path, "f", "choose another")
