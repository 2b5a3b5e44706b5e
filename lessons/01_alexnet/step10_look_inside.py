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


# %% [markdown]
# ## Seeing what a layer puts out
#
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


def predict(model: nn.Module) -> dict[str, np.ndarray]:
    """Return probabilities, hidden vectors (fc7 after its ReLU) and labels of the test images."""
    batches = [outputs_of(model, ["relu7", "fc8"], images) for images, _ in loaders()[1]]
    hidden, scores = (np.concatenate([batch[name] for batch in batches]) for name in ("relu7", "fc8"))
    return {"probability": tinyconv.softmax(tinyconv.Tensor(scores), 1).numpy(), "hidden": hidden, "label": TEST.labels}


# %% [markdown]
# ## Five figures
# On ImageNet the first filters become edges, stripes and colour blobs in every run, one GPU grey and one coloured.


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
    fig, axis = plt.subplots(figsize=(8, 4))
    axis.imshow(mosaic(filters, 8), cmap="RdBu_r", vmin=-np.abs(filters).max(), vmax=np.abs(filters).max())
    axis.set_axis_off()
    return fig


def draw_maps(model: nn.Module, i: int) -> Figure:
    """Draw the ten strongest maps of three layers for test image i, each map from black (0) to its own maximum."""
    centred = loaders()[1].transform(TEST[i][0])
    outputs = outputs_of(model, ["relu1", "relu2", "relu5"], tinyconv.tensor(centred[None]))
    fig, axes = plt.subplots(4, 1, figsize=(9, 4.2), layout="constrained", height_ratios=(1.4, 1, 1, 1))
    axes[0].imshow(TEST.images[i, 0], cmap="gray")
    for axis, (name, y) in zip(axes[1:], outputs.items(), strict=True):
        strongest = y[0, y[0].max(axis=(1, 2)).argsort()[:-11:-1]]
        axis.imshow(mosaic(strongest / strongest.max(axis=(1, 2), keepdims=True), 10), cmap="magma")
        axis.set_ylabel(f"conv{name[-1]}\n{y.shape[2]}x{y.shape[3]}")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return fig


def draw_confusion(confusion: np.ndarray) -> Figure:
    """Draw how often each class was taken for each."""
    fig, axis = plt.subplots(figsize=(7, 6), layout="constrained")
    axis.imshow(np.sqrt(confusion), cmap="Blues", vmax=25)  # light enough for black numbers
    for i, j in np.argwhere(confusion):
        axis.text(j, i, confusion[i, j], ha="center", va="center", fontsize=8)
    axis.set(xlabel="the network says", ylabel="label", yticks=range(10), yticklabels=TEST.classes)
    axis.set_xticks(range(10), TEST.classes, rotation=45, ha="right")
    return fig


def draw_mistakes(found: dict[str, np.ndarray]) -> Figure:
    """Draw the twelve wrong answers the network was most sure of."""
    answer, sure = found["probability"].argmax(axis=1), found["probability"].max(axis=1)
    worst = np.argsort(np.where(answer != found["label"], -sure, 1))[:12]
    fig, axes = plt.subplots(2, 6, figsize=(11, 4.6), layout="constrained")
    for axis, i in zip(axes.flat, worst, strict=True):
        axis.imshow(TEST.images[i, 0], cmap="gray")
        axis.set_title(f"{TEST.classes[answer[i]]} {sure[i]:.0%}\nlabel: {TEST.classes[found['label'][i]]}", fontsize=9)
        axis.set_axis_off()
    return fig


def draw_neighbours(found: dict[str, np.ndarray]) -> Figure:
    """Draw a test image of every second class, and the six test images with the nearest hidden vectors."""
    first = [int(np.argmax(found["label"] == k)) for k in range(0, 10, 2)]
    nearest = np.array([np.linalg.norm(found["hidden"] - found["hidden"][i], axis=1).argsort()[:7] for i in first])
    fig, axis = plt.subplots(figsize=(7, 5.3), layout="constrained")
    axis.imshow(mosaic(TEST.images[nearest.ravel(), 0], 7), cmap="gray")
    for row, column in np.ndindex(nearest.shape):
        right = found["label"][nearest[row, column]] == found["label"][first[row]]
        color = "C0" if column == 0 else "C2" if right else "C3"
        axis.add_patch(Rectangle((29 * column - 0.5, 29 * row - 0.5), 28, 28, fill=False, color=color, lw=2))
    axis.set(xticks=[], yticks=[], title="image, and its nearest in fc7 (green: same label, red: another)")
    return fig


def look_inside(model: nn.Module, lesson: tinyconv.lesson.Lesson) -> float:
    """Draw all figures, print which classes are confused most, return the test accuracy."""
    found = predict(model)
    answer, confusion = found["probability"].argmax(axis=1), np.zeros((10, 10), int)
    np.add.at(confusion, (found["label"], answer), 1)
    lesson.save(draw_filters(model), "filters", alt="conv1's filters: dark-light pairs in several directions")
    lesson.save(draw_maps(model, 0), "maps", alt="the strongest maps of one image, coarser with each layer")
    lesson.save(draw_confusion(confusion), "confusion", alt="most confusions are among shirts, pullovers and coats")
    lesson.save(draw_mistakes(found), "mistakes", alt="twelve wrong answers of which the network was sure")
    lesson.save(draw_neighbours(found), "neighbours", alt="images near in fc7 mostly share the label")
    for at in np.argsort(-(confusion * (1 - np.eye(10, dtype=int))).ravel())[:3]:
        label, said = divmod(int(at), 10)
        print(f"{confusion[label, said] / 2:.0f} % of {TEST.classes[label]} were taken for {TEST.classes[said]}")
    return float(np.mean(answer == found["label"]))


# %% [markdown]
# Which classes are confused? Those that people confuse at 28 pixels. And the neighbours: often few pixels in common,
# but the same label nearly always. That is what fc7 is good for: a distance between images that means something.

# %%
if __name__ == "__main__":
    model = lesson.load_or_train(build, lambda model: train_briefly(model, lesson.smoke), short="3 epochs, about 20 s")
    print(f"test accuracy: {look_inside(model, lesson):.3f}")
    lesson.next("../02_zfnet/README.md", why="what each layer has learned to see")
