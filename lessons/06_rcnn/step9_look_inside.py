# %% [markdown]
# # R-CNN 9: what they find, what they miss
#
# minutes 20 | needs step8_train.py | next step10_four_steps.py
#
# Three detectors on the same test scenes. Where is each wrong? How good are the network's own proposals beside those of
# selective search? And how much does one number, the threshold of non-maximum suppression, matter?

# %%
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scenes06 import TEST, dataset, proposals, scenes
from step8_train import BUILDERS, FILES, build, learn

import tinyconv
from tinyconv.data.detection import DetectionDataset
from tinyconv.detection.alternating import proposals_of
from tinyconv.detection.draw import draw_detections
from tinyconv.detection.evaluation import detect_all
from tinyconv.vision.boxes import box_iou
from tinyconv.vision.voc_eval import evaluate_detections, precision_recall, recall_and_mabo

lesson = tinyconv.lesson_step(__name__)
TITLES = {"rcnn": "R-CNN", "fast_rcnn": "Fast R-CNN", "faster_rcnn": "Faster R-CNN"}
LEAST = {"rcnn": 0.0, "fast_rcnn": 0.5, "faster_rcnn": 0.5}  # an SVM's scores are margins: above 0 it says yes


def detector(name: str, lesson: Any) -> Any:
    """Return step 8's detector, or one that learns a little now."""
    brief: dict[str, Any] = {"pretrain_steps": 100, "steps": 250} if name == "rcnn" else {"epochs": 4}

    def train(model: Any) -> None:
        n = 8 if lesson.smoke else 300
        boxes = proposals(lesson.out, "train", n, lesson.seed)
        learn(model, n, boxes, seed=lesson.seed, **({"short": True} if lesson.smoke else brief))

    short = "8 scenes, a few steps" if lesson.smoke else "300 scenes, 10 to 20 s"
    return lesson.load_or_train(lambda: build(name), train, name=FILES[name], short=short)


# %% [markdown]
# ## Precision and recall
#
# All classes together: of the detections above a score, how many are right, and how many of the objects do they find?
# Then the mistakes. A wrong detection has hit an object, but named another class; or hit one that was found before; or
# lies badly (IoU of 0.1 to 0.5); or where there is nothing. An object is missed if no right detection has it. R-CNN
# misses most, and its mAP is as good: an SVM's margin of 0 is no probability of one half, and mAP asks for ranks alone.


