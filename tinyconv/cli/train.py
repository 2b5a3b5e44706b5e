"""``tinyconv train``: train a network on bundled images or on a folder of yours."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from tinyconv.cli.names import UsageError, choose

_WATCHED = 8  # images in which one can see where transformers look

HELP = """train a network on bundled images or on a folder of yours

examples:
  tinyconv train lenet5 --data mnist
  tinyconv train alexnet --data fashion --epochs 3 --lr 0.02 --out runs/first
  tinyconv train alexnet --data fashion --epochs 3 --lr 0.02 --out runs/first --resume     go on after Ctrl-C
  tinyconv train resnet20 --data cifar10                              the paper's 164 epochs; --root DIR: your copy
  tinyconv train alexnet --data photos/                               photos/train/cat/1.jpg, photos/test/dog/2.jpg, ...
  tinyconv train gan --data mnist                                     a generator of digits; also dcgan, lapgan
  tinyconv train faster_rcnn --data scenes                            a detector; also fast_rcnn
  tinyconv train faster_rcnn --data voc --root VOCdevkit/VOC2007      PASCAL VOC's folders; --data coco: COCO's
  tinyconv train st_cnn --data rts                                    digits turned, scaled, moved; --transform tps
  tinyconv train captioner --data scenes                              a detector, and sentences about what it finds

--data: fashion, mnist, digits, shapes (all bundled); r, rts, p, e, tc: mnist turned, also scaled and moved, projected,
bent, in clutter, anew every epoch; cifar10, cifar100 in the folder --root, or after tinyconv data get cifar10; or a
folder of yours: train/ and test/ with one sub-folder per class, or only the sub-folders (a fifth is then set aside for
testing).
For generators --lr is the generator's rate, and the discriminator's keeps its ratio to it; a folder samples/ of
the run shows what they draw; a folder attended/, where the transformers of st_cnn, st_fcn and st_cub look. Detectors
learn from scenes, composed of handwritten digits, or from voc and coco in the folder --root; captioner from scenes and
sentences about them. The run is written to --out: checkpoint.npz, train.jsonl (one line per epoch) and curves.png; of
captioner the latter two in a folder for each stage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="a network's name, such as lenet5 or alexnet")
    parser.add_argument(
        "--data", metavar="DATA", required=True,
        help="fashion, mnist, digits, shapes, rts, cifar10, ... or a folder; detectors: scenes, voc, coco; "
        "captioner: scenes",
    )  # fmt: skip
    parser.add_argument(
        "--root", metavar="DIR", help="a whole set's own files: cifar10, cifar100, mnist, fashion, voc, coco"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training images, in all")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images per step")
    parser.add_argument("--lr", type=float, metavar="X", help="learning rate, per step")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, order, augmentation, dropout (0)")
    parser.add_argument("--out", metavar="DIR", help="folder of the run (./tinyconv-output/train/MODEL-DATA...)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--smoke", action="store_true", help="a few images, one epoch: only show that it works")
    parser.add_argument("--scale", choices=("lesson", "paper"), default="lesson", help="size of the network (lesson)")
    parser.add_argument(
        "--transform", choices=("affine", "attention", "projective", "tps", "none"),
        help="of a spatial transformer network's transformer (affine; with tc attention); none leaves it out",
    )  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (cpu)")
    parser.add_argument("--workers", type=int, metavar="N", help="threads that prepare images")


