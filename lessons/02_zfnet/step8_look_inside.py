# %% [markdown]
# # ZF Net 8: what has it learned to look for?
#
# minutes 20 | needs step7_train.py | next step9_occlusion.py
#
# The paper's figures 2, 4 and 5, on our small network and on clothes it has not trained on: what a map responds to, how
# that came about, and how much an image may move before the features notice.

# %%
import numpy as np
from step7_train import WATCHED, build, test_images, train_briefly

import tinyconv
from tinyconv import explain, nn, views
from tinyconv.data import fashion_mnist
from tinyconv.explain import Evolution, Snapshot, figures
from tinyconv.lesson import Lesson

lesson = tinyconv.lesson_step(__name__)
COUNT = 200 if lesson.smoke else 1000

# %% [markdown]
# ## The nine strongest responses of a map
#
# For eight maps each of four layers: the nine images with the largest single activation, each projected by the
# deconvnet, beside the patch of the image that the unit sees (7, 15, 23 pixels, then all). The paper saw corners and
# colours in layer 2, textures in 3, parts of classes in 4, whole objects in 5. Our images leave less room for such a
# ladder, and it shows all the same: lines and edges; corners and gaps; handles, heels and the space between trouser
# legs; whole shapes. Look at the *patches*: the more they differ while the projection stays the same, the more the map
# has learned to disregard. And see how many of the nine have one label: nobody told conv5 that labels go together.


# %%
def draw_top_nine(model: nn.Module, lesson: Lesson) -> None:
    """Draw the strongest responses of the most active maps of four layers."""
    images, labels = test_images(COUNT)
    for layer in ("pool1", "pool2", "relu3", "relu5"):
        top = explain.top_activations(model, images, layer)
        maps = np.sort(np.argsort(-top.values[:, -1], kind="stable")[:8])  # those with nine strong responses
        chosen = explain.TopActivations(*(part[maps] for part in top))
        one_class = np.mean([np.bincount(labels[row]).max() / 9 for row in chosen.images])
        field = explain.receptive_field(model, layer)
        print(f"{str(field):34s} of the nine strongest images of a map, {one_class:.0%} are of one class")
        alt = f"nine projections and patches for eight maps of {layer}, {field.size[0]} pixels wide"
        lesson.save(figures.top_nine(model, images, layer, maps.tolist(), chosen), f"top9-{layer}", alt=alt)


# %% [markdown]
# ## Evolution
#
# What step 7's callback kept: the strongest projection of eight maps, epoch by epoch. An orange bar says that another
# image is now the strongest: then the picture jumps. The number printed is how much each epoch's projection looks like
# the last one's (cosine), among those whose strongest image stayed. In the paper low layers settle within a few epochs
# and high ones only after 40 to 50. Nine epochs do not show that: both settle where the rate is divided by ten.


# %%
def draw_evolution(lesson: Lesson, model: nn.Module) -> None:
    """Draw what step 7 left, or, without it, only the network as it is now."""
    path = lesson.out / "evolution.npz"
    if path.exists():
        kept = np.load(path)
        names = ("epoch", "values", "images", "positions", "projections")
        history = {
            layer: [Snapshot(int(row[0]), *row[1:]) for row in zip(*(kept[f"{layer}/{n}"] for n in names), strict=True)]
            for layer in WATCHED
        }
    else:
        watch = Evolution(test_images(COUNT)[0], WATCHED)
        watch.record(model, 0)
        history = watch.snapshots
        print("evolution: step7_train.py keeps it; now only the network as it is")
    for layer, snapshots in history.items():
        best = np.sort(np.argsort(-snapshots[-1].values, kind="stable")[:8])  # some of the others answer to nothing
        kept8 = [
            Snapshot(s.epoch, s.values[best], s.images[best], s.positions[best], s.projections[best]) for s in snapshots
        ]
        last = kept8[-1]
        likeness = []
        for now in kept8:
            flat, end = now.projections.reshape(8, -1), last.projections.reshape(8, -1)
            norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(end, axis=1)
            same = (now.images == last.images) & (norms > 0)
            cosine = (flat * end).sum(axis=1)[same] / norms[same]
            likeness.append(f"{cosine.mean():.2f} ({same.sum()})" if same.any() else "- (0)")
        epochs = [snapshot.epoch for snapshot in kept8]
        print(f"{layer}: like the last, at epochs {epochs}: {', '.join(likeness)}")
        alt = f"the strongest projection of eight maps of {layer} from before training to its end"
        lesson.save(
            figures.evolution(kept8, f"{layer}, epoch by epoch", explain.receptive_field(model, layer)),
            f"evolution-{layer}",
            alt=alt,
        )


# %% [markdown]
# ## Invariance
#
# Five clothes, shifted, scaled and turned a little. The features of the first layer move far away at once, those of fc7
# less and more evenly; the probability of the true class holds for some pixels, then goes. Nothing made the network
# indifferent to turning, and it is not.


# %%
def draw_invariance(model: nn.Module, lesson: Lesson) -> None:
    """Draw how far features move, and print how far at the first step of each transform."""
    images, labels = test_images(COUNT)
    names = fashion_mnist("test").classes
    right = 1 + (views.predict(model, images).argmax(axis=1) == labels)  # of each class the first that it knows
    chosen = [int(np.argmax(right * (labels == k))) for k in (0, 1, 5, 8, 9)]
    steps = 5 if lesson.smoke else 17
    amounts = {"shift": np.linspace(-8, 8, steps), "scale": np.linspace(0.6, 1.4, steps), "rotation": np.linspace(-180, 180, 2 * steps - 1)}  # fmt: skip  # noqa: E501
    layers, results = ("relu1", "relu7"), {}
    for transform, values in amounts.items():
        found = explain.invariance(model, images[chosen], labels[chosen], transform, values, layers, images.min())
        results[transform] = values, found
        middle = len(values) // 2
        share = (found.distances / found.distances.max(axis=2, keepdims=True)).mean(axis=1)[:, middle + 1]
        print(f"{transform} by {values[middle + 1] - values[middle]:.3g}: ", end="")
        print(", ".join(f"{layer} {s:.0%}" for layer, s in zip(layers, share, strict=True)), "of its largest distance")
    alt = "distances rise steeply in relu1 and more gently in relu7; of five images some keep their class, some lose it"
    fig = figures.invariance_curves(results, layers, [names[labels[i]] for i in chosen])
    lesson.save(fig, "invariance", alt=alt)


def look_inside(model: nn.Module, lesson: Lesson) -> None:
    """Draw everything."""
    alt = "conv1's filters: some lines, edges and blobs, and many that still look like noise"
    lesson.save(figures.first_filters(model), "filters", alt=alt)
    draw_top_nine(model, lesson)
    draw_evolution(lesson, model)
    draw_invariance(model, lesson)


# %%
if __name__ == "__main__":
    model = lesson.load_or_train(build, lambda model: train_briefly(model, lesson.smoke), short="3 epochs, about 20 s")
    look_inside(model, lesson)
    lesson.next(why="what does the answer depend on?")
