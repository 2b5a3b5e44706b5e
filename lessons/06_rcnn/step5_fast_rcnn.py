# %% [markdown]
# # R-CNN 5: Fast R-CNN, one pass and one loss
#
# minutes 25 | needs step4_roi_pooling.py | next step6_anchors.py
#
# With RoI pooling the network runs once on an image, and only its last layers once for each box. And since the gradient
# goes through the pooling, all that R-CNN trained one after the other is trained together: fully connected layers end
# in K + 1 scores (softmax, no SVMs; 0 is background) and in 4 K numbers, a move of the box for each class.

# %%
import timeit
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
from scenes06 import dataset, proposals

import tinyconv
from tinyconv.detection.evaluation import evaluate_detector
from tinyconv.detection.training import train_detector
from tinyconv.models.fast_rcnn import DELTA_STD, Learnt, fast_rcnn, multitask_loss
from tinyconv.models.rcnn import rcnn
from tinyconv.models.svd import compress
from tinyconv.vision import box_iou
from tinyconv.vision.boxes import encode_boxes

lesson = tinyconv.lesson_step(__name__)
n, tests, epochs = (8, 4, 1) if lesson.smoke else (300, 100, 10)
boxes, test_boxes = proposals(lesson.out, "train", n), proposals(lesson.out, "test", tests)
data, test = dataset("train", n, boxes), dataset("test", tests)

# %% [markdown]
# ## Which boxes to learn from
#
# A step takes few images (2) and many boxes of each, since these share the convolutions: 64 in the paper, 32 here. At
# most a quarter show an object, IoU at least 0.5; the true boxes are among the candidates. The rest are background
# whose best IoU lies in [0.1, 0.5). The paper's reason: boxes that hold nothing at all are too easy. `claims.py` finds
# no difference on our scenes.


