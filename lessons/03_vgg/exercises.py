"""Exercises of lesson 03: VGG's arithmetic, training and testing. Run ``pytest lessons/03_vgg`` to see how far you are.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition.

Conventions: images are ``(C, H, W)`` or ``(N, C, H, W)`` arrays, boxes are rows x1 y1 x2 y2 in pixels, where x2 - x1 is
the width (nothing is added to it). Any way of computing it is right: loops or NumPy.
"""

import numpy as np

import tinyconv
import tinyconv.nn.functional as F
from tinyconv.data.image import resize_image

# Table 1 of the paper: the number of convolutions in each of the five groups, and the filters of each group.
CONVOLUTIONS = {
    "A": (1, 1, 2, 2, 2),
    "A-LRN": (1, 1, 2, 2, 2),
    "B": (2, 2, 2, 2, 2),
    "C": (2, 2, 3, 3, 3),
    "D": (2, 2, 3, 3, 3),
    "E": (2, 2, 4, 4, 4),
}
FILTERS = (64, 128, 256, 512, 512)


def stacked(layers, channels):
    """Return (side, step, weights) of layers on top of each other.

    ``layers`` is a list of (kind, window, stride) from the image up, kind "conv" or "pool"; windows are square.
    ``side`` is the receptive field of one value at the top, in pixels of the image; ``step`` is how many pixels apart
    the fields of two neighbours are. ``weights`` counts those of the convolutions if each has ``channels`` inputs and
    outputs; biases are not counted.

    Difficulty 1 of 3, 15 minutes. Hint: go from the image up. A window of k takes in k - 1 more neighbours, and these
    are as far apart as the steps of the layers BELOW have made them.
    """
    # TASK 3.1
    # BEGIN SOLUTION
    side = step = 1
    weights = 0
    for kind, window, stride in layers:
        side += (window - 1) * step
        step *= stride
        if kind == "conv":
            weights += window * window * channels * channels
    return side, step, weights
    # END SOLUTION


def layer_list(config, num_classes=1000):
    """Return the layers of a configuration, "A" to "E" or "A-LRN": a list of (name, kind, units, window).

    ("conv3_1", "conv", 256, 3) is the first convolution of the third group, with 256 filters of 3x3. After each group
    comes ("pool3", "pool", None, 2). In A-LRN, ("norm1", "lrn", None, None) follows the first convolution. In C, the
    third convolution of groups 3, 4 and 5 has windows of 1x1. At the end come ("fc6", "linear", 4096, None), fc7, and
    fc8 with ``num_classes`` units. ReLU and dropout are left out.

    Difficulty 1 of 3, 15 minutes. Hint: CONVOLUTIONS and FILTERS above hold all numbers; the names count from 1.
    """
    # TASK 3.2
    # BEGIN SOLUTION
    layers = []
    for group, (count, filters) in enumerate(zip(CONVOLUTIONS[config], FILTERS, strict=True), 1):
        for i in range(1, count + 1):
            layers.append((f"conv{group}_{i}", "conv", filters, 1 if config == "C" and i == 3 else 3))
            if config == "A-LRN" and group == 1:
                layers.append(("norm1", "lrn", None, None))
        layers.append((f"pool{group}", "pool", None, 2))
    layers += [("fc6", "linear", 4096, None), ("fc7", "linear", 4096, None)]
    return [*layers, ("fc8", "linear", num_classes, None)]
    # END SOLUTION


def cost(layers, input_shape):
    """Return (parameters, multiply-adds, parameters of the convolutions, multiply-adds of the convolutions).

    ``layers`` is a list as task 3.2 returns it, ``input_shape`` is (C, H, W). Convolutions have stride 1 and so much
    padding that the size stays; a pool of window 2 has stride 2 and rounds down. Convolutions and linear layers have a
    bias, which is a parameter but costs no multiply-add. "lrn" has and costs nothing.

    Difficulty 2 of 3, 20 minutes. Hint: a convolution's weights are used once for every pixel of its output, those of a
    linear layer once.
    """
    # TASK 3.3
    # BEGIN SOLUTION
    channels, height, width = input_shape
    found = {"conv": [0, 0], "linear": [0, 0]}
    for _, kind, units, window in layers:
        if kind == "pool":
            height, width = height // window, width // window
        if kind == "conv":
            weights = units * channels * window * window
            found["conv"][0] += weights + units
            found["conv"][1] += weights * height * width
            channels = units
        if kind == "linear":
            weights = units * channels * height * width
            found["linear"][0] += weights + units
            found["linear"][1] += weights
            channels, height, width = units, 1, 1
    totals = [found["conv"][i] + found["linear"][i] for i in (0, 1)]
    return (*totals, *found["conv"])
    # END SOLUTION


