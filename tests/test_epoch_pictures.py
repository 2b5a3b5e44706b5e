"""A folder with a picture for each epoch, and choosing some of them evenly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.epoch_pictures import EpochPictures, even


def filled(folder: Path, *names: str) -> EpochPictures:
    pictures = EpochPictures(folder, "Me")
    for name in names:
        (folder / name).write_bytes(name.encode())
    return pictures


def test_names_and_a_folder_that_is_made(tmp_path: Path) -> None:
    pictures = EpochPictures(tmp_path / "a" / "b", "Me")
    assert pictures.folder.is_dir() and pictures.files() == []
    assert [pictures.path(n).name for n in (0, 7, 123, 12345)] == [
        "epoch-0000.png", "epoch-0007.png", "epoch-0123.png", "epoch-12345.png",
    ]  # fmt: skip
    assert EpochPictures(str(tmp_path), "Me").path(1) == tmp_path / "epoch-0001.png"


OTHERS = "epoch-3.png", "epoch-0003.jpg", "epoch-0003.png.part", "my-epoch-0003.png", "strip.png", "Epoch-0003.png"


def test_files_are_sorted_by_epoch_and_others_are_left_out(tmp_path: Path) -> None:
    pictures = filled(tmp_path, "epoch-10000.png", "epoch-0002.png", "epoch-9999.png", "epoch-0010.png", *OTHERS)
    assert [(epoch, path.name) for epoch, path in pictures.files()] == [
        (2, "epoch-0002.png"), (10, "epoch-0010.png"), (9999, "epoch-9999.png"), (10000, "epoch-10000.png"),
    ]  # fmt: skip


@pytest.mark.parametrize("epoch,left", [(-1, []), (0, [0]), (1, [0, 1]), (4, [0, 1]), (5, [0, 1, 5]), (99, [0, 1, 5])])
def test_later_epochs_are_forgotten_and_nothing_else(epoch: int, left: list[int], tmp_path: Path) -> None:
    pictures = filled(tmp_path, "epoch-0000.png", "epoch-0001.png", "epoch-0005.png", *OTHERS)
    pictures.forget(epoch)
    assert [number for number, _ in pictures.files()] == left
    assert all((tmp_path / name).read_bytes() == name.encode() for name in OTHERS)


def test_what_is_removed_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = filled(tmp_path, "epoch-0001.png")
    listed = pictures.files()
    pictures.forget(0)
    monkeypatch.setattr(pictures, "files", lambda: listed)
    pictures.forget(0)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Me: cannot write to the folder .*file.* choose another folder"):
        EpochPictures(tmp_path / "file", "Me")


def test_even_by_hand() -> None:
    assert even(list(range(22)), 8) == [0, 3, 6, 9, 12, 15, 18, 21]
    assert even(list("abcde"), 3) == ["a", "c", "e"]
    assert even([1, 2], 2) == [1, 2] and even([1, 2, 3], 2) == [1, 3] and even([], 5) == []


@given(st.integers(0, 400), st.integers(2, 120))
def test_even_takes_no_item_twice_and_both_ends(count: int, most: int) -> None:
    items = list(range(count))
    chosen = even(items, most)
    assert len(chosen) == min(count, most) and chosen == sorted(set(chosen))
    assert chosen[:1] == items[:1] and chosen[-1:] == items[-1:]
    steps = [b - a for a, b in zip(chosen, chosen[1:], strict=False)]
    assert not steps or max(steps) - min(steps) <= 2  # rounding moves an end by half an epoch