# %%
def sample(proposed, true, labels, count, rng):
    """Return boxes (R, 4), their classes (0 is background) and the moves that are wanted (R, 4)."""
    every = np.concatenate([true, proposed])
    overlap = box_iou(every, true)
    best, which = overlap.max(1), overlap.argmax(1)
    kinds = {"objects": best >= 0.5, "background": (best >= 0.1) & (best < 0.5), "easy": best < 0.1}
    objects, background = (rng.permutation(np.flatnonzero(kinds[kind])) for kind in ("objects", "background"))
    objects = objects[: count // 4]
    chosen = np.concatenate([objects, background[: count - len(objects)]])
    classes = np.where(best[chosen] >= 0.5, labels[which[chosen]] + 1, 0)
    wanted = encode_boxes(every[chosen], true[which[chosen]]) / np.array(DELTA_STD)
    return every[chosen], classes, np.where(classes[:, None] > 0, wanted, 0), kinds


image, of = data[3][0], data.truths()[3]
_, classes, wanted, kinds = sample(boxes[3], of.boxes, of.labels, 32, lesson.rng)
counts = ", ".join(f"{kind} {which.sum()}" for kind, which in kinds.items())
print(f"a scene of {len(of.boxes)} objects; candidates: {counts} (IoU below 0.1, not used)")
print(f"sampled: {(classes > 0).sum()} objects, {(classes == 0).sum()} background\n")

# %% [markdown]
# ## The loss of two tasks
#
# L = mean over the R boxes of  -ln p_u  +  [u >= 1] sum over x, y, w, h of smoothL1(t_u - v)
#
# u is the true class, t_u the move that the network says for it, v the one that is wanted; smoothL1(d) is d^2 / 2 for
# |d| < 1, else |d| - 1/2, so that a box far off cannot tear at the weights: its slope is d cut at -1 and 1.


# %%
def loss_by_hand(scores, moves, classes, wanted):
    """Return the loss and its gradients with respect to scores (R, K + 1) and moves (R, 4 K)."""
    R, rows = len(classes), np.flatnonzero(classes)
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    d = moves.reshape(R, -1, 4)[rows, classes[rows] - 1] - wanted[rows]
    value = -np.log(p[np.arange(R), classes]).sum() + np.where(abs(d) < 1, d**2 / 2, abs(d) - 0.5).sum()
    dscores, dmoves = (p - np.eye(p.shape[1])[classes]) / R, np.zeros((R, moves.shape[1] // 4, 4))
    dmoves[rows, classes[rows] - 1] = np.clip(d, -1, 1) / R  # the other classes' moves get none
    return value / R, dscores, dmoves.reshape(R, -1)


scores, moves = lesson.rng.standard_normal((32, 11)), lesson.rng.standard_normal((32, 40))
leaves = [tinyconv.tensor(part, requires_grad=True) for part in (scores, moves)]
(theirs := multitask_loss(Learnt(*leaves, classes, wanted))).backward()
value, *ours = loss_by_hand(scores, moves, classes, wanted)
off = max(np.abs(gradient - leaf.grad.numpy()).max() for gradient, leaf in zip(ours, leaves, strict=True))
print(f"loss {value:.6f}, the library's {theirs.item():.6f}; the gradients are off from its by {off:.0e}\n")

# %% [markdown]
# ## A short training, and the time of an image
#
# No stages: one optimizer, one loss, the 300 scenes of step 3 (step 8 takes 1,000). Then the networks alone, R-CNN's on
# crops that are warped already, one thread. (In the paper, with VGG-16 and 2,000 boxes, it is 146 times faster.)

# %%
model = fast_rcnn(10, scale="lesson")
train_detector(model, data, epochs=epochs, seed=lesson.seed)
result = evaluate_detector(model, test, proposals=test_boxes)
print(f"\n{tests} test scenes: mAP 11-point {result.mean_eleven_point:.3f}, all-point {result.mean_all_point:.3f}")
tinyconv.set_num_threads(1)


@tinyconv.no_grad()
def milliseconds(part):
    """Return the median of eleven runs."""
    return 1000 * median(timeit.repeat(part, number=1, repeat=2 if lesson.smoke else 11))


slow, one, counts = rcnn(10, scale="lesson"), tinyconv.tensor(image[None]), (10, 20, 50, 100)
crops, hundred = lesson.rng.standard_normal((400, 3, 32, 32)).astype(np.float32), np.resize(test_boxes[0], (100, 4))
milliseconds(lambda: slow.features(crops))  # many first: then the next do not ask the system for memory every time
times = {"R-CNN": [milliseconds(lambda c=count: slow.features(crops[:c])) for count in counts]}
times["Fast R-CNN"] = [milliseconds(lambda c=count: model.classify(model(one), [hundred[:c]])) for count in counts]
print(f"\nnetwork alone, ms, with  {''.join(f'{count:7d}' for count in counts)} boxes")
for name, row in times.items():
    print(f"{name:25s}{''.join(f'{t:7.2f}' for t in row)}")
print(f"{'ratio':25s}{''.join(f'{a / b:7.1f}' for a, b in zip(*times.values(), strict=True))}")

# %% [markdown]
# ## Truncated SVD
#
# Now fully connected layers cost most, as they see every box. W (out x in) is nearly U S V with the t largest singular
# values: two layers, S V and then U, t (in + out) weights instead of in * out. The squared error is the sum of the
# squares that were dropped. For VGG-16's fc6 t = 1024 makes 29,884,416 of 102,760,448 weights.

# %%
weight = model.get_submodule("head.fc6").weight.detach().numpy()
u, s, v = np.linalg.svd(weight, full_matrices=False)
print(f"\nfc6 has {weight.size:,} weights; of t singular values, and what these leave out of the sum of their squares:")
print("                weights   left out   mAP 11-point   all-point   ms, 100 boxes")
ranks, precisions = (2, 4, 8, 16, 32, 64, 128), []
for t in ranks:
    left, small = (s[t:] ** 2).sum() / (s**2).sum(), compress(model, (t,))
    assert np.isclose(((weight - u[:, :t] * s[:t] @ v[:t]) ** 2).sum() / (s**2).sum(), left, atol=1e-5)
    result = evaluate_detector(small, test, proposals=test_boxes)
    precisions.append(p := (result.mean_eleven_point, result.mean_all_point))
    took = milliseconds(lambda: small.classify(small(one), [hundred]))  # noqa: B023
    print(f"t = {t:3d} {t * sum(weight.shape):14,d} {left:10.1%} {p[0]:14.3f} {p[1]:11.3f} {took:14.2f}")
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for name, row in times.items():
    axes[0].plot(counts, row, "o-", label=name)
axes[0].set(xlabel="boxes", ylabel="ms", xticks=counts, title="network alone, ms an image")
axes[1].plot(ranks, precisions, "o-", label=("11-point", "all-point"))
axes[1].set(xscale="log", xticks=ranks, xticklabels=ranks, xlabel="singular values of fc6 that are kept", ylabel="mAP")
for axis in axes:
    axis.legend()
lesson.save(fig, "fast", alt="R-CNN's time grows with the boxes, Fast R-CNN's hardly; mAP stays with fewer weights")
lesson.next(why="the network proposes its boxes itself")
