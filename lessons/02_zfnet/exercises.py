"""Exercises of lesson 02: ZF Net, and how to look inside. ``pytest lessons/02_zfnet`` shows how far you are.

Each function below is checked by tests marked with its task. Where a function has the name and arguments of one of the
engine's kernels, ``with tinyconv.backend(exercises):`` runs any network on yours. Task 2.5 puts 2.2, 2.3 and 2.4
together: write those first.

Conventions: arrays are C-contiguous, images are ``(N, C, H, W)``, geometry is in pairs (height, width), and a kernel
overwrites its output argument completely and returns nothing. Any way of computing it is right: loops, NumPy, Numba.
"""

import numpy as np

import tinyconv
import tinyconv.nn.functional as F

# What task 2.1 is for: (name, kernel, stride, padding) of the paper's network up to its last pool. (Its pools keep a
# last window that hangs over the edge; that moves no window before it.)
ZFNET = [
    ("conv1", 7, 2, 1),
    ("pool1", 3, 2, 0),
    ("conv2", 5, 2, 0),
    ("pool2", 3, 2, 0),
    ("conv3", 3, 1, 1),
    ("conv4", 3, 1, 1),
    ("conv5", 3, 1, 1),
    ("pool5", 3, 2, 0),
]


def receptive_field(layers):
    """Return (size, stride, start) of the pixels that one unit of the last layer depends on, along one axis.

    ``layers`` is a list of (kernel, stride, padding), first layer first; convolutions and pools count alike. Unit 0 of
    the last layer depends on the pixels start ... start + size - 1, unit i on the same moved by i * stride. Pixels may
    lie outside of the image: with padding, ``start`` is negative. Without any layer the answer is (1, 1, 0).

    Difficulty 1 of 3, 15 minutes. Hint: add one layer at a time. Its window has ``kernel`` units of the layer below,
    which lie ``stride`` (of all layers below together) pixels apart.
    """
    # TASK 2.1
    # BEGIN SOLUTION
    size, jump, start = 1, 1, 0
    for kernel, stride, padding in layers:
        size += (kernel - 1) * jump
        start -= padding * jump
        jump *= stride
    return size, jump, start
    # END SOLUTION


def max_unpool2d_forward(x, switches, y, accumulate):
    """Put every pooled value back where its maximum was, and zeros elsewhere. Writes y.

    ``switches[n, c, oh, ow]`` = h * W + w names the pixel (h, w) of plane (n, c) to which x[n, c, oh, ow] goes; x and
    switches are (N, C, OH, OW), y is (N, C, H, W). A switch of -1 belongs to a window without a pixel: its value goes
    nowhere. Windows of ZF Net overlap, so several values may have the same switch. ``accumulate`` True: they add up.
    False: the last one, in the order of reading (row by row), is the one that stays.

    Difficulty 1 of 3, 15 minutes. Hint: y may hold anything before the call. A plane is ``y[n, c].reshape(-1)``, a
    view. ``np.add.at`` adds repeated indices every time.
    """
    # TASK 2.2
    # BEGIN SOLUTION
    y[...] = 0
    planes = y.reshape(y.shape[0] * y.shape[1], -1)
    for plane, where, values in zip(planes, switches.reshape(len(planes), -1), x.reshape(len(planes), -1), strict=True):
        there = where >= 0
        if accumulate:
            np.add.at(plane, where[there], values[there])
        else:
            plane[where[there]] = values[there]
    # END SOLUTION


