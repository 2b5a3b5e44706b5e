# %% [markdown]
# # Captions 10: at the paper's scale
#
# minutes 20 | needs step9_train.py | next exercises.py
#
# The paper's networks are larger, not other ones, and they learn from photographs with sentences that people wrote.
# Here are their sizes, parameter by parameter; then the files in which such data are published, small enough to read,
# and a network of the same builder that learns from them; and last the experiment with regions: what has learnt whole
# sentences is no good at naming parts.

# %%
import json
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from files08 import write_files
from scenes08 import NORMAL, TEST, TRAIN, detector, scenes
from sentences08 import build, learn, mentions, pairs_of, said, true_layouts, words_of

import tinyconv
from tinyconv import models
from tinyconv.captioning.beside import SILENT
from tinyconv.captioning.regions import given_regions
from tinyconv.captioning.training import train_caption
from tinyconv.data.captions import CaptionedImages, read_coco_captions, read_flickr8k_tokens, read_karpathy
from tinyconv.data.feature_files import read_features
from tinyconv.data.pairs import SentencePairs
from tinyconv.text import Vocabulary, bleu

lesson = tinyconv.lesson_step(__name__)
PAPER = {
    "retrieval": "Flickr8k, annotation R@1 16.5 % of 1,000 pictures, median rank 7.6; search 11.8 %, 12.4",
    "sentences": "COCO, BLEU-4 0.230; a sentence of the nearest picture 0.100",
    "beam": "sentences that are training sentences: beam 1 25 %, beam 7 60 %",
    "regions": "BLEU-1 0.352, BLEU-2 0.230; trained on whole pictures 0.142, 0.060; nearest region 0.229, 0.105",
}
VOCABULARIES = {"Flickr8k": 2538, "Flickr30k": 7414, "COCO": 8791}

# %% [markdown]
# ## The paper's sizes
#
# Features of 4,096 numbers, 512 hidden units. Most of the generator's parameters belong to words or to features; what
# goes through time is a square of 512. On the device "meta" nothing is allocated.


# %%
def sizes() -> None:
    """Print the networks at the paper's scale, layer by layer for Flickr8k."""
    for name, words in VOCABULARIES.items():
        built = [models.build(kind, words=words, scale="paper", device="meta") for kind in ("caption", "alignment")]
        counts = [sum(p.numel() for p in model.parameters()) for model in built]
        print(f"{name:9s} {words:5,} words: generator {counts[0]:9,} parameters, alignment {counts[1]:9,}")
    print(tinyconv.summary(models.build("caption", words=VOCABULARIES["Flickr8k"], scale="paper")))


# %% [markdown]
# ## Files of photographs with sentences
#
# Flickr8k has a line for each sentence; COCO a JSON file with images and annotations apart; Karpathy's JSON files, one
# for each of the data sets, have the splits and the words, too, and `imgid` is the row of a matrix of features. We have
# no photographs, so a few sentences of ours are written down in the three ways, and read again.


# %%
def learn_from(data: CaptionedImages, features: np.ndarray, epochs: int) -> None:
    """Train a generator on what the files hold, as with any features; print its loss."""
    train = data.split("train")
    words = Vocabulary.build([s for of in train.sentences for s in of], threshold=5)
    ids = [[words.encode(s) for s in of] for of in train.sentences]
    pairs = SentencePairs(features[train.ids], ids)
    tinyconv.manual_seed(lesson.seed)
    model = models.caption(words.words, features=features.shape[1], scale="lesson")
    rows = train_caption(model, pairs, words, epochs=epochs, seed=lesson.seed, progress=False).rows
    costs = [rows[k]["train_loss"] for k in (0, -1)]
    print(f"{words}\n{len(pairs)} pairs, {epochs} epochs: cost {costs[0]:.2f} to {costs[1]:.2f}")


