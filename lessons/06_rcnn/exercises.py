"""Exercises of lesson 06: the parts of R-CNN, Fast and Faster R-CNN. Run ``pytest lessons/06_rcnn`` to check them.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition. Any way of computing it is right: loops or NumPy.

Conventions: a box is x1 y1 x2 y2 in pixels, and its width is x2 - x1; ``boxes`` are (R, 4) arrays. Tasks 6.2, 6.5 and
6.6 are kernels of the library, with its names and arguments: they write into arrays that they are handed, whatever is
in these, return nothing, and the tests run them in its detectors.
"""

import numpy as np


def encode_boxes(proposals, truth):
    """Return (R, 4): the numbers tx, ty, tw, th by which each true box is described from its proposal.

    With the centres (Px, Py), (Gx, Gy) and the sizes Pw, Ph, Gw, Gh of a proposal P and its true box G:

        tx = (Gx - Px) / Pw    ty = (Gy - Py) / Ph    tw = ln(Gw / Pw)    th = ln(Gh / Ph)

    Row i of ``proposals`` (R, 4) belongs to row i of ``truth`` (R, 4).

    Difficulty 1 of 3, 15 minutes. Hint: ``boxes[:, :2]`` are the upper left corners of all boxes, ``boxes[:, 2:]`` the
    lower right ones, so x and y can be treated alike, without a loop. The next function belongs to this task, too.
    """
    # TASK 6.1
    # BEGIN SOLUTION
    size, wanted = proposals[:, 2:] - proposals[:, :2], truth[:, 2:] - truth[:, :2]
    shift = (truth[:, :2] + truth[:, 2:] - proposals[:, :2] - proposals[:, 2:]) / 2
    return np.concatenate([shift / size, np.log(wanted / size)], axis=1)
    # END SOLUTION


def decode_boxes(proposals, deltas, largest=62.5):
    """Return the boxes (R, 4) that ``deltas`` (R, 4) describe, seen from ``proposals`` (R, 4): encode_boxes undone.

    A network may say anything, and exp of it must not overflow: no box is more than ``largest`` times as wide or as
    high as its proposal. (It may be as small as it likes.)
    """
    # TASK 6.1
    # BEGIN SOLUTION
    size = proposals[:, 2:] - proposals[:, :2]
    centre = (proposals[:, :2] + proposals[:, 2:]) / 2 + deltas[:, :2] * size
    half = size * np.exp(np.minimum(deltas[:, 2:], np.log(largest))) / 2
    return np.concatenate([centre - half, centre + half], axis=1)
    # END SOLUTION


def nms(boxes, keep, threshold, offset):
    """Write into ``keep`` (R,), bools, which of ``boxes`` (R, 4) stay; they are sorted, best first.

    A box stays unless its IoU with a box before it, which stays itself, is above ``threshold``; an IoU of exactly the
    threshold drops nothing. Sides of boxes are x2 - x1 + ``offset``. Boxes that do not meet have IoU 0, and so has a
    box without area with any other, and with another one. A box the wrong way round, x2 < x1 or y2 < y1, has none.

    Difficulty 2 of 3, 20 minutes. Hint: go from the best box to the last. What must be known of a box when its turn
    comes? IoU > threshold is the same as intersection > threshold * union, which divides nothing by 0.
    """
    # TASK 6.2
    # BEGIN SOLUTION
    low, high = boxes[:, :2], boxes[:, 2:] + boxes.dtype.type(offset)
    areas = np.maximum(high - low, 0).prod(axis=1)
    keep[...] = True
    for i in range(len(boxes)):
        if not keep[i]:
            continue
        inter = np.maximum(np.minimum(high[i], high) - np.maximum(low[i], low), 0).prod(axis=1)
        over = inter > threshold * (areas[i] + areas - inter)
        keep[i + 1 :] &= ~over[i + 1 :]
    # END SOLUTION