# %%
def pooled(found: list, truths: list, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision of the detections of all classes, best score first."""
    result = evaluate_detections(found, truths, classes)
    pairs = zip(result.curves, result.objects, strict=True)
    flags = np.concatenate([np.diff(curve.recall * objects, prepend=0) > 0.5 for curve, objects in pairs])
    order = np.argsort(-np.concatenate([curve.scores for curve in result.curves]), kind="stable")
    return precision_recall(flags[order], int(result.objects.sum()))


def mistakes(one: Any, truth: Any, least: float) -> dict[str, int]:
    """Count what a detector says of one scene, above a score."""
    counts, used = dict.fromkeys(("right", "other class", "twice", "badly placed", "nothing there"), 0), set()
    for box, label, score in zip(*one, strict=True):
        if score >= least:
            overlap = box_iou(box[None], truth.boxes)[0]
            own = np.where(truth.labels == label, overlap, 0)
            if own.max() > 0.5:
                counts["twice" if int(own.argmax()) in used else "right"] += 1
                used.add(int(own.argmax()))
            else:
                best = overlap.max()
                counts["other class" if best > 0.5 else "badly placed" if best >= 0.1 else "nothing there"] += 1
    return counts | {"missed": len(truth.boxes) - len(used)}


def compare(detectors: dict[str, Any], n: int, boxes: list[np.ndarray]) -> dict[str, list]:
    """Draw the curves of all, print the table of mistakes, return the detections."""
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    truths, every = dataset("test", n, seed=lesson.seed).truths(), {}
    print(f"\n{n} scenes, {sum(len(t.boxes) for t in truths)} objects = right + missed; the rest: wrong detections")
    print("(score from 0.5 on; R-CNN: its SVMs' margin from 0 on)")
    print(f"{'':13s} right  other class  twice  badly placed  nothing there  missed")
    for name, model in detectors.items():
        source = scenes("test", n, lesson.seed)
        data = DetectionDataset(source) if name == "rcnn" else dataset("test", n, seed=lesson.seed)
        every[name], _ = detect_all(model, data, proposals=None if name == "faster_rcnn" else boxes)
        axis.plot(*pooled(every[name], truths, source.classes), label=TITLES[name])
        counts = [mistakes(one, truth, LEAST[name]) for one, truth in zip(every[name], truths, strict=True)]
        total = {kind: sum(count[kind] for count in counts) for kind in counts[0]}
        print(f"{TITLES[name]:13s} " + "".join(f"{v:{len(k) + 2}d}" for k, v in total.items()))
    axis.set(title="all classes", xlabel="recall", ylabel="precision", xlim=(0.5, 1), ylim=(0.5, 1.01))
    axis.legend(loc="lower left")
    lesson.save(fig, "precision_recall", alt="precision against recall of the three detectors, all classes together")
    return every


def show(found: list, n: int) -> None:
    """Draw four scenes as they come, and the four with the most mistakes."""
    source = scenes("test", n, lesson.seed)
    bad = [sum(v for k, v in mistakes(found[i], source.truth(i), 0.5).items() if k != "right") for i in range(n)]
    fig, axes = plt.subplots(2, 4, figsize=(12, 6.4), layout="constrained")
    for axis, i in zip(axes.flat, [0, 1, 2, 3, *np.argsort(-np.array(bad), kind="stable")[:4]], strict=True):
        image, truth = source.read(int(i))
        draw_detections(image, found[i], source.classes, truth=truth, ax=axis)
        axis.set_title(f"scene {i}, mistakes: {bad[i]}")
    lesson.save(fig, "detections", alt="four scenes with the boxes that Faster R-CNN finds, and the four worst ones")


# %% [markdown]
# ## Proposals
#
# Recall: the share of objects that some proposal overlaps by one half (or 0.7). Selective search needs many boxes: it
# knows nothing of digits. At an IoU of 0.7 it is ahead from 50 boxes on: its boxes fit better.


# %%
def draw_recall(model: Any, n: int, boxes: list[np.ndarray]) -> None:
    """Draw recall against the number of proposals, and print some of it."""
    data, counts = dataset("test", n, seed=lesson.seed), (1, 2, 5, 10, 20, 50, 100)
    truths = [truth.boxes for truth in data.truths()]
    fig, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    print("\nrecall of the first " + "".join(f"{count:7d}" for count in counts))
    for title, given in (("network", proposals_of(model, data, 100)), ("selective search", boxes)):
        for overlap, line in ((0.5, "-"), (0.7, "--")):
            found = [recall_and_mabo(given, truths, overlap, count)[0] for count in counts]
            axis.plot(counts, found, line, color="C0" if title == "network" else "C1", label=f"{title}, IoU {overlap}")
            print(f"{title:16s} {overlap}" + "".join(f"{r:7.3f}" for r in found))
    axis.set(xscale="log", xticks=counts, xticklabels=counts, xlabel="proposals", ylabel="recall", ylim=(0, 1))
    axis.minorticks_off()
    axis.legend(fontsize=8)
    lesson.save(fig, "recall", alt="recall against the number of proposals: the network's rises much earlier")


# %%
if __name__ == "__main__":
    n = 4 if lesson.smoke else TEST
    detectors = {name: detector(name, lesson) for name in BUILDERS}
    boxes = proposals(lesson.out, "test", n, lesson.seed)
    found = compare(detectors, n, boxes)
    show(found["faster_rcnn"], n)
    draw_recall(detectors["faster_rcnn"], n, boxes)
    data = dataset("test", n, seed=lesson.seed)
    print("\nNMS threshold   detections of a scene   mAP, 11-point (Faster R-CNN)")
    for iou in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9):
        some, _ = detect_all(detectors["faster_rcnn"], data, iou=iou)
        score = evaluate_detections(some, data.truths(), data.classes).mean_eleven_point
        print(f"{iou:13.1f} {np.mean([len(one.scores) for one in some]):23.1f} {score:15.3f}")
    lesson.next(why="the paper's own way of training")
