# %% [markdown]
# # Captions 4: regions
#
# minutes 20 | needs step3_words_and_regions.py | next step5_alignment.py
#
# A sentence speaks of parts of a picture, so the picture is cut into parts: the paper takes the 19 best detections of
# an R-CNN and the whole picture, each as the 4,096 numbers that R-CNN's scores are computed from. Here lesson 06's
# Faster R-CNN finds digits, its 5 best boxes and the whole scene are the regions, and each has 128 numbers. The
# detector has learnt boxes and classes. Neither it nor anybody later is told which word belongs to which box.

# %%
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scenes08 import NORMAL, TEST, TOP, detector, given_boxes, regions, scenes

import tinyconv
from tinyconv.captioning.regions import Regions, detected_regions
from tinyconv.detection.draw import draw_box, show_picture
from tinyconv.detection.evaluation import detect_in
from tinyconv.vision.boxes import box_area, box_iou
from tinyconv.vision.nms import distinct

lesson = tinyconv.lesson_step(__name__)
SAME = 0.7  # of two boxes that overlap more the worse is left out


# %% [markdown]
# ## By hand
#
# Detect; leave out what is there twice under two names; take the best; put the whole picture before them. Then a
# region's features: its part of the last convolution's map, pooled to a few cells, through the fully connected layer
# behind them, before anything names it.


