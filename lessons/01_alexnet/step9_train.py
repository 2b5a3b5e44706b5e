# %% [markdown]
# # AlexNet 9: training a small one
#
# minutes 5 | needs step8_assemble.py | next step10_look_inside.py
#
# The paper's run took two GPUs six days. The same layers at lesson scale, with fewer and smaller filters for 28x28
# grey images, learn to tell ten kinds of clothes apart in a minute or two: Fashion-MNIST, 10,000 images for training
# and 2,000 for testing. As in the paper: mirrored images, dropout, the update rule, a rate that is divided by 10 (there
# when progress stalled, here after epochs chosen in advance). Not as in the paper: 1,400 steps instead of 850,000, so a
# rate that begins at 0.05 instead of 0.01; and inputs of unit variance, to which the small network's initial weights
# (He et al. 2015) are fitted.

# %%
import sys

from tqdm import tqdm

import tinyconv
from tinyconv import models, optim
from tinyconv.data import Compose, DataLoader, Normalize, RandomMirror, Subset, fashion_mnist
from tinyconv.history import History
from tinyconv.lesson import Lesson
from tinyconv.nn import Module
from tinyconv.training_state import TrainState

lesson = tinyconv.lesson_step(__name__)
EPOCHS = 9


# %%
def build() -> Module:
    """Return the untrained network."""
    return models.alexnet(10, scale="lesson", in_channels=1, image_size=28)


def loaders(images: int = 10_000, tests: int = 2000, seed: int = 0) -> tuple[DataLoader, DataLoader]:
    """Return batches for training (shuffled, mirrored half of the time) and for testing (as they are)."""
    clothes = fashion_mnist("train")
    normal = Normalize.fit(clothes)  # with the training images' mean and deviation, for both
    mirrored = Compose([RandomMirror(), normal])
    return (
        DataLoader(Subset(clothes, range(images)), 64, shuffle=True, seed=seed, transform=mirrored),
        DataLoader(Subset(fashion_mnist("test"), range(tests)), 250, transform=normal),
    )


class FirstStep:
    """Says after the first step that training runs, and where it starts from."""

    def on_step(self, state: TrainState) -> None:
        """Print one line, above the bar."""
        if state.step == 1:
            tqdm.write(f"step 1: loss {state.loss:.3f}; guessing among ten classes has ln 10 = 2.303")
            sys.stdout.flush()


def train(model: Module, lesson: Lesson) -> History:
    """Train, dividing the rate by 10 after two thirds and near the end; leave the lesson's checkpoint."""
    train_loader, test_loader = loaders(*((320, 250) if lesson.smoke else (10_000, 2000)), lesson.seed)
    epochs = 1 if lesson.smoke else EPOCHS
    optimizer = optim.AlexNetSGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return tinyconv.fit(
        model,
        train_loader,
        optimizer=optimizer,
        schedule=optim.MultiStepLR(optimizer, [EPOCHS * 2 // 3, EPOCHS - 1]),
        epochs=epochs,
        test_loader=test_loader,
        callbacks=[FirstStep()],
        out=lesson.out,
        checkpoint=lesson.checkpoint(),
        resume=lesson.resume,
        seed=lesson.seed,
    )


def train_briefly(model: Module, smoke: bool) -> None:
    """For a step that needs a trained network and finds none: three epochs, without test or checkpoint."""
    optimizer = optim.AlexNetSGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    tinyconv.fit(model, loaders(320 if smoke else 10_000)[0], optimizer=optimizer, epochs=1 if smoke else 3)


# %% [markdown]
# Stop it with Ctrl-C if you like: it prints the command that goes on from there. The curves are worth a look: the
# test loss drops at once when the rate does, since smaller steps settle what larger ones kept stirring.

# %%
if __name__ == "__main__":
    model = build()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; the paper's network has 60,965,224")
    history = train(model, lesson)
    alt = "training and test loss fall together, and drop once more where the rate is divided by ten"
    lesson.save(history.plot(title="AlexNet at lesson scale on Fashion-MNIST"), "curves", alt=alt)
    print(f"test accuracy: {history.last['test_accuracy']:.3f}   model: {lesson.checkpoint()}")
    lesson.next(why="what has it learned?")
