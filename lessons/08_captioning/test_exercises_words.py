"""Tests of tasks 8.3 and 8.4: ``pytest lessons/08_captioning``, or one task with ``-k 8_3_``."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv.models.alignment import alignment

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_08_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def quietly(function, *given, outputs=()):
    """Call a function with warnings as errors, and check that it leaves its arrays as they were."""
    kept = [np.array(v, copy=True) for v in given if isinstance(v, np.ndarray)]
    with warnings.catch_warnings(), np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
        warnings.simplefilter("error")
        found = function(*given, *outputs)
    for before, after in zip(kept, [v for v in given if isinstance(v, np.ndarray)], strict=True):
        np.testing.assert_array_equal(after, before, err_msg="an argument was changed")
    return found


def behind(a, lengths, value=np.nan):
    """Return a copy that holds a value behind each sample's end."""
    a = np.array(a)
    for row, length in zip(a, lengths, strict=True):
        row[length:] = value
    return a


# ------------------------------------------------------------------------------------------ 8.3: words in their context

meaning = pytest.mark.task(
    id="8.3", points=2, minutes=25, difficulty=2, hint="cut each sentence at its length; one loop up, one down, same e"
)


def one(weight, bias):
    """Return a layer of one unit."""
    return np.array([[float(weight)]]), np.array([float(bias)])


def layers(rng, d, hidden, h):
    """Return random layers enter, ahead, back, leave."""
    sizes = ((hidden, d), (hidden, hidden), (hidden, hidden), (h, hidden))
    return [(rng.standard_normal(size) / np.sqrt(size[1]), 0.3 * rng.standard_normal(size[0])) for size in sizes]


def means(x, parts, lengths=None):
    """Return the student's s."""
    x = np.asarray(x)
    lengths = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    s = quietly(exercises.brnn, x, lengths, *parts)
    assert s is not None, "brnn returns nothing yet (task 8.3)"
    return s


@meaning
def test_8_3_by_hand():
    """The states are hf = 2 + 1, 4 + .5 3 + 1, and from behind hb = 4 + 10, 2 + .25 14 + 10."""
    x, parts = np.array([[[1.0], [2]]]), [one(2, 0), one(0.5, 1), one(0.25, 10), one(2, -20)]
    hf, hb = np.array([3, 6.5]), np.array([15.5, 14])
    np.testing.assert_array_equal(means(x, parts)[0, :, 0], 2 * (hf + hb) - 20)


@meaning
@pytest.mark.parametrize(
    ("off", "wanted"), [(0, [0.5, 1]), (1, [2, 1]), (2, [1, 2]), (3, [0, 0])], ids="e hf hb s".split()
)
def test_8_3_everything_goes_through_relu(off, wanted):
    """All weights 1, x = 1, 1: e = 1, 1; hf = 1, 2; hb = 2, 1. One bias of -100 turns a layer off."""
    parts = [one(1, 0), one(1, 0.5 if off == 0 else 0), one(1, 0), one(1, 0)]
    parts[off] = one(1, -100)
    np.testing.assert_array_equal(means(np.ones((1, 2, 1)), parts)[0, :, 0], wanted)


@meaning
def test_8_3_backwards_and_exchanged_is_the_same():
    """The sentence from behind, with both directions exchanged, has the same s from behind."""
    rng = np.random.default_rng(5)
    x, (enter, ahead, back, leave) = rng.standard_normal((2, 5, 3)), layers(rng, 3, 4, 6)
    s = means(x, (enter, ahead, back, leave))
    turned = means(x[:, ::-1].copy(), (enter, back, ahead, leave))
    np.testing.assert_allclose(turned, s[:, ::-1], rtol=1e-12)
    assert np.abs(means(x[:, ::-1].copy(), (enter, ahead, back, leave)) - s[:, ::-1]).max() > 0.01


