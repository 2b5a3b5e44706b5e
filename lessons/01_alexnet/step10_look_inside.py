# %% [markdown]
# # AlexNet 10: looking inside
#
# minutes 15 | needs step9_train.py | next lesson 02_zfnet
#
# The paper ends by looking at its network: at the first filters, and at images that lie close together in the 4096
# numbers of the last hidden layer (sec. 6.1). The same for ours: filters, feature maps, mistakes, neighbours.

# %%
from contextlib import ExitStack

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from step9_train import build, loaders, train_briefly

import tinyconv
from tinyconv import nn
from tinyconv.data import fashion_mnist

lesson = tinyconv.lesson_step(__name__)
TEST = fashion_mnist("test")
if lesson.smoke:
    TEST.images, TEST.labels = TEST.images[:500], TEST.labels[:500]


# %% [markdown]
# A forward hook is called with every output of a module: it shows the maps without touching the network.


# %%
def outputs_of(model: nn.Module, names: list[str], images: tinyconv.Tensor) -> dict[str, np.ndarray]:
    """Run the images through the model and return what the named layers put out."""
    found: dict[str, np.ndarray] = {}
    with ExitStack() as hooks, tinyconv.no_grad():  # leaving it removes the hooks
        for name in names:
            hook = lambda _module, _inputs, y, name=name: found.update({name: y.numpy()})  # noqa: E731
            hooks.enter_context(model.get_submodule(name).register_forward_hook(hook))
        model(images)
    return found


# %% [markdown]
# ## Five figures
# On ImageNet the first filters become edges, stripes and colour blobs in every run, one GPU grey and one coloured.
# After our 1,400 steps a few are lines and edges; the rest still shows the random numbers it began with. It confuses
# what people confuse at 28 pixels, and some of its surest mistakes make one doubt the label. Neighbours in fc7 share
# the label more often than neighbours in pixels: a distance that means something.