def start_from_a(deeper, a):
    """Return the initial weights of a deeper network: A's first four convolutions and its three fully connected layers.

    Both arguments are dicts of arrays by name, "conv1_1.weight", "conv1_1.bias", ...; ``a`` is the trained network A,
    ``deeper`` has random numbers. Return a new dict with the names of ``deeper`` in their order; a layer that A's first
    four convolutions or its fc layers have by the same name comes from A, all others stay random. Neither argument may
    change, nor may training the result (in place) change A.

    Difficulty 1 of 3, 15 minutes. Hint: A has one convolution in each of its first two groups, so its first four are
    conv1_1, conv2_1, conv3_1 and conv3_2.
    """
    # TASK 3.4
    # BEGIN SOLUTION
    taken = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")
    return {name: (a if name.split(".")[0] in taken else deeper)[name].copy() for name in deeper}
    # END SOLUTION


def jittered_crop(image, low, high, crop, draws):
    """Return a training image (C, crop, crop) by scale jittering.

    1. The shorter side is a whole number S, every one of low, low + 1, ..., high equally likely. Resize the image so,
       keeping its proportions; the longer side is rounded down.
    2. Cut out a window of ``crop`` x ``crop`` pixels; every place at which it fits is equally likely.
    3. Swap left and right with probability 1/2.

    ``draws`` are four random numbers in [0, 1), in this order: for S, the upper edge, the left edge, and the mirror
    image, which is due below 0.5. From the smallest to the largest possible result, each gets an equal part of [0, 1).
    Give arrays as (C, H, W); ``resize_image(image, (height, width))`` resizes.

    Difficulty 2 of 3, 20 minutes. Hint: n possible values, draw u: number int(u * n). How many values has low..high,
    and at how many places does a window of 224 fit into 256?
    """
    # TASK 3.5
    # BEGIN SOLUTION
    height, width = image.shape[1:]
    side, short = low + int(draws[0] * (high - low + 1)), min(height, width)
    height, width = side * height // short, side * width // short
    resized = resize_image(image, (height, width))
    top, left = int(draws[1] * (height - crop + 1)), int(draws[2] * (width - crop + 1))
    window = resized[:, top : top + crop, left : left + crop]
    return window[..., ::-1] if draws[3] < 0.5 else window
    # END SOLUTION


def convolve(x, weight, bias):
    """Return the convolution of arrays, without padding: given, for task 3.6.

    x (N, C, H, W), weight (K, C, KH, KW), bias (K,); the result is (N, K, H - KH + 1, W - KW + 1).
    """
    x, weight, bias = (tinyconv.Tensor(np.ascontiguousarray(array)) for array in (x, weight, bias))
    return F.conv2d(x, weight, bias).numpy()


def dense_scores(features, layers, kernel=7):
    """Return the class scores (N, classes) of images of any size, each the mean over a map of scores.

    ``features`` (N, C, H, W) is what pool5 hands out; H and W are at least ``kernel``. ``layers`` are the pairs
    (weight, bias) of fc6, fc7, fc8, made for C x kernel x kernel values: weights are (outputs, inputs), and the inputs
    of fc6 are those of an image in the order of ``features[n].ravel()``. Make a convolution of each and run them over
    the whole map: a ReLU after fc6 and after fc7, none after fc8 (and no softmax). Then average over the map.

    Difficulty 2 of 3, 20 minutes. Hint: a row of fc6's weight is a filter whose numbers lie in a line; fc7 and fc8 see
    one place only. ``convolve`` is above.
    """
    # TASK 3.6
    # BEGIN SOLUTION
    (weight6, bias6), (weight7, bias7), (weight8, bias8) = layers
    filters = weight6.reshape(len(weight6), features.shape[1], kernel, kernel)
    x = np.maximum(convolve(features, filters, bias6), 0)
    x = np.maximum(convolve(x, weight7[:, :, None, None], bias7), 0)
    return convolve(x, weight8[:, :, None, None], bias8).mean(axis=(2, 3))
    # END SOLUTION


