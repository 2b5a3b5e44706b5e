# %% [markdown]
# # R-CNN 8: training all three
#
# minutes 5 | needs step7_faster_rcnn.py | next step9_look_inside.py
#
# R-CNN, Fast R-CNN and Faster R-CNN learn the same 1,000 scenes and are judged on the same 200 others. R-CNN and Fast
# R-CNN look at selective search's best 100 boxes of a scene, Faster R-CNN at 20 of its own.
# R-CNN: 400 steps of 64 single digits (the part that ImageNet has in the paper), 1,000 steps of 32 objects and 96
# backgrounds, then ten SVMs with hard negatives and ten box regressors. The other two: six epochs of two scenes per
# step, SGD with momentum 0.9, rate 0.02 after a warm-up of 100 steps, a tenth of it for the last 30 %.

# %%
from pathlib import Path
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scenes06 import BOXES, TEST, TRAIN, dataset, picture, proposals, scenes

import tinyconv
from tinyconv.checkpoint import Checkpoint
from tinyconv.data import Scenes
from tinyconv.data.detection import DetectionDataset, SceneDetection
from tinyconv.detection.evaluation import evaluate_detector
from tinyconv.detection.rcnn_training import train_rcnn
from tinyconv.detection.training import train_detector
from tinyconv.models.backbones import SEARCH
from tinyconv.models.fast_rcnn import fast_rcnn
from tinyconv.models.faster_rcnn import FasterRCNN, faster_rcnn
from tinyconv.models.rcnn import RCNN, rcnn
from tinyconv.vision.selective_search import selective_search
from tinyconv.vision.warp import warp_many

lesson = tinyconv.lesson_step(__name__)
BUILDERS: dict[str, Any] = {"rcnn": rcnn, "fast_rcnn": fast_rcnn, "faster_rcnn": faster_rcnn}
FILES = {"rcnn": "rcnn", "fast_rcnn": "fast_rcnn", "faster_rcnn": "model"}  # .npz; the last is the lesson's model
EPOCHS = 6


# %%
def build(name: str, **options: Any) -> Any:
    """Return an untrained detector of ten classes."""
    return BUILDERS[name](10, scale="lesson", **options)


def learn(model: Any, n: int, boxes: list[np.ndarray], *, short: bool = False, seed: int = 0, **how: Any) -> Any:
    """Train a detector of any of the three kinds on the first n scenes; return the history, None for R-CNN.

    R-CNN also gets twice as many scenes of one digit. ``short`` is for a smoke run: a few steps.
    """
    if not isinstance(model, RCNN):
        epochs = 1 if short else how.pop("epochs", EPOCHS)
        return train_detector(model, dataset("train", n, boxes, seed), epochs=epochs, seed=seed, **how)
    source, single = scenes("train", n, seed), singles(64 if short else 2 * n, seed)
    steps = {"pretrain_steps": 1, "steps": 2} if short else {}
    truths = [[data.truth(i) for i in range(len(data))] for data in (source, single)]
    train_rcnn(model, source.images, truths[0], boxes, items=(single.images, truths[1]), seed=seed, **steps, **how)


def singles(n: int, seed: int) -> SceneDetection:
    """Return scenes with one digit each, of the training digits, on the same kind of backgrounds."""
    return SceneDetection(Scenes(n, seed=1000 + seed, items=("mnist",), background="textured", objects=1))


def judge(model: Any, n: int, boxes: list[np.ndarray], seed: int = 0, **how: Any) -> Any:
    """Return the evaluation on the first n test scenes; Faster R-CNN gets no boxes."""
    raw = isinstance(model, RCNN)  # it has the training images' mean and deviation itself
    data = DetectionDataset(scenes("test", n, seed)) if raw else dataset("test", n, seed=seed)
    return evaluate_detector(model, data, proposals=None if isinstance(model, FasterRCNN) else boxes, **how)


# %% [markdown]
# ## Seconds
#
# Medians over some scenes, one thread. *Network*: 100 known boxes (some twice where there are fewer), for R-CNN warped
# already. *Whole*: an image comes in, detections come out, selective search included where it is needed.


