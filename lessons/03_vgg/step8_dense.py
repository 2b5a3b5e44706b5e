# %% [markdown]
# # VGG 8: one network, images of any size
#
# minutes 20 | needs step7_train.py | next step9_localise.py
#
# AlexNet looked at ten crops and averaged. VGG can do without crops (sec. 3.2): its fully connected layers are turned
# into convolutions, the network runs once over the whole image, of any size, and gives a *map* of class scores. Their
# average over space is the answer. This step turns the layers by hand, looks at the map, and compares the two.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from step7_train import SIZE, build, loaders, pictures, scenes, train_briefly

import tinyconv
from tinyconv import models, nn, views
from tinyconv.data import Scenes
from tinyconv.lesson import Lesson
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## A fully connected layer is a convolution
#
# fc6 sees the last map, C x h x w numbers, flattened channel by channel. A convolution with a window as large as the
# map does the same sum. So row k of its weights, cut into (C, h, w) in that order, is filter k; fc7 and fc8 become 1x1.
# Cut it in another order, and the numbers are all there but in the wrong place: no error, only nonsense.


# %%
def by_hand(model: nn.Module, images: tinyconv.Tensor, order: str = "channel first") -> np.ndarray:
    """Return the score map (N, classes, MH, MW); "channel last" is the slip."""
    names = list(dict(model.named_children()))
    x = model[: names.index("flatten")](images)
    side = SIZE // 32
    for name in ("fc6", "fc7", "fc8"):
        layer = getattr(model, name)
        K, C = len(layer.weight), x.shape[1]
        window = side if name == "fc6" else 1
        weight = layer.weight.reshape(K, C, window, window)
        if order == "channel last":
            weight = layer.weight.reshape(K, window, window, C).permute(0, 3, 1, 2)
        x = F.conv2d(x, weight, layer.bias)
        x = x if name == "fc8" else F.relu(x)
    return x.numpy()


def turn_into_convolutions(model: nn.Module, images: np.ndarray) -> None:
    """Print that the map at the training size is the classifier's output, and what a wrong order gives."""
    batch = tinyconv.tensor(images[:32])
    with tinyconv.no_grad():
        fully = model(batch).numpy()
        dense = models.fully_convolutional(model)(batch).numpy()
        for order in ("channel first", "channel last"):
            mine = by_hand(model, batch, order)[:, :, 0, 0]
            same = np.mean(mine.argmax(1) == fully.argmax(1))
            print(f"{order:13s}: off by {np.abs(mine - fully).max():.0e}, the same answer for {same:.0%} of the images")
    print(f"the library's: off by {np.abs(dense[:, :, 0, 0] - fully).max():.0e}\n")
    full = models.fully_convolutional(models.vgg(device="meta"))
    small = models.fully_convolutional(models.vgg(10, config="A", scale="lesson", image_size=SIZE, device="meta"))
    for network, sides in ((full, (224, 256, 384, 512)), (small, (64, 80, 96, 128))):
        maps = [network(tinyconv.empty(1, 3, q, q, device="meta")).shape[2] for q in sides]
        print(f"trained at {sides[0]}: ", ", ".join(f"{q} -> {m}x{m}" for q, m in zip(sides, maps, strict=True)))


# %% [markdown]
# ## The map
#
# A picture six times as large as the training images, with five things in it. Each place of the map has a window of
# 64x64 pixels; neighbours are 32 apart. Nobody has told the network about places. (The windows without anything in
# them get a class, too: it has never seen an empty image.)