def crop_grid(image, size, grid=5):
    """Return the views (2 grid^2, C, size, size) of an image (C, H, W) for testing with many crops.

    The upper edges of the crops are ``grid`` numbers evenly spaced from 0 to the last possible one, rounded to whole
    pixels, a half upwards; so are the left edges. Crops come row by row, from left to right; after all of them, their
    mirror images (left and right swapped) in the same order. ``grid`` is at least 2. VGG takes 5: 50 views, at each of
    three sizes 150.

    Difficulty 1 of 3, 15 minutes. Hint: the first crop touches the upper left corner, the last the lower right one;
    from the first to the fifth there are four steps. Python rounds halves to the even neighbour: round(4.5) is 4.
    """
    # TASK 3.7
    # BEGIN SOLUTION
    tops, lefts = ([int(i * (side - size) / (grid - 1) + 0.5) for i in range(grid)] for side in image.shape[1:])
    views = np.stack([image[:, top : top + size, left : left + size] for top in tops for left in lefts])
    return np.concatenate([views, views[..., ::-1]])
    # END SOLUTION


def box_iou(boxes, others):
    """Return (R, S): the overlap of each of R boxes with each of S others, intersection over union.

    The area common to both, divided by the area that at least one of them covers. A box counts as found if it is more
    than 0.5. Boxes are (R, 4) and (S, 4), x1 y1 x2 y2, none of them empty.

    Difficulty 1 of 3, 15 minutes. Hint: the intersection begins at the larger x1 and ends at the smaller x2; if it ends
    before it begins, there is none, in whichever direction.
    """
    # TASK 3.8
    # BEGIN SOLUTION
    a, b = boxes[:, None], others[None, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.maximum(sides, 0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (a, b)]
    return common / (areas[0] + areas[1] - common)
    # END SOLUTION


def box_loss(prediction, target, labels=None):
    """Return the Euclidean loss of predicted boxes and its gradient by ``prediction``.

    loss = 1 / (2 N) * sum over the N images of the squared distance of the predicted (cx, cy, w, h) to the target's.

    With ``labels`` None there is one box for all classes: prediction (N, 4), the paper's single-class regression. With
    labels (N,) there is one box per class: prediction (N, 4 K), columns 4 k to 4 k + 3 are class k's box, and only the
    box of an image's own class is compared with target (N, 4). Returns (loss, gradient), the second shaped as
    ``prediction``.

    Difficulty 2 of 3, 20 minutes. Hint: a box that is not compared has no influence on the loss, so what is its
    gradient? A view of ``prediction`` as (N, K, 4) saves index arithmetic.
    """
    # TASK 3.9
    # BEGIN SOLUTION
    n = len(prediction)
    own = np.zeros(n, np.int64) if labels is None else labels
    boxes = prediction.reshape(n, -1, 4)
    difference = boxes[np.arange(n), own] - target
    gradient = np.zeros_like(boxes)
    gradient[np.arange(n), own] = difference / n
    return (difference**2).sum() / (2 * n), gradient.reshape(prediction.shape)
    # END SOLUTION


def merge_boxes(boxes, scores, threshold=0.5):
    """Return (boxes, scores) after merging boxes that lie on each other, best score first.

    A network that is run over the whole image finds the same object at many places. Begin with every box as a heap of
    one. While there are two heaps whose boxes overlap by at least ``threshold`` (intersection over union), put the two
    that overlap most together: the box of a heap is the mean of ALL the boxes in it, its score is the sum of theirs.

    boxes (R, 4) x1 y1 x2 y2, scores (R,). Neither may be changed. No boxes: (0, 4) and (0,).

    Difficulty 3 of 3, 30 minutes. Hint: keep a list of lists of numbers of boxes. After every merger the overlaps are
    others than before. ``box_iou`` of task 3.8 may be called.
    """
    # TASK 3.10
    # BEGIN SOLUTION
    heaps = [[i] for i in range(len(boxes))]
    while len(heaps) > 1:
        means = np.stack([boxes[heap].mean(axis=0) for heap in heaps])
        overlap = np.triu(box_iou(means, means), 1)
        first, second = np.unravel_index(overlap.argmax(), overlap.shape)
        if overlap[first, second] < threshold:
            break
        heaps[first] += heaps.pop(second)
    totals = np.array([scores[heap].sum() for heap in heaps])
    order = np.argsort(-totals, kind="stable")
    merged = np.array([boxes[heaps[i]].mean(axis=0) for i in order]).reshape(-1, 4)
    return merged, totals[order]
    # END SOLUTION
