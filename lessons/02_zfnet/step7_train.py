# %% [markdown]
# # ZF Net 7: training a small one, and watching it
#
# minutes 5 | needs step6_assemble.py | next step8_look_inside.py
#
# The paper trained for twelve days on one GPU. The same layers at lesson scale learn Fashion-MNIST in a minute or two:
# 10,000 images for training, 2,000 for testing. As in the paper: dropout, momentum 0.9, a rate divided by 10 (there by
# hand, here after epochs chosen in advance), filters held at an RMS of 0.1 after every step. Not as in the paper: a
# first rate of 0.03 instead of 0.01, inputs of unit variance, and weights after He et al. 2015 to begin with.
#
# A *callback* watches: at the end of some epochs it looks for the image in which a map responds most, and keeps the
# projection of that response. Step 8 shows what it saw.

# %%
import sys

import numpy as np
from tqdm import tqdm

import tinyconv
from tinyconv import models, optim
from tinyconv.data import Compose, DataLoader, Normalize, RandomMirror, Subset, fashion_mnist
from tinyconv.explain import Evolution
from tinyconv.history import History
from tinyconv.lesson import Lesson
from tinyconv.nn import Module
from tinyconv.training_state import TrainState

lesson = tinyconv.lesson_step(__name__)
EPOCHS = 9
WATCHED = {"pool1": range(24), "pool2": range(24), "relu5": range(24)}  # maps of an early, a middle and a late layer


# %%
def build() -> Module:
    """Return the untrained network."""
    return models.zfnet(10, scale="lesson", in_channels=1, image_size=28)


def normaliser() -> Normalize:
    """Return the transform that gives images the mean 0 and deviation 1 of the training images."""
    return Normalize.fit(fashion_mnist("train"))


def test_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return test images (count, 1, 28, 28) as the network takes them, and their labels."""
    clothes, normal = fashion_mnist("test"), normaliser()
    return np.stack([normal(clothes[i][0]) for i in range(count)]), clothes.labels[:count]


def loaders(images: int = 10_000, tests: int = 2000, seed: int = 0) -> tuple[DataLoader, DataLoader]:
    """Return batches for training (shuffled, mirrored half of the time) and for testing (as they are)."""
    normal = normaliser()
    mirrored = Compose([RandomMirror(), normal])
    return (
        DataLoader(Subset(fashion_mnist("train"), range(images)), 64, shuffle=True, seed=seed, transform=mirrored),
        DataLoader(Subset(fashion_mnist("test"), range(tests)), 250, transform=normal),
    )


def optimiser(model: Module) -> optim.SGD:
    """Return SGD with the paper's rule for large filters, which is called after every step."""
    optimizer = optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)
    optimizer.register_step_post_hook(optim.renormalise_filters(model, limit=0.1))
    return optimizer


class FirstStep:
    """Says after the first step that training runs, and where it starts from."""

    def on_step(self, state: TrainState) -> None:
        """Print one line, above the bar."""
        if state.step == 1:
            tqdm.write(f"step 1: loss {state.loss:.3f}; guessing among ten classes has ln 10 = 2.303")
            sys.stdout.flush()


def train(model: Module, lesson: Lesson) -> tuple[History, Evolution]:
    """Train, dividing the rate by 10 after two thirds and near the end; leave the lesson's checkpoint."""
    train_loader, test_loader = loaders(*((320, 250) if lesson.smoke else (10_000, 2000)), lesson.seed)
    watch = Evolution(test_images(50 if lesson.smoke else 500)[0], WATCHED, epochs=(1, 2, 3, 5, 7, EPOCHS))
    watch.record(model, 0)
    optimizer = optimiser(model)
    history = tinyconv.fit(
        model,
        train_loader,
        optimizer=optimizer,
        schedule=optim.MultiStepLR(optimizer, [EPOCHS * 2 // 3, EPOCHS - 1]),
        epochs=1 if lesson.smoke else EPOCHS,
        test_loader=test_loader,
        callbacks=[FirstStep(), watch],
        out=lesson.out,
        checkpoint=lesson.checkpoint(),
        resume=lesson.resume,
        seed=lesson.seed,
    )
    return history, watch


def train_briefly(model: Module, smoke: bool) -> None:
    """For a step that needs a trained network and finds none: three epochs, without test or checkpoint."""
    tinyconv.fit(model, loaders(320 if smoke else 10_000)[0], optimizer=optimiser(model), epochs=1 if smoke else 3)


def keep(watch: Evolution, lesson: Lesson) -> None:
    """Leave what the callback saw for step 8, as ``evolution.npz``."""
    arrays = {}
    for layer, snapshots in watch.snapshots.items():
        for name in ("epoch", "values", "images", "positions", "projections"):
            arrays[f"{layer}/{name}"] = np.stack([getattr(snapshot, name) for snapshot in snapshots])
    np.savez_compressed(lesson.out / "evolution.npz", **arrays)


# %% [markdown]
# Stop it with Ctrl-C if you like: it prints the command that goes on from there. (What was watched before that is then
# lost: snapshots are no part of a checkpoint.)

# %%
if __name__ == "__main__":
    model = build()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; the paper's network has 62,357,608")
    history, watch = train(model, lesson)
    keep(watch, lesson)
    alt = "training and test loss fall together, and drop once more where the rate is divided by ten"
    lesson.save(history.plot(title="ZF Net at lesson scale on Fashion-MNIST"), "curves", alt=alt)
    largest = max(optim.filter_rms(p.detach()).max().item() for p in model.parameters() if p.ndim == 4)
    print(f"largest RMS of a filter: {largest:.4f}")
    print(f"test accuracy: {history.last['test_accuracy']:.3f}   model: {lesson.checkpoint()}")
    lesson.next(why="what has it learned to look for?")
