# %% [markdown]
# # AlexNet 9: training a small one
#
# minutes 5 | needs step8_assemble.py | next step10_look_inside.py
#
# The paper's run took two GPUs six days. The same layers at lesson scale, with narrower maps and for 28x28 grey
# images, learn to tell ten kinds of clothes apart in about a minute: 10,000 images of Fashion-MNIST for training,
# 2,000 for testing. What stays as in the paper: mean image subtracted, mirrored and shifted images, dropout, and the
# update rule.

# %%
import tinyconv
from tinyconv import models, optim
from tinyconv.data import Compose, DataLoader, RandomCrop, RandomMirror, Subset, SubtractMean, fashion_mnist
from tinyconv.lesson import Lesson

lesson = tinyconv.lesson_step(__name__)
EPOCHS = 8


# %%
def build() -> tinyconv.nn.Module:
    """Return the untrained network."""
    return models.alexnet(10, scale="lesson", in_channels=1, image_size=28)


def loaders(images: int = 10_000, tests: int = 2000, seed: int = 0) -> tuple[DataLoader, DataLoader]:
    """Return batches for training (shuffled, mirrored, shifted by up to two pixels) and for testing (as they are)."""
    everything = fashion_mnist("train")
    centre = SubtractMean.fit(everything)
    training = Compose([centre, RandomCrop(28, padding=2), RandomMirror()])
    return (
        DataLoader(Subset(everything, range(images)), 64, shuffle=True, seed=seed, transform=training),
        DataLoader(Subset(fashion_mnist("test"), range(tests)), 250, transform=centre),
    )


def train(
    model: tinyconv.nn.Module, lesson: Lesson, epochs: int = EPOCHS, images: int = 10_000
) -> tinyconv.history.History:
    """Train as the paper does, the rate divided by 10 before the last two epochs; leave the lesson's checkpoint."""
    train_loader, test_loader = loaders(images, 500 if images < 1000 else 2000, lesson.seed)
    optimizer = optim.AlexNetSGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return tinyconv.fit(
        model,
        train_loader,
        optimizer=optimizer,
        schedule=optim.MultiStepLR(optimizer, [max(1, epochs - 2)]),
        epochs=epochs,
        test_loader=test_loader,
        out=lesson.out,
        checkpoint=lesson.checkpoint(),
        resume=lesson.resume,
        seed=lesson.seed,
    )


def train_briefly(model: tinyconv.nn.Module, smoke: bool) -> None:
    """For a step that needs a trained network and finds none: train without test or checkpoint."""
    train_loader, _ = loaders(320 if smoke else 5000)
    optimizer = optim.AlexNetSGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    tinyconv.fit(model, train_loader, optimizer=optimizer, epochs=1 if smoke else 3)


# %% [markdown]
# Stop it with Ctrl-C if you like: it prints the command that goes on where it was.

# %%
if __name__ == "__main__":
    model = build()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; the paper's network has 60,965,224")
    history = train(model, lesson, *((1, 320) if lesson.smoke else ()))
    lesson.save(
        history.plot(title="AlexNet at lesson scale, Fashion-MNIST"),
        "curves",
        alt="training and test loss fall together, and drop once more where the rate is divided by ten",
    )
    print(f"test accuracy: {history.last['test_accuracy']:.3f}   model: {lesson.checkpoint()}")
    lesson.next(why="what has it learned?")
