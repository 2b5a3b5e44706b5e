# %% [markdown]
# # R-CNN 1: boxes, and how a detector is judged
#
# minutes 25 | needs lesson 05 | next step2_selective_search.py
#
# A classifier says what is in an image. A detector says what and *where*: any number of boxes, each with a class and a
# score. It needs four small tools, which this step writes by hand: how much two boxes agree (IoU), how to move one box
# onto another (regression targets), how to keep one box per object (non-maximum suppression), and one number for a
# whole detector (average precision).
#
# A box is x1 y1 x2 y2 in pixels, its width x2 - x1. (In the papers' programs x2 is the last pixel inside and the width
# x2 - x1 + 1. Mixing the two costs a pixel, which is much for an object of 14.)

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from scenes06 import scenes

import tinyconv
from tinyconv import vision
from tinyconv.vision import voc_eval
from tinyconv.vision.detections import Detections

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Intersection over union, and a box seen from another
#
# IoU is the area that both boxes cover over the area that at least one covers. A detection counts if its IoU with the
# object is above one half.
#
# A detector learns to correct a box that is near an object. Not by pixels: the same mistake on an object twice as large
# is twice as many. The shift is measured in widths of the box, the size by a logarithm (Girshick et al., appendix C).


# %%
def iou(a, b):
    """Intersection over union of two boxes."""
    inter = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return inter / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter)


def encode(box, truth, offset=0):
    """Return (tx, ty, tw, th): the truth seen from the box."""
    size, wanted = box[2:] - box[:2] + offset, truth[2:] - truth[:2] + offset
    return np.concatenate([(truth[:2] + wanted / 2 - box[:2] - size / 2) / size, np.log(wanted / size)])


def decode(box, t, offset=0):
    """Return the box that t describes; the inverse of encode."""
    size = box[2:] - box[:2] + offset
    centre, half = box[:2] + size / 2 + t[:2] * size, size * np.exp(t[2:]) / 2
    return np.concatenate([centre - half, centre + half - offset])


a, b = np.array([10.0, 20, 29, 59]), np.array([12.0, 24, 35, 55])
print(f"a = {a}, b = {b}: IoU {iou(a, b):.4f}, the library's {vision.box_iou(a[None], b[None])[0, 0]:.4f}")
for offset in (0, 1):
    t = encode(a, b, offset)
    assert np.allclose(t, vision.boxes.encode_boxes(a, b, offset))
    print(f"tx, ty, tw, th of b from a, width x2 - x1 + {offset}: {t.round(4)}; back: {decode(a, t, offset).round(9)}")
print(f"both boxes twice as large: {encode(2 * a, 2 * b).round(4)}, the same as the first\n")

# %% [markdown]
# ## One box per object
#
# Many boxes near an object look like it. Greedy non-maximum suppression (NMS): take the best box, drop all others whose
# IoU with it is *above* a threshold, and go on with the best that is left. A box that was dropped drops no other. The
# three papers use 0.3 for detections, Faster R-CNN 0.7 for its proposals.


# %%
def nms(boxes, scores, threshold, offset=0):
    """Return which boxes stay, best first."""
    wide = boxes + np.array([0, 0, offset, offset])
    left, kept = list(np.argsort(-scores, kind="stable")), []
    while left:
        best = left.pop(0)
        kept.append(int(best))
        left = [i for i in left if iou(wide[best], wide[i]) <= threshold]
    return kept


row, scores = np.array([[0.0, 0, 9, 9], [3, 0, 12, 9], [6, 0, 15, 9]]), np.array([0.9, 0.8, 0.7])  # A, B, C
print("A covers B as B covers C, IoU 0.54; A and C 0.25 (width x2 - x1 + 1). Who stays after suppression?")
for threshold in (0.2, 0.5, 0.6):
    assert (kept := nms(row, scores, threshold, 1)) == list(vision.nms.nms(row, scores, threshold, offset=1))
    print(f"  threshold {threshold}: {' '.join('ABC'[i] for i in kept)}")

