"""``tinyconv explain adversarial``: a small change of a picture that changes a network's answer. See :func:`draw`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.cli.models import Opened
from tinyconv.cli.names import UsageError, choose

METHODS = ("fgsm", "minimal")
EPS = (0.002, 0.004, 0.007, 0.015, 0.03, 0.06, 0.1, 0.15, 0.25, 0.5)  # tried in turn without --eps
_DRAWS = 10  # random changes of the same size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --method, --eps and --save."""
    sizes = ", ".join(f"{eps:g}" for eps in EPS)
    parser.add_argument(
        "--method", metavar="NAME", help="adversarial: fgsm, or minimal, which stops at the border (fgsm)"
    )
    parser.add_argument(
        "--eps", type=float, metavar="X", help=f"fgsm: change of a pixel (the first that works: {sizes})"
    )
    parser.add_argument("--save", metavar="FILE", help="adversarial: the changed picture itself, a PNG of 8 bits")


def check(options: argparse.Namespace, figure: Path) -> None:
    """Raise UsageError if the arguments do not make sense, before a network is opened; ``figure``: the file of it."""
    options.method = choose("method", options.method or METHODS[0], METHODS)
    if options.eps is not None:
        if options.method != "fgsm":
            raise UsageError("--eps is the size of fgsm's step; --method minimal finds the smallest change itself")
        if not 0 < options.eps <= 1:  # NaN too
            raise UsageError(f"--eps must be in (0, 1], where pixels are, got {options.eps:g}")
    if options.save is not None and Path(options.save).suffix.lower() != ".png":
        raise UsageError(f"--save must end in .png, got {options.save}")
    for what, file in (("the figure", figure), ("your picture", options.image)):
        if options.save is not None and file is not None and _same(Path(options.save), Path(file)):
            raise UsageError(f"--save must name a file of its own, got {options.save}, which is {what}")


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, there already or not."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def on_pixels(opened: Opened) -> Opened:
    """Return the network with its normalisation in it, so that its inputs are pixels in [0, 1]."""
    from tinyconv.explain.adversarial import pixel_model

    geometry, model = pixel_model(opened.model, opened.transform)
    return opened._replace(model=model, transform=None if opened.transform is None else geometry)


def draw(options: argparse.Namespace, opened: Opened, image: Any, target: int | None) -> Any:
    """Attack the image (1, C, H, W), print what the network says of it, and return the figure."""
    from tinyconv import errors
    from tinyconv.explain.adversarial import distortion, random_signs
    from tinyconv.explain.adversarial_figures import attack_rows

    image = image.clip(0, 1)  # enlarging may overshoot by a rounding
    before = _probabilities(opened, image)
    says = int(before[0].argmax())
    if target is not None:
        errors.check_range("--class", "the number", np.array([target]), before.shape[1])
        if target == says:
            raise UsageError(f"the network says {_name(opened, says)} already; choose another --class")
    changed, size, done = _attack(options, opened, image, says, target)
    after = _probabilities(opened, changed)
    border = ", just over the border, both about equally likely" if done and options.method == "minimal" else ""
    print(f"{options.image}: {_answers(opened, before[0])}")
    print(f"{size}{border}: {_answers(opened, after[0], *([] if target is None else [target]), says)}")
    if not done:
        print(f"that does not make it {'another class' if target is None else _name(opened, target)}")
    rms = float(distortion(image, changed)[0])
    if rms > 0:
        same = float(np.abs(changed - image).max()) if options.method == "fgsm" else rms
        noisy = _probabilities(opened, random_signs(np.repeat(image, _DRAWS, axis=0), same)).argmax(axis=1)
        print(f"root mean square change {rms:.3g}; random signs of size {same:.3g} change the answer in ", end="")
        print(f"{int((noisy != says).sum())} of {_DRAWS} draws")
    if options.save is not None:
        _save(options, opened, changed[0], says if done else None)
    note = f"{options.method}, {size.removeprefix('with ')}"
    return attack_rows(image, changed, before, after, classes=opened.classes, note=note)


def _attack(
    options: argparse.Namespace, opened: Opened, image: np.ndarray, says: int, target: int | None
) -> tuple[np.ndarray, str, bool]:
    """Return the changed image, its size in words, and whether the answer is a wanted one."""
    from tinyconv.explain.adversarial import distortion, fgsm
    from tinyconv.explain.minimal import minimal_attack

    if options.method == "minimal":
        found = minimal_attack(opened.model, image, target, labels=says if target is None else None)
        if not found.success[0]:
            return found.images, "no change found", False
        return found.images, f"with a distortion of {distortion(image, found.images)[0]:.3g}", True
    for eps in EPS if options.eps is None else (options.eps,):
        changed = fgsm(opened.model, image, says, eps, target=target)
        answer = int(_probabilities(opened, changed)[0].argmax())
        done = answer != says if target is None else answer == target
        if done:
            break
    return changed, f"with eps {eps:g}", done


def _probabilities(opened: Opened, images: np.ndarray) -> np.ndarray:
    from tinyconv.explain.adversarial import scores
    from tinyconv.explain.layers import probabilities

    return probabilities(scores(opened.model, images))


def _answers(opened: Opened, probabilities: np.ndarray, *others: int) -> str:
    """Return the most probable class, and the others if they are not it, with their probabilities."""
    shown = dict.fromkeys([int(probabilities.argmax()), *others])
    return ", ".join(f"{_name(opened, k)} {probabilities[k]:.1%}" for k in shown)


def _save(options: argparse.Namespace, opened: Opened, picture: np.ndarray, lost: int | None) -> None:
    """Write the picture, and say what the network answers to the file: 8 bits may bring the ``lost`` answer back."""
    from PIL import Image

    from tinyconv import data
    from tinyconv.files import atomic_write, writable_folder

    path = Path(options.save)
    writable_folder(path.parent, "explain", "choose another file: --save FILE")
    pixels = np.round(255 * picture).astype(np.uint8)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    atomic_write(path, lambda file: image.save(file, format="PNG"))
    again = _probabilities(opened, data.read_image(path, opened.mode)[None])[0]  # it is prepared already
    undone = "; rounding has undone the change" if again.argmax() == lost else ""
    print(f"picture: {path}; read back from its 8 bits: {_answers(opened, again)}{undone}")


def _name(opened: Opened, k: int) -> str:
    return opened.classes[k] if opened.classes else f"class {k}"
