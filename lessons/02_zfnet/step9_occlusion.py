# %% [markdown]
# # ZF Net 9: what does the answer depend on?
#
# minutes 20 | needs step8_look_inside.py | next exercises.py
#
# A network may know a boot by its shaft, or by the floor it stands on. The paper's test needs no look inside: cover a
# part of the image with a grey square, everywhere in turn, and watch the answer (sec. 4.2).

# %%
from time import perf_counter

import numpy as np
from step7_train import build, test_images, train_briefly

import tinyconv
from tinyconv import explain, nn
from tinyconv.data import fashion_mnist
from tinyconv.explain import figures
from tinyconv.lesson import Lesson

lesson = tinyconv.lesson_step(__name__)
CLASSES = fashion_mnist("test").classes
SQUARE, STRIDE = 7, 2  # the paper gives neither; a quarter of the image, a third of the square


# %% [markdown]
# ## Covered copies go through in batches
#
# For every place of the square the image is copied, covered and classified; a square of 7x7 has 484 places. The
# definition takes five lines. One at a time, the network spends its time on calls; in a batch they share them.


# %%
def one_at_a_time(model: nn.Module, image: np.ndarray, target: int, corners: np.ndarray) -> np.ndarray:
    """Return the probability of a class for each place of the square, as the caption of fig. 6 describes it."""
    found = []
    with tinyconv.no_grad():
        for top, left in corners:
            copy = image.copy()
            copy[:, top : top + SQUARE, left : left + SQUARE] = 0
            found.append(tinyconv.softmax(model(tinyconv.tensor(copy[None])), 1).numpy()[0, target])
    return np.array(found)


def compare(model: nn.Module, image: np.ndarray, target: int) -> None:
    """Check the library against the five lines, and measure both."""
    explain.occlusion(model, image, size=SQUARE, stride=1)  # loads what both need
    start = perf_counter()
    found = explain.occlusion(model, image, target, size=SQUARE, stride=1)
    batched = perf_counter() - start
    corners = found.positions.reshape(-1, 2)
    start = perf_counter()
    ours = one_at_a_time(model, image, target, corners)
    single = perf_counter() - start
    difference = np.abs(ours - found.probability.ravel()).max()
    print(
        f"{len(corners)} covered copies: batched and one by one differ by at most {difference:.1e}; per second ", end=""
    )
    print(f"{len(corners) / batched:,.0f} and {len(corners) / single:,.0f} ({single / batched:.1f} times as many)")


# %% [markdown]
# ## Three maps
#
# For each place: the *activity* of the map of the last pool that responds most to the whole image, the *probability* of
# the true class, and the *most probable class*. Where the first two fall together, the part under the square is what
# that map stands for, and what the answer rests on.
#
# Trap: what is a cover? The paper's grey is the mean, 0 to the network. On black ground a grey square hides what is on
# the boot, but not where it ends. A black one erases the outline too. The two give different answers to the same
# question, and neither image is one the network has ever seen.


# %%
def confident(model: nn.Module, images: np.ndarray, labels: np.ndarray, k: int) -> int:
    """Return the image of class k that the model is most sure of."""
    with tinyconv.no_grad():
        sure = tinyconv.softmax(model(tinyconv.tensor(images)), 1).numpy()[:, k]
    return int(np.where(labels == k, sure, -1).argmax())


def draw_occlusion(model: nn.Module, lesson: Lesson) -> None:
    """Draw the three maps for a boot, a bag and a pair of trousers."""
    images, labels = test_images(100 if lesson.smoke else 1000)
    for name in ("Ankle boot", "Bag", "Trouser"):
        k = CLASSES.index(name)
        image = images[confident(model, images, labels, k)]
        for cover, value in (("grey", 0.0), ("black", float(images.min()))):
            found = explain.occlusion(model, image, k, size=SQUARE, stride=STRIDE, value=value)
            others = [CLASSES[label] for label in np.unique(found.label) if label != k]
            (y, x), worst = found.lowest, found.probability.min()
            print(f"{name}, {cover} square: {found.whole_probability:.1%} whole, {worst:.1%} at worst ", end="")
            print(f"(middle at row {y:.0f}, column {x:.0f}); becomes {', '.join(others) or 'nothing else'}")
        file = f"occlusion-{name.split()[-1].lower()}"
        alt = f"{name.lower()}: activity, probability and answer for each place of a black square"
        lesson.save(figures.occlusion_maps(image, found, CLASSES), file, alt=alt)


# %% [markdown]
# ## Correspondence
#
# Does the network know that all boots have a toe? Nobody told it. Cover the same part in five boots; if the features of
# all five change *alike*, the part means the same in each. Delta is the share of features whose change differs in sign
# between two images, over all pairs; lower is more consistent. Against it: five squares in random places. In the paper
# eyes and noses of dogs gave 0.07 to 0.08 in layer 5 and random parts 0.107; in layer 7 no difference was left.
#
# Two traps. Most features are zero before and after, and equal signs agree, so a part that changes little scores low:
# hence the share that changes. And these boots all lie alike: covering the same *place* is more alike than covering
# random ones for any network. So an untrained one is measured too; only what it lacks was learned.

# %%
PARTS = {"toe": (17, 2), "heel": (17, 18), "shaft": (3, 14)}  # top and left of the square


def part_deltas(model: nn.Module, lesson: Lesson) -> dict[str, dict[str, float]]:
    """Print and return Delta for parts of five boots and for random places, at pool5 and relu7."""
    images, labels = test_images(200 if lesson.smoke else 1000)
    boots = images[np.flatnonzero(labels == CLASSES.index("Ankle boot"))]
    rounds = 2 if lesson.smoke else 10
    results: dict[str, dict[str, float]] = {}
    print("part     Delta at pool5   at relu7   features changed at pool5")
    for part in (*PARTS, "random"):
        deltas, changed = {"pool5": [], "relu7": []}, []
        for _ in range(rounds):
            five = boots[lesson.rng.choice(len(boots), 5, replace=False)]
            masked = five.copy()
            for copy in masked:
                top, left = PARTS.get(part, lesson.rng.integers((3, 2), (18, 19)))
                copy[:, top : top + SQUARE, left : left + SQUARE] = images.min()
            for layer, values in deltas.items():
                before, after = (explain.features(model, batch, layer) for batch in (five, masked))
                values.append(explain.correspondence(before, after))
                if layer == "pool5":
                    changed.append(np.mean(before != after))
        results[part] = {layer: float(np.mean(values)) for layer, values in deltas.items()}
        five, seven, share = results[part]["pool5"], results[part]["relu7"], np.mean(changed)
        print(f"{part:8s} {five:.3f} +- {np.std(deltas['pool5']):.3f} {seven:8.3f} {share:15.0%}")
    return results


# %%
if __name__ == "__main__":
    model = lesson.load_or_train(build, lambda model: train_briefly(model, lesson.smoke), short="3 epochs, about 20 s")
    compare(model, test_images(1)[0][0], int(test_images(1)[1][0]))
    draw_occlusion(model, lesson)
    for title, network in (("trained", model), ("untrained", build().eval())):
        print(f"\n{title}")
        part_deltas(network, lesson)
    print("\nyour own picture: tinyconv explain occlusion --image FILE   (also deconvnet, saliency, filters)")
    lesson.next("exercises.py", why="write these parts yourself; lesson 03_vgg goes deeper with 3x3 filters only")