# %%
def draw_map(model: nn.Module) -> plt.Figure:
    """Draw the class with the highest probability at every place, and how sure the network is."""
    wide = Scenes(9, items=("fashion",), background="gradient", objects=5, size=160, sides=(30, 44), split="test")
    scene, normal = wide[2], loaders(10, 10)[1].transform.transforms[-1]
    maps = views.outputs(models.fully_convolutional(model), normal(scene.image)[None])[0]
    places = maps.shape[1:]
    sure = views.probabilities(maps.reshape(len(maps), -1).T).reshape(*places, -1)
    fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    axes[0].imshow(scene.image.transpose(1, 2, 0), extent=(0, 160, 160, 0))
    for (x1, y1, x2, y2), known in zip(scene.boxes, scene.attributes, strict=True):
        axes[0].add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec="white"))
        axes[0].text(x1, y1 - 2, known.name, color="white", fontsize=9)
    axes[0].add_patch(Rectangle((0.5, 0.5), 64, 64, fill=False, ec="C1", lw=2))
    axes[0].set(title="the picture; orange: the window of the first place", xticks=[], yticks=[])
    axes[1].imshow(sure.max(2), cmap="Blues", vmin=0, vmax=1)
    for r, c in np.ndindex(*places):
        name, p = wide.classes[sure[r, c].argmax()], sure[r, c].max()
        axes[1].text(c, r, f"{name}\n{p:.0%}", ha="center", va="center", color="white" if p > 0.6 else "black")
    axes[1].set(title="the map: the likeliest class at every place", xticks=[], yticks=[])
    return fig


# %% [markdown]
# ## Dense or crops?
#
# Two windows that overlap share their convolutions when the image is done at once; as crops each is computed from
# scratch. That is the first difference. The second: at its border a crop sees zeros, where dense evaluation sees the
# neighbouring pixels. So they make different mistakes, and the paper's best results average both (D: dense 24.8 %,
# crops 24.6 %, both 24.4 % top-1). Ours are a few hundred images: a point more or less means nothing here.


# %%
def compare(model: nn.Module, lesson: Lesson) -> dict[str, float]:
    """Return the error of each way of testing; prints it with its time per image."""
    n, sides = (20, (64, 96)) if lesson.smoke else (400, views.scales_of((64, 96)))
    test, normal = pictures("test", n, seed=1), loaders(10, 10)[1].transform.transforms[-1]
    images = normal(test.images.astype(np.float32) / 255)
    turn_into_convolutions(model, images)

    def crops(scaled: np.ndarray) -> np.ndarray:
        return views.multi_crop(model, scaled, SIZE, grid=3)  # 5 in the paper; 64 in 96 pixels leaves less room

    ways = {
        f"one view, Q = {SIZE}": lambda: views.predict(model, images),
        f"and its mirror image (dense, Q = {SIZE})": lambda: views.dense(model, images),
        "dense, Q = 96": lambda: views.dense(model, views.rescale(images, 96)),
        f"dense, Q = {sides}": lambda: views.multi_scale(images, sides, lambda x: views.dense(model, x)),
        f"3 x 3 x 2 crops, Q = {sides}": lambda: views.multi_scale(images, sides, crops),
    }
    found, errors = {}, {}
    print(f"\n{n} test images                              error   ms per image")
    for name, way in ways.items():
        start = perf_counter()
        found[name] = way()
        errors[name] = views.top_k_error(found[name], test.labels)
        print(f"{name:42s} {errors[name]:7.1%} {1e3 * (perf_counter() - start) / n:12.1f}")
    both = (found[list(ways)[-1]] + found[list(ways)[-2]]) / 2
    errors["both"] = views.top_k_error(both, test.labels)
    print(f"{'the mean of the last two':42s} {errors['both']:7.1%}")
    return errors


# %%
if __name__ == "__main__":
    short = "5 epochs, about a minute"
    model = lesson.load_or_train(build, lambda model: train_briefly(model, lesson.smoke), short=short)
    print(f"classes: {', '.join(scenes('test', 1).classes)}\n")
    compare(model, lesson)
    alt = "a map of classes over a picture with five pieces of clothing; it names most of them at their places"
    lesson.save(draw_map(model), "dense_map", alt=alt)
    lesson.next(why="where exactly is it?")
