# %% [markdown]
# # Captions 6: pieces of sentences
#
# minutes 25 | needs step5_alignment.py | next step7_generator.py
#
# Word by word a sentence's regions jump: "a" points here, "big" there. But people speak of one thing for a few words,
# then of the next. So a word gains beta by having its neighbour's region, and all words choose together:
# E(a) = sum_t v_{a_t} . s_t + beta * (how often a_t = a_{t+1}). Runs of words with one region are *segments*, and a
# segment with its region is what a generator of regions can learn from, though nobody ever described a region.

# %%
from collections import Counter
from itertools import pairwise, product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from alignment08 import build, grounded, learn, longest, look, match
from scenes08 import TEST, TRAIN, detector, scenes, vocabulary

import tinyconv
from tinyconv.captioning.figures import segments_figure
from tinyconv.captioning.snippets import snippets
from tinyconv.text import segments, viterbi

lesson = tinyconv.lesson_step(__name__)
SIZES = (20, 10) if lesson.smoke else (TRAIN, TEST)
BETAS = (0, 0.1, 0.3, 1, 3, 10, 100)


# %% [markdown]
# ## All assignments at once
#
# M regions and T words have M^T assignments, 6^15 = 470 billion for a long sentence. But what the words from t on can
# have depends on what came before by one thing only: the region of word t. So let V_t(i) be the best of all assignments
# of words t, t + 1, ... with region i for word t. From the last word to the first, V_t(i) = score + the better of: the
# best V_{t+1}(k) whatever k, or V_{t+1}(i) + beta for staying. Then forwards, T M steps in all (Viterbi, 1967).


# %%
def by_hand(scores: np.ndarray, beta: float) -> list[int]:
    """Return the best regions of words, scores (T, M), in loops."""
    words, regions = scores.shape
    V = [[float(score) for score in row] for row in scores]
    for t in range(words - 2, -1, -1):
        for i in range(regions):
            V[t][i] += max(max(V[t + 1]), V[t + 1][i] + beta)
    found: list[int] = []
    for t in range(words):
        gains = [V[t][i] + (beta if t and i == found[-1] else 0) for i in range(regions)]
        found.append(gains.index(max(gains)))
    return found


def by_trying(scores: np.ndarray, beta: float) -> list[int]:
    """Return the same by trying all M^T assignments."""

    def energy(a: tuple[int, ...]) -> float:
        return sum(row[i] for row, i in zip(scores, a, strict=True)) + beta * sum(i == j for i, j in pairwise(a))

    return list(max(product(range(scores.shape[1]), repeat=len(scores)), key=energy))


EXAMPLE = np.array([[2, 0], [0.9, 1], [2, 0], [0, 3]])  # four words, two regions


# %% [markdown]
# ## How much is it worth to stay?
#
# In the example the second word gains 0.1 by leaving its neighbours and loses 2 beta: from 0.05 on it stays. The last
# one gains 3 and loses beta. That a larger beta never makes more segments is certain: the best E is the largest of
# straight lines in beta, whose slopes are the numbers of neighbours that agree, so it bends upwards only. How long they
# get, and whether words that were right stay right, has to be measured. Large is what is large against scores, and
# those grow while a network learns.


# %%
def cut(model: Any, words: Any, seen: Any) -> dict[float, tuple[float, float]]:
    """Return for each beta the mean length of segments, and the share of digits' words with the right region."""
    scores, lengths, found = match(model, seen), (seen.words >= 0).sum(axis=1), {}
    for beta in BETAS:
        won, runs = np.zeros(seen.words.shape, int), 0
        for s, length in enumerate(lengths):
            won[s, :length] = viterbi(scores[s, :length], beta)
            runs += len(segments(won[s, :length]))
        right, count, _ = grounded(words, seen, won)
        found[beta] = lengths.sum() / max(runs, 1), float(right.sum() / max(count.sum(), 1))
    return found


def draw_betas(found: dict[float, tuple[float, float]]) -> None:
    """Draw both numbers against beta."""
    fig, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    places = range(len(found))
    for axis, k, title in ((axes[0], 0, "words of a segment"), (axes[1], 1, "digits' words that are right, %")):
        axis.plot(places, [value[k] * (100 if k else 1) for value in found.values()], "o-")
        axis.set(title=title, xlabel="beta", xticks=places, xticklabels=[f"{beta:g}" for beta in found], ylim=(0, None))
    lesson.save(fig, "betas", alt="mean length of segments, and share of right digits' words, against beta")


# %% [markdown]
# ## What regions are called
#
# Segments of the whole scene are left out; the others are pairs of a region's features and words, more of them than
# sentences. "A big three" is what step 9's generator of regions shall say. Many are ragged: "is left of" is about two.


# %%
def common(parts: Any, words: Any, seen: Any, digit: int, most: int = 5) -> list[tuple[str, int]]:
    """Return the most frequent snippets of regions that are a true box of a digit."""
    counts: Counter[str] = Counter()
    for i, k, ids in zip(*parts, strict=True):
        boxes = seen.truths[i].boxes[seen.truths[i].labels == digit]
        counts[words.decode(ids)] += bool((np.abs(boxes - seen.regions.boxes[i, k]).sum(axis=1) < 1).any())
    return [(text, count) for text, count in counts.most_common(most) if count]


# %%
if __name__ == "__main__":
    print("four words, two regions: " + ", ".join(f"beta {b}: {by_hand(EXAMPLE, b)}" for b in (0, 0.06, 2.9, 3.1)))
    checked = [lesson.rng.standard_normal((5, 4)) for _ in range(20)]
    ways = [all(by_hand(s, b) == by_trying(s, b) == viterbi(s, b).tolist() for s in checked) for b in (0, 0.5, 2)]
    print(f"20 sentences, by hand, by trying all 4^5, the library's: {'equal' if all(ways) else 'DIFFERENT'}\n")
    words = vocabulary(lesson.seed, SIZES[0])
    train, test = look(detector(lesson, lesson.seed), lesson.seed, sizes=SIZES)
    model: Any = lesson.load_or_train(
        lambda: build(words, train.regions.features.shape[2], lesson.seed),
        lambda fresh: learn(words, train, lesson.seed, epochs=1 if lesson.smoke else 10, model=fresh),
        name="alignment",
        short="its training of 10 epochs",
        step="step5_alignment.py",
    )
    found = cut(model, words, test)
    print("   beta   words of a segment   digits' words right")
    for beta, (length, right) in found.items():
        print(f"{beta:7g} {length:20.2f} {right:21.1%}")
    draw_betas(found)
    i, s = 1, longest(test, 1)
    texts, scores = words.decode(test.words[s]).split(), match(model, test)[s]
    regions = {beta: viterbi(scores[: len(texts)], beta) for beta in (0, 0.3, 1, 10)}
    image = scenes("test", SIZES[1], lesson.seed).scenes.images[i]
    fig = segments_figure(image, test.regions.boxes[i, : test.regions.counts[i]], texts, regions, f"test scene {i}")
    lesson.save(fig, "segments", alt=f"a scene, and for four betas the segments of: {' '.join(texts)}")
    parts = snippets(model, train.regions, train.words, train.image_of, beta=1.0)
    long = np.mean([len(ids) for ids in parts.words])
    print(f"\n{len(train.words)} sentences, beta 1: {len(parts.words)} snippets of {long:.1f} words")
    print("the commonest snippets of boxes of each digit, and how often:")
    for digit in (1, 3, 8):
        print(f"{digit}: " + (", ".join(f"{text!r} {n}" for text, n in common(parts, words, train, digit)) or "none"))
    lesson.next(why="a network that speaks")
