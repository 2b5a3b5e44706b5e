"""``tinyconv caption``: what a trained captioner says of a picture, and of the regions in it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from tinyconv.cli import models
from tinyconv.cli.detect import free_file, size_hint, table
from tinyconv.cli.names import UsageError

HELP = """say in a sentence what is in pictures, with a trained captioner

examples:
  tinyconv caption scene.png                                with what lesson 08 trained
  tinyconv caption scene.png --regions                      a snippet for every region, too
  tinyconv caption a.png b.png --weights tinyconv-output/train/captioner-scenes/checkpoint.npz
  tinyconv caption scene.png --beam 1                       always the most probable next word

Of each picture it prints the sentence, then the best three that the beam search found, each with the natural logarithm
of its probability. With --regions it prints a line for each region: class, score, box (left, top, right and bottom edge
in pixels of the picture), the snippet's log probability and the snippet. The picture with its sentence is written to
--out. It is prepared as the training images were, and keeps its size, unless those were resized: objects should be
about as large as those that the captioner learned from. tinyconv train captioner --data scenes makes one."""
_BEAM, _LIMIT, _LEAST = 7, 20, 0.5
_MOST = 1000
_BEST = 3  # sentences of the beam that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("files", metavar="IMAGE", nargs="+", help="a picture (PNG, JPEG, ...)")
    parser.add_argument("--weights", metavar="FILE", help="a checkpoint of captioner (lesson 08's, if it is there)")
    parser.add_argument(
        "--beam", type=int, default=_BEAM, metavar="N", help=f"unfinished sentences that the search keeps ({_BEAM})"
    )
    parser.add_argument(
        "--limit", type=int, default=_LIMIT, metavar="N", help=f"words of a sentence at most ({_LIMIT})"
    )
    parser.add_argument(
        "--least", type=float, default=_LEAST, metavar="SCORE",
        help=f"lowest probability of an object that is spoken of ({_LEAST})",
    )  # fmt: skip
    parser.add_argument("--regions", action="store_true", help="say what is in each region, too")
    parser.add_argument("--out", metavar="DIR", help="where the pictures go (./tinyconv-output/caption)")


def run(options: argparse.Namespace) -> int:
    """Print what is said of every picture, and draw it."""
    from tinyconv import data
    from tinyconv.captioning.describing import describe_in
    from tinyconv.files import atomic_write, writable_folder

    folder = _checked(options)
    weights = Path(options.weights) if options.weights else models.lesson_checkpoint("captioner")
    model, transform, classes = open_captioner(weights)
    if options.regions and model.snippet is None:
        raise UsageError(f"--regions: {weights} has no model for regions; leave --regions out")
    mode = "L" if model.input_shape[0] == 1 else "RGB"
    writable_folder(folder, "caption", "choose another folder: --out DIR")
    written: set[Path] = set()
    read = ""
    for file in options.files:
        try:
            image = data.read_image(file, mode)
        except ValueError as problem:
            print(f"tinyconv: {problem}", file=sys.stderr)
            continue
        try:
            said = describe_in(image, model, transform, beam=options.beam, limit=options.limit, least=options.least)
        except ValueError as problem:  # too small for the network, say
            print(f"tinyconv: {file}: {problem}", file=sys.stderr)
            continue
        read = read or file
        print(f"{file}: {_shown(said.sentence)}")
        for line in [*_sentences(said, model), *(_regions(said, classes) if options.regions else [])]:
            print(line)
        if len(said.boxes) < 2:
            print(f"  ({_guessed(len(said.boxes), options.least)})")
        hint = size_hint(model, transform, image.shape[1:])
        if hint:
            print(f"  ({hint})")
        path = free_file(folder, Path(file).stem, "caption", written)
        figure = _figure(image, said, options.regions)
        atomic_write(path, lambda out, figure=figure: figure.savefig(out, format="png", dpi=120))  # type: ignore[misc]
        print(f"figure: {path}")
    if read:
        print(_next(options, weights, read, model.snippet is not None))
    return int(len(written) < len(options.files))


def open_captioner(path: Path) -> tuple[Any, Any, list[str] | None]:
    """Return the captioner in a checkpoint, the transform of its images, and the names of its detector's classes.

    Raises
    ------
    UsageError
        The checkpoint is of another kind of network.
    ValueError, OSError
        The file cannot be read.
    """
    model = models.open_checkpoint(path, "caption", "tinyconv train captioner --data scenes")
    if not hasattr(model, "describe"):
        builder = model.config["builder"]
        raise UsageError(f"{path} holds {builder}, which says no sentences; tinyconv predict says what it sees")
    return model, models.transform_of(model, "caption"), model.meta.get("classes")


def _checked(options: argparse.Namespace) -> Path:
    """Return the folder for pictures, or raise if an argument cannot be carried out."""
    from tinyconv.lesson import OUTPUT

    for name in ("beam", "limit"):
        if not 1 <= getattr(options, name) <= _MOST:
            raise UsageError(f"--{name} must be from 1 to {_MOST}, got {getattr(options, name)}")
    if not 0 <= options.least <= 1:
        raise UsageError(f"--least is a probability in [0, 1], got {options.least:g}")
    for file in options.files:
        if Path(file).is_dir():
            pictures = f"{shlex.quote(str(Path(file)))}/*.png"
            raise UsageError(f"{file} is a folder; give its pictures: tinyconv caption {pictures}")
        if not Path(file).is_file():
            raise FileNotFoundError(f"caption: there is no file {file}")
    folder = Path(options.out or Path(OUTPUT) / "caption")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out must name a folder, got the file {folder}")
    return folder


def _shown(text: str) -> str:
    """Return a sentence, or what stands for one without words."""
    from tinyconv.captioning.beside import SILENT

    return text or SILENT


def _guessed(count: int, least: float) -> str:
    """Return what to think of a sentence about no object, or one: it may speak of more."""
    if not count:
        return f"it found nothing with a score of {least:g} or more: the sentence is a guess"
    return f"it found one object with a score of {least:g} or more: what the sentence says of others is a guess"


def _sentences(said: Any, model: Any) -> list[str]:
    """Return a line for each of the best sentences of the beam."""
    lines = []
    for found in said.beam.hypotheses[:_BEST]:
        text = _shown(model.sentence.decode(found.words))
        lines.append(f"  {found.log_probability:7.2f}  {text}{'' if found.finished else ' ...'}")
    return lines


def _regions(said: Any, classes: list[str] | None) -> list[str]:
    """Return a line for each region, under a title and the columns' names."""
    lines = table(said, classes, len("class"))
    if not lines:
        return ["  regions: none"]
    columns = "score  " + " ".join(f"{edge:>6}" for edge in ("left", "top", "right", "bottom"))
    head = f"  class{columns:>{len(lines[0]) - len('  class')}}    log p  snippet"
    parts = zip(lines, said.log_probabilities, said.snippets, strict=True)
    return ["  regions:", head, *(f"{line}  {value:7.2f}  {_shown(text)}" for line, value, text in parts)]


def _figure(image: Any, said: Any, regions: bool) -> Any:
    """Return the picture with its sentence, or with its regions and what is said of each."""
    from tinyconv.captioning.figures import regions_described
    from tinyconv.captioning.pages import described

    best = said.beam.hypotheses[0].log_probability
    if regions:
        return regions_described(image, said.boxes, said.snippets, said.log_probabilities, _shown(said.sentence))
    return described([image], [said.sentence], notes=[f"log probability {best:.2f}"], side=4.0)


def _next(options: argparse.Namespace, weights: Path, file: str, snippets: bool) -> str:
    """Return what to try next with the first picture that was read."""
    usual, other = {"limit": _LIMIT, "least": _LEAST}, f"--beam {1 if options.beam > 1 else _BEAM}"
    if snippets and not options.regions:
        usual, other = usual | {"beam": _BEAM}, "--regions"
    given = [f"--{name} {getattr(options, name)}" for name in usual if getattr(options, name) != usual[name]]
    command = f"tinyconv caption {shlex.quote(file)} --weights {shlex.quote(str(weights))}"
    return " ".join([f"next: {command}", *given, other])
