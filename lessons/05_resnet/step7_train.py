# %% [markdown]
# # ResNet 7: training a small one, and its plain twin
#
# minutes 5 | needs step6_cifar_family.py | next step8_look_inside.py
#
# The networks of step 1 again, 20 layers, half as wide as the paper's, now on real images: ten kinds of clothes,
# Fashion-MNIST, 10,000 for training and 2,000 held out. As in the paper: SGD with momentum 0.9, weight decay 1e-4, rate
# 0.1, a tenth of it after half and after three quarters of all steps; a border of zeros, a random window, mirrored half
# of the time. Not as in the paper: batches of 64, 8 epochs instead of 164, a border of 2 pixels instead of 4, and one
# mean for all pixels instead of one for each.

# %%
import sys

import matplotlib.pyplot as plt
from tqdm import tqdm

import tinyconv
from tinyconv import models, optim
from tinyconv.data import Compose, DataLoader, Normalize, RandomCrop, RandomMirror, Subset, fashion_mnist
from tinyconv.history import History
from tinyconv.lesson import Lesson
from tinyconv.nn import Module
from tinyconv.training_state import TrainState

lesson = tinyconv.lesson_step(__name__)
EPOCHS = 8


# %%
def build(residual: bool = True) -> models.ResNet:
    """Return the untrained network, or the same without its shortcuts."""
    return models.resnet_cifar(20, residual=residual, width=0.5, in_channels=1, image_size=28)


def build_plain() -> models.ResNet:
    """Return the plain twin."""
    return build(residual=False)


def loaders(images: int = 10_000, tests: int = 2000, seed: int = 0) -> tuple[DataLoader, DataLoader]:
    """Return batches for training (moved and mirrored at random) and for testing (as they are)."""
    clothes = fashion_mnist("train")
    normal = Normalize.fit(clothes)  # with the training images' mean and deviation, for both; first, so the border is 0
    moved = Compose([normal, RandomCrop(28, padding=2), RandomMirror()])
    return (
        DataLoader(Subset(clothes, range(images)), 64, shuffle=True, seed=seed, transform=moved),
        DataLoader(Subset(fashion_mnist("test"), range(tests)), 250, transform=normal),
    )


class FirstStep:
    """Says after the first step that training runs, and where it starts from."""

    def on_step(self, state: TrainState) -> None:
        """Print one line, above the bar."""
        if state.step == 1:
            tqdm.write(f"step 1: loss {state.loss:.3f}; guessing among ten classes has ln 10 = 2.303")
            sys.stdout.flush()


def train(model: Module, lesson: Lesson, name: str = "model", epochs: int = EPOCHS) -> History:
    """Train, dividing the rate by 10 after half and three quarters; leave the checkpoint ``name``."""
    train_loader, test_loader = loaders(*((128, 100) if lesson.smoke else (10_000, 2000)), lesson.seed)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return tinyconv.fit(
        model,
        train_loader,
        optimizer=optimizer,
        schedule=optim.MultiStepLR(optimizer, [epochs // 2, epochs * 3 // 4]),
        epochs=1 if lesson.smoke else epochs,
        test_loader=test_loader,
        callbacks=[FirstStep()],
        out=lesson.out if name == "model" else lesson.out / name,
        checkpoint=lesson.checkpoint(name),
        resume=lesson.resume,
        seed=lesson.seed,
    )


def train_briefly(model: Module, smoke: bool) -> None:
    """For a step that needs a trained network and finds none: two epochs, without test or checkpoint."""
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = optim.MultiStepLR(optimizer, [1])
    loader = loaders(128 if smoke else 10_000, 10)[0]
    tinyconv.fit(model, loader, optimizer=optimizer, schedule=schedule, epochs=1 if smoke else 2)


def draw(histories: dict[str, History]) -> plt.Figure:
    """Draw the losses and the errors of the networks over the epochs."""
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
    for (name, history), colour in zip(histories.items(), ("C3", "C0"), strict=True):
        axes[0].plot(history["epoch"], history["train_loss"], colour, marker="o", ms=3, label=f"{name}, training")
        axes[0].plot(history["epoch"], history["test_loss"], colour + "--", marker="s", ms=3, label=f"{name}, held out")
        errors = [100 * (1 - accuracy) for accuracy in history["test_accuracy"]]
        axes[1].plot(history["epoch"], errors, colour, marker="s", ms=3, label=name)
    axes[0].set(title="loss", xlabel="epoch")
    axes[1].set(title="error on held-out images (%)", xlabel="epoch")
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.legend(fontsize=8)
    return fig


# %% [markdown]
# Both learn: 20 layers with batch normalisation are not yet too many for clothes. The residual one is ahead from the
# first epoch on, at the same cost. Watch the loss where the rate drops, after epochs 4 and 6.

# %%
if __name__ == "__main__":
    histories = {}
    for name, checkpoint, model in (("residual", "model", build()), ("plain", "plain", build_plain())):
        print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
        histories[name] = train(model, lesson, checkpoint)
    alt = "losses and errors of both networks fall, those of the residual one faster and further"
    lesson.save(draw(histories), "curves", alt=alt)
    for name, history in histories.items():
        print(f"{name}: accuracy on held-out images {history.last['test_accuracy']:.3f}")
    print(f"models: {lesson.checkpoint()} and {lesson.checkpoint('plain')}")
    lesson.next(why="what is inside?")