def conv_transpose2d_forward(x, weight, bias, y, stride, padding, dilation, groups, workspace):
    """Filter a signal on its way down, with the filters that a convolution used on its way up. Writes y.

    The convolution had the images y (N, K, OH, OW) as its input, the filters weight (C, K, KH, KW), and gave maps of
    the shape of x (N, C, H, W). Down, every value x[n, c, h, w] stamps the filter weight[c], times the value, onto the
    patch that the convolution had read for it: the patch whose first pixel is (h stride - padding, w stride - padding).
    Where stamps overlap they add up, and what falls into the padding is lost. ``bias`` (K,) or None is added at the
    end. ZF Net needs no dilation and no groups: both are 1 here. ``workspace`` is scratch memory of the engine's own
    kernel: leave it alone.

    Difficulty 2 of 3, 30 minutes. Hint: stamp onto a canvas that is larger than y by the padding on all four sides, and
    cut y out of it. y's size is given: a convolution with stride 2 makes the same 110 from 224 and from 223 pixels.
    """
    # TASK 2.3
    # BEGIN SOLUTION
    (SH, SW), (PH, PW), (H, W), (OH, OW) = stride, padding, x.shape[2:], y.shape[2:]
    canvas = np.zeros((*y.shape[:2], OH + 2 * PH, OW + 2 * PW), y.dtype)
    for i, j in np.ndindex(weight.shape[2:]):
        rows, columns = slice(i, i + SH * (H - 1) + 1, SH), slice(j, j + SW * (W - 1) + 1, SW)
        canvas[:, :, rows, columns] += np.einsum("nchw,ck->nkhw", x, weight[:, :, i, j])
    y[...] = canvas[:, :, PH : PH + OH, PW : PW + OW]
    if bias is not None:
        y += bias[:, None, None]
    # END SOLUTION


def relu_rule(signal, x, rule):
    """Return what a signal from above becomes at a ReLU, under one of three rules.

    ``signal`` comes down to the output of the ReLU, ``x`` is what the ReLU had as its input on the way up; both have
    the same shape. "gradient": it passes where x was positive. "deconvnet": it passes where it is positive itself,
    whatever x was. "guided": where both are. It never passes where the number in question is 0. Elsewhere there is 0.

    Difficulty 1 of 3, 10 minutes. Hint: the caller still needs ``signal``; do not change it. With "deconvnet", x may be
    None.
    """
    # TASK 2.4
    # BEGIN SOLUTION
    if rule == "deconvnet":
        return np.maximum(signal, 0)
    if rule == "guided":
        return np.maximum(signal, 0) * (x > 0)
    return signal * (x > 0)
    # END SOLUTION


def forward(layers, images):
    """Run a network and remember what a projection needs: given, for task 2.5.

    ``layers`` is a list of (kind, options): ("conv", {"weight", "bias", "stride", "padding"}), ("relu", {}),
    ("pool", {"kernel", "stride", "padding"}) for max pooling, ("norm", {}) for local response normalisation with
    AlexNet's constants. Sizes are in pairs. Returns the output of the last layer, an array, and one dict per layer:
    "shape", that of the layer's input, and for a pool "switches".
    """
    x, notes = tinyconv.Tensor(images), []
    for kind, options in layers:
        notes.append({"shape": x.shape})
        if kind == "conv":
            weight, bias = tinyconv.Tensor(options["weight"]), tinyconv.Tensor(options["bias"])
            x = F.conv2d(x, weight, bias, options["stride"], options["padding"])
        elif kind == "relu":
            x = F.relu(x)
        elif kind == "pool":
            window = options["kernel"], options["stride"], options["padding"]
            x, switches = F.max_pool2d(x, *window, return_indices=True)
            notes[-1]["switches"] = switches.numpy()
        else:
            x = F.local_response_norm(x, 5, k=2.0, alpha_over_size=False)
    return x.numpy(), notes


def deconvnet(layers, images, index):
    """Return the projection of map ``index``'s strongest activation down to the pixels, an array like ``images``.

    Way up: ``forward`` above. At the top, for each image of its own, all values of all maps become 0 but the largest
    one of map ``index``, which keeps its value. Way down, through the layers in reverse: a pool becomes an unpooling by
    its switches, in which values that meet add up; a ReLU becomes the deconvnet's rule; a convolution becomes
    the transposed convolution with its own filters, without any bias; normalisation is passed through unchanged.

    Difficulty 3 of 3, 30 minutes. Hint: you have written three of the four layers in tasks 2.2, 2.3 and 2.4. Make their
    output with ``np.empty(note["shape"])``. ``np.unravel_index`` turns a flat index into a row and a column.
    """
    # TASK 2.5
    # BEGIN SOLUTION
    output, notes = forward(layers, images)
    signal = np.zeros_like(output)
    for n, one in enumerate(output[:, index]):
        at = np.unravel_index(one.argmax(), one.shape)
        signal[n, index][at] = one[at]
    for (kind, options), note in zip(reversed(layers), reversed(notes), strict=True):
        below = np.empty(note["shape"], signal.dtype)
        if kind == "conv":
            geometry = options["stride"], options["padding"], (1, 1), 1
            conv_transpose2d_forward(signal, options["weight"], None, below, *geometry, None)
        elif kind == "relu":
            below = relu_rule(signal, None, "deconvnet")
        elif kind == "pool":
            max_unpool2d_forward(signal, note["switches"], below, True)
        else:
            below = signal
        signal = below
    return signal
    # END SOLUTION