def average_precision(scores, overlaps, objects, difficult, metric="11-point"):
    """Return the average precision of one class over all images, as the VOC challenge defines it.

    For each of D detections, in any order: its score; ``objects`` (D,), the number of the object with which it has the
    largest IoU, among all objects of the class in all images, or -1 if there is none in its image; ``overlaps`` (D,),
    that IoU. For each of G objects: ``difficult`` (G,), whether it counts neither as found nor as missed.

    Detections are taken best score first, equal scores in the order given. One whose overlap is not above 0.5 is wrong.
    One that hits a difficult object is left out. One that hits an object is right the first time, and wrong each time
    after. Recall is the right ones so far over the number of objects that are not difficult, precision the right ones
    so far over all so far (without those left out).

    "11-point": the mean over t = 0, 0.1, ..., 1 of the largest precision at a recall of at least t, or 0 if there is
    none; a recall of exactly 3/10 counts for t = 0.3. "all-point": the area under the curve that has, at each recall,
    the largest precision at this recall or a higher one, and 0 where no recall reaches. NaN if no object counts.

    Difficulty 2 of 3, 30 minutes. Hint: first make a list of right (1) and wrong (0), then its cumulative sums. The
    largest precision from here on is a running maximum from the right. 3 * 0.1 is not 0.3: allow for 1e-9.
    """
    # TASK 6.3
    # BEGIN SOLUTION
    flags, seen = [], set()
    for d in np.argsort(-np.asarray(scores), kind="stable"):
        hit = overlaps[d] > 0.5 and objects[d] >= 0
        if hit and difficult[objects[d]]:
            continue
        flags.append(bool(hit and objects[d] not in seen))
        if hit:
            seen.add(objects[d])
    count = int((~np.asarray(difficult, bool)).sum())
    if not count:
        return float("nan")
    true = np.cumsum(np.array(flags, int))
    recall, precision = true / count, true / np.arange(1, len(flags) + 1)
    beyond = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "11-point":
        return float(sum(beyond[recall >= t / 10 - 1e-9][:1].sum() for t in range(11)) / 11)
    return float((np.diff(recall, prepend=0) * beyond).sum())
    # END SOLUTION


def merge_regions(first, second, area):
    """Return ((colour, size, fill), merged): how similar two regions of an image are, and the region they make.

    A region is (size, box, histogram): its number of pixels; the box tightly around them, four numbers; the share of
    its pixels in each bin of colour, an array of sum 1. ``area`` is the number of pixels of the image.

        colour = sum over the bins of the smaller of both shares
        size = 1 - (size of the first + size of the second) / area
        fill = 1 - (size of the box around both - size of the first - size of the second) / area

    ``merged`` is the same for the union of the two, and its histogram what would be counted from its pixels. The
    regions have no pixel in common. Neither of them is changed.

    Difficulty 1 of 3, 20 minutes. Hint: a share times the number of pixels is a count, and counts add up.
    """
    # TASK 6.4
    # BEGIN SOLUTION
    (m, a, p), (n, b, q) = first, second
    box = np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])
    around = (box[2] - box[0]) * (box[3] - box[1])
    similarity = float(np.minimum(p, q).sum()), 1 - (m + n) / area, 1 - (around - m - n) / area
    return similarity, (m + n, box, (m * np.asarray(p) + n * np.asarray(q)) / (m + n))
    # END SOLUTION