def run(options: argparse.Namespace) -> int:
    """Train, print where the result is, and what the network confuses most."""
    import tinyconv
    from tinyconv import data, device, models, optim
    from tinyconv import functional as F
    from tinyconv.cli import recipes, train_captioner, train_detection, train_generative

    name = choose("model", options.model, models.names())
    for option, least in (("epochs", 1), ("batch_size", 1), ("workers", 0)):
        value = getattr(options, option)
        if value is not None and value < least:
            raise UsageError(f"--{option.replace('_', '-')} must be at least {least}, got {value}")
    if options.lr is not None and not 0 < options.lr < float("inf"):
        raise UsageError(f"--lr must be a positive number, got {options.lr}")
    try:
        device.check_name(options.device)
    except RuntimeError as problem:
        raise UsageError(f"--device: {problem}") from None
    if options.transform is not None and name not in recipes.TRANSFORMERS:
        raise UsageError(f"--transform goes with {' and '.join(recipes.TRANSFORMERS)}, not with {name}")
    if name in train_detection.MODELS or name == "rcnn":
        return train_detection.run(name, options, _resume_command(options.arguments))
    if name in train_generative.MODELS:
        return train_generative.run(name, options, _resume_command(options.arguments))
    if name in train_captioner.MODELS:
        return train_captioner.run(name, options, _resume_command(options.arguments))
    if name == "st_svhn":
        raise UsageError("st_svhn reads five characters, and no --data has such labels: give tinyconv.fit your own")
    recipe = recipes.of(name, options.data)
    arguments = dict(recipe.arguments)
    if options.transform is not None:
        arguments["transform"] = None if options.transform == "none" else options.transform
    source = recipes.open_data(options.data, _channels(name), options.root)
    epochs = options.epochs or (1 if options.smoke else recipe.epochs)
    batch_size = options.batch_size or (32 if options.smoke else recipe.batch_size)

    tinyconv.manual_seed(options.seed)
    shape = source.train[0][0].shape
    if recipe.own_size and not source.photographs:
        arguments["image_size"] = shape[1]
    model = _build(name, arguments, len(source.classes), shape[0], options.scale)
    model.to(options.device)
    train_view, test_view = recipes.views(source, model.input_shape, recipe.black)
    workers = (2 if source.photographs else 0) if options.workers is None else options.workers
    simulated = options.device == "cuda" and tinyconv.cuda.device_name() == "simulator"
    if simulated:
        print("Numba's simulator computes: a step takes minutes (--smoke: 2 images)")
    few = (2 if simulated else 64) if options.smoke else None
    train, test = (_first(part, few) for part in (source.train, source.test))
    loader = data.DataLoader(train, batch_size, shuffle=True, seed=options.seed, workers=workers, transform=train_view)
    test_loader = data.DataLoader(test, batch_size, workers=workers, transform=test_view)
    lr = options.lr or (recipe.paper_lr if options.scale == "paper" and recipe.paper_lr else recipe.lr)
    rates: list[Any] = list(model.parameters())
    if recipe.factor != 1:
        rates = models.spatial_transformer.parameter_groups(model, lr, recipe.factor)
    optimizer = recipe.optimizer(rates, lr=lr, **recipe.options)
    if recipe.hook is not None:
        optimizer.register_step_post_hook(recipe.hook(model))
    drops = sorted({max(math.ceil(part * epochs) - recipe.warmup, 1) for part in recipe.drops})
    schedule: Any = optim.MultiStepLR(optimizer, drops)
    if recipe.warmup:
        schedule = optim.LinearWarmup(optimizer, recipe.warmup, 0.1, schedule)

    # A smoke run has a folder of its own, so as not to put its second of training in the place of a trained model.
    named = [name, source.name, *filter(None, [options.transform]), *["smoke"] * options.smoke]
    default = Path("tinyconv-output", "train", "-".join(named))
    folder = Path(options.out or default)
    print(f"data:  {source.name}, {len(train)} training and {len(test)} test images of {len(source.classes)} classes")
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"model: {name}, {options.scale} scale, input {model.input_shape}, {count:,} parameters")
    passes = f"{epochs} epoch{'s' * (epochs != 1)}"
    print(f"run:   {passes}, {batch_size} images per step, {optimizer}, seed {options.seed}", flush=True)
    last: dict[str, Any] = {}
    callbacks: list[Any] = [lambda state: last.update(state.evaluation)]
    watch = _watch(model, folder, test, test_view, options.resume)
    callbacks += [watch] if watch else []
    tinyconv.fit(
        model, loader, loss=getattr(model, "loss", F.cross_entropy), optimizer=optimizer, schedule=schedule,
        epochs=epochs, test_loader=test_loader, out=folder, resume=options.resume, seed=options.seed,
        callbacks=callbacks, resume_command=_resume_command(options.arguments),
    )  # fmt: skip
    written = [folder / file for file in ("checkpoint.npz", "curves.png", "train.jsonl")]
    for path in written + (watch.finish() if watch else []):
        print(f"wrote {path}")
    if last.get("confusion") is not None:
        print(_verdict(last["accuracy"], last["confusion"], source.classes))
    print(f"next: tinyconv predict IMAGE --weights {shlex.quote(str(folder / 'checkpoint.npz'))}")
    return 0


def _watch(model: Any, folder: Path, test: Any, view: Any, resume: bool) -> Any:
    """Return what draws where a network's transformers look, after every epoch, into the run's folder; None without."""
    import numpy as np

    if not hasattr(model, "attended") or not len(model.transformers):
        return None
    from tinyconv.explain import AttendedWatch

    some = _first(test, _WATCHED)
    images = np.stack([view(some[i][0], None) for i in range(len(some))])
    watch = AttendedWatch(model, folder / "attended", images)
    if not (resume and (folder / "checkpoint.npz").exists()):  # else the film goes on
        watch.before()
    return watch


def _channels(name: str) -> int | None:
    """Return how many channels the network's images must have; None if it can be built for any number."""
    from tinyconv import models

    if "in_channels" in models.parameters(name):
        return None
    shape = models.build(name, device="meta").input_shape
    return None if shape is None else shape[0]


def _build(name: str, arguments: dict[str, Any], classes: int, channels: int, scale: str) -> Any:
    """Return the network, with as many of these arguments as its builder takes."""
    from tinyconv import models

    wanted = {"num_classes": classes, "in_channels": channels, "scale": scale}
    takes = models.parameters(name)
    return models.build(name, **arguments, **{key: value for key, value in wanted.items() if key in takes})


def _first(dataset: Any, count: int | None) -> Any:
    """Return a part of the dataset, spread over it; all of it for None."""
    from tinyconv import data

    if count is None or len(dataset) <= count:
        return dataset
    return data.Subset(dataset, [i * len(dataset) // count for i in range(count)])


def _resume_command(arguments: list[str]) -> str:
    program = ["tinyconv"] if Path(sys.argv[0]).stem == "tinyconv" else [sys.executable, "-m", "tinyconv"]
    return shlex.join([*program, *arguments, *["--resume"] * ("--resume" not in arguments)])


def _verdict(accuracy: float, confusion: Any, classes: list[str]) -> str:
    """Return a sentence on what the network confuses, or that it only guesses."""
    if accuracy < 1.5 / len(classes):
        return f"hardly better than guessing ({100 / len(classes):.0f} %): train longer (--epochs), or at another --lr"
    return _most_confused(confusion, classes)


def _most_confused(confusion: Any, classes: list[str]) -> str:
    """Return a sentence on the largest entry off the diagonal."""
    import numpy as np

    wrong = confusion - np.diag(np.diag(confusion))
    label, guess = np.unravel_index(wrong.argmax(), wrong.shape)
    if not wrong.any():
        return "every test image is right"
    share = 100 * wrong[label, guess] / confusion[label].sum()
    return f"most confused: {share:.0f} % of {classes[label]!r} are taken for {classes[guess]!r}"
