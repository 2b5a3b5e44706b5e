"""What Zeiler and Fergus saw in their networks, tried small: ``make claims LESSON=02``.

Each claim is measured with several seeds: the seed gives the images, the initial weights and the order. Results go to
``results.json`` after every seed; a later call measures what is missing. The set-ups were fixed before measuring; the
learning rate is the one that trained the network with a seed not used here. What does not come out is reported so.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import tinyconv
from tinyconv import explain, nn, optim
from tinyconv.claims import Claims, Runs, main, mean, numbers, percents, values
from tinyconv.claims_looking import cosines, energy, harm
from tinyconv.claims_training import images, initialise, judge, network, train
from tinyconv.data import ArrayDataset, Scenes, fashion_mnist, shapes10
from tinyconv.data.shapes10 import Shapes10
from tinyconv.optim.filters import filter_rms

POOL1, POOL2, POOL3, SCORES = "2", "5", "8", "10"  # layers of the small network, by their place in it
SQUARE, STRIDE = 6, 2  # pixels; of 24 or 32
EPOCHS = (1, 2, 5, 10, 20)  # when evolution looks, before the end
RATE = 0.01

# --------------------------------------------------------------------------------------------------------- the networks


def fresh(seed: int, size: int = 24) -> nn.Sequential:
    """Return three 5x5 convolutions of 16, 16, 32 filters, each with ReLU and 2x2 max pool, and a linear layer."""
    tinyconv.manual_seed(seed)
    model = network([16, 16, 32], size=size)
    initialise(model, "he")
    return model


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return a copy of a model's weights."""
    return {name: tinyconv.tensor(value.numpy().copy()) for name, value in model.state_dict().items()}


