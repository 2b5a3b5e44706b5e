"""Pictures of words and regions: which boxes, words and numbers are drawn, and which lines join which."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

import tinyconv
from tinyconv.captioning.figures import grounding, regions_described, segments_figure, word_norms
from tinyconv.text.segments import viterbi

BOXES = np.array([[0, 0, 60, 50], [2, 30, 12, 50], [20, 5, 50, 25], [40, 30, 58, 45], [0, 0, 0, 0]], float)
WORDS = ["a", "three", "above", "seven"]
WON = [0, 2, 0, 1]
SCORES = [0.1, 2.0, -0.5, 1.0]


@pytest.fixture
def image(rng):
    return rng.random((3, 50, 60)).astype(np.float32)


def drawn(figure):
    """Return the figure's one axes; drawing it must not fail."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    (axes,) = figure.axes
    return axes


def frames(axes):
    """Return (corners in the +0 convention, colour, line style) of every box."""
    found = []
    for patch in axes.patches:
        assert isinstance(patch, Rectangle)
        (x, y), width, height = patch.get_xy(), patch.get_width(), patch.get_height()
        corners = [x + 0.5, y + 0.5, x + 0.5 + width, y + 0.5 + height]
        found.append((corners, to_rgb(patch.get_edgecolor()), patch.get_linestyle()))
    return found


def rows(axes):
    """Return the texts of the area beside the image by their height: {y: [text from left to right]}."""
    found = {}
    for text in sorted(axes.texts, key=lambda text: text.get_position()[0]):
        if text.get_position()[0] > 60:
            found.setdefault(round(text.get_position()[1], 6), []).append(text)
    return dict(sorted(found.items()))


def test_every_word_is_joined_to_the_region_it_won(image):
    axes = drawn(grounding(image, BOXES, WORDS, WON, SCORES, "all"))
    assert axes.get_title() == "all"
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), image.transpose(1, 2, 0), atol=1e-6)
    boxes = frames(axes)
    # What nobody won is dotted and comes first; a box without an area is none.
    assert [(corners, style) for corners, _, style in boxes] == [
        (BOXES[3].tolist(), ":"), (BOXES[0].tolist(), "-"), (BOXES[1].tolist(), "-"), (BOXES[2].tolist(), "-"),
    ]  # fmt: skip
    colours = {0: boxes[1][1], 1: boxes[2][1], 2: boxes[3][1]}
    assert len(set(colours.values()) | {boxes[0][1]}) == 4
    listed = rows(axes)
    assert [[text.get_text() for text in row] for row in listed.values()] == [
        ["a", "  0.10  whole image"], ["three", "  2.00  region 2"],
        ["above", " -0.50  whole image"], ["seven", "  1.00  region 1"],
    ]  # fmt: skip
    assert len(axes.lines) == 4
    for y, region, line in zip(listed, WON, axes.lines, strict=True):
        (x0, x1), (y0, y1) = line.get_data()
        assert x0 == BOXES[region, 2] - 0.5 and BOXES[region, 1] - 0.5 <= y0 <= BOXES[region, 3] - 0.5
        assert y1 == pytest.approx(y) and x1 < axes.texts[-1].get_position()[0]
        assert to_rgb(line.get_color()) == colours[region]


def test_words_with_low_scores_are_pale(image):
    axes = drawn(grounding(image, BOXES, WORDS, WON, SCORES))
    opacity = [row[0].get_alpha() for row in rows(axes).values()]
    assert opacity == pytest.approx([0.2875, 1, 0.25, 0.625])  # 1/4 for what has no score, 1 for the best
    assert [line.get_alpha() for line in axes.lines] == pytest.approx(opacity)
    nothing = drawn(grounding(image, BOXES, WORDS, WON, [0.0, 0, -1, 0]))
    assert [row[0].get_alpha() for row in rows(nothing).values()] == [0.25] * 4


