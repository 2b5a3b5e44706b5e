"""Exercises of lesson 01: AlexNet's own parts. Run ``pytest lessons/01_alexnet`` to see how far you are.

Each function below is checked by tests marked with its task. Where a function has the name and arguments of one of the
engine's kernels, ``with tinyconv.backend(exercises):`` runs any network on yours; task 1.9 trains the small AlexNet so.

Conventions: arrays are C-contiguous, images are ``(N, C, H, W)``, geometry is in pairs (height, width), and a kernel
overwrites its output argument completely and returns nothing. Any way of computing it is right: loops, NumPy, Numba.
"""

import numpy as np

import tinyconv.nn.functional as F

# What task 1.8 has to count: (name, kind, options), the paper's network in order.
ALEXNET = [
    ("conv1", "conv", {"filters": 96, "kernel": 11, "stride": 4, "padding": 0, "groups": 1}),
    ("norm1", "lrn", {}),
    ("pool1", "pool", {"kernel": 3, "stride": 2}),
    ("conv2", "conv", {"filters": 256, "kernel": 5, "stride": 1, "padding": 2, "groups": 2}),
    ("norm2", "lrn", {}),
    ("pool2", "pool", {"kernel": 3, "stride": 2}),
    ("conv3", "conv", {"filters": 384, "kernel": 3, "stride": 1, "padding": 1, "groups": 1}),
    ("conv4", "conv", {"filters": 384, "kernel": 3, "stride": 1, "padding": 1, "groups": 2}),
    ("conv5", "conv", {"filters": 256, "kernel": 3, "stride": 1, "padding": 1, "groups": 2}),
    ("pool5", "pool", {"kernel": 3, "stride": 2}),
    ("fc6", "linear", {"units": 4096}),
    ("fc7", "linear", {"units": 4096}),
    ("fc8", "linear", {"units": 1000}),
]


def local_response_norm_forward(x, y, scale, size, alpha, beta, k):
    """Divide every value by a power of its neighbours' squares, across channels at the same pixel.

    scale[n, i, m] = k + alpha * sum of x[n, j, m]^2 over j = i - size // 2 .. i + size // 2 that exist,
    y = x / scale^beta.    x, y and scale are (N, C, M): the M pixels of a plane in one axis. ``size`` is odd.

    Write y and scale (the backward pass needs it). Whoever divides alpha by size has done so before the call.

    Difficulty 1 of 3, 15 minutes. Hint: loop over i only; a slice that begins at a negative index counts from the end.
    """
    # TASK 1.1
    # BEGIN SOLUTION
    for i in range(x.shape[1]):
        window = x[:, max(0, i - size // 2) : i + size // 2 + 1]
        scale[:, i] = k + alpha * (window * window).sum(axis=1)
    y[...] = x / scale**beta
    # END SOLUTION


def local_response_norm_backward(dy, x, scale, dx, size, alpha, beta):
    """Write the gradient of local_response_norm_forward by its input into ``dx``.

    dx_j = dy_j scale_j^-beta - 2 alpha beta x_j * sum of dy_i x_i scale_i^(-beta - 1) over all i whose window holds j.
    Shapes as in the forward pass; ``scale`` is what it wrote, ``size`` is odd.

    Difficulty 2 of 3, 25 minutes. Hint: compute dy * x * scale^(-beta - 1) for all channels first. Channel i's window
    holds j exactly if j's window holds i.
    """
    # TASK 1.2
    # BEGIN SOLUTION
    terms = dy * x * scale ** (-beta - 1)
    for j in range(x.shape[1]):
        near = terms[:, max(0, j - size // 2) : j + size // 2 + 1].sum(axis=1)
        dx[:, j] = dy[:, j] * scale[:, j] ** -beta - 2 * alpha * beta * x[:, j] * near
    # END SOLUTION


def max_pool2d_backward(dy, switches, dx, kernel, stride, padding, dilation):
    """Write the gradient of overlapping max pooling by its input into ``dx``.

    ``switches[n, c, oh, ow]`` = h * W + w says which pixel (h, w) of plane (n, c) was the maximum of window (oh, ow):
    that pixel receives dy[n, c, oh, ow]. dy and switches are (N, C, OH, OW), dx is (N, C, H, W). The geometry is there
    for kernels that need it; you may do without.

    Difficulty 1 of 3, 10 minutes. Hint: AlexNet's windows are 3x3 and 2 apart, so up to four share a pixel.
    ``a[index] += b`` with repeated indices adds only once; ``np.add.at`` adds every time.
    """
    # TASK 1.3
    # BEGIN SOLUTION
    dx[...] = 0
    planes = dx.reshape(dx.shape[0] * dx.shape[1], -1)
    for plane, where, gradient in zip(
        planes, switches.reshape(len(planes), -1), dy.reshape(len(planes), -1), strict=True
    ):
        np.add.at(plane, where, gradient)
    # END SOLUTION


def correlate(x, weight, out_size, stride, padding, dilation):
    """Return the ordinary convolution, without groups, bias or activation: given, for task 1.4.

    x (N, C, H, W), weight (K, C, KH, KW), out_size (OH, OW); the result is (N, K, OH, OW).
    """
    (PH, PW), (KH, KW) = padding, weight.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)))
    reach = dilation[0] * (KH - 1) + 1, dilation[1] * (KW - 1) + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    windows = windows[:, :, : out_size[0], : out_size[1]]
    return np.einsum("nchwij,kcij->nkhw", windows, weight, optimize=True)


def conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, activation, workspace):
    """Convolve in groups, as AlexNet does on its two GPUs, and add the bias. Writes y.

    The channels of x and the filters are cut into ``groups`` equal blocks of neighbours; filters of block g see only
    the channels of block g. x (N, C, H, W), weight (K, C // groups, KH, KW), bias (K,) or None, y (N, K, OH, OW).
    ``activation`` is None or "relu": then negative results become 0. ``workspace`` is scratch memory of the engine's
    own kernel: leave it alone.

    Difficulty 2 of 3, 20 minutes. Hint: ``correlate`` above is the convolution without groups; call it once per group.
    """
    # TASK 1.4
    # BEGIN SOLUTION
    filters, depth = len(weight) // groups, weight.shape[1]
    for g in range(groups):
        own = slice(g * filters, (g + 1) * filters)
        channels = x[:, g * depth : (g + 1) * depth]
        y[:, own] = correlate(channels, weight[own], y.shape[2:], stride, padding, dilation)
    if bias is not None:
        y += bias[:, None, None]
    if activation == "relu":
        np.maximum(y, 0, out=y)
    # END SOLUTION


