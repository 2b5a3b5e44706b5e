# %% [markdown]
# # R-CNN 7: Faster R-CNN, whole
#
# minutes 25 | needs step6_anchors.py | next step8_train.py
#
# Convolutions; on their last map the region proposal network (a 3x3 convolution, then two 1x1: two scores and four
# deltas for each of k = 9 anchors at every place); proposals made of these; and Fast R-CNN's head, which looks at them
# on the same map. One network; the search costs three more layers.

# %%
import numpy as np
from scenes06 import dataset

import tinyconv
from tinyconv import models, nn
from tinyconv.functional.roi import roi_pool
from tinyconv.nn import functional as F
from tinyconv.random import generator
from tinyconv.vision.anchors import anchor_boxes, faithful_anchors, grid_anchors, label_anchors, sample_labels
from tinyconv.vision.boxes import clip_boxes, decode_boxes, encode_boxes
from tinyconv.vision.nms import nms
from tinyconv.vision.targets import unpack_targets

lesson = tinyconv.lesson_step(__name__)
STD = np.array([0.1, 0.1, 0.2, 0.2], np.float32)  # an output of 1 is this much: learning is easier in units of its own

# %% [markdown]
# VGG-16 without its last pool, or ZF Net padded so that unit i lies over pixel 16 i; ours has three layers and a stride
# of 4. Then: units of the region proposal network, side of the pooled map, units of fc6, fc7.

# %%
POOL = ("pool", 0, 2, 2, 0)
VGG = [[(f"{group}_{i + 1}", maps, 3, 1, 1) for i in range(count)] + [POOL] * (group < 5)
       for group, (count, maps) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1)]  # fmt: skip
PLANS = {  # (name, filters, window, stride, padding)
    "vgg16": (sum(VGG, []), 512, 7, (4096, 4096)),
    "zf": ([("1", 96, 7, 2, 3), ("norm", 0, 3, 2, 1), ("2", 256, 5, 2, 2), ("norm", 0, 3, 2, 1),
            ("3", 384, 3, 1, 1), ("4", 384, 3, 1, 1), ("5", 256, 3, 1, 1)], 256, 6, (4096, 4096)),
    "small": ([("1", 16, 3, 1, 1), POOL, ("2", 32, 3, 1, 1), POOL, ("3", 32, 3, 1, 1)], 32, 5, (128,)),
}  # fmt: skip


class FasterRCNN(nn.Module):
    """Ren et al. 2015; layers have the library's names."""

    def __init__(self, name: str, classes: int, anchors: np.ndarray, device: str = "cpu") -> None:
        super().__init__()
        (plan, units, self.roi, hidden), self.anchors = PLANS[name], anchors
        layers, maps, self.stride = {}, 3, int(np.prod([stride for *_, stride, _ in plan]))
        for i, (what, filters, *window) in enumerate(plan):
            if filters:
                layers[f"conv{what}"], maps = nn.Conv2d(maps, filters, *window, device=device), filters
                layers[f"relu{what}"] = nn.ReLU()
            else:
                layers[f"pool{i}"] = nn.MaxPool2d(*window)
            if what == "norm":
                layers[f"norm{i}"] = nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0, alpha_over_size=False)
        self.backbone = nn.Sequential(layers)
        fully, width = {"flatten": nn.Flatten()}, maps * self.roi**2
        for i, out in enumerate(hidden, 6):
            fully |= {f"fc{i}": nn.Linear(width, out, device=device), f"relu{i}": nn.ReLU()}
            width = out
        self.head = nn.Sequential(fully)  # and dropout, in training; ours has none
        self.cls_score = nn.Linear(width, classes + 1, device=device)
        self.bbox_pred = nn.Linear(width, 4 * classes, device=device)
        self.rpn_conv = nn.Conv2d(maps, units, 3, padding=1, device=device)
        self.rpn_score = nn.Conv2d(units, 2 * len(anchors), 1, device=device)
        self.rpn_delta = nn.Conv2d(units, 4 * len(anchors), 1, device=device)

    def forward(self, images: tinyconv.Tensor) -> tuple[tinyconv.Tensor, ...]:
        """Return the maps (N, C, H, W), scores (N, 2k, H, W) and deltas (N, 4k, H, W)."""
        shared = F.relu(self.rpn_conv(maps := self.backbone(images)))
        return maps, self.rpn_score(shared), self.rpn_delta(shared)

    def proposals(self, scores: np.ndarray, deltas: np.ndarray, size, before=300, after=20, least=2) -> np.ndarray:
        """Return the best boxes of one image: decode, clip, drop the small, take the best, suppress, take the best."""
        every = grid_anchors(self.anchors, scores.shape[1:], self.stride).astype(np.float32)
        rated = scores[len(self.anchors) :] - scores[: len(self.anchors)]  # "object" minus "no object"
        rated = rated.transpose(1, 2, 0).reshape(-1)  # (k, H, W) -> (row, column, anchor)
        moved = deltas.reshape(-1, 4, *deltas.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, 4) * STD
        boxes = clip_boxes(decode_boxes(every, moved), size)
        large = (boxes[:, 2:] - boxes[:, :2] >= least).all(1)
        best = np.flatnonzero(large)[np.argsort(-rated[large], kind="stable")][:before]
        return boxes[best][nms(boxes[best], rated[best], 0.7)[:after]]

    def classify(self, maps: tinyconv.Tensor, boxes: np.ndarray) -> tuple[tinyconv.Tensor, tinyconv.Tensor]:
        """Return scores (P, K + 1) and deltas (P, 4K): Fast R-CNN's head (step 5)."""
        rois = np.concatenate([np.zeros((len(boxes), 1)), boxes - [0, 0, 1, 1]], 1).astype(np.float32)
        shared = self.head(roi_pool(maps, tinyconv.tensor(rois), (self.roi, self.roi), 1 / self.stride))
        return self.cls_score(shared), self.bbox_pred(shared)


