"""Tests of tasks 8.5 to 8.7: ``pytest lessons/08_captioning``, or one task with ``-k 8_5_``."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import text
from tinyconv.captioning.training import train_alignment
from tinyconv.data.pairs import SentencePairs
from tinyconv.models.alignment import alignment
from tinyconv.models.alignment import ranking_loss as of_the_library

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_08_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


# ----------------------------------------------------------------------------------------------- 8.5: the ranking loss

ranking = pytest.mark.task(
    id="8.5", points=3, minutes=25, difficulty=2, hint="a pair's own score is subtracted once by rows, once by columns"
)


def losses(scores, **how):
    """Return what the student's function returns; the scores must be as before."""
    before = np.array(scores)
    found = exercises.ranking_loss(scores, **how)
    assert found is not None, "ranking_loss returns nothing yet (task 8.5)"
    loss, gradient = found
    np.testing.assert_array_equal(scores, before, err_msg="scores were changed")
    assert np.ndim(loss) == 0 and np.shape(gradient) == before.shape
    return float(loss), np.asarray(gradient)


@ranking
def test_8_5_by_hand():
    """Sentences for image 0: 2 - 3 + 1 = 0; 4 - 3 + 1 = 2. For image 1: 1 - 2 + 1 = 0; 1.5 - 2 + 1 = 0.5. ..."""
    scores = np.array([[3.0, 1.5, 4], [0, 2, 1.5], [2.5, 0, 5]])
    # by rows: 4 - 3 + 1 = 2, 1.5 - 2 + 1 = 0.5;  by columns: 2.5 - 3 + 1 = 0.5, 1.5 - 2 + 1 = 0.5, 4 - 5 + 1 = 0
    loss, gradient = losses(scores)
    assert loss == pytest.approx((2 + 0.5 + 0.5 + 0.5) / 3), f"loss {loss:.3f}: l = k counted, or not divided by B?"
    np.testing.assert_allclose(3 * gradient, [[-2, 1, 1], [0, -2, 1], [1, 0, 0]])


@ranking
@pytest.mark.parametrize("b", [2, 5, 50])
def test_8_5_equal_scores_cost_two_for_each_stranger(b):
    """2 B (B - 1) hinges of 1 each, over B."""
    loss, gradient = losses(np.full((b, b), 7.0))
    assert loss == pytest.approx(2 * (b - 1))
    wanted = np.full((b, b), 2 / b)
    np.fill_diagonal(wanted, -2 * (b - 1) / b)
    np.testing.assert_allclose(gradient, wanted)


@ranking
def test_8_5_pairs_far_ahead_cost_nothing():
    loss, gradient = losses(np.array([[9.0, 1, 2], [3, 9, 0], [1, 1, 9]]))
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros((3, 3)))


@ranking
def test_8_5_a_hinge_that_is_exactly_0_has_no_slope():
    """S_kl - S_kk + 1 = 0 for all strangers."""
    loss, gradient = losses(np.array([[2.0, 1], [1, 2]]))
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


@ranking
def test_8_5_a_hinge_just_above_0_has_its_whole_slope():
    """2^-20 above: sentence 1 for image 0, and image 0 for sentence 1."""
    loss, gradient = losses(np.array([[2.0, 1 + 2**-20], [0, 2]]))
    assert loss == 2**-20
    np.testing.assert_array_equal(gradient, [[-0.5, 1], [0, -0.5]])


@ranking
def test_8_5_one_pair_has_no_stranger():
    loss, gradient = losses(np.array([[-4.0]]))
    assert loss == 0
    np.testing.assert_array_equal(gradient, [[0]])


@ranking
def test_8_5_the_margin():
    scores = np.array([[1.0, 0.5], [-1, 2]])
    # by rows: .5 - 1 + m, -1 - 2 + m;  by columns: -1 - 1 + m, .5 - 2 + m
    for margin, loss in ((0.0, 0), (0.5, 0), (1, 0.25), (3, (2.5 + 0 + 1 + 1.5) / 2)):
        assert losses(scores, margin=margin)[0] == pytest.approx(loss)
    np.testing.assert_allclose(losses(scores, margin=3)[1], np.array([[-2, 2], [1, -1]]) / 2)


