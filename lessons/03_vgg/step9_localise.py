# %% [markdown]
# # VGG 9: where is it?
#
# minutes 20 | needs step8_dense.py | next exercises.py
#
# With this, VGG won the 2014 localisation contest (appendix A): take the trained classifier, replace the 1000 scores of
# its last layer by the numbers of a box (centre x, centre y, width, height), and go on training with the Euclidean
# distance to the true box. Two kinds: SCR, one box whatever the class (4 numbers), and PCR, a box for every class (4000
# numbers). A box is right if its IoU with the true one exceeds one half.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from step7_train import SIZE, build, loaders, scenes, train_briefly

import tinyconv
from tinyconv import nn, optim, views
from tinyconv.data import DataLoader, Scenes
from tinyconv.lesson import Lesson
from tinyconv.localisation import EuclideanLoss, box_network, dense_boxes, localisation_error, merge_boxes
from tinyconv.localisation import predict_boxes as predict
from tinyconv.vision import paired_iou

lesson = tinyconv.lesson_step(__name__)
EPOCHS = 6

# %% [markdown]
# ## Intersection over union
#
# How well two boxes agree, in one number: the area both cover over the area at least one covers. It is strict: a box
# of the right size that is off by a third of its width is already wrong.

# %%
truth = np.array([20.0, 20, 50, 50])
for shift in (0, 3, 6, 10, 15):
    print(f"a box of 30x30, {shift:2d} pixels to the right: IoU {paired_iou(truth, truth + [shift, 0, shift, 0]):.2f}")

# %% [markdown]
# ## Training the two heads
#
# All layers go on learning, from the classifier's weights; only the last is new. Not mirrored, not jittered: the box
# would have to move along. PCR's outputs for the other classes get no gradient from an image.


# %%
def train(classifier: nn.Module, kind: str, lesson: Lesson) -> nn.Module:
    """Return a box network that begins with the classifier's weights."""
    tinyconv.manual_seed(lesson.seed)
    network, n = box_network(classifier, kind), 64 if lesson.smoke else 2000
    data = scenes("train", n, seed=5).localisation(normal())
    optimizer, epochs = optim.Adam(network.parameters(), lr=0.0005), 1 if lesson.smoke else EPOCHS
    loader = DataLoader(data, 32, shuffle=True, seed=lesson.seed)
    schedule = optim.MultiStepLR(optimizer, [EPOCHS - 1])
    tinyconv.fit(network, loader, loss=EuclideanLoss(SIZE), optimizer=optimizer, schedule=schedule, epochs=epochs)
    return network.eval()


def normal() -> object:
    """Return the transform that the classifier's images had."""
    return loaders(10, 10)[1].transform.transforms[-1]


def compare(networks: dict[str, nn.Module], lesson: Lesson) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Print each kind's errors on test scenes; return images, boxes by kind, true boxes."""
    images, labels, boxes = scenes("test", 60 if lesson.smoke else 600, seed=5).arrays()
    middle = scenes("train", 100, seed=5).arrays()[2].mean(0)
    found = {"always the mean box": np.broadcast_to(middle, boxes.shape)}
    found |= {kind.upper(): predict(network, normal()(images), labels) for kind, network in networks.items()}
    print(f"\n{len(boxes)} test scenes, the true class given   wrong (IoU <= 0.5)   mean IoU")
    for name, predicted in found.items():
        error, iou = localisation_error(predicted, boxes), paired_iou(predicted, boxes).mean()
        print(f"{name:36s} {error:16.1%} {iou:12.2f}")
    return images, found, boxes


# %% [markdown]
# In the paper PCR is better by two points (SCR 36.4 %, PCR 34.3 %). That need not be so here: PCR learns each of its
# ten boxes from a tenth of the images.
#
# ## Dense, and merged
#
# On a larger picture the box network gives a box for every place of its map, relative to that place's window. Those
# that lie close are averaged, and what remains is rated by the classifier's score at those places (greedy merging,
# after OverFeat). Here: pictures of 96x96 with one object, 2x2 places. Some windows cut it off, others see it whole.