def test_regions_bear_their_numbers_and_words_stand_in_order(image):
    axes = drawn(grounding(image[:1], BOXES, WORDS, WON, SCORES))
    numbers = {text.get_text(): text.get_position() for text in axes.texts if text.get_position()[0] < 60}
    assert numbers == {"1": (1.5, 29.5), "2": (19.5, 4.5)}  # the frame has none
    listed = rows(axes)
    steps = np.diff(list(listed))
    np.testing.assert_allclose(steps, steps[0])
    assert np.mean(list(listed)) == pytest.approx(24.5)  # the words' middle is the image's
    words = [row[0].get_window_extent() for row in listed.values()]
    assert all(above.y0 >= below.y1 for above, below in zip(words[:-1], words[1:], strict=True))
    border = axes.figure.bbox
    for text in axes.texts:
        place = text.get_window_extent()
        assert border.x0 <= place.x0 and place.x1 <= border.x1, text.get_text()


def test_a_long_sentence_makes_the_figure_higher(image):
    short = grounding(image, BOXES, WORDS, WON, SCORES)
    long = grounding(tinyconv.tensor(image), BOXES, WORDS * 8, WON * 8, SCORES * 8)
    assert long.get_size_inches()[1] > 2 * short.get_size_inches()[1]
    assert long.get_size_inches()[0] == pytest.approx(short.get_size_inches()[0])
    assert len(drawn(long).lines) == 32


def test_segments_of_the_specs_example(image):
    scores = np.array([[2, 0], [0.9, 1], [2, 0], [0, 3]])
    found = {beta: viterbi(scores, beta) for beta in (0, 1, 4)}
    axes = drawn(segments_figure(image, BOXES[:2], ["w", "longer", "x", "yz"], found))
    listed = [[text.get_text() for text in row] for row in rows(axes).values()]
    sentence = ["w", "longer", "x", "yz"]
    assert listed == [
        ["beta 0  ", *sentence], ["whole", "1", "whole", "1"],
        ["beta 1  ", *sentence], ["whole", "1"],
        ["beta 4  ", *sentence], ["whole"],
    ]  # fmt: skip
    bars = [(line.get_xdata(), line.get_ydata(), to_rgb(line.get_color())) for line in axes.lines]
    whole, other = to_rgb("black"), to_rgb("C0")
    assert [colour for _, _, colour in bars] == [whole, other, whole, other, whole, other, whole]
    texts = list(rows(axes).values())
    places = {text.get_text(): text.get_position()[0] for text in texts[2]}
    letter = places["longer"] - places["w"]  # of "w" and a blank
    (start, stop), height, _ = bars[4]  # the first three words, for beta 1
    assert start == pytest.approx(places["w"]) and stop == pytest.approx(places["x"] + letter / 2)
    assert texts[2][0].get_position()[1] < height[0] == height[1] < texts[3][0].get_position()[1]
    assert texts[3][0].get_position()[0] == pytest.approx((start + stop) / 2)
    assert len(frames(axes)) == 2


def test_regions_and_what_is_said_of_them(image):
    axes = drawn(regions_described(image, BOXES[1:3], ["a big three", ""], [-0.25, -12.5], "two"))
    assert [corners for corners, _, _ in frames(axes)] == BOXES[1:3].tolist()  # no frame of the whole image
    assert [[text.get_text() for text in row] for row in rows(axes).values()] == [
        ["1 a big three", "  -0.25"], ["2 (no word)", " -12.50"],
    ]  # fmt: skip
    assert [line.get_xdata()[0] for line in axes.lines] == [11.5, 49.5]
    plain = drawn(regions_described(image, BOXES[1:3], ["a", "b"]))
    assert [[text.get_text() for text in row] for row in rows(plain).values()] == [["1 a"], ["2 b"]]


def test_no_regions(image):
    axes = drawn(regions_described(image, np.zeros((0, 4)), []))
    assert not axes.patches and not axes.texts and axes.get_title() == "no regions"
    assert drawn(regions_described(image, np.zeros((0, 4)), [], [], "a sentence")).get_title() == "a sentence"


def test_norms_are_sorted_and_equal_ones_by_the_alphabet():
    axes = drawn(word_norms(["is", "seven", "a", "big"], [0.3, 2.5, 0.1, 0.3], "norms"))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["seven", "big", "is", "a"]
    assert [bar.get_width() for bar in axes.patches] == [2.5, 0.3, 0.3, 0.1]
    assert [bar.get_y() + bar.get_height() / 2 for bar in axes.patches] == pytest.approx([0, 1, 2, 3])
    assert axes.get_ylim()[0] > axes.get_ylim()[1] and axes.get_title() == "norms"  # the longest is above
    assert [text.get_text() for text in axes.texts] == [" 2.50", " 0.30", " 0.30", " 0.10"]