@cache
def trained(seed: int, steps: int) -> tuple[nn.Sequential, dict[int, dict[str, Any]]]:
    """Train on 2,000 images of Shapes10; return the network and its weights after some epochs."""
    model, epoch = fresh(seed), 2000 // 32
    snapshots = {0: state_of(model)}
    for step in train(model, images(2000, 0.15, seed), steps, RATE, seed=seed, every=epoch):
        if step // epoch in EPOCHS:
            snapshots[step // epoch] = state_of(model)
    model.eval()
    return model, snapshots


def tests(seed: int, n: int = 1000, **options: Any) -> Shapes10:
    """Return test images of Shapes10, with boxes."""
    return shapes10(n, sigma=0.15, seed=1000 + seed, **options)


def probabilities(model: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """Return the class probabilities (N, 10)."""
    with tinyconv.no_grad():
        return tinyconv.softmax(model(tinyconv.Tensor(pixels)), 1).numpy()


# ------------------------------------------------------------------------------------------------------------ occlusion


def cover(seed: int, model: nn.Module, pixels: np.ndarray, labels: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
    """Return what :func:`harm` finds, and "untrained": the share it finds with the initial weights."""
    found = {"images": len(pixels)} | harm(model, pixels, labels, boxes, SQUARE, STRIDE, POOL3)
    start = harm(fresh(seed, pixels.shape[2]), pixels, labels, boxes, SQUARE, STRIDE, POOL3)
    return found | {"untrained": start["probability"]}


def measure_x3(seed: int, steps: int = 1200, least: float = 0.9) -> dict[str, Any]:
    """The first 100 test images of Shapes10 with P(true class) of at least 0.9; a grey square of 6 pixels, stride 2."""
    model, data = trained(seed, steps)[0], tests(seed)
    sure = probabilities(model, data.images)[np.arange(len(data.labels)), data.labels] >= least
    chosen = np.flatnonzero(sure)[:100]
    test_error = judge(model, data)[0]
    return {"test_error": test_error} | cover(seed, model, data.images[chosen], data.labels[chosen], data.boxes[chosen])


def correct(model: nn.Module, pixels: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the first ``count`` images that are classified right."""
    return np.flatnonzero(probabilities(model, pixels).argmax(axis=1) == labels)[:count]


def measure_x3_small(seed: int, steps: int = 1400) -> dict[str, Any]:
    """The same square on Shapes10 of 32 pixels with half-sizes of 4 to 5; the first 80 images classified right."""
    smaller: dict[str, Any] = {"size": 32, "radius": (4.0, 5.0)}
    model, data = fresh(seed, 32), tests(seed, **smaller)
    for _ in train(model, images(2000, 0.15, seed, **smaller), steps, RATE, seed=seed):
        pass
    model.eval()
    chosen = correct(model, data.images, data.labels, 80)
    found = cover(seed, model, data.images[chosen], data.labels[chosen], data.boxes[chosen])
    return {"test_error": judge(model, data)[0]} | found


def measure_scenes(seed: int, steps: int = 1600) -> dict[str, Any]:
    """Digits of 9 to 12 pixels on 32x32 scenes with a colour gradient; the first 100 classified right."""

    def scenes(n: int, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return Scenes(n, seed, 32, ("mnist",), "gradient", objects=1, sides=(9, 12), split=split).arrays()

    (pixels, labels, _), (test, wanted, boxes) = scenes(3000, "train"), scenes(500, "test")
    grey = pixels.mean()  # the square's 0
    model = fresh(seed, 32)
    for _ in train(model, ArrayDataset(pixels - grey, labels), steps, RATE, seed=seed):
        pass
    model.eval()
    chosen = correct(model, test - grey, wanted, 100)
    share = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 32**2
    found = cover(seed, model, (test - grey)[chosen], wanted[chosen], boxes[chosen])
    return {"test_error": judge(model, ArrayDataset(test - grey, wanted))[0], "largest": float(share.max())} | found


# -------------------------------------------------------------------------------------------------------------- filters


def held(
    model: nn.Module, data: ArrayDataset, test: ArrayDataset, steps: int, rate: float, seed: int
) -> dict[str, Any]:
    """Train a copy of the model without and one with the rule; return the sizes of conv1's filters, and errors."""
    found, start = {}, state_of(model)
    for name in ("without", "with"):
        model.load_state_dict(start)
        optimizer = optim.SGD(model.parameters(), rate, momentum=0.9)
        if name == "with":
            optimizer.register_step_post_hook(optim.renormalise_filters(model, 0.1))
        first = next(iter(model.parameters())).detach()
        largest = [float(filter_rms(first).numpy().max())]
        for _ in train(model, data, steps, rate, seed=seed, optimizer=optimizer, every=50):
            largest.append(float(filter_rms(first).numpy().max()))
        rms = filter_rms(first).numpy()
        spread = float(rms.max() / np.median(rms))
        errors = {"train_error": judge(model, data)[0], "test_error": judge(model, test)[0]}
        found[name] = {"largest": largest, "spread": spread} | errors
    return found


def measure_filters(seed: int, steps: int = 500, rate: float = 0.001) -> dict[str, Any]:
    """Pixels times 255, weights N(0, .01), rate .001: largest RMS of conv1's filters every 50 steps, without and with.

    "With": after each step, filters whose RMS exceeds 0.1 are scaled down to it, in all convolutions.
    """
    data, test = images(2000, 0.15, seed, scale=255.0), images(1000, 0.15, 1000 + seed, scale=255.0)
    tinyconv.manual_seed(seed)
    model = network([16, 16, 32])
    initialise(model, "gaussian")
    return held(model, data, test, steps, rate, seed)


def measure_filters_faster(seed: int, steps: int = 500) -> dict[str, Any]:
    """The same with rates of .003 and .01, the paper's; added when the first had come out."""
    return {str(rate): measure_filters(seed, steps, rate) for rate in (0.003, 0.01)}


def measure_filters_clothes(seed: int, steps: int = 400) -> dict[str, Any]:
    """The network of step 5 on 3,000 Fashion-MNIST images: pixels 0..255 minus their mean, N(0, .01), rate .01."""
    clothes, test = fashion_mnist("train"), fashion_mnist("test")
    chosen = np.random.default_rng(seed).permutation(len(clothes.labels))[:3000]
    pixels = clothes.images[chosen].astype(np.float32)
    parts = [(pixels, clothes.labels[chosen]), (test.images.astype(np.float32), test.labels)]
    data, unseen = (ArrayDataset(part - pixels.mean(), labels) for part, labels in parts)
    tinyconv.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(32 * 2 * 2, 10),
    )  # fmt: skip
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    return held(model, data, unseen, steps, 0.01, seed)


# ---------------------------------------------------------------------------------------------------------- projections


def measure_evolution(seed: int, steps: int = 1860) -> dict[str, Any]:
    """The network of X3: one projection per map after 0, 1, 2, 5, 10, 20 epochs, against the same after 30 epochs.

    For each map, the trained network chooses the image (of 200) and the place where the map responds most. The
    activation at that place is projected with the weights of each epoch: mean cosine over the maps, pixel by pixel.
    """
    model, snapshots = trained(seed, steps)
    pixels, earlier = tests(seed, 200).images, fresh(seed)
    found: dict[str, Any] = {}
    for name, layer in (("layer 1", POOL1), ("layer 3", POOL3)):
        top = explain.top_activations(model, pixels, layer, 1)
        alive = np.flatnonzero(top.values[:, 0] > 0)
        chosen, places = pixels[top.images[alive, 0]], top.positions[alive, 0]
        last = explain.deconvnet(model, chosen, layer, alive, position=places)
        for epoch, state in snapshots.items():
            earlier.load_state_dict(state)
            then = explain.deconvnet(earlier, chosen, layer, alive, position=places)
            found.setdefault(name, {})[str(epoch)] = round(float(cosines(then, last).mean()), 6)
    return found


def measure_energy(seed: int, steps: int = 1200) -> dict[str, Any]:
    """The network of X3: where the squares of a projection's pixels are, for each map's nine strongest activations.

    "field": share within the unit's receptive field, at least. "box": within the object's box, in the mean. "area": the
    box's share of the image. "other": within the box of the next image. "untrained": "box" with the initial weights.
    Second and third layer, after their pools; 1,000 test images.
    """
    (model, _), data, found = trained(seed, steps), tests(seed), dict[str, Any]()
    for name, layer in (("layer 2", POOL2), ("layer 3", POOL3)):
        start = energy(fresh(seed), data.images, data.boxes, layer)
        found[name] = energy(model, data.images, data.boxes, layer) | {"untrained": start["box"]}
    return found


def measure_upper(seed: int, steps: int = 1200, count: int = 100) -> dict[str, Any]:
    """The network of X3: maps of the true class's score, before and after some layers get fresh random weights.

    Correlation, over the pixels, of the magnitudes summed over colours; mean of 100 test images. Not a claim of the
    paper: Nie et al. 2018, Adebayo et al. 2018.
    """
    (model, _), data = trained(seed, steps), tests(seed, count)
    random, found = fresh(5000 + seed), dict[str, Any]()
    for name, layers in (("scores", [SCORES]), ("layer 3 too", ["6", SCORES]), ("all", ["0", "3", "6", SCORES])):
        state = state_of(model)
        state |= {key: value for key, value in state_of(random).items() if key.split(".")[0] in layers}
        changed = fresh(seed)
        changed.load_state_dict(state)
        found[name] = {}
        for rule in ("gradient", "guided", "deconvnet"):
            pair = [explain.saliency(m, data.images, data.labels, rule=rule) for m in (model, changed)]
            flat = [np.abs(one).sum(axis=1).reshape(count, -1) for one in pair]
            centred = [one - one.mean(axis=1, keepdims=True) for one in flat]
            found[name][rule] = round(float(cosines(*centred).mean()), 4)
    return found


# ------------------------------------------------------------------------------------------------------- correspondence

PARTS = ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.0, 0.0))  # of the box's half-size, from its centre


def masked(pixels: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the images with a grey square each; ``corners`` (N, 2) are its top and left."""
    covered = pixels.copy()
    for image, (top, left) in zip(covered, corners, strict=True):
        image[:, top : top + SQUARE, left : left + SQUARE] = 0
    return covered


def measure_correspondence(seed: int, steps: int = 1200, only_right: bool = True) -> dict[str, Any]:
    """The network of X3: Delta of five images of a class, for the same part covered, and for a random part of each.

    A grey square of 6 pixels, at five places of the object's box; five draws at random places of the image; the first
    five test images of each class that are classified right. Means over parts and classes, after layer 3 and for the
    ten scores. "untrained": the same images and squares with the initial weights.
    """
    (model, _), data, start = trained(seed, steps), tests(seed), fresh(seed)
    rng = np.random.default_rng(seed)
    right = correct(model, data.images, data.labels, 1000) if only_right else np.arange(1000)
    found: dict[str, Any] = {}
    for label in range(10):
        chosen = right[data.labels[right] == label][:5]
        pixels, boxes = data.images[chosen], data.boxes[chosen]
        middle, half = (boxes[:, [1, 0]] + boxes[:, [3, 2]]) / 2, (boxes[:, 2:3] - boxes[:, 0:1]) / 2
        same = [np.rint(middle + np.array(part) * half - SQUARE / 2).astype(int).clip(0, 24 - SQUARE) for part in PARTS]
        anywhere = [rng.integers(0, 24 - SQUARE + 1, (len(chosen), 2)) for _ in PARTS]
        for which, one in (("trained", model), ("untrained", start)):
            for layer, name in ((POOL3, "layer 3"), (SCORES, "scores")):
                whole = explain.features(one, pixels, layer)
                for kind, places in (("same", same), ("random", anywhere)):
                    after = [explain.features(one, masked(pixels, corners), layer) for corners in places]
                    deltas = [explain.correspondence(whole, other) for other in after]
                    found.setdefault(name, {}).setdefault(which, {}).setdefault(kind, []).extend(deltas)
    return {
        name: {which: {kind: round(float(np.mean(v)), 4) for kind, v in kinds.items()} for which, kinds in both.items()}
        for name, both in found.items()
    }


# ------------------------------------------------------------------------------------------------------------- verdicts


def occluded(runs: Runs) -> str:
    """Return what the three claims on occlusion have in common."""
    return (
        f"lowest probability inside the box: {percents(runs, 'probability')}, lowest activity: "
        f"{percents(runs, 'activity')} (chance {percents(runs, 'chance')}; box of another image "
        f"{percents(runs, 'other')}; untrained network {percents(runs, 'untrained')}); mean P of the true class "
        f"{mean(runs, 'p_inside'):.2f} with the square inside, {mean(runs, 'p_outside'):.2f} outside; "
        f"test error {mean(runs, 'test_error'):.1%}"
    )


def verdict_x3(runs: Runs) -> tuple[bool, str]:
    """For every seed: inside for over 65 % of images, and P inside lower than outside by more than .05."""
    holds = all(run["probability"] > 0.65 and run["p_inside"] < run["p_outside"] - 0.05 for run in runs)
    return holds, occluded(runs)


def verdict_x3_small(runs: Runs) -> tuple[bool, str]:
    """For every seed, the lowest probability is inside for more than three times the measured chance."""
    return all(run["probability"] > 3 * run["chance"] for run in runs), occluded(runs)


def verdict_scenes(runs: Runs) -> tuple[bool, str]:
    """As for X3'; and no object covers more than 15 % of its image."""
    holds = verdict_x3_small(runs)[0] and all(run["largest"] <= 0.15 for run in runs)
    return holds, f"boxes of at most {max(values(runs, 'largest')):.1%} of the image; {occluded(runs)}"


def verdict_filters(runs: Runs) -> tuple[bool, str]:
    """For every seed, some filter of conv1 exceeds an RMS of .1 without the rule, and none does with it."""
    largest = {name: [max(run[name]["largest"]) for run in runs] for name in ("without", "with")}
    text = "; ".join(
        f"{name}: largest RMS {' / '.join(f'{value:.3f}' for value in found)}, largest over median at the end "
        f"{numbers(runs, name, 'spread', form='.1f')}, test error {percents(runs, name, 'test_error')}"
        for name, found in largest.items()
    )
    return min(largest["without"]) > 0.1 and max(largest["with"]) <= 0.1 + 1e-6, text


def verdict_filters_faster(runs: Runs) -> tuple[None, str]:
    """Nothing is asserted: it was not planned."""
    return None, ". ".join(f"rate {rate}: {verdict_filters(values(runs, rate))[1]}" for rate in runs[0])


def way(run: dict[str, Any], layer: str) -> float:
    """Return which part of the way from the first cosine to 1 is done, mean over the epochs between."""
    first, *later = run[layer].values()
    return float(np.mean([(cosine - first) / (1 - first) for cosine in later]))


def verdict_evolution(runs: Runs) -> tuple[bool, str]:
    """For every seed, layer 1 has done more of its way than layer 3, in the mean over epochs 1, 2, 5, 10, 20."""
    layers, epochs = ("layer 1", "layer 3"), list(runs[0]["layer 1"])
    texts = [
        f"{layer} {' / '.join(f'{mean(runs, layer, epoch):.2f}' for epoch in epochs)} (part of the way "
        f"{' / '.join(f'{way(run, layer):.2f}' for run in runs)})"
        for layer in layers
    ]
    holds = all(way(run, "layer 1") > way(run, "layer 3") for run in runs)
    return holds, f"mean cosine after {' / '.join(epochs)} epochs: {', '.join(texts)}"


def verdict_energy(runs: Runs) -> tuple[bool, str]:
    """For every seed, all of it is in the receptive field, and layer 3 has more in the box than the box's area."""
    layers = ("layer 2", "layer 3")
    whole = all(run[layer]["field"] == 1 for run in runs for layer in layers)
    text = "; ".join(
        f"{layer}: in the field {percents(runs, layer, 'field')}, in the box {percents(runs, layer, 'box')} (area "
        f"{percents(runs, layer, 'area')}; box of another image {percents(runs, layer, 'other')}; untrained network "
        f"{percents(runs, layer, 'untrained')})"
        for layer in layers
    )
    return whole and all(run["layer 3"]["box"] > run["layer 3"]["area"] for run in runs), text


def verdict_parts(runs: Runs) -> tuple[bool, str]:
    """For every seed, Delta after layer 3 is lower where the same part is covered than where random parts are."""
    text = "; ".join(
        f"{layer}: Delta {numbers(runs, layer, 'trained', 'same', form='.3f')} for the same part, "
        f"{numbers(runs, layer, 'trained', 'random', form='.3f')} for random parts (untrained network "
        f"{mean(runs, layer, 'untrained', 'same'):.3f}, {mean(runs, layer, 'untrained', 'random'):.3f})"
        for layer in ("layer 3", "scores")
    )
    return all(run["layer 3"]["trained"]["same"] < run["layer 3"]["trained"]["random"] for run in runs), text


def verdict_upper(runs: Runs) -> tuple[bool, str]:
    """For every seed, with scores and layer 3 random, both rules change less than the gradient."""
    rules = ("gradient", "guided", "deconvnet")
    holds = all(min(run["layer 3 too"][r] for r in rules[1:]) > run["layer 3 too"]["gradient"] for run in runs)
    text = "; ".join(f"{name}: " + ", ".join(f"{r} {mean(runs, name, r):.2f}" for r in rules) for name in runs[0])
    return holds, f"correlation with the trained network's map where these are random: {text}"


CLAIMS: Claims = {
    "X3": (measure_x3, verdict_x3),
    "X3'": (measure_x3_small, verdict_x3_small),
    "scenes": (measure_scenes, verdict_scenes),
    "filters": (measure_filters, verdict_filters),
    "filters'": (measure_filters_faster, verdict_filters_faster),
    "filters''": (measure_filters_clothes, verdict_filters),
    "evolution": (measure_evolution, verdict_evolution),
    "energy": (measure_energy, verdict_energy),
    "parts": (measure_correspondence, verdict_parts),
    "upper layers": (measure_upper, verdict_upper),
}

if __name__ == "__main__":
    main(CLAIMS, __file__, __doc__)