# %% [markdown]
# The loss of the region proposal network:
#
#     L = mean over the sample of -ln p(right)  +  lambda / (places of the map) * sum over objects of smoothL1(t - t*)
#
# t is as in step 1, seen from the anchor. lambda is 10 in the paper (256 anchors, some 2,400 places), 4 here (64 and
# 256): both sums are then divided by 64. To the head proposals are given: no gradient passes through their corners,
# which is what "approximate" means in *approximate joint training*.


# %%
def proposal_loss(model, scores, deltas, truth, size, rng, balance=4) -> float:
    """Return the loss of one image, in NumPy."""
    k, (rows, columns) = len(model.anchors), scores.shape[1:]
    every = grid_anchors(model.anchors, (rows, columns), model.stride)
    labels, matched = label_anchors(every, truth, size)
    labels = sample_labels(labels, 64, 32, rng)  # step 6
    pairs = scores.reshape(2, k, rows, columns).transpose(2, 3, 1, 0).reshape(-1, 2).astype(float)
    logs = pairs - np.log(np.exp(pairs).sum(1, keepdims=True))
    loss = -logs[labels >= 0, labels[labels >= 0]].mean()
    moved = deltas.reshape(k, 4, rows, columns).transpose(2, 3, 0, 1).reshape(-1, 4)[labels == 1]
    off = np.abs(moved - encode_boxes(every[labels == 1], truth[matched[labels == 1]]) / STD)
    return loss + balance * np.where(off < 1, off**2 / 2, off - 0.5).sum() / (rows * columns)


# %%
if __name__ == "__main__":
    tinyconv.manual_seed(lesson.seed)
    theirs = models.faster_rcnn(10, scale="lesson").eval()
    mine = FasterRCNN("small", 10, anchor_boxes((12, 18, 26), (0.5, 1, 2)))
    mine.load_state_dict(theirs.state_dict())
    image, targets = dataset("train", 10)[3]
    with tinyconv.no_grad():
        outputs = theirs(batch := tinyconv.tensor(image[None]))
        maps, scores, deltas = mine.eval()(batch)
        boxes, _ = theirs.proposals(outputs, [(64, 64)])[0]
        found = mine.proposals(scores.numpy()[0], deltas.numpy()[0], (64, 64))
        heads = [m.classify(maps, b) for m, b in ((mine, found), (theirs, [boxes]))]
        loss = theirs.regions_loss(outputs, unpack_targets(targets[None])).item()
    truth, rng = unpack_targets(targets[None])[0].boxes, generator(0, "anchors", 0, 0)  # that of the library's sample
    own = proposal_loss(mine, scores.numpy()[0], deltas.numpy()[0], truth, (64, 64), rng)
    off = max(np.abs(a.numpy() - b.numpy()).max() for a, b in zip(*heads, strict=True))
    print(f"proposals: {len(found)}, the library's {len(boxes)}, {np.abs(found - boxes).max():.0e} apart; ", end="")
    print(f"scores and deltas of the head: {off:.0e} apart\nloss of the proposals {own:.6f}, the library's {loss:.6f}")
    print("\n600 x 1000 pixels   parameters   10^9 multiply-adds")
    for name in ("zf", "vgg16"):
        model = FasterRCNN(name, 20, faithful_anchors(), device="meta")
        both = (model, models.faster_rcnn(20, backbone=name, device="meta"))
        same = [{n: p.shape for n, p in m.named_parameters()} for m in both]
        print(f"{name}: parameters as in the library: {same[0] == same[1]}")
        rows = tinyconv.summary(model, (3, 600, 1000)).rows
        parts = {"convolutions": "backbone", "proposals": "rpn", "300 regions": ("head", "cls", "bbox")}
        for title, start in parts.items():
            part = [row for row in rows if row.name.startswith(start)]
            params = sum(row.params or 0 for row in part)
            macs = sum(row.macs or 0 for row in part) or 300 * params  # a weight is used once for each region
            print(f"  {title:15s} {params:12,d} {macs / 1e9:15.1f}")
    lesson.next(why="train it, and the two before it")