def roi_pool_forward(x, rois, y, switches, scale):
    """Write the maximum of each bin of each region of interest into y, and where it was into switches.

    x (N, C, H, W) are maps, rois (R, 5) rows (n, x1, y1, x2, y2): the image's number and a box in pixels of the image.
    y and switches are (R, C, PH, PW), and a switch is the flat index h * W + w.

    1. The box times ``scale`` (cells per pixel), each number rounded to the nearest whole one, halves away from zero
       (2.5 to 3, -2.5 to -3), gives the first column and row and the last ones, which belong to it, too.
    2. So it has length = max(last - first + 1, 1) rows. Bin i of PH takes those from first + floor(i length / PH) up
       to, but not including, first + ceil((i + 1) length / PH). Neighbouring bins may share a row. Columns likewise.
    3. What lies outside of the map does not count. Of equal maxima the first one wins, row by row. A bin that is empty,
       as all of it lies outside, gets 0, and the switch -1.

    x has no NaN.

    Difficulty 3 of 3, 40 minutes. Hint: ``np.round`` makes 2 of 2.5. A ceiling of whole numbers is -(-a // b). Work out
    rows and columns of a bin once; ``argmax`` of the flattened bin then serves all C maps at once.
    """
    # TASK 6.5
    # BEGIN SOLUTION
    (H, W), (PH, PW) = x.shape[2:], y.shape[2:]

    def bins(low, high, count, limit):
        first, last = (int(np.sign(v) * np.floor(abs(v) + 0.5)) for v in (low, high))
        length = max(last - first + 1, 1)
        edges = [(first + i * length // count, first - (-(i + 1) * length // count)) for i in range(count)]
        return [(max(start, 0), min(end, limit)) for start, end in edges]

    for r, (n, *box) in enumerate(rois):
        x1, y1, x2, y2 = np.array(box, rois.dtype) * rois.dtype.type(scale)
        for i, (top, bottom) in enumerate(bins(y1, y2, PH, H)):
            for j, (left, right) in enumerate(bins(x1, x2, PW, W)):
                if top >= bottom or left >= right:
                    y[r, :, i, j], switches[r, :, i, j] = 0, -1
                    continue
                window = x[int(n), :, top:bottom, left:right].reshape(x.shape[1], -1)
                at = window.argmax(axis=1)
                y[r, :, i, j] = window[np.arange(len(at)), at]
                switches[r, :, i, j] = (top + at // (right - left)) * W + left + at % (right - left)
    # END SOLUTION


def roi_pool_backward(dy, rois, switches, dx, scale):
    """Write the gradient of RoI pooling into dx (N, C, H, W), all of it.

    dy (R, C, PH, PW) is the gradient of the outputs, ``switches`` what task 6.5 wrote, rois (R, 5) have the image's
    number in their first column. Each number of dy goes to the cell where the maximum was, of its image and map; where
    there was none, nowhere. (``scale`` is that of task 6.5. The switches know all that is needed.)

    Difficulty 2 of 3, 20 minutes. Hint: regions overlap, and bins too, so one cell may be the maximum of many.
    ``a[places] += values`` counts each place once; ``np.add.at(a, places, values)`` does not.
    """
    # TASK 6.6
    # BEGIN SOLUTION
    dx[...] = 0
    R, C = dy.shape[:2]
    flat = dx.reshape(*dx.shape[:2], -1)
    image = np.broadcast_to(rois[:, 0].astype(int)[:, None, None, None], dy.shape)
    channel = np.broadcast_to(np.arange(C)[None, :, None, None], dy.shape)
    filled = switches >= 0
    np.add.at(flat, (image[filled], channel[filled], switches[filled]), dy[filled])
    # END SOLUTION


def multi_task_loss(scores, deltas, classes, targets, balance=1.0):
    """Return (loss, dscores, ddeltas): Fast R-CNN's loss of R regions, and its gradients.

    scores (R, K + 1) are those of the classes, the background first; u = classes (R,) are the right ones, 0 for
    background. deltas (R, 4 K) are four numbers for each class but the background: those of class 1, then of class 2,
    ... Of them the four of the right class, t^u, should be targets (R, 4), v:

        loss = mean over the regions of  -ln p_u  +  balance * [u >= 1] * sum over the four of smoothL1(t^u - v)

    p is the softmax of a region's scores. smoothL1(x) is x^2 / 2 for |x| < 1, else |x| - 1/2. Both terms are divided by
    R, however many regions are background; for these, targets hold anything, even NaN, and deltas learn nothing.
    R is at least 1. dscores and ddeltas have the shapes of scores and deltas, which are not changed. Scores may be as
    large as 1000.

    Difficulty 2 of 3, 30 minutes. Hint: the gradient of -ln p_u is p, less 1 at u. What is the derivative of smoothL1?
    ``deltas.reshape(R, K, 4)[rows, classes[rows] - 1]`` are the right four of some rows.
    """
    # TASK 6.7
    # BEGIN SOLUTION
    R = len(classes)
    shifted = scores - scores.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dscores = np.exp(logs)
    dscores[np.arange(R), classes] -= 1
    rows = np.flatnonzero(classes > 0)
    ddeltas = np.zeros_like(deltas)
    off = deltas.reshape(R, -1, 4)[rows, classes[rows] - 1] - targets[rows]
    ddeltas.reshape(R, -1, 4)[rows, classes[rows] - 1] = balance * np.clip(off, -1, 1) / R
    far = np.abs(off)
    boxes = np.where(far < 1, far**2 / 2, far - 0.5).sum()
    loss = (balance * boxes - logs[np.arange(R), classes].sum()) / R
    return loss, dscores / R, ddeltas
    # END SOLUTION


def truncated_svd(weight, bias, rank):
    """Return (first, second, bias, saved): two layers in the place of one.

    The layer is y = weight x + bias, weight (out, in). The two are y = second (first x) + bias, with first (rank, in)
    and second (out, rank), such that second first is the matrix of this rank that is nearest to weight: the sum of the
    squares of the differences is the least possible. rank is at most the smaller of out and in. The columns of second
    are orthonormal. ``bias`` (out,) is that of the second layer; the first has none. ``saved`` is how many parameters
    there are less than before, biases included; it may be negative.

    Difficulty 1 of 3, 15 minutes. Hint: ``np.linalg.svd(weight, full_matrices=False)`` returns U, the singular values
    from the largest to the smallest, and V transposed.
    """
    # TASK 6.8
    # BEGIN SOLUTION
    u, s, vt = np.linalg.svd(weight, full_matrices=False)
    first, second = s[:rank, None] * vt[:rank], u[:, :rank]
    out, ins = weight.shape
    return first, second, bias.copy(), out * ins - rank * (out + ins)
    # END SOLUTION


def all_anchors(shape, stride, sizes, ratios):
    """Return the anchors (rows * columns * k, 4) of every place of a map.

    Each of the rows x columns = ``shape`` places of the map is a square of ``stride`` pixels of the image, the first
    one in its upper left corner. Around the middle of each lie k anchors: for each ratio (first of all the first one),
    for each size, a box whose area is size^2 and whose height is ratio times its width. Places come row by row, in a
    row from left to right, and all k anchors of a place together. Nothing is rounded, and boxes may leave the image.

    Difficulty 1 of 3, 20 minutes. Hint: width * height = size^2 and height = ratio * width. A row of a map is y.
    """
    # TASK 6.9
    # BEGIN SOLUTION
    found = []
    for row in range(shape[0]):
        for column in range(shape[1]):
            x, y = stride * (column + 0.5), stride * (row + 0.5)
            for ratio in ratios:
                for size in sizes:
                    width, height = size / np.sqrt(ratio), size * np.sqrt(ratio)
                    found.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return np.array(found, float).reshape(-1, 4)
    # END SOLUTION


def iou(first, second):
    """Given: return the intersection over union (R, S) of every box of one set (R, 4) with every box of another."""
    low, high = np.maximum(first[:, None, :2], second[None, :, :2]), np.minimum(first[:, None, 2:], second[None, :, 2:])
    inter = np.maximum(high - low, 0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return inter / (areas[0][:, None] + areas[1] - inter)


def label_anchors(anchors, truth, size, positive=0.7, negative=0.3):
    """Return (labels, matched), both (A,), integers: what each anchor (A, 4) is, and whose.

    ``truth`` (G, 4) are the objects, ``size`` the image's (height, width). An anchor that crosses the border of the
    image is -1, ignored, and counts nowhere below. The others are

        1, an object, if the IoU with some object is at least ``positive``, or if no other anchor inside the image has a
        larger IoU with some object (all that tie are objects; they tie if they differ by less than 1e-9);
        0, background, if they are not 1 and the IoU with every object is below ``negative``;
        -1 else.

    An object with IoU 0 to all anchors inside makes none an object. ``matched`` is the number of the object with which
    an anchor, inside or not, has the largest IoU, the first one of equals. There may be no object: then all anchors
    inside are background, and matched is -1.

    Difficulty 2 of 3, 30 minutes. Hint: ``iou`` is above. Begin with -1 everywhere, then background, objects last. For
    each object the best of the anchors inside: a maximum over the other axis.
    """
    # TASK 6.10
    # BEGIN SOLUTION
    height, width = size
    inside = ((anchors[:, :2] >= 0) & (anchors[:, 2:] <= [width, height])).all(axis=1)
    labels = np.where(inside, 0, -1)
    if not len(truth) or not len(anchors):
        return labels, np.full(len(anchors), -1)
    overlap = iou(anchors, truth)
    within = np.where(inside[:, None], overlap, -1)
    best = within.max(axis=0)
    labels[inside & (overlap.max(axis=1) >= negative)] = -1
    ties = (within > best - 1e-9) & (best > 0)
    labels[inside & ((overlap.max(axis=1) >= positive) | ties.any(axis=1))] = 1
    return labels, overlap.argmax(axis=1)
    # END SOLUTION


def propose(scores, deltas, anchors, size, decode, suppress, before=6000, after=300, least=16):
    """Return (boxes, scores) of the proposals of one image, best first.

    scores (A,) say how much each anchor (A, 4) looks like an object, deltas (A, 4) how it is to be moved; ``size`` is
    the image's (height, width). You are given decode(anchors, deltas) -> boxes, and suppress(boxes, scores) -> numbers
    of the boxes that stay, best first. In this order:

        1. decode; 2. cut off what is outside of the image; 3. drop what is then narrower or lower than ``least``
        pixels; 4. keep the ``before`` best; 5. suppress; 6. keep the ``after`` best.

    Of equal scores the earlier anchor is the better one. Nothing that you are handed is changed.

    Difficulty 2 of 3, 20 minutes. Hint: the rest is two lines of indexing each, if boxes and scores stay together.
    ``np.argsort(-scores, kind="stable")``.
    """
    # TASK 6.11
    # BEGIN SOLUTION
    height, width = size
    boxes = np.clip(decode(anchors, deltas), 0, [width, height, width, height])
    large = (boxes[:, 2:] - boxes[:, :2] >= least).all(axis=1)
    boxes, scores = boxes[large], scores[large]
    best = np.argsort(-scores, kind="stable")[:before]
    boxes, scores = boxes[best], scores[best]
    kept = suppress(boxes, scores)[:after]
    return boxes[kept], scores[kept]
    # END SOLUTION