def test_of_many_words_the_ends_are_shown():
    axes = drawn(word_norms([f"w{i}" for i in range(100)], np.arange(100.0)))
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == [f"w{i}" for i in [*range(99, 79, -1), *range(19, -1, -1)]]
    assert [bar.get_width() for bar in axes.patches] == [*range(99, 79, -1), *range(19, -1, -1)]
    assert axes.texts[-1].get_text() == " 60 words between" and axes.texts[-1].get_position() == (0, 20)
    assert axes.get_yticks().tolist() == [*range(20), *range(21, 41)]  # a row is left for these words
    all_zero = drawn(word_norms(["a"], [0.0]))
    assert all_zero.get_xlim()[1] > 0


def test_a_dollar_is_no_formula(image):
    costs = ["$\\frac", "5$"]
    axes = drawn(grounding(image, BOXES, costs, [0, 1], [1.0, 1.0], "$\\frac$"))
    assert [row[0].get_text() for row in rows(axes).values()] == costs
    drawn(word_norms(["$\\frac$", "b"], [1.0, 2.0], "$\\frac$"))


IMAGE = np.zeros((3, 50, 60))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: grounding(IMAGE[0], BOXES, WORDS, WON, SCORES),
            r"image must be \(1, H, W\) or \(3, H, W\), got shape",
        ),
        (lambda: grounding(IMAGE * np.nan, BOXES, WORDS, WON, SCORES), "grounding: image must be finite, got NaN"),
        (lambda: grounding(IMAGE, BOXES[:0], WORDS, WON, SCORES), r"boxes must be \(R, 4\), the whole image first"),
        (lambda: grounding(IMAGE, BOXES[0], WORDS, WON, SCORES), r"boxes must be \(R, 4\), .* got shape \(4,\)"),
        (lambda: grounding(IMAGE, BOXES + np.inf, WORDS, WON, SCORES), "boxes must be finite"),
        (lambda: grounding(IMAGE, BOXES, [], [], []), r"words must be a list of at least one str, got \[\]"),
        (lambda: grounding(IMAGE, BOXES, "a three", WON, SCORES), "words must be a list .* got 'a three'"),
        (lambda: grounding(IMAGE, BOXES, WORDS, WON[:3], SCORES), "regions must be 4 ints, one for each word"),
        (lambda: grounding(IMAGE, BOXES, WORDS, [0.5, 1, 1, 1], SCORES), "regions must be 4 ints"),
        (lambda: grounding(IMAGE, BOXES, WORDS, [0, 5, 1, 1], SCORES), r"regions must be from 0 to 4, got \[0, 5, 1"),
        (lambda: grounding(IMAGE, BOXES, WORDS, [0, -1, 1, 1], SCORES), "regions must be from 0 to 4"),
        (lambda: grounding(IMAGE, BOXES, WORDS, WON, SCORES[:1]), r"scores must be 4 numbers, .* got shape \(1,\)"),
        (lambda: grounding(IMAGE, BOXES, WORDS, WON, [0, 1, np.nan, 2]), "grounding: scores must be finite, got nan"),
        (lambda: segments_figure(IMAGE, BOXES, WORDS, {}), "segments_figure: found must have at least one beta"),
        (lambda: segments_figure(IMAGE, BOXES, WORDS, {1.0: [0, 1]}), "segments_figure: regions must be 4 ints"),
        (lambda: regions_described(IMAGE, BOXES, ["a"]), "snippets must be as many as the 5 boxes, got 1"),
        (lambda: regions_described(IMAGE, BOXES[:0], ["a"]), "snippets must be as many as the 0 boxes, got 1"),
        (lambda: regions_described(IMAGE, BOXES[:1] + np.nan, ["a"]), "regions_described: boxes must be finite"),
        (lambda: regions_described(IMAGE, BOXES[:1], ["a"], []), "log_probabilities must be 1 numbers"),
        (lambda: word_norms([], []), "word_norms: words must be a list of at least one str"),
        (lambda: word_norms(["a"], [1.0, 2.0]), "word_norms: norms must be 1 numbers"),
        (lambda: word_norms(["a", "b"], [1.0, -2.0]), "word_norms: norms must be at least 0, got -2"),
        (lambda: word_norms(["a"], [np.inf]), "word_norms: norms must be finite, got inf"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
