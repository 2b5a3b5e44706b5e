"""``tinyconv explain``: what a trained network looks at in an image of yours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.cli import explain_adversarial, models
from tinyconv.cli.names import UsageError, choose, png

HELP = """show what a trained network looks at in your picture

examples:
  tinyconv explain deconvnet --image boot.png                   the nine strongest maps of the last layer, in pixels
  tinyconv explain deconvnet --image boot.png --layer pool2 --map 5
  tinyconv explain occlusion --image boot.png --weights runs/first/checkpoint.npz
  tinyconv explain saliency --image cat.jpg --model vgg --weights vgg16.pth --class 281
  tinyconv explain filters --model alexnet --weights alexnet-trunk
  tinyconv explain adversarial --image boot.png                 the least eps of a list that changes the answer
  tinyconv explain adversarial --image boot.png --weights checkpoint.npz --method minimal --class Bag

deconvnet projects activations back to pixels; occlusion slides a grey square over the picture; saliency draws a score's
gradient by three rules for ReLUs; filters draws a convolution's weights; adversarial looks for a change that hardly
shows and changes the answer (--method fgsm: every pixel by eps; minimal: the least change, which ends on the border,
where the old answer and the new one are about equally likely). Without --weights the network is zfnet, as lesson 02's
training step left it; --model alexnet: lesson 01's. The picture may have any size; it is prepared as the test images
were. The figure is written to --out."""
ACTIONS = ("deconvnet", "occlusion", "filters", "saliency", "adversarial")
_OPTIONS = {  # which explanations an option belongs to; the others go with all
    "layer": ("deconvnet", "occlusion", "filters", "saliency"),
    "map": ("deconvnet", "saliency"),
    "unpool": ("deconvnet",),
    "class": ("occlusion", "saliency", "adversarial"),
    "size": ("occlusion",),
    "stride": ("occlusion",),
    "value": ("occlusion",),
    "method": ("adversarial",),
    "eps": ("adversarial",),
    "save": ("adversarial",),
}
_SHOWN = 9  # strongest maps, without --map


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("action", metavar="WHAT", help="deconvnet, occlusion, filters, saliency or adversarial")
    models.add_arguments(parser)
    parser.add_argument("--image", metavar="FILE", help="a picture (PNG, JPEG, ...); filters needs none")
    parser.add_argument("--layer", metavar="NAME", help="such as pool5 (the last with maps; filters: the first)")
    parser.add_argument("--map", type=int, metavar="N", help="deconvnet, saliency: only this map of the layer")
    parser.add_argument("--unpool", choices=("write", "add"), help="where pooled values meet (write)")
    parser.add_argument("--class", dest="target", metavar="CLASS", help="name or number (the most probable one)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="occlusion: side of the square (a quarter)")
    parser.add_argument("--stride", type=int, metavar="PIXELS", help="occlusion: between squares (a third of it)")
    parser.add_argument("--value", type=float, metavar="X", help="occlusion: what covers (0: mean grey)")
    explain_adversarial.add_arguments(parser)
    parser.add_argument("--out", metavar="FILE", help="the figure, a PNG (./tinyconv-output/explain/...)")


def run(options: argparse.Namespace) -> int:
    """Draw the figure and print where it is."""
    from tinyconv import data

    action = choose("explanation", options.action, ACTIONS)
    _refuse_others(options, action)
    path = _target_file(options, action)
    if action == "adversarial":
        explain_adversarial.check(options, path)
    if action == "filters":
        opened, image = models.open_model(options), None
    else:
        if options.image is None:
            raise UsageError(f"--image is missing: which picture shall {action} explain?")
        if not Path(options.image).is_file():
            raise FileNotFoundError(f"--image: there is no file {options.image}")
        opened = models.open_model(options)
        if action == "adversarial":
            _needs_classes(options, opened)
            opened = explain_adversarial.on_pixels(opened)
        try:
            image = opened.prepare(data.read_image(options.image, opened.mode))[None]
        except models.ShapeError as problem:
            raise ValueError(f"{options.image}: {problem}") from None
    draw = dict(zip(ACTIONS, (_deconvnet, _occlusion, _filters, _saliency, _adversarial), strict=True))
    try:
        figure = draw[action](options, opened, image)
    except IndexError as problem:  # no such map, no such class
        raise UsageError(str(problem)) from None
    _write(path, figure)
    return 0


def _deconvnet(options: argparse.Namespace, opened: models.Opened, image: Any) -> Any:
    from tinyconv.explain import deconvnet, figures, receptive_field, top_activations
    from tinyconv.explain.layers import sequence

    model = opened.model
    try:
        sequence("deconvnet", model)
    except TypeError:
        builder = (model.config or {}).get("builder", type(model).__name__)
        raise UsageError(
            f"deconvnet needs layers one after another, and {builder} has other ways through it; saliency or occlusion "
            "can explain it"
        ) from None
    layer = options.layer or _last_maps(model)
    top = top_activations(model, image, layer, 1, None if options.map is None else [options.map])
    maps = np.argsort(-top.values[:, 0], kind="stable")[:_SHOWN]
    numbers = maps if options.map is None else np.array([options.map])
    field = receptive_field(model, layer, image.shape[2:])
    copies = np.repeat(image, len(numbers), axis=0)
    projections = deconvnet(model, copies, layer, numbers, unpool=options.unpool or "write")
    values, places = top.values[maps, 0], top.positions[maps, 0]
    boxes = [field.box(int(row), int(col), image.shape[2:]) for row, col in places]
    print(field)
    print("strongest maps:", ", ".join(f"{k} ({v:.3g})" for k, v in zip(numbers, values, strict=True)))
    return figures.projected_maps(image[0], layer, numbers.tolist(), values, projections, boxes)


def _occlusion(options: argparse.Namespace, opened: models.Opened, image: Any) -> Any:
    from tinyconv.explain import figures, occlusion

    _needs_classes(options, opened)
    square = {"size": options.size, "stride": options.stride, "value": options.value or 0.0}
    found = occlusion(opened.model, image, _target(options, opened), layer=options.layer, **square)
    y, x = found.lowest
    name = _name(opened, found.target)
    print(f"{name}: {found.whole_probability:.1%}; at worst {found.probability.min():.1%}, ", end="")
    print(f"with the square's middle at row {y:.0f}, column {x:.0f}")
    others = [_name(opened, int(k)) for k in np.unique(found.label) if k != found.whole_label]
    print(f"{found.label.size} squares of {found.size[0]} x {found.size[1]} pixels", end="")
    print(f"; some make it {', '.join(others)}" if others else "; none changes what it says")
    return figures.occlusion_maps(image[0], found, opened.classes)


def _filters(options: argparse.Namespace, opened: models.Opened, image: Any) -> Any:
    from tinyconv.explain import figures

    return figures.first_filters(opened.model, options.layer)


def _saliency(options: argparse.Namespace, opened: models.Opened, image: Any) -> Any:
    from tinyconv.explain import figures, saliency

    if options.layer is None:
        _needs_classes(options, opened)
        target: Any = _target(options, opened)
        if target is None:
            target = int(_scores(opened, image).argmax())
    else:
        target = options.map
    rules = ("gradient", "deconvnet", "guided")
    maps = {rule: saliency(opened.model, image, target, rule=rule, layer=options.layer) for rule in rules}
    strongest = "strongest map" if target is None else target
    title = _name(opened, target) if options.layer is None else f"{options.layer}, {strongest}"
    print(f"explained: {title}")
    return figures.rules_in_a_row(image, maps, [title])


def _adversarial(options: argparse.Namespace, opened: models.Opened, image: Any) -> Any:
    return explain_adversarial.draw(options, opened, image, _target(options, opened))


def _refuse_others(options: argparse.Namespace, action: str) -> None:
    """Raise UsageError for an option of another explanation, which would change nothing."""
    for option, actions in _OPTIONS.items():
        if action not in actions and getattr(options, "target" if option == "class" else option) is not None:
            raise UsageError(f"--{option} does not belong to {action}; it is for {', '.join(actions)}")


def _needs_classes(options: argparse.Namespace, opened: models.Opened) -> None:
    if opened.trunk:
        raise UsageError(
            f"{options.weights} has convolutions only, no classes; explain deconvnet, filters, or saliency with --layer"
        )


def _target(options: argparse.Namespace, opened: models.Opened) -> int | None:
    """Return the number of the class that --class names; None without."""
    given = options.target
    if given is None:
        return None
    if given.isdecimal() and len(given) < 10:  # isdigit would let a superscript through, which is no int
        return int(given)
    if not opened.classes:
        raise UsageError(f"--class must be a number, the weights name no classes; got {given!r}")
    return opened.classes.index(choose("class", given, opened.classes, any_case=True))


def _scores(opened: models.Opened, image: Any) -> Any:
    from tinyconv import Tensor, no_grad

    with no_grad():
        outputs = opened.model(Tensor(image))
    return (outputs[0] if isinstance(outputs, tuple) else outputs).numpy()[0]


def _name(opened: models.Opened, k: int) -> str:
    return opened.classes[k] if opened.classes else f"class {k}"


def _last_maps(model: Any) -> str:
    """Return the name of the last layer before flatten."""
    names = [name for name, _ in model.named_children()]
    return names[names.index("flatten") - 1] if "flatten" in names[1:] else names[0]


def _target_file(options: argparse.Namespace, action: str) -> Path:
    """Return the name of the figure to write; without an ending it becomes a PNG."""
    from tinyconv.lesson import OUTPUT

    if not options.out:
        stem = "" if options.image is None or action == "filters" else f"-{Path(options.image).stem}"
        layer = "" if options.layer is None else f"-{options.layer}"
        return Path(OUTPUT) / "explain" / f"{action}{stem}{layer}.png"
    return png(options.out, "figure.png")


def _write(path: Path, figure: Any) -> None:
    from tinyconv.files import atomic_write, writable_folder

    writable_folder(path.parent, "explain", "choose another file: --out FILE")
    atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=120))
    print(f"figure: {path}")
