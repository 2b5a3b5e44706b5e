# %% [markdown]
# # GoogLeNet 7: training a small one, with three heads
#
# minutes 5 | needs step6_assemble.py | next step8_class_maps.py
#
# All nine modules and both auxiliary heads, an eighth of the filters. The pictures have 48x66 pixels, with one piece of
# clothing (Fashion-MNIST) somewhere. As in the paper: a training image is a random part of the picture with a random
# proportion, resized (sec. 6; 30 to 100 % of the area instead of 8 to 100 %, or nothing would be left of the clothes);
# the loss of all three heads; dropout of 40 and 70 %; a rate that is multiplied by 0.96 now and then (there every 8
# epochs, here every one); the mean of the weights of many steps as the final network (Polyak). Not as in the paper:
# He's initial weights; and Adam: in a pilot run, not kept, SGD with momentum 0.9 took four epochs to leave ln 10.

# %%
import copy
import sys

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

import tinyconv
from tinyconv import data, models, optim
from tinyconv.data import ArrayDataset, DataLoader, Normalize, Scenes
from tinyconv.lesson import Lesson
from tinyconv.models.googlenet import AUX_AFTER, GoogLeNet
from tinyconv.nn import functional as F
from tinyconv.training_state import TrainState

lesson = tinyconv.lesson_step(__name__)
EPOCHS, MEAN_FROM, SIZE, SIDE = 20, 15, 36, 41  # a side of 41 for windows of 36, about 256 for 224
HEADS = ("main", "aux1", "aux2")


# %%
def build() -> GoogLeNet:
    """Return the untrained network."""
    return models.googlenet(10, scale="lesson", width=0.5, in_channels=1, image_size=SIZE)


def pictures(split: str, n: int, seed: int = 0) -> ArrayDataset:
    """Return n pictures (1, 48, 66) with a piece of clothing of 20 to 30 pixels; no piece is in both splits."""
    look = {"items": ("fashion",), "background": "black", "colours": ("white",), "objects": 1, "size": 66}
    scenes = Scenes(n, seed=seed, split=split, sides=(20, 30), **look)
    images, labels = np.empty((n, 1, 48, 66), np.uint8), np.empty(n, np.int64)
    for i in range(n):
        scene = scenes[i]
        top = int(np.clip(scene.boxes[0, 1::2].mean() - 24, 0, 18))  # 48 of 66 rows, around the object
        images[i], labels[i] = np.rint(255 * scene.image[:1, top : top + 48]), scene.labels[0]
    return ArrayDataset(images, labels, classes=scenes.classes)


def normaliser() -> Normalize:
    """Return the transform to mean 0 and deviation 1 of the training pictures, measured on 200 of them."""
    return Normalize.fit(pictures("train", 200))


def loaders(images: int = 3000, tests: int = 1000, seed: int = 0) -> tuple[DataLoader, DataLoader]:
    """Return batches for training (random parts, mirrored half of the time) and for testing (the middle)."""
    normal = normaliser()
    part = data.Compose([data.RandomResizedCrop(SIZE, scale=(0.3, 1.0)), data.RandomMirror(), normal])
    middle = data.Compose([data.Resize(SIDE), data.CenterCrop(SIZE), normal])
    batches = DataLoader(pictures("train", images, seed), 32, shuffle=True, drop_last=True, seed=seed, transform=part)
    return batches, DataLoader(pictures("test", tests, seed), 100, transform=middle)


