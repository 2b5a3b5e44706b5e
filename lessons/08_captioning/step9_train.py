# %% [markdown]
# # Captions 9: from pixels to sentences
#
# minutes 5 | needs step8_metrics.py | next step10_at_scale.py
#
# All stages, one after the other, on 1,500 scenes: a detector learns boxes and digits; its regions and the sentences
# are aligned; the alignment cuts sentences into pieces for regions; one generator learns these, another whole sentences
# from the layout of what the detector finds. Then 200 scenes that none of them has seen, as pixels and nothing else.
#
# This alignment is not step 5's: it sees detections instead of true boxes, without their places, and learns 15 epochs.
# Whether its words point right is not judged, here or in the claims; only the snippets that come out are.

# %%
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scenes08 import NORMAL, TEST, TRAIN, scenes
from sentences08 import are_true, known_sentences, scores, shared_digits, words_of

import tinyconv
from tinyconv import models
from tinyconv.captioning.beside import SILENT
from tinyconv.captioning.evaluation import nearest_neighbours
from tinyconv.captioning.figures import regions_described
from tinyconv.captioning.layout import layout_features
from tinyconv.captioning.pages import described
from tinyconv.captioning.pipeline import EPOCHS, Learnt, train_captioner
from tinyconv.files import atomic_write
from tinyconv.models.captioner import LEAST, SAME, TOP, Captioner, Description
from tinyconv.text import lengths_of, pad

lesson = tinyconv.lesson_step(__name__)
SHOWN = 10  # held-out scenes that chance picks


# %%
def learn(model: Captioner, found: Any, words: Any, **how: Any) -> Learnt:
    """Train all stages on scenes; more for ``train_captioner``."""
    began = perf_counter()

    def say(line: str) -> None:
        print(f"{perf_counter() - began:4.0f} s  {line}", flush=True)

    learnt = train_captioner(model, found, words, NORMAL, seed=lesson.seed, say=say, progress=False, **how)
    say("done")
    return learnt


def curves(learnt: Learnt) -> None:
    """Draw the loss of every stage."""
    fig, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
    for axis, (name, history) in zip(axes, learnt.histories.items(), strict=False):
        axis.plot([row["epoch"] for row in history.rows], [row["train_loss"] for row in history.rows], "o-", ms=3)
        axis.set(title=name, xlabel="epoch", ylabel="loss" if axis is axes[0] else "")
    lesson.save(fig, "stages", alt="the loss of detector, alignment, snippets and sentences by epoch, all falling")


# %% [markdown]
# ## Scenes that nobody has seen
#
# BLEU-4 beside that of the first sentence of the training scene with the nearest layout. *True*: the grammar could say
# it of this scene, digits, sizes and places included. *Digits*: those that are named are there, as often as named.


# %%
def judge(said: list[Description], train: Any, test: Any, nearest: list[str]) -> None:
    """Print what the sentences are worth."""
    for name, given in (("said", [one.sentence for one in said]), ("nearest layout", nearest)):
        found = scores(given, test, known_sentences(train))
        true = are_true(given, test, lesson.seed).mean()
        named = [shared_digits(text, test.scenes.truth(i).labels) for i, text in enumerate(given)]
        print(
            f"{name:15s} BLEU-4 {found.bleu[3]:.3f}, CIDEr-D {found.cider:.2f}, digits {np.mean(named):.0%}, ", end=""
        )
        print(f"true {true:.0%}, new {found.novel or 0:.0%}")


def show(said: list[Description], test: Any, chosen: list[int]) -> None:
    """Draw the chosen scenes with what is said of them, and the first one's regions."""
    true = are_true([one.sentence for one in said], test, lesson.seed)
    notes = [f"{said[i].beam.best.log_probability:.2f}, {'true' if true[i] else 'false'}" for i in chosen]
    print(f"\n{len(chosen)} scenes that chance picked: log probability, true or not, what is said")
    for i, note in zip(chosen, notes, strict=True):
        print(f"  scene {i:3d}  {note:12s}  {said[i].sentence or SILENT}")
    there = [shared_digits(said[i].sentence, test.scenes.truth(i).labels) for i in chosen]
    print(f"all named digits are there in {sum(there)}, sizes and places are right, too, in {true[chosen].sum()}")
    images, texts = [test.scenes.images[i] for i in chosen], [said[i].sentence for i in chosen]
    page = described(images, texts, [test.sentences[i][0] for i in chosen], notes=notes, columns=5, side=2.2)
    alt = f"{len(chosen)} held-out scenes, each with its generated sentence, whether it is true, and a true one"
    lesson.save(page, "held-out", alt=alt)
    i = max(chosen, key=lambda i: len(said[i].boxes))
    page = regions_described(test.scenes.images[i], said[i].boxes, said[i].snippets, said[i].log_probabilities)
    lesson.save(page, "snippets", alt="a held-out scene with its detected regions, and what is said of each")


# %%
if __name__ == "__main__":
    sizes = (60, 12) if lesson.smoke else (TRAIN, TEST)
    train, test = (scenes(split, n, lesson.seed) for split, n in zip(("train", "test"), sizes, strict=True))
    words = words_of(lesson.seed, sizes[0])
    tinyconv.manual_seed(lesson.seed)
    model = models.captioner(words.words, len(train.scenes.classes))
    print(f"captioner: {sum(p.numel() for p in model.parameters()):,} parameters, {len(words)} words", flush=True)
    epochs = dict.fromkeys(EPOCHS, 1) if lesson.smoke else None
    learnt = learn(model, train, words, epochs=epochs, out=lesson.out / "captioner", resume=lesson.resume)
    tinyconv.save(lesson.checkpoint(), model, classes=train.scenes.classes, transform=NORMAL)
    curves(learnt)
    parts = learnt.snippets
    lengths = lengths_of(pad(parts.words)) if parts.words else np.zeros(1)
    print(f"\n{len(parts.words):,} snippets of {lengths.mean():.1f} words; the first:")
    for i in range(min(6, len(parts.words))):
        print(f"  scene {parts.image[i]}, region {parts.region[i]}: {words.decode(parts.words[i])}")

    said = [model.describe(NORMAL(image, None)) for image in test.scenes.images]
    how = {"top": TOP, "same": SAME, "transform": NORMAL}
    seen = layout_features(model.detector, test.scenes.images, LEAST, **how)
    nearest = [train.sentences[i][0] for i in nearest_neighbours(seen, learnt.features)]
    print(f"\n{len(test)} scenes")
    judge(said, train, test, nearest)
    labels = [sorted(test.scenes.truth(i).labels.tolist()) for i in range(len(test))]
    right = [sorted(one.labels.tolist()) == there for one, there in zip(said, labels, strict=True)]
    print(f"the detector finds all digits, and nothing else: {np.mean(right):.0%}")
    show(said, test, sorted(lesson.rng.choice(len(test), SHOWN, replace=False).tolist()))
    file, image = lesson.out / "scene.png", test.scenes.images[0].transpose(1, 2, 0)
    atomic_write(file, lambda opened: plt.imsave(opened, image, format="png"))
    print(f"try one: tinyconv caption {file} --regions --weights {lesson.checkpoint()}")
    lesson.next(why="the paper's sizes, and its data")