# %%
def merged(network: nn.Module, classifier: nn.Module, lesson: Lesson) -> tuple:
    """Print the errors of three ways to read a box from a larger picture; return what the figure needs."""
    wide = {"items": ("fashion",), "background": "gradient", "objects": 1, "sides": (24, 44), "size": 96}
    images, labels, truth = Scenes(20 if lesson.smoke else 300, split="test", **wide).arrays()
    pixels = normal()(images)
    boxes, scores = dense_boxes(network, classifier, pixels)  # (N, 4, 1, 4) and (N, 4, classes)
    boxes = boxes[:, :, 0]
    sure = np.stack([views.probabilities(place) for place in scores])[np.arange(len(labels)), :, labels]
    best = boxes[np.arange(len(labels)), sure.argmax(1)]
    greedy = [merge_boxes(b, s, iou=0.3) for b, s in zip(boxes, sure, strict=True)]
    middle = predict(network, pixels[:, :, 16:80, 16:80]) + 16
    together = np.array([rest[0][0] for rest in greedy])
    print(f"\n{len(truth)} pictures of 96x96                     wrong (IoU <= 0.5)")
    ways = {"the middle 64x64": middle, "the place with the best class score": best, "four places, merged": together}
    for name, found in ways.items():
        print(f"{name:40s} {localisation_error(found, truth):12.1%}")
    return images, boxes, sure, together, truth


# %%
def draw(images: np.ndarray, found: dict[str, np.ndarray], boxes: np.ndarray) -> plt.Figure:
    """Draw true (white) and predicted boxes on the first scenes."""
    fig, axes = plt.subplots(2, 6, figsize=(12, 4.4), layout="constrained")
    for i, axis in enumerate(axes.flat):
        axis.imshow(images[i].transpose(1, 2, 0), extent=(0, SIZE, SIZE, 0))
        add(axis, boxes[i], "white", 2)
        for kind, colour in (("SCR", "C1"), ("PCR", "C9")):
            add(axis, found[kind][i], colour)
        title = ", ".join(f"{kind} {paired_iou(found[kind][i], boxes[i]):.2f}" for kind in ("SCR", "PCR"))
        axis.set_title(title, fontsize=8)
    return fig


def draw_merging(images: np.ndarray, boxes: np.ndarray, sure: np.ndarray, *found: np.ndarray) -> plt.Figure:
    """Draw the boxes of all places, thicker where the class is likelier, and the one they were merged to."""
    fig, axes = plt.subplots(2, 6, figsize=(12, 4.4), layout="constrained")
    for i, axis in enumerate(axes.flat):
        axis.imshow(images[i].transpose(1, 2, 0), extent=(0, 96, 96, 0))
        for place in range(boxes.shape[1]):
            add(axis, boxes[i, place], "C9", 0.4 + 1.6 * sure[i, place])
        for box, colour in zip(found, ("C1", "white"), strict=True):  # merged, true
            add(axis, box[i], colour, 2)
        axis.set_title(f"IoU {paired_iou(found[0][i], found[1][i]):.2f}", fontsize=8)
    return fig


def add(axis: plt.Axes, box: np.ndarray, colour: str, width: float = 1.5) -> None:
    """Add the outline of a box."""
    axis.add_patch(Rectangle(box[:2], *(box[2:] - box[:2]), fill=False, ec=colour, lw=width))
    axis.set(xticks=[], yticks=[])


# %%
if __name__ == "__main__":
    classifier = lesson.load_or_train(build, lambda net: train_briefly(net, lesson.smoke), short="5 epochs, a minute")
    networks = {kind: train(classifier, kind, lesson) for kind in ("scr", "pcr")}
    fig = draw(*compare(networks, lesson))
    lesson.save(fig, "boxes", alt="twelve scenes: true boxes white, those of SCR orange, of PCR light blue")
    fig = draw_merging(*merged(networks["scr"], classifier, lesson))
    lesson.save(fig, "merging", alt="boxes of four places (light blue), merged (orange), and the true one (white)")
    lesson.next("exercises.py", why="write these parts yourself; lesson 04_googlenet builds wide instead of deep")