# %%
def by_hand(model: Any, image: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (R, 4) and features (R, F) of an image, as the library finds them."""
    found = distinct(detect_in(image, model, NORMAL, top=top), SAME, top)
    boxes = np.vstack([[0, 0, image.shape[2], image.shape[1]], found.boxes]).astype(np.float32)
    with tinyconv.no_grad():
        maps = model.maps(model(tinyconv.tensor(NORMAL(image, None)[None])))
        return boxes, model.features(maps, [boxes]).numpy()


# %% [markdown]
# ## How many?
#
# A region is worth something if it shows an object. The paper takes 19 boxes however improbable they are. With more
# boxes hardly more objects are seen here, but more that show one again or nothing, each one more for a word to fall
# for. On photographs with a dozen objects 19 is a good number; of two or three digits the 5 best will do.


# %%
def worth(found: Regions, truths: list) -> tuple[float, float, float]:
    """Return regions of a scene without the whole, the share of them that show an object, the share of objects seen."""
    shows = seen = boxes = objects = 0
    for own, count, truth in zip(*found[::2], truths, strict=True):
        good = box_iou(own[1:count], truth.boxes) >= 0.5
        shows, seen = shows + int(good.any(axis=1).sum()), seen + int(good.any(axis=0).sum())
        boxes, objects = boxes + good.shape[0], objects + good.shape[1]
    return boxes / len(truths), shows / max(boxes, 1), seen / objects


# %% [markdown]
# ## Boxes that show nothing
#
# Detections differ from seed to seed, and it is hard to say whether a mistake is theirs or a word's. So steps 5 and 6
# take *given* regions: the true boxes, and three random ones, *distractors*, that cover less than 30 % of every digit.
# (An IoU of less than 0.3 is no good rule: a large box may hold a whole small digit and have an IoU of 0.2.)


# %%
def covered(boxes: np.ndarray, objects: np.ndarray) -> float:
    """Return the largest share of an object that one of the boxes covers."""
    sides = np.minimum(boxes[:, None, 2:], objects[:, 2:]) - np.maximum(boxes[:, None, :2], objects[:, :2])
    return float((np.maximum(sides, 0).prod(axis=2) / box_area(objects)).max())


def draw(images: np.ndarray, truths: list, kinds: dict[str, Regions]) -> None:
    """Draw four scenes, a row for each kind of regions; those without an object are dotted."""
    fig, axes = plt.subplots(2, 4, figsize=(11, 5.8), layout="constrained")
    for row, (kind, found) in zip(axes, kinds.items(), strict=True):
        for i, axis in enumerate(row):
            show_picture(axis, images[i])
            for k, box in enumerate(found.boxes[i, 1 : found.counts[i]], 1):
                good = box_iou(box[None], truths[i].boxes).max() >= 0.5
                draw_box(axis, box, "white" if good else "0.6", "-" if good else ":")
                axis.text(*box[:2], str(k), fontsize=7, va="top", bbox={"color": "white", "pad": 1})
            axis.set_title(f"{kind}: {found.counts[i] - 1} and the whole", fontsize=9)
    lesson.save(fig, "regions", alt="four scenes with given regions, and below with detected ones, numbered")


# %% [markdown]
# ## What the numbers know
#
# The detector had to name digits, so a region's features must tell which it shows. Sizes nobody asked for, and a pooled
# box has the same few cells however large it is. To which group's mean are features nearest? "A big three" can find a
# three but, without more, hardly a big one; "left" finds nothing at all. So in steps 5 and 6 a box's place and size
# stand beside its features (`with_places`), which is not in the paper; the alignment of step 9 does without.


# %%
def nearest_mean(train: np.ndarray, groups: np.ndarray, test: np.ndarray, wanted: np.ndarray) -> float:
    """Return the share of test rows that lie nearest to the mean of their own group."""
    known = np.unique(groups)
    means = np.stack([train[groups == group].mean(axis=0) for group in known])
    distances = ((test[:, None] - means) ** 2).sum(axis=2)
    return float((known[distances.argmin(axis=1)] == wanted).mean())


def objects(model: Any, split: str, n: int) -> dict[str, np.ndarray]:
    """Return features of all true boxes of a split's scenes and of their whole scenes, with digits and sizes."""
    drawn = scenes(split, n, lesson.seed)
    found = regions(model, drawn, lesson.seed)
    of = [(i, k) for i in range(n) for k in range(len(drawn.attributes[i]))]
    digits = np.array([drawn.attributes[i][k].name for i, k in of])
    sizes = np.array([drawn.attributes[i][k].size for i, k in of])
    own, whole = (np.stack([found.features[i, place] for i, place in places]) for places in
                  ([(i, k + 1) for i, k in of], [(i, 0) for i, _ in of]))  # fmt: skip
    return {"box": own, "whole scene": whole, "digit": digits, "size": sizes}


# %%
if __name__ == "__main__":
    model, n = detector(lesson, lesson.seed), 6 if lesson.smoke else TEST
    drawn = scenes("test", n, lesson.seed)
    images, truths = drawn.scenes.images, [drawn.scenes.truth(i) for i in range(n)]
    kinds = {kind: regions(model, drawn, lesson.seed, kind) for kind in ("given", "detected")}
    found, (boxes, features) = kinds["detected"], by_hand(model, images[0], TOP)
    pairs = ((boxes, found.boxes[0]), (features, found.features[0]))
    apart = max(float(np.abs(mine - library[: len(mine)]).max()) for mine, library in pairs)
    print(f"\nregions of a scene {found.features.shape[1]} x {found.features.shape[2]}; by hand: {apart:.0e} apart")
    print("best   score from   regions   show an object   objects seen")
    for top, least in ((2, 0.05), (TOP, 0.05), (TOP, 0.0001), (19, 0.0001)):
        worths = worth(detected_regions(model, images, top, transform=NORMAL, least=least), truths)
        print(f"{top:4d} {least:12g} {worths[0]:9.1f} {worths[1]:16.1%} {worths[2]:14.1%}")
    grey = np.full((1, 3, 64, 64), 0.2, np.float32)
    print(f"a grey picture has {detected_regions(model, grey, TOP, transform=NORMAL).counts[0]} region")
    most = max(
        covered(b[len(t.boxes) :], t.boxes) for b, t in zip(given_boxes(drawn, lesson.seed), truths, strict=True)
    )
    print(f"no distractor covers more than {most:.1%} of a digit")
    draw(images[:4], truths, kinds)
    train, test = objects(model, "train", 6 if lesson.smoke else 400), objects(model, "test", n)
    for of in ("box", "whole scene"):
        right = [nearest_mean(train[of], train[what], test[of], test[what]) for what in ("digit", "size")]
        print(f"nearest mean, {of}: digit {right[0]:.1%}, size {right[1]:.1%} right")
    lesson.next(why="which word speaks of which region")
