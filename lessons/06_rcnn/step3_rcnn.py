# %% [markdown]
# # R-CNN 3: a classifier looks at every box
#
# minutes 25 | needs step2_selective_search.py | next step4_roi_pooling.py
#
# R-CNN (Girshick and others, 2014) is four parts after one another: each proposal is cut out and *warped* to the size
# that a classifier wants; the classifier's last hidden layer is computed of it; a linear SVM for each class rates these
# features; a linear regression for each class moves the box. None is trained together with another.

# %%
import timeit
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
from scenes06 import proposals, scenes

import tinyconv
from tinyconv.data import Scenes
from tinyconv.data.detection import DetectionDataset
from tinyconv.detection import rcnn_training as training
from tinyconv.detection.evaluation import evaluate_detector
from tinyconv.detection.rcnn_batches import object_crops
from tinyconv.models.backbones import SEARCH
from tinyconv.models.rcnn import rcnn
from tinyconv.vision import box_iou, svm, warp
from tinyconv.vision.selective_search import selective_search

lesson = tinyconv.lesson_step(__name__)
n, tests = (12, 6) if lesson.smoke else (300, 100)
source, test = scenes("train", n), scenes("test", tests)
images, truths = source.images, [source.truth(i) for i in range(n)]
found, test_found = proposals(lesson.out, "train", n), proposals(lesson.out, "test", tests)

# %% [markdown]
# ## Warped, with context
#
# A box of any shape becomes a square, 32x32 here and 227x227 in the paper, with 4 (16) pixels of what is around it on
# every side: the box is first enlarged by 32 / (32 - 8), or 227 / 195. What then lies outside of the image is the mean
# colour. Context was worth 3 to 5 points of mAP. Each pixel of the crop is mixed of the four that lie around it.

# %%
mean = images.mean((0, 2, 3))[:, None, None]
some = np.concatenate([truths[2].boxes, found[2]])[:10]
crops = warp.warp_many(images[2] - mean, some, crop=32, padding=4) + mean
fig, axes = plt.subplot_mosaic("AAbcdef;AAghijk", figsize=(13, 3.6), layout="constrained")
axes["A"].imshow(images[2].transpose(1, 2, 0), extent=(0, 64, 64, 0))
for number, (axis, box) in enumerate(zip(list(axes.values())[1:], some, strict=True)):
    axis.imshow(crops[number].transpose(1, 2, 0))
    axis.set_title("an object" if number < len(truths[2].boxes) else "a proposal", c=f"C{number}", fontsize=9)
    for line, (x1, y1, x2, y2) in (("-", box), (":", warp.context_box(box, 32, 4))):
        axes["A"].plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], line, c=f"C{number}", lw=1.3)
axes["A"].set(xlim=(-6, 70), ylim=(70, -6), title="solid: the box, dotted: with its context")
plt.setp(list(axes.values()), xticks=[], yticks=[])
lesson.save(fig, "warped", alt="a scene with boxes, dotted with their context, and the squares that they are warped to")

# %% [markdown]
# ## The features
#
# The paper takes AlexNet, trained on ImageNet, and goes on training it on warped proposals (*fine-tuning*, from 44.7 to
# 54.2 mAP): in each step 32 that show an object, IoU at least 0.5, and 96 of background. Ours has three convolutions
# and 64 hidden units, and scenes of one digit take ImageNet's place. Then it is run once on every box.

# %%
model = rcnn(10, scale="lesson")
model.set_pixels(mean.ravel(), images.std((0, 2, 3)))
single = Scenes(64 if lesson.smoke else 1000, 1000, 64, ("mnist",), "textured", objects=1).detection()
crops, labels = object_crops(model, single.images, [single.truth(i) for i in range(len(single))])
training.pretrain(model, crops, labels, steps=1 if lesson.smoke else 100, progress=False)
print(f"fine-tuning on the warped proposals of {n} scenes:")
training.fine_tune(model, images, truths, found, steps=2 if lesson.smoke else 300)
every = [np.concatenate([truth.boxes, box]) for truth, box in zip(truths, found, strict=True)]
tops = [model.look(image, box).top for image, box in zip(images, every, strict=True)]
scale = np.float32(svm.feature_scale(np.concatenate(tops)))  # to a mean length of 20

