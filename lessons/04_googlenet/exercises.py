"""Exercises of lesson 04: GoogLeNet's parts, costs, training and testing. ``pytest lessons/04_googlenet`` checks them.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition.

Conventions: maps are ``(N, C, H, W)`` arrays, an image is ``(C, H, W)``, upstream gradients begin with d. The filters
of a module are six numbers, as in table 1: 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 behind the pool. Any way
of computing it is right: loops or NumPy. Arguments may not be changed.
"""

import math

import numpy as np


def pointwise(x, weight, bias, dy):
    """Return (y, dx, dweight, dbias) of a convolution with 1x1 windows, given the gradient ``dy`` of its output.

    y[n, k, i, j] = bias[k] + sum over c of weight[k, c] * x[n, c, i, j]; x (N, C, H, W), weight (K, C), bias (K,),
    dy (N, K, H, W). The gradients have the shapes of what they belong to.

    Difficulty 1 of 3, 15 minutes. Hint: a linear layer whose batch are the N * H * W pixels. Moving the channels to the
    end is a transpose, not a reshape; or name the axes in ``np.einsum``.
    """
    # TASK 4.1
    # BEGIN SOLUTION
    y = np.einsum("kc,nchw->nkhw", weight, x) + bias[:, None, None]
    dx = np.einsum("kc,nkhw->nchw", weight, dy)
    dweight = np.einsum("nkhw,nchw->kc", dy, x)
    return y, dx, dweight, dy.sum(axis=(0, 2, 3))
    # END SOLUTION


def module_cost(channels, height, width, filters):
    """Return (maps, parameters, multiply-adds) of an Inception module on ``channels`` maps of height x width.

    ``filters`` are the six numbers of table 1. All branches keep the size. Every convolution has a bias for each
    filter, which is a parameter but costs no multiply-add; pool and ReLU have and cost nothing.

    Difficulty 1 of 3, 20 minutes. Hint: four convolutions see the module's input, two see a reduction. Which maps are
    in the output, and which only inside?
    """
    # TASK 4.2
    # BEGIN SOLUTION
    ones, reduce3, threes, reduce5, fives, pooled = filters
    weights = channels * (ones + reduce3 + reduce5 + pooled) + 9 * reduce3 * threes + 25 * reduce5 * fives
    return ones + threes + fives + pooled, weights + sum(filters), weights * height * width
    # END SOLUTION


def naive_chain(channels, modules):
    """Return a list of (weights, maps) for naive modules on top of each other.

    A naive module (fig. 2a) has no 1x1 before 3x3 and 5x5 and none behind the pool: its three convolutions see its
    input, and all maps of the pool are in the output. ``modules`` is a list of six numbers each, as in table 1; take
    the three that a naive module has. The first module gets ``channels`` maps, each other one what the one below puts
    out. Biases are not counted.

    Difficulty 1 of 3, 15 minutes. Hint: a pool has as many maps as its input.
    """
    # TASK 4.3
    # BEGIN SOLUTION
    found = []
    for ones, _, threes, _, fives, _ in modules:
        weights = channels * (ones + 9 * threes + 25 * fives)
        channels = ones + threes + fives + channels
        found.append((weights, channels))
    return found
    # END SOLUTION


def side_by_side(x, branches, dy):
    """Return (y, dx) of branches side by side: y is their outputs concatenated along the channels, in order.

    A branch is a function: ``branch(x)`` returns (output, back), the output an array (N, its channels, H, W), and
    ``back(d)`` the gradient of the branch's input, an array shaped as x, for the gradient d of its output. Call each
    ``back`` once. ``dy`` is the gradient of y, dx that of x. What a branch hands out belongs to it: do not write into
    it.

    Difficulty 2 of 3, 20 minutes. Hint: backward of a concatenation cuts dy where forward has glued. An input that is
    used four times has four gradients: what becomes of them?
    """
    # TASK 4.4
    # BEGIN SOLUTION
    outputs, backs = zip(*(branch(x) for branch in branches), strict=True)
    dx, first = np.zeros_like(x), 0
    for output, back in zip(outputs, backs, strict=True):
        last = first + output.shape[1]
        dx = dx + back(dy[:, first:last])
        first = last
    return np.concatenate(outputs, axis=1), dx
    # END SOLUTION


