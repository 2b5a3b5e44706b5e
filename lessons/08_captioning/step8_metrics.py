# %% [markdown]
# # Captions 8: how good is a sentence?
#
# minutes 25 | needs step7_generator.py | next step9_train.py
#
# Nobody can read 5,000 generated sentences for every network that is tried. So a number is computed: how much a
# sentence has in common with what people have said of the same picture. Here are the numbers of the papers, by hand,
# and then the question what they do not see.

# %%
from collections import Counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scenes08 import TEST, scenes
from sentences08 import are_true, fresh
from spoilt08 import spoilt

import tinyconv
from tinyconv.captioning.evaluation import evaluate_captions
from tinyconv.text import bleu, cider_d, meteor_exact, rouge_l

lesson = tinyconv.lesson_step(__name__)
Words = list[str]

# %% [markdown]
# ## BLEU
#
# Which share of the candidate's runs of n words do the references have? A run counts at most as often as in one of
# them, or "the the the" would be perfect. That is a precision, and the safest way to a high precision is to say little;
# so what is shorter than the references pays. BLEU-4 is the geometric mean for n = 1 to 4: without any shared run of
# four words it is 0.


# %%
def runs(words: Words, n: int) -> Counter:
    """Return how often each run of n words comes."""
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def precision(candidate: Words, references: list[Words], n: int) -> tuple[int, int]:
    """Return how many of the candidate's runs of n words count as right, and how many there are."""
    most = {run: max(runs(words, n)[run] for words in references) for run in runs(candidate, n)}
    return sum(min(count, most[run]) for run, count in runs(candidate, n).items()), len(candidate) - n + 1


def bleu_by_hand(candidate: Words, references: list[Words]) -> list[float]:
    """Return BLEU-1 to BLEU-4 of one sentence; of a corpus, all counts are added up first."""
    c, r = len(candidate), min((abs(len(words) - len(candidate)), len(words)) for words in references)[1]
    shares = [right / max(of, 1) for right, of in (precision(candidate, references, n) for n in (1, 2, 3, 4))]
    return [min(1, np.exp(1 - r / c)) * np.prod(shares[:n]) ** (1 / n) for n in (1, 2, 3, 4)]


# %% [markdown]
# ## ROUGE-L, METEOR, CIDEr-D
#
# ROUGE-L takes the longest sequence of words that both have in the same order, neighbours or not. METEOR pairs equal
# words, counts recall nine times as much as precision, and takes something off for every break in the order. (METEOR
# also pairs "car" with "automobile"; without WordNet we cannot, and say "exact".) CIDEr-D weighs runs by how few
# pictures they are said of: "a" is worth nothing, "nine below" much. Then it takes cosines.


# %%
def common(a: Words, b: Words) -> int:
    """Return the length of the longest common subsequence: by its last words, shorter beginnings first."""
    best = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, j in np.ndindex(len(a), len(b)):
        best[i + 1, j + 1] = best[i, j] + 1 if a[i] == b[j] else max(best[i, j + 1], best[i + 1, j])
    return int(best[-1, -1])


def rouge_by_hand(candidate: Words, reference: Words) -> float:
    """Return ROUGE-L against one reference."""
    shared = common(candidate, reference)
    p, r = shared / len(candidate), shared / len(reference)
    return (1 + 1.2**2) * p * r / (r + 1.2**2 * p) if shared else 0.0


def weight(run: tuple[str, ...], all_references: list[list[Words]]) -> float:
    """Return log(pictures / pictures of which somebody says this)."""
    said = sum(any(runs(words, len(run))[run] for words in references) for references in all_references)
    return float(np.log(len(all_references) / max(said, 1)))


# %% [markdown]
# ## What they do not see
#
# Take a true sentence about each scene, and spoil it in a way that everybody would notice. A score is good for
# something if it falls, and falls most where the harm is greatest.


# %%
def draw(table: dict[str, Any]) -> None:
    """Draw each score of each kind of sentence, over that of the true ones."""
    fig, axis = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    columns = {"BLEU-4": lambda s: s.bleu[3], "CIDEr-D": lambda s: s.cider, "ROUGE-L": lambda s: s.rouge}
    columns["METEOR (exact)"] = lambda s: s.meteor
    for k, (name, of) in enumerate(columns.items()):
        places = np.arange(len(table)) + 0.2 * (k - 1.5)
        axis.barh(places, [of(scores) / of(table["true"]) for scores in table.values()], height=0.18, label=name)
    axis.set_yticks(range(len(table)), list(table))
    axis.invert_yaxis()
    axis.set(
        xlabel="score, over that of true sentences", title="fresh sentences of the grammar, and what is made of them"
    )
    axis.legend()
    lesson.save(fig, "scores", alt="four scores of seven kinds of sentences; swapping left and right costs them little")


# %%
if __name__ == "__main__":
    said = "a three is left of a seven".split()
    truths = [text.split() for text in ("a three is to the left of a seven", "there is a three and a seven")]
    parts = [precision(said, truths, n) for n in (1, 2, 3, 4)]
    print(f"'{' '.join(said)}': right runs {', '.join(f'{right}/{of}' for right, of in parts)}")
    print(f"  by hand {[round(float(x), 6) for x in bleu_by_hand(said, truths)]}")
    print(f"  library {bleu([said], [truths]).scores.round(6).tolist()}")
    the = ["the"] * 7
    cat = [text.split() for text in ("the cat is on the mat", "there is a cat on the mat")]
    (right, of), short = precision(the, cat, 1), bleu_by_hand(["the", "cat"], cat[:1])[0]
    print(f"'the' seven times: {right} of {of} count as right; 'the cat', too short: BLEU-1 {short:.6f} = e^-2")
    hand, theirs = rouge_by_hand(said, truths[0]), rouge_l([said], [truths[:1]]).mean
    print(f"ROUGE-L against the first: {hand:.4f}, library {theirs:.4f}")
    print(f"METEOR, exact, against the first: {meteor_exact([said], [truths[:1]]).mean:.4f}")

    test = scenes("test", 30 if lesson.smoke else TEST, lesson.seed)
    references = [[text.split() for text in of] for of in test.sentences]
    print("\nhow much words weigh in CIDEr-D, from the test scenes' sentences:")
    for run in (("a",), ("is",), ("three",), ("below",), ("left", "of"), ("three", "is", "left", "of")):
        print(f"  {weight(run, references):5.2f}  {' '.join(run)}")
    copy = cider_d([of[0] for of in references], [of[:1] for of in references]).mean
    print(f"a copy of the only reference: {copy:.2f} of 10; of one of several: ", end="")
    print(f"{cider_d([of[0] for of in references], references).mean:.2f}")

    sentences = fresh(test, lesson.seed)
    labels = [test.scenes.truth(i).labels.tolist() for i in range(len(test))]
    table = {}
    print(f"\n{len(test)} scenes         true in all  BLEU-1  BLEU-4  CIDEr-D  ROUGE-L  METEOR (exact)")
    for name, given in spoilt(sentences, labels, lesson.rng).items():
        found = table[name] = evaluate_captions(given, test.sentences)
        print(
            f"{name:17s} {are_true(given, test, lesson.seed).mean():15.0%} {found.bleu[0]:7.3f} {found.bleu[3]:7.3f}",
            end="",
        )
        print(f" {found.cider:8.2f} {found.rouge:8.3f} {found.meteor:15.3f}")
    draw(table)
    false, truth = "a three is right of a seven", "a three is left of a seven"
    print(f"\n'{false}' against '{truth}':\n{evaluate_captions([false], [[truth]])}")
    lesson.next(why="from pixels to sentences")
