# %% [markdown]
# # AlexNet 10: looking inside
#
# minutes 15 | needs step9_train.py | next lesson 02_zfnet
#
# The paper ends by looking at its network: the first filters, and images that lie close together in the 4096 numbers
# of the last hidden layer (sec. 6.1). Here for ours: filters, feature maps, mistakes, neighbours.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from step9_train import build, loaders, train_briefly

import tinyconv
from tinyconv import nn
from tinyconv.data import fashion_mnist

lesson = tinyconv.lesson_step(__name__)


# %% [markdown]
# ## Seeing what a layer puts out
#
# A forward hook is called with every output of a module; it shows us the maps without touching the network.


# %%
def outputs_of(model: nn.Module, names: list[str], images: tinyconv.Tensor) -> dict[str, np.ndarray]:
    """Run the images through the model and return what the named layers put out."""
    found: dict[str, np.ndarray] = {}
    layers = dict(model.named_modules())
    handles = [
        layers[name].register_forward_hook(lambda _module, _inputs, y, name=name: found.update({name: y.numpy()}))
        for name in names
    ]
    with tinyconv.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return found


def predict(model: nn.Module) -> dict[str, np.ndarray]:
    """Return probabilities, hidden vectors (fc7 after its ReLU) and labels of the test images."""
    parts: dict[str, list] = {"probability": [], "hidden": [], "label": []}
    for images, labels in loaders()[1]:
        layers = outputs_of(model, ["fc7", "fc8"], images)
        parts["hidden"].append(np.maximum(layers["fc7"], 0))
        parts["probability"].append(tinyconv.softmax(tinyconv.Tensor(layers["fc8"]), 1).numpy())
        parts["label"].append(labels.numpy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


# %% [markdown]
# ## The first layer's filters
#
# On ImageNet these become edges, stripes and colour blobs, in every run. On small grey images expect edges and
# dark-light pairs. (The paper's two GPUs divided the work by themselves: one grey, one colour. There is no colour
# here.)


# %%
def draw_filters(model: nn.Module) -> Figure:
    """Draw conv1's filters."""
    filters = model.conv1.weight.detach().numpy()[:, 0]
    columns = 8
    fig, axes = plt.subplots(-(-len(filters) // columns), columns, figsize=(8, len(filters) / columns + 0.4))
    limit = np.abs(filters).max()
    for axis in axes.flat:
        axis.axis("off")
    for axis, image in zip(axes.flat, filters, strict=False):
        axis.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
    fig.suptitle("conv1: red adds brightness, blue subtracts it")
    return fig


def draw_maps(model: nn.Module, image: np.ndarray, centred: np.ndarray) -> Figure:
    """Draw the twelve strongest maps of three layers for one image."""
    names = ["conv1", "conv2", "conv5"]
    maps = outputs_of(model, names, tinyconv.tensor(centred[None]))
    fig, axes = plt.subplots(3, 13, figsize=(13, 3.4))
    for name, row in zip(names, axes, strict=True):
        y = np.maximum(maps[name][0], 0)
        row[0].imshow(image[0], cmap="gray")
        row[0].set_ylabel(f"{name}\n{y.shape[1]}x{y.shape[2]}")
        for axis, k in zip(row[1:], y.max(axis=(1, 2)).argsort()[::-1], strict=False):
            axis.imshow(y[k], cmap="magma", vmin=0)
            axis.set_title(f"map {k}", fontsize=7)
        for axis in row:
            axis.set(xticks=[], yticks=[])
    return fig


def draw_confusion(confusion: np.ndarray, classes: list[str]) -> Figure:
    """Draw how often each class was taken for each."""
    fig, axis = plt.subplots(figsize=(7, 6), layout="constrained")
    axis.imshow(np.sqrt(confusion), cmap="Blues")
    for i, j in np.ndindex(confusion.shape):
        if confusion[i, j]:
            dark = confusion[i, j] > 0.4 * confusion.max()
            axis.text(j, i, confusion[i, j], ha="center", va="center", color="white" if dark else "black", fontsize=8)
    axis.set(xlabel="network says", ylabel="label", xticks=range(10), yticks=range(10), yticklabels=classes)
    axis.set_xticklabels(classes, rotation=45, ha="right")
    return fig


def draw_mistakes(found: dict[str, np.ndarray], images: np.ndarray, classes: list[str]) -> Figure:
    """Draw the twelve wrong answers the network was most sure of."""
    answer, sure = found["probability"].argmax(axis=1), found["probability"].max(axis=1)
    wrong = np.flatnonzero(answer != found["label"])
    worst = wrong[np.argsort(-sure[wrong])][:12]
    fig, axes = plt.subplots(2, 6, figsize=(11, 4.4), layout="constrained")
    for axis, i in zip(axes.flat, worst, strict=False):
        axis.imshow(images[i, 0], cmap="gray")
        axis.set_title(f"{classes[answer[i]]} {sure[i]:.0%}\nlabel: {classes[found['label'][i]]}", fontsize=9)
    for axis in axes.flat:
        axis.axis("off")
    return fig


def draw_neighbours(found: dict[str, np.ndarray], images: np.ndarray) -> Figure:
    """Draw, for one test image per class, the six test images with the nearest hidden vectors."""
    chosen = [int(np.flatnonzero(found["label"] == k)[0]) for k in range(0, 10, 2)]
    fig, axes = plt.subplots(len(chosen), 7, figsize=(7, 5), layout="constrained")
    for row, i in zip(axes, chosen, strict=True):
        distance = np.linalg.norm(found["hidden"] - found["hidden"][i], axis=1)
        for axis, j in zip(row, np.argsort(distance)[:7], strict=True):
            axis.imshow(images[j, 0], cmap="gray")
            axis.set(xticks=[], yticks=[])
            right = found["label"][j] == found["label"][i]
            for side in axis.spines.values():
                side.set(color="C0" if j == i else "C2" if right else "C3", linewidth=3)
    axes[0, 0].set_title("image", fontsize=9)
    axes[0, 3].set_title("nearest in fc7 (green: same label, red: another)", fontsize=9)
    return fig


# %% [markdown]
# Which pairs are confused? Shirts with T-shirts, pullovers and coats, as people would. And the neighbours: they have
# few pixels in common, but the same label nearly always.


# %%
def look_inside(model: nn.Module, lesson: tinyconv.lesson.Lesson) -> float:
    """Draw all figures, print a few numbers, return the test accuracy."""
    found, test = predict(model), fashion_mnist("test")
    answer = found["probability"].argmax(axis=1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (found["label"], answer), 1)
    i = int(np.flatnonzero(found["label"] == 9)[0])
    centred = loaders()[1].transform(test.images[i].astype(np.float32) / 255)
    lesson.save(draw_filters(model), "filters", alt="conv1's filters: dark-light pairs in several directions")
    lesson.save(
        draw_maps(model, test.images[i], centred), "maps", alt="an ankle boot's strongest maps, coarser with each layer"
    )
    lesson.save(draw_confusion(confusion, test.classes), "confusion", alt="most errors are among upper-body clothes")
    lesson.save(draw_mistakes(found, test.images, test.classes), "mistakes", alt="twelve confident wrong answers")
    lesson.save(draw_neighbours(found, test.images), "neighbours", alt="images near in fc7 mostly share the label")
    off = confusion - np.diag(np.diag(confusion))
    for at in np.argsort(-off.ravel())[:3]:
        label, said = divmod(int(at), 10)
        print(f"{off[label, said]:4d} of 200 labelled {test.classes[label]} were taken for {test.classes[said]}")
    return float(np.mean(answer == found["label"]))


if __name__ == "__main__":
    model = lesson.load_or_train(
        build, lambda model: train_briefly(model, lesson.smoke), short="3 epochs of 5,000 images, about 20 s"
    )
    print(f"test accuracy: {look_inside(model, lesson):.3f}")
    lesson.next("../02_zfnet/README.md", why="what each layer has learned to see")