@ranking
def test_8_5_scores_may_be_whole_numbers():
    loss, gradient = losses(np.array([[3, 3], [0, 1]]))
    assert loss == pytest.approx((1 + 0 + 0 + 3) / 2)
    np.testing.assert_allclose(gradient, np.array([[-1, 2], [0, -1]]) / 2)


@ranking
def test_8_5_gradient_by_differences():
    scores, h = np.random.default_rng(0).standard_normal((6, 6)), 1e-6
    _, gradient = losses(scores)
    for k, l in itertools.product(range(6), repeat=2):  # noqa: E741
        up, down = scores.copy(), scores.copy()
        up[k, l] += h
        down[k, l] -= h
        assert gradient[k, l] == pytest.approx((losses(up)[0] - losses(down)[0]) / (2 * h), abs=1e-6), (k, l)


@ranking
def test_8_5_is_the_librarys():
    scores = tinyconv.tensor(np.random.default_rng(1).standard_normal((20, 20)), requires_grad=True)
    loss, gradient = losses(scores.detach().numpy(), margin=0.7)
    wanted = of_the_library(scores, margin=0.7)
    wanted.backward()
    assert loss == pytest.approx(wanted.item())
    np.testing.assert_allclose(gradient, scores.grad.numpy(), atol=1e-12)


