"""Lesson 06, steps 1 to 5: what they write by hand is what the library computes, and their bugs are caught."""

from __future__ import annotations

import re

import pytest
from _steps import LESSONS, run_step

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What a step prints, by its number; each is run once."""
    folder, found = tmp_path_factory.mktemp("lesson06"), {}

    def of(number: int) -> str:
        if number not in found:
            (script,) = (LESSONS / "06_rcnn").glob(f"step{number}_*.py")
            found[number] = run_step(script, folder)
        return found[number]

    return of


def test_boxes_and_their_judgement_are_the_specifications(said):
    """Its own asserts compare with the library; these are the numbers of the papers' conventions."""
    text = said(1)
    assert "x2 - x1 + 0: [ 0.2105  0.      0.1911 -0.2296]" in text
    assert "x2 - x1 + 1: [ 0.2     0.      0.1823 -0.2231]" in text
    assert [line.split(": ")[1] for line in text.splitlines() if line.startswith("  threshold")] == [
        "A",
        "A C",
        "A B C",
    ]
    assert "11-point 0.681818, all-point 0.687500" in text
    assert "11-point 0.649351, all-point 0.614286" in text


def test_segments_and_their_tree_are_the_librarys(said):
    assert re.findall(r"k = (\d+): (\d) regions, the library's (\d)", said(2)) == [("799", "2", "2"), ("800", "1", "1")]
    assert "equal to the library's: True" in said(2)


def test_mining_keeps_few_negatives(said):
    """That its plane is the library's, the step asserts."""
    negatives, kept = re.search(r"(\d+) negatives, (\d+) of them kept", said(3)).groups()
    assert 0 < int(kept) < int(negatives)


def test_roi_pooling_is_the_librarys_and_its_bug_is_caught(said):
    text = said(4)
    for numbers in (
        "[[19, 22], [43, 46]]",
        "[[18, 21, 23], [42, 45, 47], [58, 61, 63]]",
        "[[9, 10, 11], [17, 18, 19], [25, 26, 27]]",
        "[[63, 0], [0, 0]]",
    ):
        assert numbers in text
    assert text.count("the same numbers: True") == 3
    outcomes = re.findall(r"^(apart|overlapping|equal maxima): (.*)$", text, re.MULTILINE)
    assert outcomes == [
        ("apart", "Pool passes"),
        ("apart", "AssigningPool passes"),
        ("overlapping", "Pool passes"),
        ("overlapping", "caught"),
        ("equal maxima", "caught"),
    ]
    assert "assigned instead of added" in text and "fails only at ties" in text


def test_the_loss_is_the_librarys(said):
    ours, theirs, off = re.search(r"loss ([\d.]+), the library's ([\d.]+); .* by (\S+)", said(5)).groups()
    assert ours == theirs
    assert float(off) < 1e-12
    assert "t = 128        118,784       0.0%" in said(5), "all singular values leave nothing out"