def renormalise_filters(weight, limit):
    """Make every filter whose root mean square exceeds ``limit`` smaller, so that it is ``limit``. Changes ``weight``.

    ``weight`` is (K, C, KH, KW): K filters, and the mean is over all the C * KH * KW numbers of one. Filters within the
    limit stay as they are. The paper does this after every update, with 0.1.

    Difficulty 1 of 3, 10 minutes. Hint: the caller's array must change. A filter may be all zeros.
    """
    # TASK 2.6
    # BEGIN SOLUTION
    rms = np.sqrt(np.mean(weight * weight, axis=(1, 2, 3), keepdims=True))
    weight *= np.where(rms > limit, limit / np.maximum(rms, limit), 1)
    # END SOLUTION


def occlusion_maps(predict, image, label, size, stride, value):
    """Cover a square of the image, everywhere, and return what that does: (activity, probability, best).

    ``predict(images)``, for (B, C, H, W), returns feature maps (B, K, h, w) and class probabilities (B, classes).
    ``image`` is (C, H, W). The square has ``size`` pixels a side, all its pixels in all channels are ``value``. Its
    upper left corner is at rows 0, stride, 2 stride, ... and columns likewise, as long as all of it is in the image.

    Each result has one entry per position, [row, column]. activity: the sum over one map of the K, the one whose sum is
    largest for the image as it is. probability: that of the class ``label``. best: the most probable class.

    Difficulty 2 of 3, 25 minutes. Hint: every position begins with a fresh copy of the image. Which map it is, is
    decided once, without a square.
    """
    # TASK 2.7
    # BEGIN SOLUTION
    H, W = image.shape[1:]
    tops, lefts = range(0, H - size + 1, stride), range(0, W - size + 1, stride)
    batch = np.repeat(image[None], len(tops) * len(lefts), axis=0)
    corners = [(top, left) for top in tops for left in lefts]
    for covered, (top, left) in zip(batch, corners, strict=True):
        covered[:, top : top + size, left : left + size] = value
    strongest = predict(image[None])[0].sum(axis=(2, 3))[0].argmax()
    maps, probabilities = predict(batch)
    shape = len(tops), len(lefts)
    activity = maps[:, strongest].sum(axis=(1, 2)).reshape(shape)
    return activity, probabilities[:, label].reshape(shape), probabilities.argmax(axis=1).reshape(shape)
    # END SOLUTION


def correspondence(features, masked):
    """Return Delta: how differently the features of several images change when a part of each image is masked.

    ``features`` and ``masked`` have the images along their first axis: features of the images as they are, and of the
    same images with a part covered. With e_i = features_i - masked_i, Delta is the number of places in which the signs
    of e_i and e_j differ, summed over all ordered pairs i != j, and divided by the number of pairs and by the number of
    features of an image. The sign has three values: -1, 0, 1. Two signs differ or they do not: -1 against 1 counts 1.

    Difficulty 2 of 3, 15 minutes. Hint: 5 images make 20 ordered pairs. Features may have any shape, such as (5, K, h,
    w): flatten them.
    """
    # TASK 2.8
    # BEGIN SOLUTION
    signs = np.sign(features - masked).reshape(len(features), -1)
    differ = (signs[:, None] != signs[None]).mean(axis=2)
    return differ.sum() / (len(signs) * (len(signs) - 1))
    # END SOLUTION