@meaning
def test_8_3_sentences_end_where_their_lengths_say():
    rng = np.random.default_rng(6)
    x, parts, lengths = rng.standard_normal((4, 5, 3)), layers(rng, 3, 4, 2), np.array([2, 5, 0, 1])
    s = means(behind(x, lengths), parts, lengths)
    assert s.shape == (4, 5, 2)
    for n, length in enumerate(lengths):
        np.testing.assert_array_equal(s[n, length:], 0)
        if length:
            np.testing.assert_allclose(s[n, :length], means(x[n : n + 1, :length], parts)[0], rtol=1e-12)


@meaning
def test_8_3_every_word_knows_the_others():
    """Weights and biases are positive: a change of one word changes the s of all, forward and backward."""
    rng = np.random.default_rng(7)
    parts = [tuple(np.abs(p) for p in part) for part in layers(rng, 2, 3, 2)]
    x = rng.random((1, 4, 2))
    changed = x.copy()
    changed[0, 2] += 1
    assert (means(changed, parts) > means(x, parts)).all()


@meaning
def test_8_3_is_the_librarys():
    tinyconv.manual_seed(8)
    model = alignment(12, scale="lesson", dtype=np.float64).eval()
    parts = [(model.enter.weight, model.enter.bias), (model.ahead.weight, model.ahead.bias)]
    parts += [(model.back.weight, model.back.bias), (model.leave.weight, model.leave.bias)]
    rng = np.random.default_rng(9)
    arrays = [tuple(p.detach().numpy() + 0.05 * rng.standard_normal(p.shape) for p in part) for part in parts]
    with tinyconv.no_grad():
        for part, given in zip(parts, arrays, strict=True):
            for p, value in zip(part, given, strict=True):
                p.copy_(tinyconv.tensor(value))
        words = np.array([[3, 1, 4, 1, 5], [9, 2, -1, -1, -1]])
        wanted = model.embed_words(words).numpy()
        vectors = model.word(tinyconv.tensor(np.maximum(words, 0))).numpy()
    found = means(vectors, arrays, [5, 2])
    np.testing.assert_allclose(found[words >= 0], wanted[words >= 0], atol=1e-9)


# ------------------------------------------------------------------------------------------------ 8.4: score of a pair

scoring = pytest.mark.task(
    id="8.4", points=3, minutes=30, difficulty=2, hint="cut the regions off at counts; every win of a region adds up"
)


def compared(v, s, dscores=None, counts=None, lengths=None):
    """Return S, dv and ds by the student."""
    v, s = np.asarray(v, float), np.asarray(s, float)
    counts = np.full(len(v), v.shape[1]) if counts is None else np.asarray(counts)
    lengths = np.full(len(s), s.shape[1]) if lengths is None else np.asarray(lengths)
    dscores = np.ones((len(v), len(s))) if dscores is None else np.asarray(dscores, float)
    found = quietly(exercises.scores, v, counts, s, lengths, dscores)
    assert found is not None, "scores returns nothing yet (task 8.4)"
    return found


@scoring
def test_8_4_by_hand():
    """Word 0 has 2 and 1, word 1 has 0 and 3, word 2 has .5 and .25: 2 + 3 + .5, region 0 wins twice."""
    total, dv, ds = compared([[[2.0, 0], [1, 3]]], [[[1.0, 0], [0, 1], [0.25, 0]]], [[10.0]])
    np.testing.assert_array_equal(total, [[5.5]])
    np.testing.assert_array_equal(dv, [[[12.5, 0], [0, 10]]])
    np.testing.assert_array_equal(ds, [[[20, 0], [10, 30], [20, 0]]])


@scoring
def test_8_4_each_picture_with_each_sentence():
    """Rows are pictures. Picture 0 points at x, picture 1 at y; three sentences."""
    total, dv, ds = compared([[[1.0, 0]], [[0, 1]]], [[[5.0, 7]], [[1, 2]], [[0, 4]]], [[1.0, 2, 0], [0, 3, 4]])
    np.testing.assert_array_equal(total, [[5, 1, 0], [7, 2, 4]])
    np.testing.assert_array_equal(dv, [[[7, 11]], [[3, 22]]])
    np.testing.assert_array_equal(ds, [[[1, 0]], [[2, 3]], [[0, 4]]])


