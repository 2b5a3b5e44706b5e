# %% [markdown]
# # R-CNN 6: anchors
#
# minutes 20 | needs step5_fast_rcnn.py | next step7_faster_rcnn.py
#
# Fast R-CNN looks at an image once; most of its time now goes into the search for regions. Faster R-CNN lets the
# network propose them, from the map it has anyway. At every place of the map lie k boxes of fixed sizes and shapes, the
# *anchors*. For each the network says how much it looks like an object, and how to move and stretch it (step 1).

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from scenes06 import scenes

import tinyconv
from tinyconv.vision.anchors import anchor_boxes, faithful_anchors, grid_anchors, label_anchors, sample_labels
from tinyconv.vision.boxes import box_iou

lesson = tinyconv.lesson_step(__name__)
STRIDE, SIZE, SIZES, RATIOS = 4, (64, 64), (12, 18, 26), (0.5, 1, 2)
source = scenes("train", 40 if lesson.smoke else 200)


def within(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which boxes (A, 4) lie inside an image of (height, width) pixels."""
    return ((boxes >= 0) & (boxes <= np.array([*size[::-1], *size[::-1]]))).all(1)


# %% [markdown]
# ## The paper's nine
#
# Areas of 128^2, 256^2 and 512^2 pixels, heights over widths of 1/2, 1 and 2. The authors' program takes a box of 16x16
# (the stride of their map), changes its shape, rounds, and enlarges it 8, 16 and 32 times, all around its middle (7.5,
# 7.5). Its corners are pixels that belong to the box: 16 wide is 0 to 15 (+1 convention). Many networks learnt with
# these numbers, so they are to be had exactly.


# %%
def paper_anchors() -> np.ndarray:
    """Return the nine anchors (9, 4) around (7.5, 7.5)."""
    found = []
    for ratio in RATIOS:
        width = np.round(np.sqrt(16 * 16 / ratio))
        height = np.round(width * ratio)
        for scale in (8, 16, 32):
            half = (np.array([width, height]) * scale - 1) / 2
            found.append([*(7.5 - half), *(7.5 + half)])
    return np.array(found)


print("   x1    y1    x2    y2")
for k, box in enumerate(nine := paper_anchors()):
    size = f"{box[2] - box[0] + 1:.0f} x {box[3] - box[1] + 1:.0f}"
    print(f"{' '.join(f'{corner:5.0f}' for corner in box)}   {size:>9} pixels   ratio {RATIOS[k // 3]:g}")
print(f"as in the library: {np.array_equal(nine, faithful_anchors())}")
every = grid_anchors(nine, (37, 62), 16, centre=False)
every += [0, 0, 1, 1]  # to edges
inside = within(every, (600, 1000)).sum()
print(f"600 x 1000 pixels: a map of 37 x 62, {len(every)} anchors, {inside} of them inside the image")

# %% [markdown]
# ## Ours
#
# Scenes of 64x64 pixels with digits of 14 to 28: sides of 12, 18 and 26 pixels, the same three shapes, a map of 16x16.
# Boxes have edges, not last pixels (+0 convention), and nothing is rounded. Which of them are objects?
#
# Two rules make an anchor an object: (i) an IoU of 0.7 with some object; (ii) no anchor has a larger IoU with some
# object, be it 0.4. It is background if its IoU with every object is below 0.3. All between learns nothing, and neither
# does what crosses the border of the image.


# %%
def labels_by_hand(anchors: np.ndarray, truth: np.ndarray, size: tuple[int, int], guarded: bool = True) -> np.ndarray:
    """Return 1 (object), 0 (background) or -1 (neither) for each anchor (A, 4)."""
    overlap = box_iou(anchors, truth)
    overlap[~within(anchors, size)] = -1  # they are the best of nothing
    labels = np.where(overlap.max(1) < 0.3, 0, -1)
    best = overlap.max(0)
    ties = overlap >= best - 1e-9
    labels[(ties & (best > 0) if guarded else ties).any(1)] = 1  # rule (ii)
    labels[overlap.max(1) >= 0.7] = 1  # rule (i)
    labels[overlap.max(1) < 0] = -1
    return labels


anchors = grid_anchors(anchor_boxes(SIZES, RATIOS), (16, 16), STRIDE)
inside = within(anchors, SIZE)
print(f"\n{len(source)} scenes of 64 x 64 pixels, each with {len(anchors)} anchors, {inside.sum()} of them inside")
counts, lost, objects = np.zeros(3), 0, 0
for i in range(len(source)):
    truth = source.truth(i).boxes
    labels = labels_by_hand(anchors, truth, SIZE)
    assert np.array_equal(labels, label_anchors(anchors, truth, SIZE)[0])
    counts += [(labels == kind).sum() for kind in (1, 0, -1)]
    best = box_iou(anchors[inside], truth).max(0)
    lost, objects = lost + int((best < 0.7).sum()), objects + len(best)
each = counts / len(source)
print(f"of a scene {each[0]:.1f} are objects, {each[1]:.0f} background, {each[2]:.0f} neither (as in the library)")
print(f"{objects} objects; {lost} of them have no anchor with an IoU of 0.7: without rule (ii) nobody looks for them")

# %% [markdown]
# ## A sample
#
# Among so much background a network that always says "background" is nearly always right. So a step learns from a
# sample: 256 anchors, at most half of them objects (here 64 and 32); what is missing is filled up with background.
#
# ## A trap
#
# Rule (ii) reads: the anchors whose IoU is the largest. If an object meets no anchor at all, the largest IoU is 0, and
# *every* anchor has it. The paper's anchors are large, and those that lie inside keep away from the corners.

# %%
print(f"\nobjects: {each[0] / (each[0] + each[1]):.1%} of them and background, {each[0] / 64:.0%} of a sample of 64")
tiny = np.array([[0.0, 0, 8, 8]])
for name, guarded in (("as it reads", False), ("only above 0", True)):
    found = (labels_by_hand(every, tiny, (600, 1000), guarded) == 1).sum()
    print(f"600 x 1000, an object of 8 x 8 in the corner, rule (ii) {name}: {found} anchors are objects")

# %% [markdown]
# Most objects have one or two anchors, and none fits exactly: the deltas have to do the rest.


# %%
def frames(axis: plt.Axes, boxes: np.ndarray, colour: str, **how: object) -> None:
    """Draw boxes; the edge of pixel 0 is at -0.5 in a picture."""
    for x1, y1, x2, y2 in boxes:
        axis.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, ec=colour, **how))


image, truth = source.read(max(range(40), key=lambda i: len(source.truth(i).boxes)))
picked = sample_labels(labels := label_anchors(anchors, truth.boxes, SIZE)[0], 64, 32, lesson.rng)
fig, axes = plt.subplots(1, 4, figsize=(14, 3.7), layout="constrained")
axes[0].set(title="the paper's nine\nratio 1/2 blue, 1 orange, 2 green", xlim=(-40, 1040), ylim=(660, -70), aspect=1)
frames(axes[0], np.array([[0, 0, 1000, 600]]), "black", ls=":")
for k, colour in enumerate(("C0", "C1", "C2")):
    frames(axes[0], nine[3 * k : 3 * k + 3] + [496, 288, 496, 288], colour)
    frames(axes[1], anchors.reshape(16, 16, 9, 4)[8, 8, 3 * k : 3 * k + 3], colour, lw=2)
frames(axes[2], anchors[labels == 1], "lime", lw=1)
frames(axes[2], truth.boxes, "white", lw=2, ls="--")
frames(axes[3], anchors[picked == 0], "0.75", lw=0.6)
frames(axes[3], anchors[picked == 1], "lime", lw=1)
for axis in axes[1:]:
    axis.imshow(image.transpose(1, 2, 0))
    axis.set(xlim=(-0.5, 63.5), ylim=(63.5, -0.5), xticks=[], yticks=[])
axes[1].set_title("ours, at one of 16 x 16 places")
axes[2].set_title(f"{(labels == 1).sum()} anchors are objects (dashed: true)")
axes[3].set_title(f"a sample: {(picked == 1).sum()} objects, {(picked == 0).sum()} background")
lesson.save(fig, "anchors", alt="nine anchors at one place, the anchors that are objects in a scene, and a sample")
lesson.next(why="the network that judges and moves them")