class Watch:
    """Keeps the losses of the three heads of every step, and the mean of the weights from some epoch on."""

    def __init__(self) -> None:
        self.losses: list[list[float]] = []
        self.mean: dict[str, np.ndarray] = {}
        self.steps = 0

    def on_step(self, state: TrainState) -> None:
        """Note the losses; move the mean by 1 / steps of the way to the new weights."""
        with tinyconv.no_grad():
            labels = tinyconv.tensor(np.asarray(state.batch.labels))
            self.losses.append([F.cross_entropy(scores, labels).item() for scores in state.outputs])
        if state.step == 1:
            found = ", ".join(f"{head} {loss:.2f}" for head, loss in zip(HEADS, self.losses[0], strict=True))
            tqdm.write(f"step 1, losses: {found}; guessing among ten classes has ln 10 = 2.30")
            sys.stdout.flush()
        if state.epoch >= MEAN_FROM or lesson.smoke:
            self.steps += 1
            for name, p in state.model.named_parameters():
                mean = self.mean.setdefault(name, np.zeros_like(p.data))
                mean += (p.data - mean) / self.steps

    def averaged(self, model: GoogLeNet, wanted: int) -> GoogLeNet:
        """Return a copy with the mean weights; say of how many steps, as a checkpoint has no mean to go on with."""
        lost = "" if self.steps == wanted else "; the others were before --resume, and are lost"
        none = "" if self.steps else ": no mean, the model as it is"
        print(f"mean of the weights of {self.steps} of {wanted} steps{lost}{none}")
        model = copy.deepcopy(model)
        for name, p in model.named_parameters():
            p.data[...] = self.mean.get(name, p.data)
        return model


def train(model: GoogLeNet, lesson: Lesson, loaded: tuple[DataLoader, DataLoader], watch: Watch) -> None:
    """Train, and leave the lesson's checkpoint."""
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    where = {"out": lesson.out, "checkpoint": lesson.checkpoint(), "resume": lesson.resume, "seed": lesson.seed}
    tinyconv.fit(
        model, loaded[0], loss=GoogLeNet.loss, optimizer=optimizer, schedule=optim.StepLR(optimizer, 1, 0.96),
        epochs=1 if lesson.smoke else EPOCHS, test_loader=loaded[1], callbacks=[watch], **where,
    )  # fmt: skip


def train_briefly(model: GoogLeNet, smoke: bool) -> None:
    """For a step that needs a trained network and finds none: six epochs, without test or checkpoint."""
    epochs, loader = (1, loaders(96, 10)[0]) if smoke else (6, loaders(3000, 10)[0])
    tinyconv.fit(model, loader, loss=GoogLeNet.loss, optimizer=optim.Adam(model.parameters(), lr=0.001), epochs=epochs)


def accuracies(model: GoogLeNet, loader: DataLoader) -> dict[str, float]:
    """Return the share of right answers of each head, in testing, when the network itself runs main only."""
    seen, right, hooks = {}, dict.fromkeys(HEADS, 0), []
    for part, head in AUX_AFTER.items():
        layer = model.get_submodule(f"inception_{part}")
        hooks.append(layer.register_forward_hook(lambda m, x, y, head=head: seen.__setitem__(head, y)))
    model.eval()
    for batch in loader:
        with tinyconv.no_grad():
            scores = {"main": model(batch.images), **{head: getattr(model, head)(seen[head]) for head in HEADS[1:]}}
        for head, values in scores.items():
            right[head] += int((values.numpy().argmax(1) == batch.labels.numpy()).sum())
    for hook in hooks:
        hook.remove()
    return {head: count / len(loader.dataset) for head, count in right.items()}


# %%
if __name__ == "__main__":
    model, watch = build(), Watch()
    loaded = loaders(*((96, 100) if lesson.smoke else (3000, 1000)), lesson.seed)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters with the heads; the paper's have 13,378,280")
    train(model, lesson, loaded, watch)
    wanted = len(loaded[0]) * (1 if lesson.smoke else EPOCHS - MEAN_FROM + 1)
    for name, network in (("last weights", model), ("mean weights", watch.averaged(model, wanted))):
        print(f"test accuracy, {name}: {', '.join(f'{h} {a:.1%}' for h, a in accuracies(network, loaded[1]).items())}")
    if watch.losses:  # a --resume may have found no step left
        fig, axis = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
        for head, losses in zip(HEADS, np.transpose(watch.losses), strict=True):
            axis.plot(np.convolve(losses, np.ones(50) / 50, mode="valid") if len(losses) > 50 else losses, label=head)
        axis.set(title="training loss of the three heads, mean of 50 steps", xlabel="step of this run", ylim=(0, 2.6))
        axis.legend()
        lesson.save(fig, "heads", alt="the losses of the three heads fall from ln 10, main's fastest and furthest")
    print(f"model: {lesson.checkpoint()}")
    lesson.next(why="where does it see what?")