# %% [markdown]
# ## Average precision
#
# All detections of a class, from all images, best score first. Each is right if it hits an object (IoU above 0.5) that
# none before it has hit. After each there is a recall (objects hit so far over all objects) and a precision (right ones
# over all so far). Two ways to one number: the mean, over recalls 0, 0.1, ..., 1, of the best precision at that recall
# or beyond ("11-point", VOC 2007), and the area under that curve ("all-point", 2010). mAP is the mean of the classes.


# %%
def average_precision(flags, objects):
    """Return recall, precision, and both averages; flags say which detections are right, best score first."""
    recall, precision = np.cumsum(flags) / objects, np.cumsum(flags) / np.arange(1, len(flags) + 1)
    beyond = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision from here on
    eleven = [beyond[recall >= t / 10 - 1e-12][:1].sum() for t in range(11)]  # 0 where no recall is that high
    return recall, precision, np.mean(eleven), np.sum(np.diff(recall, prepend=0) * beyond)


for flags, objects in (([1, 1, 0, 1], 4), ([1, 0, 1, 1, 0, 0, 1, 0], 5)):
    recall, precision, eleven, area = average_precision(flags, objects)
    theirs = [voc_eval.average_precision(flags, objects, metric) for metric in ("11-point", "all-point")]
    assert np.allclose([eleven, area], theirs)
    print(f"\nbest first, right 1, wrong 0: {flags}; {objects} objects: 11-point {eleven:.6f}, all-point {area:.6f}")
    print(f"  recall    {recall.round(2)}\n  precision {precision.round(2)}")

# %% [markdown]
# ## What the threshold does to a detector
#
# A detector of our own: ten boxes scattered around each object, of which the score knows the IoU but for some noise,
# and two anywhere. Without NMS most hits are second ones; at a threshold of 0 two boxes of a class must not overlap at
# all. Such scenes, 64x64 pixels with one to three digits, serve throughout the lesson.

# %%
n, rng = 10 if lesson.smoke else 100, lesson.rng
data = scenes("test", n)
truths, found = [data.truth(i) for i in range(n)], []
for there in truths:
    around = np.repeat(there.boxes.astype(float), 10, axis=0) + rng.normal(0, 3, (10 * len(there.boxes), 4))
    boxes = np.concatenate([around, np.tile(rng.uniform(0, 44, (2, 2)), 2) + [0, 0, 20, 20]])
    labels = np.concatenate([np.repeat(there.labels, 10), rng.integers(0, 10, 2)])
    scores = vision.box_iou(boxes, there.boxes).max(1) + rng.normal(0, 0.1, len(boxes))
    found.append(Detections(boxes, labels, scores))
fig, axes = plt.subplots(1, 5, figsize=(15, 3.4), layout="constrained")
print(f"\n{n} scenes, scattered boxes; of one class, with an IoU above the threshold, the worse one goes")
print("threshold   boxes left    mAP, 11-point   all-point")
for axis, threshold in zip(axes, (1.0, 0.9, 0.7, 0.3, 0.0), strict=True):
    rest = []
    for one in found:
        classes = [np.flatnonzero(one.labels == label) for label in np.unique(one.labels)]
        kept = [k[j] for k in classes for j in nms(one.boxes[k], one.scores[k], threshold)]
        rest.append(Detections(*(part[kept] for part in one)))
    score = voc_eval.evaluate_detections(rest, truths, data.classes)
    left = sum(len(one.boxes) for one in rest)
    print(f"{threshold:9.1f} {left:12d} {score.mean_eleven_point:16.3f} {score.mean_all_point:11.3f}")
    axis.imshow(data.images[3].transpose(1, 2, 0), extent=(0, 64, 64, 0))
    for box in rest[3].boxes:
        axis.add_patch(Rectangle(box[:2], *(box[2:] - box[:2]), fill=False, ec="white", lw=1.2))
    axis.set(title=f"NMS {threshold}: {len(rest[3].boxes)} boxes", xticks=[], yticks=[], xlim=(0, 64), ylim=(64, 0))
lesson.save(fig, "nms", alt="a scene with all scattered boxes, and with those that are left of each class")
lesson.next(why="where to look at all")