@scoring
def test_8_4_only_the_winner_learns():
    rng = np.random.default_rng(10)
    v, s = rng.standard_normal((1, 5, 3)), rng.standard_normal((1, 1, 3))
    _, dv, ds = compared(v, s, [[2.0]])
    winner = int((v[0] @ s[0, 0]).argmax())
    np.testing.assert_array_equal(dv[0, winner], 2 * s[0, 0])
    np.testing.assert_array_equal(np.delete(dv[0], winner, axis=0), 0)
    np.testing.assert_array_equal(ds[0, 0], 2 * v[0, winner])


@scoring
def test_8_4_of_equally_good_regions_the_first_learns():
    total, dv, ds = compared([[[0.0], [2], [2]]], [[[3.0]]])
    np.testing.assert_array_equal(total, [[6]])
    np.testing.assert_array_equal(dv, [[[0], [3], [0]]])
    np.testing.assert_array_equal(ds, [[[2]]])


@scoring
def test_8_4_the_best_may_be_negative():
    """Zeros behind the one region are no region."""
    total, dv, ds = compared([[[-2.0], [0]]], [[[3.0], [1]]], counts=[1])
    np.testing.assert_array_equal(total, [[-8]])
    np.testing.assert_array_equal(dv, [[[4], [0]]])
    np.testing.assert_array_equal(ds, [[[-2], [-2]]])


@scoring
def test_8_4_what_lies_behind_is_not_used():
    rng = np.random.default_rng(11)
    v, s, counts, lengths = rng.standard_normal((3, 4, 2)), rng.standard_normal((2, 5, 2)), [4, 1, 2], [3, 0]
    total, dv, ds = compared(behind(v, counts), behind(s, lengths), None, counts, lengths)
    for k, count in enumerate(counts):
        np.testing.assert_allclose(total[k, 0], (v[k, :count] @ s[0, :3].T).max(axis=0).sum(), rtol=1e-12)
        np.testing.assert_array_equal(dv[k, count:], 0)
    np.testing.assert_array_equal(total[:, 1], 0)
    np.testing.assert_array_equal(ds[0, 3:], 0)
    np.testing.assert_array_equal(ds[1], 0)


@scoring
def test_8_4_is_the_gradient():
    """Against central differences: no product is near a tie."""
    rng = np.random.default_rng(12)
    v, s, g = rng.standard_normal((2, 3, 4)), rng.standard_normal((3, 4, 4)), rng.standard_normal((2, 3))
    counts, lengths = [3, 2], [4, 1, 2]
    _, *found = compared(v, s, g, counts, lengths)
    for array, gradient in zip((v, s), found, strict=True):
        for place in np.ndindex(array.shape):
            before, losses = array[place], []
            for step in (1e-6, -1e-6):
                array[place] = before + step
                losses.append((compared(v, s, g, counts, lengths)[0] * g).sum())
            array[place] = before
            np.testing.assert_allclose(gradient[place], (losses[0] - losses[1]) / 2e-6, atol=1e-6)


@scoring
def test_8_4_is_the_librarys():
    rng = np.random.default_rng(13)
    model = alignment(9, scale="lesson", dtype=np.float64)
    v, s, g = rng.standard_normal((3, 4, 5)), rng.standard_normal((2, 6, 5)), rng.standard_normal((3, 2))
    counts, lengths = np.array([4, 1, 3]), np.array([6, 2])
    tensors = [tinyconv.tensor(a, requires_grad=True) for a in (v, s)]
    wanted = model.compare(tensors[0], counts, tensors[1], lengths)
    (wanted * tinyconv.tensor(g)).sum().backward()
    total, dv, ds = compared(v, s, g, counts, lengths)
    np.testing.assert_allclose(total, wanted.detach().numpy(), atol=1e-9)
    np.testing.assert_allclose(dv, tensors[0].grad.numpy(), atol=1e-9)
    np.testing.assert_allclose(ds, tensors[1].grad.numpy(), atol=1e-9)