def pooled_size(size, kernel, stride, padding=0):
    """Return the side of a pool's output by Caffe's rule, which rounds up.

    ceil((size + 2 * padding - kernel) / stride) + 1 windows, the first at -padding. But with a border (padding > 0) the
    last window is dropped if it begins at ``size`` or later: it would see the border only. All arguments are whole
    numbers; the window fits at least once.

    Difficulty 1 of 3, 10 minutes. Hint: window number i begins at i * stride - padding; the last is number count - 1.
    Whole numbers round up as -(-a // b).
    """
    # TASK 4.5
    # BEGIN SOLUTION
    count = -(-(size + 2 * padding - kernel) // stride) + 1
    if padding > 0 and (count - 1) * stride - padding >= size:
        count -= 1
    return count
    # END SOLUTION


def total_loss(scores, aux1, aux2, labels, weight=0.3):
    """Return (loss, dscores, daux1, daux2): main + weight * aux1 + weight * aux2, and its gradients.

    Each part is the mean over the N images of the cross-entropy, -log softmax(row)[label], of scores (N, K) with labels
    (N,). Scores may be as large as 1000. With ``aux1`` and ``aux2`` None (testing) only the main part counts, and their
    gradients are None.

    Difficulty 2 of 3, 20 minutes. Hint: write the loss of one head, with its gradient (softmax - one_hot) / N, and call
    it three times. Subtract the largest score of a row before ``exp``: the softmax does not change.
    """
    # TASK 4.6
    # BEGIN SOLUTION
    rows = np.arange(len(labels))

    def head(values):
        shifted = values - values.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        gradient = np.exp(log_p)
        gradient[rows, labels] -= 1
        return -log_p[rows, labels].mean(), gradient / len(labels)

    loss, dscores = head(scores)
    gradients = [dscores, None, None]
    for i, values in ((1, aux1), (2, aux2)):
        if values is not None:
            part, gradient = head(values)
            loss += weight * part
            gradients[i] = weight * gradient
    return (loss, *gradients)
    # END SOLUTION


def average_head(features, weight, bias, dscores):
    """Return (scores, maps, dfeatures) of GoogLeNet's end: average every map, then one linear layer.

    features (N, C, H, W), weight (K, C), bias (K,), dscores (N, K). ``scores`` (N, K) are the linear layer of the means
    over space. ``maps`` (N, K, H, W) are the class maps: what the same layer, with its bias, says at every single
    place; their mean over space is ``scores``. ``dfeatures`` is the gradient of the features for the gradient dscores
    of the scores.

    Difficulty 2 of 3, 20 minutes. Hint: the layer at every place is task 4.1. Each place has contributed 1 / (H * W) of
    a mean.
    """
    # TASK 4.7
    # BEGIN SOLUTION
    height, width = features.shape[2:]
    scores = features.mean(axis=(2, 3)) @ weight.T + bias
    maps = np.einsum("kc,nchw->nkhw", weight, features) + bias[:, None, None]
    dmeans = dscores @ weight / (height * width)
    return scores, maps, np.repeat(np.repeat(dmeans[:, :, None, None], height, axis=2), width, axis=3)
    # END SOLUTION


def sample_patch(height, width, draws, area=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """Return the random part (top, left, rows, columns) of an image that a training image is made from.

    ``draws`` is (tries, 4): numbers in [0, 1). Go through its rows. Of a row (a, r, t, l):

    1. The part's area is a share of height * width, uniform between the two of ``area``: the first at a = 0.
    2. Its columns / rows has a logarithm uniform between those of ``ratio``: the first at r = 0.
    3. These give rows and columns, each rounded to a whole number with ``round``.
    4. If they fit into the image and neither is 0, the part is found: its top is one of the places at which it fits,
       all equally likely, from the first at t = 0 to the last; likewise its left edge by l.

    If no row gives a part that fits, return the whole image. (The library's ``RandomResizedCrop`` takes the largest
    part in the middle whose proportion lies within ``ratio`` instead.)

    Difficulty 2 of 3, 25 minutes. Hint: rows * columns = A and columns / rows = R have the solution rows = sqrt(A / R).
    n possible values, draw u: number int(u * n).
    """
    # TASK 4.8
    # BEGIN SOLUTION
    for a, r, t, l in draws:
        size = height * width * (area[0] + a * (area[1] - area[0]))
        shape = math.exp(math.log(ratio[0]) + r * (math.log(ratio[1]) - math.log(ratio[0])))
        rows, columns = round(math.sqrt(size / shape)), round(math.sqrt(size * shape))
        if 1 <= rows <= height and 1 <= columns <= width:
            return int(t * (height - rows + 1)), int(l * (width - columns + 1)), rows, columns
    return 0, 0, height, width
    # END SOLUTION


def averaged_training(weight, gradient, rate, epochs, steps):
    """Return (last, mean): the weights after training, and the mean of the weights after every step (Polyak).

    ``epochs`` times ``steps`` steps of SGD with momentum 0.9: v = 0.9 v + gradient(weight), weight = weight - rate * v,
    v beginning at 0. ``gradient(weight)`` returns an array shaped as weight. After every 8 epochs the rate is
    multiplied by 0.96. The mean is over all steps, each counting alike, without the initial weights; keep a running
    mean, as a list of all weights of a real network would not fit in memory.

    Difficulty 2 of 3, 20 minutes. Hint: the running mean after t steps moves by 1 / t of the way to the new weights.
    The first epoch with the second rate is the ninth.
    """
    # TASK 4.9
    # BEGIN SOLUTION
    velocity, mean, count = np.zeros_like(weight), np.zeros_like(weight), 0
    for epoch in range(epochs):
        for _ in range(steps):
            velocity = 0.9 * velocity + gradient(weight)
            weight = weight - rate * 0.96 ** (epoch // 8) * velocity
            count += 1
            mean = mean + (weight - mean) / count
    return weight, mean
    # END SOLUTION


def views_144(height, width, size=224, sides=(256, 288, 320, 352)):
    """Return the views of an image for testing: a list of (side, top, left, length, mirrored).

    A view is the square of ``length`` x ``length`` pixels at (top, left) of the image that was resized to ``side``, and
    mirrored or not; a square that is not ``size`` long is resized to it. In this order:

    1. For each of ``sides``: the image is resized so that its shorter side is ``side``; the longer is rounded down.
    2. Three squares of ``side`` x ``side`` along the longer side: at its beginning, in the middle, at its end.
    3. In each: the upper left, upper right, lower left, lower right and middle crop of ``size``, then the whole square.
    4. Each of these as it is, then mirrored.

    What lies in the middle begins at half the room, rounded down.

    Difficulty 3 of 3, 30 minutes. Hint: 4 * 3 * 6 * 2. Crops lie within their square: add its corner. An upright image
    has its squares above each other.
    """
    # TASK 4.10
    # BEGIN SOLUTION
    views, short = [], min(height, width)
    for side in sides:
        room_y, room_x = side * height // short - side, side * width // short - side
        for i in range(3):
            y, x = room_y * i // 2, room_x * i // 2
            far, half = side - size, (side - size) // 2
            crops = [(y, x, size), (y, x + far, size), (y + far, x, size), (y + far, x + far, size)]
            crops += [(y + half, x + half, size), (y, x, side)]
            views += [(side, *crop, mirrored) for crop in crops for mirrored in (False, True)]
    return views
    # END SOLUTION