# %% [markdown]
# ## The few boxes that teach a machine
#
# The SVM of a class minimises |w|^2 / 2 + C (2 sum over positives of max(0, 1 - z) + sum over negatives of max(0, 1 +
# z)), z = w x + b. Positives are the objects alone, negatives boxes whose IoU with each of them is below 0.3. Nearly
# all negatives are easy: beyond the margin they change nothing. One pass over the images keeps the *hard* ones: all of
# the first image, then those that score above -1; after 2,000 new ones it trains again, and drops those below -1.2.


# %%
def mine(machine, positives, images):
    """Return the last plane and the negatives that were kept; ``images`` are those of each image, (M, F)."""

    def train(cache):
        plane = machine.fit(np.concatenate([positives, cache]), np.arange(len(positives) + len(cache)) < len(positives))
        return plane, cache[plane.scores(cache) >= -1.2], 0

    plane, cache, new = train(images[0])
    for negatives in images[1:]:
        hard = negatives[plane.scores(negatives) > -1.0001]
        cache, new = np.concatenate([cache, hard]), new + len(hard)
        if new > 2000:
            plane, cache, new = train(cache)
    return train(cache)[:2]


machine, positives, negatives = svm.LinearSVM(C=1e-3, positive_weight=2.0, bias_feature=10.0), [], []
for top, box, truth in zip(tops, every, truths, strict=True):
    threes = truth.labels == 3
    positives.append(scale * top[: len(threes)][threes])
    negatives.append(scale * top[box_iou(box, truth.boxes[threes]).max(1, initial=0) < 0.3])
positives = np.concatenate(positives)
plane, kept = mine(machine, positives, negatives)
assert np.allclose(plane.weights, svm.mine_hard_negatives(machine, positives, negatives).plane.weights)
features = np.concatenate([positives, *negatives])
whole = machine.fit(features, np.arange(len(features)) < len(positives))
cosine = plane.weights @ whole.weights / np.linalg.norm(plane.weights) / np.linalg.norm(whole.weights)
angle, others = np.degrees(np.arccos(min(1, cosine))), len(features) - len(positives)
print(f"SVM of the threes: {len(positives)} objects, {others:,} negatives of which {len(kept)} hard ones were kept;")
print(f"its plane is {angle:.1f} degrees off that of an SVM trained on all\n")

# %% [markdown]
# ## How good, and where the time goes
#
# The library does the same for all ten classes. Boxes are moved by the numbers of step 1: for each class a ridge
# regression from the features of the last pool, |A W - Y|^2 + lambda |W|^2, learnt from boxes with an IoU above 0.6.
# Softmax is the classifier's own answer. In the paper SVMs are worth 3.3 points and moving about 4.

# %%
training.fit_svms(model, images, truths, found, progress=False)
training.fit_regressors(model, images, truths, found, progress=False)
print(f"{tests} test scenes\nscores   boxes         mAP, 11-point   all-point")
for scores, regress in (("softmax", False), ("svm", False), ("softmax", True), ("svm", True)):
    result = evaluate_detector(model, DetectionDataset(test), proposals=test_found, scores=scores, regress=regress)
    print(f"{scores:8s} {'moved' if regress else 'as they are':11s}", end="")
    print(f"{result.mean_eleven_point:16.3f} {result.mean_all_point:11.3f}")


def milliseconds(part):
    """Return the median of seven runs."""
    return 1000 * median(timeit.repeat(part, number=1, repeat=2 if lesson.smoke else 7))


image, hundred = test.images[0], np.resize(test_found[0], (100, 4))
crops = warp.warp_many(model.prepare(image), hundred, 32, 4)
tinyconv.set_num_threads(1)
print(f"\nms of one image, one thread: search {milliseconds(lambda: selective_search(image, **SEARCH['lesson'])):.1f}")
for count in (10, 20, 50, 100):
    warped = milliseconds(lambda: warp.warp_many(image, hundred[:count], 32, 4))  # noqa: B023
    network = milliseconds(lambda: model.features(crops[:count]))  # noqa: B023
    whole = milliseconds(lambda: model.detect(image, hundred[:count]))  # noqa: B023
    print(f"{count:4d} boxes: warped {warped:4.1f}, network {network:5.1f}, all but the search {whole:5.1f}")
lesson.next(why="one pass for all boxes")
