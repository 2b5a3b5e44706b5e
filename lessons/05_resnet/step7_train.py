# %% [markdown]
# # ResNet 7: training a small one
#
# minutes 5 | needs step6_cifar_family.py | next step8_look_inside.py
#
# Fourteen layers of the paper's family (n = 2, full width) learn ten kinds of clothes: Fashion-MNIST, 10,000 images for
# training and 2,000 held out. As in the paper: SGD with momentum 0.9, weight decay 1e-4, rate 0.1, a tenth of it after
# half and after three quarters of all steps; a border of zeros, a random window, mirrored half of the time. Not as in
# the paper: batches of 64, 14 epochs instead of 164, a border of 2 pixels instead of 4, and one mean for all pixels
# instead of one for each.

# %%
import sys
from functools import cache

from tqdm import tqdm

import tinyconv
from tinyconv import models, optim
from tinyconv.data import Compose, DataLoader, Normalize, RandomCrop, RandomMirror, Subset, fashion_mnist
from tinyconv.history import History
from tinyconv.lesson import Lesson
from tinyconv.nn import Module
from tinyconv.training_state import TrainState

lesson = tinyconv.lesson_step(__name__)
EPOCHS = 14


# %%
def build(residual: bool = True) -> models.ResNet:
    """Return the untrained network, or the same without its shortcuts."""
    return models.resnet_cifar(14, residual=residual, in_channels=1, image_size=28)


@cache
def scale() -> Normalize:
    """Return what gives images the training images' mean 0 and deviation 1."""
    return Normalize.fit(fashion_mnist("train"))


def loaders(images: int = 10_000, tests: int = 2000, seed: int = 0) -> tuple[DataLoader, DataLoader]:
    """Return batches for training (moved and mirrored at random) and for testing (as they are)."""
    clothes, test, normal = fashion_mnist("train"), fashion_mnist("test"), scale()
    moved = Compose(
        [normal, RandomCrop(28, padding=2), RandomMirror()]
    )  # in this order, so that the border is the mean
    return (
        DataLoader(Subset(clothes, range(images)), 64, shuffle=True, seed=seed, transform=moved),
        DataLoader(Subset(test, range(tests)), 250, transform=normal),
    )


class FirstStep:
    """Says after the first step that training runs, and where it starts from."""

    def on_step(self, state: TrainState) -> None:
        """Print one line, above the bar."""
        if state.step == 1:
            tqdm.write(f"step 1: loss {state.loss:.3f}; guessing among ten classes has ln 10 = 2.303")
            sys.stdout.flush()


def train(model: Module, lesson: Lesson) -> History:
    """Train, dividing the rate by 10 after half and three quarters; leave the lesson's checkpoint."""
    train_loader, test_loader = loaders(*((128, 100) if lesson.smoke else (10_000, 2000)), lesson.seed)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return tinyconv.fit(
        model,
        train_loader,
        optimizer=optimizer,
        schedule=optim.MultiStepLR(optimizer, [EPOCHS // 2, EPOCHS * 3 // 4]),
        epochs=1 if lesson.smoke else EPOCHS,
        test_loader=test_loader,
        callbacks=[FirstStep()],
        out=lesson.out,
        checkpoint=lesson.checkpoint(),
        resume=lesson.resume,
        seed=lesson.seed,
    )


def train_briefly(model: Module, smoke: bool) -> None:
    """For a step that needs a trained network and finds none: two epochs, without test or checkpoint."""
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loader = loaders(128 if smoke else 5000, 10)[0]
    tinyconv.fit(
        model, loader, optimizer=optimizer, schedule=optim.MultiStepLR(optimizer, [1]), epochs=1 if smoke else 2
    )


# %% [markdown]
# Watch the first epochs: the held-out loss jumps up and down. The steps are large, and BN's running statistics lag
# behind weights that move fast. Where the rate drops, after epoch 7, both settle at once.

# %%
if __name__ == "__main__":
    model = build()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; the paper's ResNet-20 has 269,722", flush=True)
    history = train(model, lesson)
    alt = "losses and errors fall, unsteadily at first on the held-out images, and drop at once where the rate does"
    lesson.save(history.plot(title="ResNet-14 on Fashion-MNIST"), "curves", alt=alt)
    print(f"accuracy on held-out images: {history.last['test_accuracy']:.3f}   model: {lesson.checkpoint()}")
    lesson.next(why="what is inside?")
