"""``tinyconv train captioner``: detector, alignment, snippets, sentences. See :func:`run`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from tinyconv.cli.names import UsageError

MODELS = ("captioner", "caption", "alignment")
_SCENES = (1500, 200)  # to learn from, to judge on
_SMOKE = (60, 8)
_SHOWN = 5  # test scenes whose sentences are printed
_UNUSED = ("root", "lr", "batch_size", "workers")


def run(name: str, options: argparse.Namespace, resume_command: str) -> int:
    """Train all stages on composed scenes, and print what is said of held-out ones beside what is true."""
    import tinyconv
    from tinyconv import data, models
    from tinyconv.captioning.beside import SILENT
    from tinyconv.captioning.evaluation import evaluate_captions
    from tinyconv.captioning.pipeline import EPOCHS, train_captioner
    from tinyconv.checkpoint import save
    from tinyconv.data.captioned_scenes import CaptionedScenes
    from tinyconv.files import writable_folder
    from tinyconv.text import Vocabulary

    _check(name, options)
    train, test = (
        CaptionedScenes(n, seed=options.seed, split=split)
        for n, split in zip(_SMOKE if options.smoke else _SCENES, ("train", "test"), strict=True)
    )
    said = [sentence for of in train.sentences for sentence in of]
    vocabulary = Vocabulary.build(said, threshold=1 if options.smoke else 5)
    tinyconv.manual_seed(options.seed)
    model: Any = models.captioner(vocabulary.words, len(train.scenes.classes))
    model.to(options.device)
    default = Path("tinyconv-output", "train", f"captioner-scenes{'-smoke' if options.smoke else ''}")
    folder = Path(options.out or default)
    writable_folder(folder, "train", "choose another folder: --out DIR")
    epochs = {stage: 1 if options.smoke else passes for stage, passes in EPOCHS.items()}
    if options.epochs is not None:
        epochs["sentence"] = options.epochs
    print(f"data:  {len(train)} training and {len(test)} test scenes, {len(said)} sentences of {len(vocabulary)} words")
    print(f"model: captioner, lesson scale, {sum(p.numel() for p in model.parameters()):,} parameters")
    passes = ", ".join(f"{stage} {count}" for stage, count in epochs.items())
    print(f"run:   epochs of the stages: {passes}; seed {options.seed}", flush=True)
    transform = data.Normalize(0.5, 0.25)
    train_captioner(
        model, train, vocabulary, transform, epochs=epochs, seed=options.seed, out=folder, resume=options.resume,
        resume_command=resume_command, print_every=5,
    )  # fmt: skip
    file = save(folder / "checkpoint.npz", model, classes=train.scenes.classes, transform=transform)
    print(f"wrote {file}")
    found = [model.describe(transform(image, None)).sentence for image in test.scenes.images]
    for sentence, truths in list(zip(found, test.sentences, strict=True))[:_SHOWN]:
        print(f"  said: {sentence or SILENT}   true: {truths[0]}")
    print(evaluate_captions(found, test.sentences, said))
    print(f"next: tinyconv caption IMAGE --weights {shlex.quote(str(file))}")
    return 0


def _check(name: str, options: argparse.Namespace) -> None:
    """Raise UsageError for what cannot be trained here, or for an option that has no meaning."""
    if name != "captioner":
        raise UsageError(
            f"{name} learns from features of images, not from pictures; tinyconv train captioner --data scenes trains "
            "all stages, tinyconv.captioning.train_" + name + " one of them (lesson 08_captioning)"
        )
    if options.data != "scenes":
        raise UsageError(
            f"captioner learns from scenes, which come with sentences, got --data {options.data}; for sentences of "
            "your own see tinyconv.data.read_karpathy and tinyconv.captioning (lesson 08, step 10)"
        )
    if options.scale != "lesson":
        raise UsageError("captioner is trained at the lesson's scale here; leave out --scale")
    for option in _UNUSED:
        if getattr(options, option) is not None:
            raise UsageError(f"--{option.replace('_', '-')} is not for captioner, whose stages have their own")
