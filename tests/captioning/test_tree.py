"""The tree of a beam search: every node it shows is the search's, joined to the one it continues."""

import io

import numpy as np
import pytest

from tinyconv.captioning.tree import beam_tree, chosen_nodes
from tinyconv.text.beam import beam_search

WORDS = ["<end>", "a", "b", "c"]
# After START: a .6, b .3, END .1; after a: b .5, END .5; after b: END .9, c .1; after c: END.
TABLE = np.array([[0.1, 0.6, 0.3, 0], [0.5, 0, 0.5, 0], [0.9, 0, 0, 0.1], [1, 0, 0, 0]])


def search(table, beam, limit=5):
    with np.errstate(divide="ignore"):
        logs = np.log(table)
    return beam_search(lambda tokens, state: (logs[tokens], state), (), beam=beam, limit=limit)


def tree(*arguments, **how):
    """Return the texts (in their order) and lines of the figure, whose drawing must not fail."""
    figure = beam_tree(*arguments, **how)
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    (axes,) = figure.axes
    return axes, axes.texts, axes.lines


def places(texts):
    """Return {(step, row): text}."""
    column = min(x for x, _ in (text.get_position() for text in texts) if x > 0)
    return {(round(text.get_position()[0] / column), text.get_position()[1]): text for text in texts}


def test_every_node_of_a_small_search():
    """Step 1 keeps a (.6) and b (.3), step 2 a END and a b (.3 each), not b END (.27), step 3 a b END (.27)."""
    axes, texts, lines = tree(search(TABLE, 2), WORDS, title="of a chain")
    assert axes.get_title() == "of a chain" and axes.get_xlabel() == "9 of 9 nodes"
    assert {place: text.get_text() for place, text in places(texts).items()} == {
        (0, 0): "START",
        (1, 0): "a -0.51", (2, 0): "END -1.20  1.",
        (2, 1): "b -1.20", (3, 1): "END -1.31  2.",
        (3, 2): "c -3.51",
        (1, 3): "b -1.20", (2, 3): "END -1.31",
        (2, 4): "c -3.51",
    }  # fmt: skip
    bold = {place for place, text in places(texts).items() if text.get_weight() == "bold"}
    assert bold == {(0, 0), (1, 0), (2, 0)}
    dropped = {place for place, text in places(texts).items() if text.get_color() != "black"}
    assert dropped == {(3, 2), (2, 3), (2, 4)}


def test_lines_join_a_node_with_the_one_it_continues():
    _, texts, lines = tree(search(TABLE, 2), WORDS)
    column = min(x for x, _ in (text.get_position() for text in texts) if x > 0)
    joined = {}
    for line in lines:
        (start, _, end), (above, below, same) = line.get_data()
        assert below == same and round(end / column, 1) == pytest.approx(round(end / column), abs=0.11)
        assert 0 < start < end  # from the end of a word to the beginning of the next
        joined[round(end / column), below] = (int(start // column), above, line.get_linestyle(), line.get_linewidth())
    assert {place: value[:2] for place, value in joined.items()} == {
        (1, 0): (0, 0), (1, 3): (0, 0), (2, 0): (1, 0), (2, 1): (1, 0), (2, 3): (1, 3), (2, 4): (1, 3),
        (3, 1): (2, 1), (3, 2): (2, 1),
    }  # fmt: skip
    assert {place for place, value in joined.items() if value[2] == "--"} == {(3, 2), (2, 3), (2, 4)}
    assert {place for place, value in joined.items() if value[3] > 1} == {(1, 0), (2, 0)}


def test_words_do_not_cover_each_other(rng):
    chain = rng.dirichlet(np.ones(9), 9)
    figure = beam_tree(search(chain, 4, 6), ["<end>", *(f"word{'x' * k}" for k in range(8))])
    figure.savefig(io.BytesIO(), format="png", dpi=60)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) > 20
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 + 1 or other.y1 <= one.y0 + 1


def test_the_most_probable_hypothesis_lies_in_the_first_row(rng):
    for seed in range(20):
        beam = search(np.random.default_rng(seed).dirichlet(np.ones(6), 6), 3, 5)
        _, texts, _ = tree(beam, ["<end>", *"abcde"], most=30)
        first = [text for (_, row), text in sorted(places(texts).items()) if row == 0]
        wanted = ["START", *("abcde"[word - 1] for word in beam.best.words), *["END"] * beam.best.finished]
        assert [text.get_text().split()[0] for text in first[: len(wanted)]] == wanted
        assert {text.get_text() for text in texts if text.get_weight() == "bold"} == {
            text.get_text() for text in first[: len(wanted)]
        }


def test_what_is_left_out_is_said(rng):
    beam = search(rng.dirichlet(np.ones(30), 30), 7, 12)
    words = [f"w{k}" for k in range(30)]
    axes, texts, lines = tree(beam, words)
    assert len(texts) == 60 == len(lines) + 1 and len(beam.nodes) > 200
    shown = chosen_nodes(beam, 60)
    assert shown == sorted(set(shown)) and all(beam.nodes[k].parent in shown for k in shown if k)
    for hypothesis in beam.hypotheses:
        assert set(beam.path(hypothesis.node)) <= set(shown)
    left = [node for k, node in enumerate(beam.nodes) if k not in shown]
    kept = sum(node.kept for node in left)
    assert axes.get_xlabel() == (
        f"60 of {len(beam.nodes)} nodes; left out: {len(left) - kept} that were dropped at once, "
        f"{kept} that were kept for a while"
    )
    counts = [int(text.get_text().rpartition("+")[2]) for text in texts if "+" in text.get_text()]
    assert sum(counts) == sum(node.parent in shown for node in left) > 0
    # No node that is drawn was dropped, while one that was kept is left out and could be drawn.
    if any(node.kept and node.parent in shown for node in left):
        assert all(beam.nodes[k].kept for k in shown)


def test_few_nodes_are_the_final_paths(rng):
    beam = search(rng.dirichlet(np.ones(8), 8), 3, 6)
    paths = {k for hypothesis in beam.hypotheses for k in beam.path(hypothesis.node)}
    assert chosen_nodes(beam, 1) == sorted(paths)
    _, texts, _ = tree(beam, [f"w{k}" for k in range(8)], most=1)
    ranks = sorted(text.get_text()[-2:] for text in texts if text.get_text().endswith("."))
    assert ranks == ["1.", "2.", "3."]


def test_a_beam_of_one_and_an_unfinished_sentence():
    beam = search(np.array([[0.1, 0.9], [0.1, 0.9]]), 1, 3)
    assert not beam.best.finished
    _, texts, lines = tree(beam, ["<end>", "a"])
    assert [text.get_text() for text in texts] == ["START", "a -0.11", "a -0.21", "a -0.32  1."]
    assert {line.get_linewidth() for line in lines} == {2.0}


def test_a_dollar_is_no_formula():
    axes, texts, _ = tree(search(TABLE, 2), ["<end>", "$\\frac$", "b$", "$c"], title="$\\frac$")
    assert axes.get_title() == "$\\frac$" and texts[1].get_text().startswith("$\\frac$ ")


def test_bad_input():
    with pytest.raises(ValueError, match="beam_tree: words must be all 4 or more of the search, got 3"):
        beam_tree(search(TABLE, 2), WORDS[:3])
    with pytest.raises(ValueError, match="beam_tree: most must be an int of at least 1, got 0"):
        beam_tree(search(TABLE, 2), WORDS, most=0)
