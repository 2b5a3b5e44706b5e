# %% [markdown]
# # Captions 1: sentences as numbers
#
# minutes 20 | needs lesson 06 | next step2_recurrence.py
#
# The lesson's pictures are scenes of two or three digits. What is said about them comes from a grammar that can be read
# in a minute (`tinyconv/data/sentences.py`): which digits there are, whether they are big or small, and how they lie to
# each other. Networks read numbers, so words become numbers first. Then we ask how well sentences can be guessed by
# somebody who never looks at a picture: a network that looks has to do better.

# %%
from collections import Counter

import numpy as np
from scenes08 import TEST, TRAIN, scenes
from sentences08 import drawn_again

import tinyconv
from tinyconv.captioning.pages import described
from tinyconv.data.sentences import sentences
from tinyconv.text import Vocabulary, lengths_of, pad, tokenise

lesson = tinyconv.lesson_step(__name__)
train, test = (scenes(split, 30 if lesson.smoke else n, lesson.seed) for split, n in (("train", TRAIN), ("test", TEST)))
spoken, unseen = ([sentence for of in found.sentences for sentence in of] for found in (train, test))

# %% [markdown]
# ## What is said
#
# Every sentence is true, but few say everything, and one says the same thing in many ways. So "the right sentence" does
# not exist.

# %%
drawn = drawn_again(test, lesson.seed)  # with all that is known of each scene
said = sentences(drawn[0])
print(f"{len(said)} true sentences about the first test scene; those heard most often, by their share:")
for sentence, odds in sorted(said.items(), key=lambda pair: -pair[1])[:4]:
    print(f"  {odds / sum(said.values()):.3f}  {sentence}")
first, second = ([of[k] for of in test.sentences[:8]] for k in (0, 1))
page = described(test.scenes.images[:8], first, second)
lesson.save(page, "scenes", alt="eight scenes of two or three digits on textures, with two of their sentences each")

# %% [markdown]
# ## Words, and their numbers
#
# Small letters, and nothing but letters and digits. A word needs five occurrences (the paper's threshold): from a
# handful of examples nothing can be learnt about it. The most frequent word is number 1. Number 0 is none: a network
# reads it as START before the first word, and says it as END behind the last one. END counts once for each sentence.


# %%
def build(texts: list[str], threshold: int = 5) -> tuple[list[str], list[int]]:
    """Return the words that come often enough, the most frequent first, else by alphabet, and how often they come."""
    counts = Counter(word for text in texts for word in tokenise(text))
    kept = sorted((-n, word) for word, n in counts.items() if n >= threshold)
    return ["<end>", *(word for _, word in kept)], [len(texts), *(-n for n, _ in kept)]


vocabulary = Vocabulary.build(spoken)
words, counts = build(spoken)
print(f"\n{len(train):,} scenes, {len(spoken):,} sentences; by hand and the library's: {vocabulary.words == words}")
often = " ".join(f"{word} {n}" for word, n in list(zip(words, counts, strict=True))[:8])
print(f"{len(words) - 1} words and <end>: {often} ...")
text = "A dog's ball is left of the THREE."
print(f'tokens of "{text}":', tokenise(text))
print("numbers:", vocabulary.encode(text).tolist(), "without", vocabulary.missing(text))

# %% [markdown]
# Sentences differ in length; an array does not. So short ones are filled up with -1, no word at all, and every network
# of this lesson is told to stop there. What is forgotten here comes back as a mistake that nothing reports: a network
# that learns to say padding. What the generator reads and says is the same sentence, one place apart:

# %%
ids = pad([vocabulary.encode(sentence) for sentence in spoken])
shortest = int(np.argmin(lengths_of(ids)))
print(f"\nlengths {lengths_of(ids).min()} to {ids.shape[1]}; {spoken[shortest]!r}: {ids[shortest].tolist()}")
short = tokenise(spoken[shortest])
print("reads", ["START", *short], "\nsays ", [*short, "END"])


# %% [markdown]
# ## What can be guessed without looking
#
# A model gives every word a probability. Its *perplexity* is exp(-mean log p) over all words of sentences that it has
# not seen, END included: a die with so many equal sides would be as hard to guess. Three that never look:
#
# - all words are equally likely;
# - *unigrams*: each word as often as it came in training. A generator's last bias begins there (step 7), so this is the
#   perplexity before its first step.
# - *bigrams*: as often as it came behind the word before it, plus a tenth of an occurrence, so that none is impossible.
#
# And one that knows the scene as well as anybody can: the grammar itself, told which digits are where. It still does
# not know which of the true sentences will be chosen. Nothing can be much better. (Sentences of a scene all differ;
# that is left out here.)


# %%
def perplexity(log_p: np.ndarray) -> float:
    """Return exp of the mean of -log p, which needs a log p for every word and every END."""
    return float(np.exp(-np.mean(log_p)))


def bigrams(texts: list[str], size: int) -> np.ndarray:
    """Return log p (V, V) of a word (column) behind another (row); row 0 is START, column 0 END."""
    table = np.full((size, size), 0.1)
    for text in texts:
        line = [0, *vocabulary.encode(text), 0]
        np.add.at(table, (line[:-1], line[1:]), 1)
    return np.log(table / table.sum(axis=1, keepdims=True))


def by_grammar(n: int) -> list[float]:
    """Return log p of each sentence of n test scenes for somebody who knows the scenes and the grammar."""
    found = []
    for i, told in enumerate(test.sentences[:n]):
        odds = sentences(drawn[i])
        found += [np.log(odds[sentence] / sum(odds.values())) for sentence in told]
    return found


if __name__ == "__main__":
    lines = [np.array([0, *vocabulary.encode(text), 0]) for text in unseen]
    targets = np.concatenate([line[1:] for line in lines])
    table = bigrams(spoken, len(words))
    frequencies = np.array(counts) / sum(counts)
    print(f"\nperplexity of {len(unseen):,} sentences about other scenes, {len(targets):,} words with their ends")
    print(f"  all words alike                {perplexity(np.log(np.full(len(targets), 1 / len(words)))):6.2f}")
    print(f"  unigrams                       {perplexity(np.log(frequencies)[targets]):6.2f}")
    print(f"  bigrams                        {perplexity(np.concatenate([table[a[:-1], a[1:]] for a in lines])):6.2f}")
    known = np.sum(by_grammar(len(test))) / len(targets)
    print(f"  who knows scene and grammar    {np.exp(-known):6.2f}")
    print(
        f"log frequencies by hand and the library's: {np.allclose(np.log(frequencies), vocabulary.log_frequencies())}"
    )
    print("most likely first words:", ", ".join(words[k] for k in np.argsort(-table[0])[:3]))
    lesson.next(why="a network that remembers what it has read")
