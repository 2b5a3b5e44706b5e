"""Lesson 01 in one go: assemble AlexNet, check its gradients, train a small one on real images, look inside.

Run by ``tinyconv lesson 01_alexnet --main``; takes three minutes on two cores. The steps explain what happens here.
"""

from time import perf_counter

import numpy as np
from step8_assemble import print_table, same_as_library
from step9_train import build, train
from step10_look_inside import look_inside

import tinyconv
from tinyconv.nn import functional as F


def check_gradients(rng: np.random.Generator) -> None:
    """Check each kind of layer of AlexNet on a small input, in float64."""
    x, weight, bias = rng.standard_normal((2, 4, 5, 5)), rng.standard_normal((4, 2, 3, 3)), rng.standard_normal(4)
    apart = rng.permutation(2 * 2 * 49).reshape(2, 2, 7, 7) / 49.0  # no two values are close: pooling has no ties
    labels = tinyconv.tensor([1, 0])
    checks = {
        "convolution, 2 groups": (lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2), [x, weight, bias]),
        "ReLU": (F.relu, [x]),
        "local response normalisation": (
            lambda x: F.local_response_norm(x, 3, alpha=0.5, k=2.0, alpha_over_size=False),
            [x],
        ),
        "overlapping max pooling": (lambda x: F.max_pool2d(x, 3, 2), [apart]),
        "fully connected": (F.linear, [x[0, 0], x[0, 1], x[0, 2, 0]]),
        "cross-entropy": (lambda x: F.cross_entropy(x, labels), [x[:, :, 0, 0]]),
    }
    for name, (function, inputs) in checks.items():
        tinyconv.gradcheck(function, inputs, name=name)
        print(f"gradient check passed: {name}")


def main() -> None:
    """Do it all."""
    lesson = tinyconv.lesson_step(__name__)
    start = perf_counter()
    print_table()
    print("the same parameters as tinyconv.models.alexnet():", same_as_library(), "\n")
    check_gradients(lesson.rng)
    model = build()
    print(f"\ntraining {sum(p.numel() for p in model.parameters()):,} parameters on Fashion-MNIST", flush=True)
    train(model, lesson)
    model.eval()
    accuracy = look_inside(model, lesson)
    print(f"\ntest accuracy: {accuracy:.3f}   ({perf_counter() - start:.0f} s in all)")
    print(f"figures and model: {lesson.out}")


if __name__ == "__main__":
    main()