# %%
def seconds(detectors: dict[str, Any], n: int, boxes: list[np.ndarray], seed: int) -> dict[str, tuple[float, float]]:
    """Return for each detector the seconds of an image: network alone, and all."""
    before, times = tinyconv.get_num_threads(), {name: ([], []) for name in detectors}
    tinyconv.set_num_threads(1)
    for i in range(-1, n):  # the first one is not counted: something may be compiled in it
        for name, model in detectors.items():
            image, some = scenes("test", n, seed).images[i], np.resize(boxes[i], (BOXES, 4))
            prepared = image if name == "rcnn" else dataset("test", n, seed=seed)[i][0]
            crops = warp_many(model.prepare(image), some, model.crop, model.padding) if name == "rcnn" else None
            began = perf_counter()
            network(model, prepared, some, crops)
            times[name][0].append(perf_counter() - began)
            began = perf_counter()
            found = None if name == "faster_rcnn" else selective_search(image, **SEARCH["lesson"])[:BOXES]
            model.detect(prepared, found)
            times[name][1].append(perf_counter() - began)
    tinyconv.set_num_threads(before)
    return {name: (float(np.median(alone[1:])), float(np.median(all_[1:]))) for name, (alone, all_) in times.items()}


def network(model: Any, image: np.ndarray, boxes: np.ndarray, crops: np.ndarray | None) -> None:
    """Run the network on some boxes."""
    with tinyconv.no_grad():
        if crops is not None:
            model.features(crops)
        else:
            model.classify(model.maps(model(tinyconv.tensor(image[None]))), [boxes])


# %%
def fits(file: Path, seed: int, n: int) -> bool:
    """Return whether a file is there of a detector that has learnt n scenes of this seed."""
    return file.exists() and [Checkpoint.read(file).meta.get(key) for key in ("seed", "scenes")] == [seed, n]


if __name__ == "__main__":
    seed, (n, tests) = lesson.seed, (8, 4) if lesson.smoke else (TRAIN, TEST)
    boxes, test_boxes = proposals(lesson.out, "train", n, seed), proposals(lesson.out, "test", tests, seed)
    files = {name: lesson.checkpoint(file) for name, file in FILES.items()}
    detectors, histories, how = {}, {}, {"short": lesson.smoke, "seed": seed}
    for name in BUILDERS:
        tinyconv.manual_seed(seed)
        model, began = build(name), perf_counter()
        print(f"\n{name}: {sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
        if name == "rcnn" and lesson.resume and fits(files[name], seed, n):
            model = tinyconv.load(files[name])
            print(f"loaded {files[name]}")
        elif name == "rcnn":
            learn(model, n, boxes, **how)
            known = {"classes": scenes("train", n, seed).classes, "transform": None}  # it normalises pictures itself
            tinyconv.save(files[name], model, seed=seed, scenes=n, **known)
        else:
            histories[name] = learn(model, n, boxes, checkpoint=files[name], resume=lesson.resume, **how)
        print(f"{perf_counter() - began:.0f} s", flush=True)
        detectors[name] = model.eval()
    fig, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for name, history in histories.items():
        axis.plot(*np.array([(row["epoch"], row["train_loss"]) for row in history.rows]).T, "o-", label=name)
    axis.set(title="Fast R-CNN's two losses together, Faster R-CNN's four", xlabel="epoch", ylabel="mean loss")
    axis.legend()
    lesson.save(fig, "curves", alt="the sum of Fast R-CNN's two losses, and of Faster R-CNN's four, by epoch")
    times = seconds(detectors, 2 if lesson.smoke else 15, test_boxes, seed)
    print(f"\n{tests:3d} scenes   mAP, 11-point   all-point   ms an image: network, 100 boxes   whole")
    for name, model in detectors.items():
        found = judge(model, tests, test_boxes, seed)
        print(f"{name:12s} {found.mean_eleven_point:14.3f} {found.mean_all_point:11.3f}", end="")
        print(f" {1000 * times[name][0]:33.1f} {1000 * times[name][1]:7.1f}")
    print(f"models: {', '.join(map(str, files.values()))}")
    print(f"try one: tinyconv detect {picture(lesson.out, seed)} --weights {files['faster_rcnn']}")
    lesson.next(why="what do they find, and what do they miss?")