# %% [markdown]
# ## Sentences for pictures, snippets for regions
#
# In the paper a generator that has learnt sentences of whole pictures has 14.2 % BLEU-1 on regions, one that has learnt
# regions 35.2 %. Here both see the detector's 128 numbers of a box. One has learnt whole sentences with the numbers of
# the whole scene, the other "a big three" with the numbers of a box: by the truth, not by an alignment (that is in the
# claims and in step 9). What was learnt differs, and so do the numbers: the first one has never seen
# a box's. And length alone makes a difference: a sentence of nine words has a BLEU-1 of a third at most against the
# three of "a big three", whatever it names.


# %%
def compare(short: bool) -> None:
    """Train both and let them speak of the boxes of test scenes."""
    n, tests = (30, 8) if short else (TRAIN // 2, TEST)
    seen, words = detector(lesson, lesson.seed), words_of(lesson.seed, 30 if short else TRAIN)
    train, test = scenes("train", n, lesson.seed), scenes("test", tests, lesson.seed)
    boxes = [[found.scenes.truth(i).boxes for i in range(len(found))] for found in (train, test)]
    looks = [
        given_regions(seen, f.scenes.images, b, transform=NORMAL) for f, b in zip((train, test), boxes, strict=True)
    ]
    phrases = [[mentions(one) for of in found.attributes for one in of] for found in (train, test)]
    parts = [np.concatenate([rows[1:c] for rows, c in zip(look.features, look.counts, strict=True)]) for look in looks]
    scale = parts[0].std()
    learnt = {
        "whole scenes": pairs_of(looks[0].features[:, 0] / scale, train, words),
        "regions": SentencePairs(parts[0] / scale, [[words.encode(text) for text in of] for of in phrases[0]]),
    }
    table: dict[str, Any] = {}
    for name, pairs in learnt.items():
        model = build(words, parts[0].shape[1], lesson.seed)
        learn(model, pairs, words, lesson.seed, epochs=1 if short else 12)
        texts = said(model, parts[1] / scale)[0]
        one, two = table[name] = bleu(texts, phrases[1], 2).scores
        print(f"learnt {name:13s} BLEU-1 {one:.3f}, BLEU-2 {two:.3f}, such as: {texts[0] or SILENT}", flush=True)
    fig, axis = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
    table = {f"ours, learnt {name}": scores for name, scores in table.items()}
    table |= {"paper (COCO), whole pictures": [0.142, 0.06], "paper (COCO), regions": [0.352, 0.23]}
    for k, (name, scores) in enumerate(table.items()):
        axis.bar(np.arange(2) + 0.2 * (k - 1.5), scores, width=0.18, label=name)
    axis.set_xticks(range(2), ["BLEU-1", "BLEU-2"])
    axis.set(title="what is said of regions")
    axis.legend(fontsize=8)
    alt = "BLEU-1 and 2 on regions: what has learnt regions is far ahead, here and in the paper"
    lesson.save(fig, "regions-or-scenes", alt=alt)


def beside() -> None:
    """Print the paper's numbers and those that the lesson's claims measured: three seeds, claims.py."""
    if lesson.script is not None:
        claims = json.loads(lesson.script.with_name("results.json").read_text("utf-8"))["claims"]
        for name, said_there in PAPER.items():
            here = claims[name]["measured"] if name in claims else "not measured yet: make claims LESSON=08"
            print(f"{name}\n  paper  {said_there}\n  here   {here}")


# %%
if __name__ == "__main__":
    sizes()
    few = scenes("train", 60 if lesson.smoke else 200, lesson.seed)
    files = write_files(few, true_layouts(few), lesson.out)
    print()
    for file, read in zip(files, (read_flickr8k_tokens, read_coco_captions, read_karpathy), strict=False):
        print(f"{file.name:15s} {read(file)}")
    learn_from(read_karpathy(files[2]), read_features(files[3]), 1 if lesson.smoke else 10)
    print()
    compare(lesson.smoke)
    print()
    beside()
    lesson.next("exercises.py", why="write these parts yourself")