# %%
def mosaic(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Return images (n, h, w) side by side in rows, one white pixel between them."""
    n, h, w = tiles.shape
    framed = np.full((-(-n // columns) * columns, h + 1, w + 1), np.nan)
    framed[:n, :h, :w] = tiles
    return framed.reshape(-1, columns, h + 1, w + 1).swapaxes(1, 2).reshape(-1, columns * (w + 1))


def draw_filters(model: nn.Module) -> Figure:
    """Draw conv1's filters: red adds brightness, blue subtracts it."""
    filters = model.conv1.weight.detach().numpy()[:, 0]
    fig, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
    axis.imshow(mosaic(filters, 8), cmap="RdBu_r", vmin=-np.abs(filters).max(), vmax=np.abs(filters).max())
    axis.set(xticks=[], yticks=[], title="conv1's filters (red adds brightness, blue subtracts)", frame_on=False)
    return fig


def draw_maps(model: nn.Module, i: int) -> Figure:
    """Draw the ten strongest maps of three layers for test image i, each map from black (0) to its own maximum."""
    centred = loaders()[1].transform(TEST[i][0])
    outputs = outputs_of(model, ["relu1", "relu2", "relu5"], tinyconv.tensor(centred[None]))
    fig, axes = plt.subplots(4, 1, figsize=(9, 4.2), layout="constrained", height_ratios=(1.4, 1, 1, 1))
    axes[0].imshow(TEST.images[i, 0], cmap="gray")
    axes[0].set(xticks=[], yticks=[], title="one image, and its ten strongest maps in three layers")
    for axis, (name, y) in zip(axes[1:], outputs.items(), strict=True):
        strongest = y[0, y[0].max(axis=(1, 2)).argsort()[:-11:-1]]
        axis.imshow(mosaic(strongest / strongest.max(axis=(1, 2), keepdims=True), 10), cmap="magma")
        axis.set(xticks=[], yticks=[], ylabel=f"conv{name[-1]}\n{y.shape[2]}x{y.shape[3]}")
    return fig


def draw_confusion(confusion: np.ndarray) -> Figure:
    """Draw how often each class was taken for each."""
    fig, axis = plt.subplots(figsize=(7, 6), layout="constrained")
    axis.imshow(np.sqrt(confusion), cmap="Blues", vmax=25)  # light enough for black numbers
    for i, j in np.argwhere(confusion):
        axis.text(j, i, confusion[i, j], ha="center", va="center", fontsize=8)
    axis.set(title="confusions", xlabel="the network says", ylabel="label", yticks=range(10), yticklabels=TEST.classes)
    axis.set_xticks(range(10), TEST.classes, rotation=45, ha="right")
    return fig


def draw_mistakes(scores: np.ndarray) -> Figure:
    """Draw the twelve wrong answers the network was most sure of."""
    answer, sure = scores.argmax(axis=1), tinyconv.softmax(tinyconv.Tensor(scores), 1).numpy().max(axis=1)
    worst = np.argsort(np.where(answer != TEST.labels, -sure, 1))[:12]
    fig, axes = plt.subplots(2, 6, figsize=(11, 4.6), layout="constrained")
    for axis, i in zip(axes.flat, worst, strict=True):
        axis.imshow(TEST.images[i, 0], cmap="gray")
        axis.set_title(f"{TEST.classes[answer[i]]} {sure[i]:.0%}\nlabel: {TEST.classes[TEST.labels[i]]}", fontsize=9)
        axis.set_axis_off()
    return fig


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Return, for each vector, the indices of the seven nearest (Euclid), itself first."""
    distance = (vectors**2).sum(axis=1) - 2 * vectors @ vectors.T  # squared, less the same number along each row
    np.fill_diagonal(distance, -np.inf)
    return distance.argsort(axis=1)[:, :7]


def draw_neighbours(near: np.ndarray) -> Figure:
    """Draw a test image of every second class, and the six test images that are nearest to it."""
    near = near[[int(np.argmax(TEST.labels == k)) for k in range(0, 10, 2)]]
    fig, axis = plt.subplots(figsize=(7, 5.3), layout="constrained")
    axis.imshow(mosaic(TEST.images[near.ravel(), 0], 7), cmap="gray")
    for row, column in np.ndindex(near.shape):
        corner, color = (29 * column - 0.5, 29 * row - 0.5), "C2" if TEST.labels[near[row, column]] == 2 * row else "C3"
        axis.add_patch(Rectangle(corner, 28, 28, fill=False, color=color, lw=2))
    axis.set(xticks=[], yticks=[], title="left an image, then its nearest in fc7 (green: same label)")
    return fig


def look_inside(model: nn.Module, lesson: tinyconv.lesson.Lesson) -> float:
    """Draw all figures, print what is confused and what is near, return the test accuracy."""
    batches = [outputs_of(model, ["relu7", "fc8"], images) for images, _ in loaders(tests=len(TEST))[1]]
    hidden, scores = (np.concatenate([batch[name] for batch in batches]) for name in ("relu7", "fc8"))
    answer, confusion = scores.argmax(axis=1), np.zeros((10, 10), int)
    np.add.at(confusion, (TEST.labels, answer), 1)
    near = nearest(hidden), nearest(TEST.images.reshape(len(answer), -1) / np.float32(255))
    lesson.save(draw_filters(model), "filters", alt="conv1's filters: a few lines and edges among noise")
    lesson.save(draw_maps(model, 0), "maps", alt="the strongest maps of one image, coarser with each layer")
    lesson.save(draw_confusion(confusion), "confusion", alt="most confusions are among shirts, pullovers and coats")
    lesson.save(draw_mistakes(scores), "mistakes", alt="twelve wrong answers of which the network was sure")
    lesson.save(draw_neighbours(near[0]), "neighbours", alt="images near in fc7 look alike; most share the label")
    for at in np.argsort(-(confusion * (1 - np.eye(10, dtype=int))).ravel())[:3]:
        label, said = divmod(int(at), 10)
        print(f"{confusion[label, said] / 2:.0f} % of {TEST.classes[label]} were taken for {TEST.classes[said]}")
    same = [np.mean(TEST.labels[indices[:, 1]] == TEST.labels) for indices in near]
    print(f"the nearest other image has the same label: {same[0]:.1%} of the time in fc7, {same[1]:.1%} in pixels")
    return float(np.mean(answer == TEST.labels))


# %%
if __name__ == "__main__":
    model = lesson.load_or_train(build, lambda model: train_briefly(model, lesson.smoke), short="3 epochs, about 20 s")
    print(f"test accuracy: {look_inside(model, lesson):.3f}")
    lesson.next("exercises.py", why="write these parts yourself; lesson 02_zfnet will show what each layer sees")
