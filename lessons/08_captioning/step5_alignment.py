# %% [markdown]
# # Captions 5: words find their regions
#
# minutes 25 | needs step4_regions.py | next step6_segments.py
#
# Sentences and scenes meet. Nobody says which word belongs to which region: the network is only told which sentence
# belongs to which scene, and has to score that pair higher than 98 strangers in each batch of 50. Every word takes the
# region that fits it best. If that works, "three" will have found threes, one would think.

# %%
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from alignment08 import SMALL, build, grounded, learn, longest, look, match, placed
from scenes08 import TEST, TRAIN, detector, scenes, vocabulary

import tinyconv
from tinyconv.captioning.figures import grounding, word_norms
from tinyconv.captioning.pages import retrieval_page
from tinyconv.data.sentences import DIGITS
from tinyconv.text import Retrieval, rank

lesson = tinyconv.lesson_step(__name__)
SIZES, PASSES = ((20, 10), 1) if lesson.smoke else ((TRAIN, TEST), 10)


# %% [markdown]
# ## Does it know?
#
# Two questions, to scenes and sentences that it has not seen. *Retrieval*: among all sentences, at which rank is the
# first of a scene's own, and among all scenes a sentence's? Ties count against the network. Many sentences are true of
# several scenes ("a big one and a seven"), so nobody could have 100 %. *Grounding*: of the words that name a digit, how
# many have as their best region one that shows this digit (IoU of 0.5 or more)?


# %%
def ranks(model: Any, seen: Any) -> Retrieval:
    """Return the ranks of all scenes and sentences."""
    return rank(model.rate(seen.regions.features, seen.regions.counts, seen.words), seen.image_of)


def by_digit(model: Any, words: Any, seen: Any) -> tuple[np.ndarray, float, float]:
    """Return the share of right regions of each digit's words, that of all of them, and chance."""
    right, count, chance = grounded(words, seen, match(model, seen).argmax(axis=2))
    return right / np.maximum(count, 1), right.sum() / count.sum(), chance.sum() / count.sum()


# %% [markdown]
# ## Dropout, and places
#
# Without dropout the first network finds more: its ranks are a little better. But words of some digits point at boxes
# that show something else, or nothing. Nothing forces "nine" to find nines, as long as some word of its sentence does,
# and the recurrent network tells each word its neighbours. With dropout words point right, perhaps because a tenth
# of all numbers is missing at each step, and every word had better stand for itself. R@1 does not show it; one has to
# look where words point. The third network has twice the units, dropout, and knows where a region is and how large:
# "big" and "above" have something to find.


# %%
def table(shares: dict[str, np.ndarray]) -> None:
    """Print and draw the shares of right regions by digit."""
    print("\nright regions, %  " + "".join(f"{digit:>7s}" for digit in DIGITS))
    fig, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for k, (name, share) in enumerate(shares.items()):
        print(f"{name:18s}" + "".join(f"{100 * value:7.0f}" for value in share))
        axis.bar(np.arange(10) + 0.27 * (k - 1), 100 * share, 0.25, label=name)
    axis.set(title="words that point at the right region, %", xticks=range(10), xticklabels=DIGITS, ylim=(0, 105))
    fig.legend(loc="outside right")
    lesson.save(fig, "digits", alt="right regions of each digit's words, a bar for each of three networks")


# %% [markdown]
# ## Loud words
#
# A score is a sum over words, so a word can also keep out of it: |s_t| near 0 changes nothing, whatever the region.
# "a" is in nearly every sentence and "is" in nine of ten, so they tell few from others. (But "right" and "there" are
# quiet, too, and are in a fifth and a third of the sentences only.) The pages of answers show what a sum cannot say:
# two words may take the same region, so that a scene with one four is a good one for "a big four above a big four".


# %%
def norms(model: Any, words: Any, seen: Any) -> dict[str, float]:
    """Return the mean |s_t| of each word in the test sentences; mean, since s_t depends on the neighbours."""
    found = model.norms(seen.words)
    return {word: float(found[seen.words == k].mean()) for k, word in enumerate(words.words) if (seen.words == k).any()}


def draw_words(model: Any, words: Any, seen: Any, images: np.ndarray, which: list[int]) -> None:
    """Draw where the words of some scenes' longest sentences point."""
    scores = match(model, seen)
    for number, i in enumerate(which, 1):
        s = longest(seen, i)
        texts, boxes = words.decode(seen.words[s]).split(), seen.regions.boxes[i, : seen.regions.counts[i]]
        won = scores[s, : len(texts)].argmax(axis=1)
        fig = grounding(images[i], boxes, texts, won, scores[s, : len(texts)].max(axis=1), f"test scene {i}")
        lesson.save(fig, f"pointing{number}", alt=f"a scene; each word of: {' '.join(texts)}, joined to its region")


# %%
if __name__ == "__main__":
    seed = lesson.seed
    finder, words = detector(lesson, seed), vocabulary(seed, SIZES[0])
    train, test = look(finder, seed, sizes=SIZES, places=False)
    bigger, shares = (placed(train), placed(test)), {}
    fresh = build(words, train.regions.features.shape[2], seed, **SMALL)
    print(f"\nbefore training: {ranks(fresh, test)}\nright regions {by_digit(fresh, words, test)[1]:.1%}", flush=True)
    kinds = {
        "no dropout": (train, test, {"dropout": 0.0} | SMALL),
        "dropout": (train, test, SMALL),
        "dropout and places": (*bigger, {}),
    }
    for name, (those, judged, how) in kinds.items():
        model = learn(words, those, seed, epochs=PASSES, **how)
        shares[name], right, chance = by_digit(model, words, judged)
        print(f"\n{name}: {ranks(model, judged)}\nright regions {right:.1%}, by chance {chance:.1%}", flush=True)
    table(shares)
    drawn, test = scenes("test", SIZES[1], seed), bigger[1]
    tinyconv.save(lesson.checkpoint("alignment"), model, epoch=PASSES)
    loud = norms(model, words, test)
    print(
        "\nmean |s_t|: " + ", ".join(f"{word} {norm:.2f}" for word, norm in sorted(loud.items(), key=lambda x: -x[1]))
    )
    lesson.save(
        word_norms(list(loud), list(loud.values()), "mean norm"), "norms", alt="mean |s_t| of each word as bars"
    )
    draw_words(model, words, test, drawn.scenes.images, [1, 3])
    kept = slice(0, SIZES[1] // 4)  # a page of a quarter of the test scenes
    own = test.image_of < kept.stop
    scores = model.rate(test.regions.features[kept], test.regions.counts[kept], test.words[own])
    sentences = [sentence for of in drawn.sentences[kept] for sentence in of]
    page = retrieval_page(drawn.scenes.images[kept], sentences, scores, test.image_of[own], [0, 1], top=4)
    lesson.save(
        page, "retrieval", alt="two scenes with the best of the sentences, a sentence of each with the best scenes"
    )
    lesson.next(why="pieces of sentences for regions")
