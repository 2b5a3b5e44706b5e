"""Lesson 02 in one go: assemble ZF Net, check the deconvnet, train a small one, look inside, cover parts of images.

Run by ``tinyconv lesson 02_zfnet --main``; takes about four minutes on two cores. The steps explain what happens here.
"""

from time import perf_counter

import numpy as np
from step6_assemble import print_table, same_as_library
from step7_train import build, keep, train
from step8_look_inside import look_inside
from step9_occlusion import draw_occlusion, part_deltas

import tinyconv
from tinyconv import explain, nn


def check_deconvnet(rng: np.random.Generator) -> None:
    """Check the deconvnet's two identities on a small network, in float64."""
    first, second = nn.Conv2d(1, 4, 3, padding=1, dtype=np.float64), nn.Conv2d(4, 3, 3, dtype=np.float64)
    layers = {"conv1": first, "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(3, 2), "conv2": second, "relu2": nn.ReLU()}
    model = nn.Sequential(layers)
    for parameter in model.parameters():
        parameter.data[:] = rng.uniform(0, 1, parameter.shape) if parameter.ndim > 1 else 0
    x = tinyconv.tensor(rng.uniform(0, 1, (1, 1, 15, 15)), requires_grad=True)
    strongest = model(x)[:, 1].max()
    expected = strongest.item() * tinyconv.grad(strongest, x).numpy()
    found = explain.deconvnet(model, x, "relu2", 1, unpool="add")
    print(f"without signs it is activation times gradient: largest difference {np.abs(found - expected).max():.1e}")
    one = explain.deconvnet(model, x, "relu2", 1, position=(1, 3))
    top, left, bottom, right = explain.receptive_field(model, "relu2").box(1, 3, 15)
    one[:, :, top:bottom, left:right] = 0
    print("outside the receptive field it is exactly zero:", not one.any())


def main() -> None:
    """Do it all."""
    lesson = tinyconv.lesson_step(__name__)
    start = perf_counter()
    print_table()
    print("the same parameters as tinyconv.models.zfnet():", same_as_library(), "\n")
    check_deconvnet(lesson.rng)
    model = build()
    print(f"\ntraining {sum(p.numel() for p in model.parameters()):,} parameters on Fashion-MNIST", flush=True)
    history, watch = train(model, lesson)
    keep(watch, lesson)
    model.eval()
    look_inside(model, lesson)
    draw_occlusion(model, lesson)
    part_deltas(model, lesson)
    print(f"\ntest accuracy: {history.last['test_accuracy']:.3f}   ({perf_counter() - start:.0f} s in all)")
    print(f"figures and model: {lesson.out}")


if __name__ == "__main__":
    main()