@ranking
def test_8_5_trains_an_alignment_model_as_the_librarys_does(monkeypatch):
    """Word 1 speaks of features (1, 0), word 2 of (0, 1): after 20 epochs with your gradient, every word finds its own.

    The models that both losses make have the same weights.
    """
    losses(np.eye(2))  # what is not written yet says so itself
    features = np.tile(np.eye(2, dtype=np.float32)[:, None], (1, 2, 1)) * np.array([1, 0.5])[None, :, None]
    pairs = SentencePairs(np.tile(features, (6, 1, 1)), [[[1 + i % 2]] for i in range(12)], np.full(12, 2))

    def yours(scores, rows):
        loss, gradient = exercises.ranking_loss(scores.detach().numpy())
        slope = tinyconv.tensor(np.asarray(gradient, np.float32))
        return (scores * slope).sum() + float(loss - (scores.detach().numpy() * gradient).sum())

    weights = []
    for loss in (yours, None):
        if loss is not None:
            monkeypatch.setattr("tinyconv.captioning.training.alignment_loss", loss)
        tinyconv.manual_seed(3)
        model = alignment(3, features=2, vectors=8, embedding=8, hidden=8, dropout=0.0)
        train_alignment(model, pairs, epochs=20, lr=0.01, batch_size=4, progress=False)
        weights.append([p.detach().numpy().copy() for p in model.parameters()])
        monkeypatch.undo()
        scores = model.rate(features, [2, 2], np.array([[1], [2]]))
        assert scores[0, 0] > scores[0, 1] and scores[1, 1] > scores[1, 0]
    for found, wanted in zip(*weights, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


# --------------------------------------------------------------------------------------------------- 8.6: retrieval

finding = pytest.mark.task(
    id="8.6", points=2, minutes=20, difficulty=1, hint="1 + the number of strangers that are as good or better"
)


def found_at(scores, image_of):
    """Return the student's two lists of ranks."""
    before = np.array(scores), np.array(image_of)
    found = exercises.retrieval_ranks(scores, image_of)
    assert found is not None, "retrieval_ranks returns nothing yet (task 8.6)"
    annotation, search = found
    np.testing.assert_array_equal(scores, before[0], err_msg="scores were changed")
    np.testing.assert_array_equal(image_of, before[1], err_msg="image_of was changed")
    for ranks, count in ((annotation, len(before[0])), (search, len(before[1]))):
        assert np.shape(ranks) == (count,) and np.asarray(ranks).dtype.kind in "iu", "(I,) and (S,), whole numbers"
    return np.asarray(annotation).tolist(), np.asarray(search).tolist()


@finding
def test_8_6_by_hand():
    """Image 0 finds its second sentence first; image 1's only one stands behind sentences 0 and 1."""
    scores = np.array([[3.0, 5, 1], [4, 2, 1.5]])
    assert found_at(scores, np.array([0, 0, 1])) == ([1, 3], [2, 1, 1])


@finding
def test_8_6_own_sentences_are_never_in_the_way():
    """Image 0 has four, three of which are ahead of image 1's with image 0; only the best counts."""
    scores = np.array([[9.0, 8, 7, 1, 6], [0, 0, 0, 0, 5]])
    assert found_at(scores, np.array([0, 0, 0, 0, 1])) == ([1, 1], [1, 1, 1, 1, 2])


@finding
@pytest.mark.parametrize("image_of", [[0, 1, 2, 3], [0, 0, 1, 2, 2, 2, 3], [3, 2, 1, 0]])
def test_8_6_a_model_that_scores_all_alike_finds_nothing(image_of):
    """Every stranger is as good as the right answer: all places are the last ones."""
    image_of = np.array(image_of)
    annotation, search = found_at(np.full((4, len(image_of)), 2.5), image_of)
    assert annotation == [1 + len(image_of) - int((image_of == i).sum()) for i in range(4)]
    assert search == [4] * len(image_of)


@finding
def test_8_6_one_tie_costs_one_place():
    scores = np.array([[2.0, 2, 1], [0, 3, 3], [9, 0, 9]])
    assert found_at(scores, np.array([0, 1, 2])) == ([2, 2, 2], [2, 1, 1])


@finding
def test_8_6_who_is_behind_by_next_to_nothing_is_behind():
    """Each pair is ahead of its stranger by 2^-40, in both directions."""
    near = 1 - 2**-40
    assert found_at(np.array([[1, near], [near, 1]]), np.array([0, 1])) == ([1, 1], [1, 1])


@finding
def test_8_6_a_clear_diagonal():
    scores = np.eye(5) * 3 + np.arange(25).reshape(5, 5) / 100
    assert found_at(scores, np.arange(5)) == ([1] * 5, [1] * 5)


@finding
def test_8_6_sentences_in_any_order():
    scores = np.array([[1.0, 7, 3, 0], [2, 6, 4, 8]])
    assert found_at(scores, np.array([1, 0, 1, 0])) == ([1, 3], [1, 1, 1, 2])


@finding
def test_8_6_scores_below_0_and_one_image():
    assert found_at(np.array([[-5.0, -2], [-3, -4]]), np.array([0, 1])) == ([2, 2], [2, 2])
    assert found_at(np.array([[-5.0, -2]]), np.array([0, 0])) == ([1], [1, 1])


@finding
@pytest.mark.parametrize("seed", range(4))
def test_8_6_is_the_librarys(seed):
    rng = np.random.default_rng(seed)
    image_of = rng.permutation(np.concatenate([np.arange(12), rng.integers(0, 12, 20)]))
    scores = rng.integers(-3, 4, (12, 32)).astype(float)  # with many ties
    wanted = text.rank(scores, image_of)
    assert found_at(scores, image_of) == (wanted.annotation.ranks.tolist(), wanted.search.ranks.tolist())


# --------------------------------------------------------------------------------------------------- 8.7: segments

cutting = pytest.mark.task(
    id="8.7", points=3, minutes=35, difficulty=3, hint="backwards for the best sums, forwards for the regions"
)
SCORES = np.array([[2, 0], [0.9, 1], [2, 0], [0, 3]])


def regions_of(scores, beta):
    """Return the student's regions as a list."""
    before = np.array(scores)
    found = exercises.viterbi(scores, beta)
    assert found is not None, "viterbi returns nothing yet (task 8.7)"
    np.testing.assert_array_equal(scores, before, err_msg="scores were changed")
    assert np.shape(found) == before.shape[:1] and np.asarray(found).dtype.kind in "iu"
    return np.asarray(found).tolist()


def best_of_all(scores, beta):
    """Return the first of the best assignments, in the order of tuples, by trying all of them."""

    def energy(regions):
        gains = [scores[t, region] for t, region in enumerate(regions)]
        return sum(gains) + beta * sum(a == b for a, b in itertools.pairwise(regions))

    return list(max(itertools.product(range(scores.shape[1]), repeat=len(scores)), key=energy))


@cutting
@pytest.mark.parametrize(
    ("beta", "regions"),
    [
        (0, [0, 1, 0, 1]), (0.04, [0, 1, 0, 1]), (0.06, [0, 0, 0, 1]), (2.9, [0, 0, 0, 1]), (3.1, [0, 0, 0, 0]),
        (1e6, [0, 0, 0, 0]),
    ],
)  # fmt: skip
def test_8_7_worked_example(beta, regions):
    assert regions_of(SCORES, beta) == regions


@cutting
def test_8_7_beta_0_is_every_words_own_best():
    scores = np.random.default_rng(0).standard_normal((9, 4))
    assert regions_of(scores, 0) == scores.argmax(axis=1).tolist()


@cutting
def test_8_7_a_large_beta_is_the_best_region_of_the_whole():
    """Region 1 is no word's best, and the best of all together."""
    scores = np.array([[5.0, 4, 0], [0, 4, 5], [5, 4, 0], [0, 4, 5]])
    assert regions_of(scores, 50) == [1, 1, 1, 1]


@cutting
def test_8_7_looks_ahead():
    """Word by word from the left one would stay in 0: its 1 and beta for staying are not worth what comes."""
    assert regions_of(np.array([[1.0, 0], [0, 1], [0, 1]]), 2) == [1, 1, 1]


@cutting
@pytest.mark.parametrize("beta", [0, 0.25, 0.5, 1, 2.5])
@pytest.mark.parametrize("shape", [(1, 3), (2, 4), (5, 3), (6, 2), (4, 1)])
def test_8_7_against_all_assignments(shape, beta):
    """Scores are quarters, which add up exactly: many assignments are equally good, and the first is wanted."""
    rng = np.random.default_rng(1)
    for _ in range(10):
        scores = rng.integers(-4, 5, shape) / 4
        assert regions_of(scores, beta) == best_of_all(scores, beta), scores


@cutting
def test_8_7_the_first_of_equal_ones():
    assert regions_of(np.zeros((3, 4)), 0) == regions_of(np.zeros((3, 4)), 1) == [0, 0, 0]
    assert regions_of(np.array([[0.0, 2], [1, 0]]), 1) == [1, 0], "going to 0 is worth as much as staying in 1"
    assert regions_of(np.array([[2.0, 0], [0, 1]]), 1) == [0, 0]


@cutting
def test_8_7_regions_that_an_image_has_not():
    no = -np.inf
    assert regions_of(np.array([[1, no], [no, 1], [0, 5.0]]), 100) == [0, 1, 1]
    assert regions_of(np.array([[-3, no, no], [-2, no, no]]), 0) == [0, 0]


@cutting
def test_8_7_whole_numbers_one_word_and_no_words():
    assert regions_of(np.array([[2, 0], [0, 1], [2, 0]]), 0.75) == [0, 0, 0]
    assert regions_of(np.array([[1.0, 3, 3]]), 5) == [1]
    assert regions_of(np.zeros((0, 3)), 1) == []


@cutting
def test_8_7_long_sentences():
    """300 words of one region after 300 of another: one switch, where it belongs."""
    scores = np.zeros((600, 2))
    scores[:300, 0] = scores[300:, 1] = 0.01
    assert regions_of(scores, 1) == [0] * 300 + [1] * 300
    rng = np.random.default_rng(2)
    scores = rng.standard_normal((200, 20))
    for beta in (0.3, 1, 2):
        assert regions_of(scores, beta) == text.viterbi(scores, beta).tolist()