def paper_dropout(x, uniform, p, training):
    """Return dropout in the paper's form, which is not the usual one of today.

    In training a unit is dropped where ``uniform`` (random numbers in [0, 1), x's shape) is below p; the others keep
    their value. In testing every unit is there, and its output is multiplied so that its mean is that of training.

    Difficulty 1 of 3, 10 minutes. Hint: with p = 0.75 a quarter of the units is kept.
    """
    # TASK 1.5
    # BEGIN SOLUTION
    return x * (uniform >= p) if training else x * (1 - p)
    # END SOLUTION


def colour_shift(images, a):
    """Return the RGB vector (3,) that AlexNet adds to every pixel of an image, for the random draw a (3,).

    images (N, 3, H, W) is the training set, pixels in [0, 1]. With the eigenvalues l1 >= l2 >= l3 and the unit
    eigenvectors p1, p2, p3 of the 3x3 covariance of its colours: the sum of a_j l_j p_j. (The sign of p_j is free.)

    Difficulty 2 of 3, 20 minutes. Hint: every pixel of every image is one sample of (R, G, B). ``np.cov`` wants one row
    per variable; ``np.linalg.eigh`` sorts upwards and returns eigenvectors as columns.
    """
    # TASK 1.6
    # BEGIN SOLUTION
    pixels = images.transpose(1, 0, 2, 3).reshape(3, -1)
    values, vectors = np.linalg.eigh(np.cov(pixels))
    return vectors[:, ::-1] @ (values[::-1] * a)
    # END SOLUTION


def alexnet_sgd_step(param, grad, velocity, lr, momentum, weight_decay):
    """Change ``param`` and ``velocity`` in place by one step of the paper's update.

    v <- momentum v - weight_decay lr w - lr g,   then   w <- w + v,   with the w from before the step on the right.

    The rate is inside v: after a drop of lr the old velocity keeps its old rate. PyTorch's SGD keeps it outside.

    Difficulty 1 of 3, 10 minutes. Hint: ``param = param + velocity`` makes a new array and leaves the caller's alone.
    """
    # TASK 1.7
    # BEGIN SOLUTION
    velocity *= momentum
    velocity -= weight_decay * lr * param
    velocity -= lr * grad
    param += velocity
    # END SOLUTION


def layer_table(layers, input_shape):
    """Return one row (name, output shape, parameters, multiply-adds) per layer of a network, as the paper's table.

    ``layers`` is a list as ALEXNET above, ``input_shape`` is (C, H, W). Output shapes are (C, H, W), after a "linear"
    layer (units,). Convolutions and linear layers have a bias; biases are parameters but cost no multiply-add. "lrn"
    and "pool" have neither parameters nor multiply-adds. A pool has no padding and rounds its size down.

    Difficulty 2 of 3, 25 minutes. Hint: output side = (side + 2 padding - kernel) // stride + 1. Every output of a
    convolution takes kernel^2 * (input channels / groups) multiply-adds.
    """
    # TASK 1.8
    # BEGIN SOLUTION
    rows, shape = [], tuple(input_shape)
    for name, kind, options in layers:
        params = macs = 0
        if kind == "linear":
            inputs, units = int(np.prod(shape)), options["units"]
            shape, params, macs = (units,), units * (inputs + 1), units * inputs
        elif kind in ("conv", "pool"):
            step, padding = options["stride"], options.get("padding", 0)
            sides = [(side + 2 * padding - options["kernel"]) // step + 1 for side in shape[1:]]
            if kind == "conv":
                per_output = options["kernel"] ** 2 * (shape[0] // options["groups"])
                params = options["filters"] * (per_output + 1)
                macs = options["filters"] * sides[0] * sides[1] * per_output
            shape = (options.get("filters", shape[0]), *sides)
        rows.append((name, shape, params, macs))
    return rows
    # END SOLUTION


def train_step(model, images, labels, velocities, lr):
    """Do one step of training as in the paper and return the loss before it, a float.

    Forward pass, mean cross-entropy, backward pass, then for every parameter your ``alexnet_sgd_step`` with momentum
    0.9 and weight decay 0.0005. ``velocities`` is a list of arrays, one per parameter in the order of
    ``model.parameters()``. Gradients of an earlier step must not leak into this one.

    Difficulty 2 of 3, 20 minutes. Hint: ``F.cross_entropy(model(images), labels)`` is a tensor with ``.backward()`` and
    ``.item()``; parameters have ``.data`` and ``.grad.data``, both NumPy arrays, and ``.grad = None`` forgets.
    """
    # TASK 1.9
    # BEGIN SOLUTION
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = None
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    for parameter, velocity in zip(parameters, velocities, strict=True):
        alexnet_sgd_step(parameter.data, parameter.grad.data, velocity, lr, 0.9, 0.0005)
    return loss.item()
    # END SOLUTION
