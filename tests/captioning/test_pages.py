"""Pages of images with sentences: every sentence stands at its image, and what is right is said in words."""

import io

import numpy as np
import pytest

from tinyconv.captioning.pages import described, retrieval_page


def panels(figure):
    """Return the axes of a figure; drawing it must not fail."""
    figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    return figure.axes


def level(axes):
    """Return the grey value of an image that has only one; None for axes without an image."""
    return float(np.asarray(axes.images[0].get_array()).mean()) if axes.images else None


def shades(count):
    """Return images of one value each, so that one can be told from another."""
    return np.linspace(0, 1, count).reshape(count, 1, 1, 1) * np.ones((1, 3, 8, 8))


def test_sentences_stand_above_and_the_truth_below():
    found = panels(described(shades(3), ["one", "", "three"], ["a", ["b", "c"], []], notes=["x", "y", "z"], columns=2))
    assert len(found) == 4 and not found[3].axison
    assert [level(axes) for axes in found[:3]] == pytest.approx([0, 0.5, 1])
    assert [axes.get_title() for axes in found[:3]] == ["one\nx", "(no word)\ny", "three\nz"]
    assert [axes.get_xlabel() for axes in found[:3]] == ["true: a", "true: b", "true: (none)"]


def test_long_sentences_are_broken_and_do_not_touch():
    sentence = "a big three is to the left of a seven and below a small five"
    figure = described(shades(4), [sentence] * 4, [sentence] * 4, columns=2, title="all")
    found = panels(figure)
    assert figure.get_suptitle() == "all"
    assert all(axes.get_title().replace("\n", " ") == sentence and "\n" in axes.get_title() for axes in found)
    assert found[0].xaxis.label.get_text().replace("\n", " ") == f"true: {sentence}"
    left, right = (axes.title.get_window_extent() for axes in found[:2])
    assert left.x1 <= right.x0
    below = found[0].xaxis.label.get_window_extent()
    assert below.y0 >= found[2].title.get_window_extent().y1


def test_images_of_several_sizes_in_one_row():
    figure = described([np.zeros((1, 8, 8)), np.ones((3, 4, 12))], ["a", "b"])
    assert [axes.images[0].get_array().shape for axes in panels(figure)] == [(8, 8, 3), (4, 12, 3)]
    single = described(shades(1), ["a"], side=4.0)
    assert 4 <= single.get_size_inches()[0] < 5


SENTENCES = ["s0", "s1", "s2", "s3", "s4", "s5"]
IMAGE_OF = [0, 1, 2, 0, 1, 2]
SCORES = np.array(
    [
        [9.0, 1, 2, 3, 4, 5],  # image 0: its s0 is first
        [8, 0, 7, 6, 5, 9],  # image 1: s4 has rank 5; s1 is worst
        [1, 2, 3, 4, 5, 3],  # image 2: s4, s3, then its s2 and s5, which tie
    ]
)


def test_images_find_sentences_and_sentences_images():
    found = panels(retrieval_page(shades(3), SENTENCES, SCORES, IMAGE_OF, [0, 1], top=2, title="page"))
    assert found[0].figure.get_suptitle() == "page" and len(found) == 2 * (1 + 1 + 1 + 2)
    query, answers, asked, *images = found[:5]
    assert query.get_title() == "image 0 asks" and level(query) == 0
    assert [line.split() for line in answers.texts[0].get_text().splitlines()] == [
        ["1.", "9.00", "right", "s0"], ["2.", "5.00", "s5"],
    ]  # fmt: skip
    assert asked.texts[0].get_text() == '"s0"\nasks'
    assert [axes.get_title() for axes in images] == ["1: 9.00, right", "2: 8.00"]
    assert [level(axes) for axes in images] == [0, 0.5]
    assert [axes.title.get_weight() for axes in images] == ["bold", "normal"]


def test_what_is_not_among_the_best_is_said_with_its_rank():
    found = panels(retrieval_page(shades(3), SENTENCES, SCORES, IMAGE_OF, [1, 2], top=2))
    first = found[1].texts[0].get_text().splitlines()
    assert [line.split()[-1] for line in first[:2]] == ["s5", "s0"] and "right" not in "".join(first[:2])
    assert first[2] == "the first right one has rank 5"
    assert found[2].texts[0].get_text() == '"s1"\nasks\n(right one: rank 3)'
    assert [axes.get_title() for axes in found[3:5]] == ["1: 2.00", "2: 1.00"]
    assert [level(axes) for axes in found[3:5]] == [1, 0]
    # s2 of image 2 scores 3, as much as s5, which is its own as well: two others are better.
    assert found[6].texts[0].get_text().splitlines()[2] == "the first right one has rank 3"


def test_no_more_answers_than_there_are():
    found = panels(retrieval_page(shades(3), SENTENCES, SCORES, IMAGE_OF, [2], top=5))
    assert len(found) == 2 + 1 + 3 and len(found[1].texts[0].get_text().splitlines()) == 5
    long = ["word " * 60] * 6
    found = panels(retrieval_page(shades(3), long, SCORES, IMAGE_OF, [2], top=1))
    lines = found[1].texts[0].get_text().splitlines()
    assert max(map(len, lines)) <= 82 and lines[1].startswith(" " * 21 + "word")
    words, border = found[1].texts[0].get_window_extent(), found[0].figure.bbox
    assert words.x1 <= border.x1 and words.y0 >= found[3].title.get_window_extent().y1 - 1 and words.y1 <= border.y1


def test_a_dollar_is_no_formula():
    costs = ["$\\frac$", "5$ and $\\frac", "b"]
    found = panels(described(shades(3), costs, costs, title=costs[0]))
    assert [axes.get_title() for axes in found] == costs
    found = panels(retrieval_page(shades(3), costs, np.eye(3), [0, 1, 2], [0], title=costs[0]))
    assert costs[0] in found[1].texts[0].get_text()


ONE = shades(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: described([], []), "described: images must be at least one, got none"),
        (lambda: described(ONE, ["a", "b"]), "described: sentences must be as many as the 1 images, got 2"),
        (lambda: described(ONE, "a"), "described: sentences must be a list of at least one str, got 'a'"),
        (lambda: described(ONE, ["a"], ["b", "c"]), "described: truths must be as many as the 1 images, got 2"),
        (lambda: described(ONE, ["a"], notes=["b", "c"]), "described: notes must be as many as the 1 images, got 2"),
        (lambda: described(ONE, ["a"], columns=0), "described: columns must be an int of at least 1, got 0"),
        (lambda: described(ONE[0], ["a"]), r"described: image must be \(1, H, W\) or \(3, H, W\), got shape \(8, 8\)"),
        (lambda: described(ONE * np.nan, ["a"]), "described: image must be finite"),
        (lambda: retrieval_page(shades(3), SENTENCES, SCORES.T, IMAGE_OF, [0]), r"scores must be \(3, 6\), images x"),
        (lambda: retrieval_page(shades(3), SENTENCES, SCORES, IMAGE_OF, []), "queries must be at least one, from 0 to"),
        (lambda: retrieval_page(shades(3), SENTENCES, SCORES, IMAGE_OF, [3]), r"from 0 to 2, got \[3\]"),
        (lambda: retrieval_page(shades(3), SENTENCES, SCORES, IMAGE_OF, [0], top=0), "top must be an int of at least"),
        (lambda: retrieval_page(shades(3), SENTENCES, SCORES, [0] * 6, [0]), "rank: image 1 has no sentence"),
        (lambda: retrieval_page(shades(3), SENTENCES, SCORES * np.nan, IMAGE_OF, [0]), "rank: scores must be numbers"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
