# %% [markdown]
# # VGG 7: training a small one
#
# minutes 5 | needs step6_scale_jitter.py | next step8_dense.py
#
# The paper trained each network for two to three weeks on four GPUs. Ours is configuration A, eleven layers, with an
# eighth of the filters; it learns to tell ten kinds of clothes apart that lie somewhere on a coloured ground
# (`tinyconv.data.Scenes`: 64x64 pixels, one object of 24 to 44). As in the paper: windows of the training size out of
# images whose shorter side is drawn anew each time (64 to 96), mirrored half of the time, dropout, a rate that drops
# in steps. Not as in the paper: initial weights after He et al. instead of a first net to copy from; and Adam, since
# SGD with momentum took several times as many epochs to leave its start.

# %%
import sys

import numpy as np
from tqdm import tqdm

import tinyconv
from tinyconv import models, optim
from tinyconv.data import (
    ArrayDataset,
    CenterCrop,
    Compose,
    DataLoader,
    Normalize,
    RandomCrop,
    RandomMirror,
    RandomResize,
    Scenes,
)
from tinyconv.history import History
from tinyconv.lesson import Lesson
from tinyconv.nn import Module
from tinyconv.training_state import TrainState

lesson = tinyconv.lesson_step(__name__)
EPOCHS, SIZE, SIDES = 26, 64, (64, 96)


# %%
def build() -> Module:
    """Return the untrained network."""
    return models.vgg(10, config="A", scale="lesson", width=0.5, image_size=SIZE)


def scenes(split: str, n: int, seed: int = 0) -> Scenes:
    """Return scenes with one piece of clothing each; no piece is in both splits."""
    look = {"items": ("fashion",), "background": "gradient", "objects": 1, "size": SIZE, "sides": (24, 44)}
    return Scenes(n, seed=seed, split=split, **look)


def pictures(split: str, n: int, seed: int = 0) -> ArrayDataset:
    """Return the scenes as (image, label), in 8 bits per colour like any picture file: a quarter of the memory."""
    images, labels, _ = scenes(split, n, seed).arrays()
    return ArrayDataset(np.rint(255 * images).astype(np.uint8), labels, classes=scenes(split, 1).classes)


def loaders(images: int = 4000, tests: int = 1000, seed: int = 0) -> tuple[DataLoader, DataLoader]:
    """Return batches for training (resized, cropped, mirrored at random) and for testing (as they are)."""
    train, normal = pictures("train", images, seed), Normalize.fit(pictures("train", 200))
    jitter = Compose([RandomResize(*SIDES), RandomCrop(SIZE), RandomMirror(), normal])
    return (
        DataLoader(train, 32, shuffle=True, seed=seed, transform=jitter),
        DataLoader(pictures("test", tests, seed), 100, transform=Compose([CenterCrop(SIZE), normal])),
    )


class FirstStep:
    """Says after the first step that training runs, and where it starts from."""

    def on_step(self, state: TrainState) -> None:
        """Print one line, above the bar."""
        if state.step == 1:
            tqdm.write(f"step 1: loss {state.loss:.3f}; guessing among ten classes has ln 10 = 2.303")
            sys.stdout.flush()


def train(model: Module, lesson: Lesson) -> History:
    """Train, dividing the rate by 10 after three quarters and near the end; leave the lesson's checkpoint."""
    train_loader, test_loader = loaders(*((128, 100) if lesson.smoke else (4000, 1000)), lesson.seed)
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    return tinyconv.fit(
        model,
        train_loader,
        optimizer=optimizer,
        schedule=optim.MultiStepLR(optimizer, [EPOCHS * 3 // 4, EPOCHS - 3]),
        epochs=1 if lesson.smoke else EPOCHS,
        test_loader=test_loader,
        callbacks=[FirstStep()],
        out=lesson.out,
        checkpoint=lesson.checkpoint(),
        resume=lesson.resume,
        seed=lesson.seed,
    )


def train_briefly(model: Module, smoke: bool) -> None:
    """For a step that needs a trained network and finds none: five epochs, without test or checkpoint."""
    loader = loaders(128 if smoke else 4000, 10)[0]
    tinyconv.fit(model, loader, optimizer=optim.Adam(model.parameters(), lr=0.001), epochs=1 if smoke else 5)


# %% [markdown]
# The loss stays near ln 10 for the first epoch or two: eleven layers have to agree on what to pass on before any of
# them can improve. The test images are not jittered, so they may be easier than the training images.

# %%
if __name__ == "__main__":
    tinyconv.manual_seed(lesson.seed)
    model = build()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; the paper's A has 132,863,336")
    history = train(model, lesson)
    alt = "both losses stay at their start at first, then fall; the test loss is below the training loss"
    lesson.save(history.plot(title="VGG A at lesson scale on composed scenes"), "curves", alt=alt)
    print(f"test accuracy: {history.last['test_accuracy']:.3f}   model: {lesson.checkpoint()}")
    lesson.next(why="testing on whole images, many crops, several scales")
