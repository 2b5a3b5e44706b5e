# %% [markdown]
# # GoogLeNet 8: where it sees what
#
# minutes 15 | needs step7_train.py | next step9_views.py
#
# Average pooling comes last, then one linear layer. Step 5 showed that the two can change places: apply the layer to
# the 256 (there 1024) numbers at every single place of the last maps, and average afterwards. So every place has class
# scores of its own, a *class map*, without any training or gradient; and the network takes pictures of any size.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from step7_train import build, normaliser, train_briefly

import tinyconv
from tinyconv import views
from tinyconv.data import Scenes
from tinyconv.models.googlenet import GoogLeNet
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)
STEP, FIRST = 8, 7.5  # pixels between the centres of places (three pools of stride 2), and where the first one lies


# %%
def class_maps(model: GoogLeNet, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps (N, classes, MH, MW), and the model's own scores (N, classes)."""
    kept = []
    handle = model.inception_5b.register_forward_hook(lambda module, x, y: kept.append(y))
    weight = model.fc.weight.reshape(*model.fc.weight.shape, 1, 1)
    with tinyconv.no_grad():
        scores = model(tinyconv.tensor(images)).numpy()
        maps = F.conv2d(kept[0], weight, model.fc.bias).numpy()
    handle.remove()
    return maps, scores


def scenes(n: int, size: int, objects: int) -> tuple[np.ndarray, list]:
    """Return n test pictures (n, 1, size, size) with some pieces of clothing each, and what is known of them."""
    look = {"items": ("fashion",), "background": "black", "colours": ("white",), "sides": (24, 30)}
    drawn = Scenes(n, seed=8, split="test", objects=objects, size=size, overlap=0.0, **look)
    known = [drawn[i] for i in range(n)]
    return np.stack([scene.image[:1] for scene in known]), known


# %% [markdown]
# ## Is the strongest place on the object?
#
# Pictures of 72x72 with one object, whose class is given. By chance the strongest place is on its box as often as the
# box is large. An untrained network is the control that counts: the object is the only bright thing.


# %%
def measure(model: GoogLeNet, count: int) -> None:
    """Print how often the strongest place of the true class's map lies in the object's box."""
    images, known = scenes(count, 72, 1)
    labels, boxes = np.array([s.labels[0] for s in known]), np.array([s.boxes[0] for s in known])
    area = np.mean((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) / 72**2
    for name, network in (("trained", model), ("untrained", build().eval())):
        maps, scores = class_maps(network, normaliser()(images))
        print(f"{name}: the maps' mean is {np.abs(maps.mean((2, 3)) - scores).max() / scores.std():.0e} of a deviation "
              "from the network's own scores")  # fmt: skip
        own = maps[np.arange(count), labels]
        row, column = np.divmod(own.reshape(count, -1).argmax(1), own.shape[2])
        x, y = FIRST + STEP * column, FIRST + STEP * row
        inside = (x > boxes[:, 0]) & (x < boxes[:, 2]) & (y > boxes[:, 1]) & (y < boxes[:, 3])
        print(f"  strongest place of the true class is in the box: {inside.mean():.0%} (the box is {area:.0%} of the "
              f"picture); right answers: {1 - views.top_k_error(scores, labels):.0%}")  # fmt: skip


# %% [markdown]
# ## Several objects
#
# Pictures nine times as large as the windows of the training, with four things. Nothing was trained for this: each
# place answers for its surroundings, and the maps of different classes light up in different corners, where the
# network recognises the thing, and elsewhere where it is mistaken.


# %%
def draw(model: GoogLeNet, rows: int = 3) -> plt.Figure:
    """Draw pictures, and the maps of the classes that are in them, after a softmax over the classes."""
    images, known = scenes(20, 108, 4)
    different = [i for i, scene in enumerate(known) if len(set(scene.labels)) == 4][:rows]
    images, known = images[different], [known[i] for i in different]
    maps, _ = class_maps(model, normaliser()(images))
    names = Scenes(1, items=("fashion",)).classes
    fig, axes = plt.subplots(rows, 5, figsize=(12, 2.5 * rows), layout="constrained")
    for line, image, scores, scene in zip(axes, images, maps, known, strict=True):
        chances = views.probabilities(scores.reshape(len(scores), -1).T).T.reshape(scores.shape)
        line[0].imshow(image[0], cmap="gray", extent=(0, 108, 108, 0))
        line[0].set_title(f"the picture; maps of {scores.shape[1]}x{scores.shape[2]}", fontsize=9)
        for axis, label, (x1, y1, x2, y2) in zip(line[1:], scene.labels, scene.boxes, strict=True):
            ends = FIRST - STEP / 2, FIRST + STEP * (scores.shape[1] - 0.5)
            axis.imshow(chances[label], cmap="Blues", vmin=0, vmax=1, extent=(*ends, *ends[::-1]))
            axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec="C1", lw=1.5))
            axis.set(xlim=(0, 108), ylim=(108, 0))
            axis.set_title(names[label], fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return fig


# %%
if __name__ == "__main__":
    short = "6 epochs, about a minute"
    model = lesson.load_or_train(build, lambda model: train_briefly(model, lesson.smoke), short=short)
    measure(model, 20 if lesson.smoke else 400)
    alt = "for four pieces of clothing in each picture the map of their class, with its box in orange"
    lesson.save(draw(model), "class_maps", alt=alt)
    lesson.next(why="144 looks at one picture")
