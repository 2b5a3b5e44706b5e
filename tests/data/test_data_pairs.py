"""Pairs of features and sentences: their rows, their order, and a training on them that resumes."""

import numpy as np
import pytest

import tinyconv
from tinyconv import nn, optim
from tinyconv.data import DataLoader, Subset
from tinyconv.data.pairs import SentencePairs
from tinyconv.nn import functional as F

SENTENCES = [[[3, 1], [], np.array([7])], [], [[2, 1, 1, 5]]]
FEATURES = np.arange(6.0).reshape(3, 2)


def test_one_pair_for_each_sentence():
    pairs = SentencePairs(FEATURES, SENTENCES)
    assert len(pairs) == 3 and pairs.left_out == 1 and pairs.counts is None and pairs.cut == 0
    assert SentencePairs(np.eye(2), [[[3, 1], []], [[2, 1, 1], [4]]], limit=2).cut == 1
    assert pairs.image_of.tolist() == [0, 0, 2] and pairs.image_of.dtype == np.int64
    assert pairs.rows.tolist() == [[3, 1, -1, -1], [7, -1, -1, -1], [2, 1, 1, 5]] and pairs.rows.dtype == np.int64
    features, row = pairs[-1]
    assert features.tolist() == [4, 5] and features.dtype == np.float32 and row.tolist() == [2, 1, 1, 5]
    assert repr(pairs) == "SentencePairs(3 pairs of 3 images)"
    with pytest.raises(IndexError, match=r"SentencePairs: index must lie in 0\.\.2, got 3"):
        pairs[3]


def test_long_sentences_are_cut():
    assert SentencePairs(FEATURES, SENTENCES, limit=3).rows.tolist() == [[3, 1, -1], [7, -1, -1], [2, 1, 1]]
    long = [[list(range(1, 31))]]
    assert SentencePairs(FEATURES[:1], long).rows.tolist() == [list(range(1, 21))]
    assert SentencePairs(FEATURES[:1], long, limit=None).rows.shape == (1, 30)


def test_rows_begin_with_the_number_of_regions():
    features = np.arange(18, dtype=np.float32).reshape(3, 3, 2)
    pairs = SentencePairs(features, SENTENCES, counts=[2, 1, 3])
    assert pairs.rows.tolist() == [[2, 3, 1, -1, -1], [2, 7, -1, -1, -1], [3, 2, 1, 1, 5]]
    assert pairs.words.tolist() == [[3, 1, -1, -1], [7, -1, -1, -1], [2, 1, 1, 5]]
    assert pairs.counts.tolist() == [2, 1, 3] and pairs[1][0].tolist() == features[0].tolist()
    assert SentencePairs(features, SENTENCES).rows.shape == (3, 4)


def test_the_loader_gives_the_same_with_and_without_the_fast_path():
    rng = np.random.default_rng(0)
    sentences = [[rng.integers(1, 9, rng.integers(0, 6)) for _ in range(4)] for _ in range(10)]
    pairs = SentencePairs(rng.standard_normal((10, 3, 2)), sentences, counts=rng.integers(1, 4, 10))

    class Slow:
        def __len__(self):
            return len(pairs)

        def __getitem__(self, i):
            return pairs[i]

    loaders = [DataLoader(d, 7, shuffle=True, seed=1) for d in (pairs, Slow(), Subset(pairs, range(len(pairs))))]
    for (features, rows), (slow, slow_rows), (some, some_rows) in zip(*loaders, strict=True):
        for other, other_rows in ((slow, slow_rows), (some, some_rows)):
            np.testing.assert_array_equal(features.numpy(), other.numpy())
            np.testing.assert_array_equal(rows.numpy(), other_rows.numpy())
            assert rows.dtype == other_rows.dtype == np.int64 and features.dtype == other.dtype == np.float32


def test_fit_learns_from_them_and_resumes(tmp_path):
    rng = np.random.default_rng(0)
    pairs = SentencePairs(rng.standard_normal((12, 2)), [[rng.integers(1, 9, 3)] * 2 for _ in range(12)])

    def run(epochs, out, resume=False):
        tinyconv.manual_seed(0)
        model = nn.Linear(2, 9)
        history = tinyconv.fit(
            model,
            DataLoader(pairs, 5, shuffle=True, seed=2),
            loss=lambda scores, rows: F.cross_entropy(scores, rows[:, 0]),
            optimizer=optim.SGD(model.parameters(), lr=0.5),
            epochs=epochs,
            out=out,
            resume=resume,
            progress=False,
        )
        return model, history

    whole, history = run(6, tmp_path / "whole")
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]
    run(3, tmp_path / "parts")
    resumed, _ = run(6, tmp_path / "parts", resume=True)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_wrong_arguments():
    regions = np.zeros((3, 3, 2))
    for features in (np.zeros(3), np.zeros((3, 1, 1, 1)), np.array([["a", "b"]] * 3)):
        with pytest.raises(ValueError, match=r"SentencePairs: features must be numbers \(N, F\) or \(N, R, F\), got"):
            SentencePairs(features, SENTENCES)
    with pytest.raises(ValueError, match="SentencePairs: features must be finite, got NaN or inf"):
        SentencePairs(np.full((3, 2), np.nan), SENTENCES)
    with pytest.raises(ValueError, match="wanted a list of sentences for each of 3 images, got 2"):
        SentencePairs(FEATURES, SENTENCES[:2])
    for nothing, count in (([[], [[]], [[], []]], 3), ([[], [], []], 0)):
        with pytest.raises(ValueError, match=f"wanted a sentence with a word, got {count} without any"):
            SentencePairs(FEATURES, nothing)
    for counts in ([1, 2], [0, 1, 2], [1, 2, 4], [1.0, 2.0, 3.0], [[1, 2, 3]]):
        with pytest.raises(ValueError, match=r"SentencePairs: counts must be 3 whole numbers in 1\.\.3, one per image"):
            SentencePairs(regions, SENTENCES, counts=counts)
    with pytest.raises(ValueError, match=r"counts are for features \(N, R, F\), got features of shape \(3, 2\)"):
        SentencePairs(FEATURES, SENTENCES, counts=[1, 1, 1])
    with pytest.raises(ValueError, match="limit"):
        SentencePairs(FEATURES, SENTENCES, limit=0)
    with pytest.raises(ValueError, match="numbers of words must be at least 0, sentence 1 has -1"):
        SentencePairs(FEATURES, [[[1], [2, -1]], [], []])
    with pytest.raises(TypeError, match="must be whole numbers"):
        SentencePairs(FEATURES, [[[1.5]], [], []])


@pytest.mark.parametrize("sentences", [[[3, 1], [2]], [None, [[1]]], [["a dog"], [[1]]], ["ab", [[1]]]])
def test_sentences_that_are_no_ids(sentences) -> None:
    with pytest.raises(ValueError, match="word ids, which Vocabulary.encode makes of text, got .* for image 0"):
        SentencePairs(np.eye(2), sentences)
