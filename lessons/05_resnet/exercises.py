"""Exercises of lesson 05: ResNet's arithmetic, layers and training. Run ``pytest lessons/05_resnet`` to check them.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition.

Conventions: images and maps are ``(N, C, H, W)`` arrays. Some layers are functions that return a pair: their output,
and a function that maps the gradient of the output to that of the input. Any way of computing it is right: loops or
NumPy.
"""

import numpy as np

# Table 1 of the paper: blocks in conv2_x to conv5_x, and whether they are bottlenecks.
BLOCKS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def cifar_cost(n, shortcut="A"):
    """Return (parameters, multiply-adds) of the network of 6n + 2 layers for images (3, 32, 32) and ten classes.

    A 3x3 convolution with 16 filters at 32x32 pixels; then 2n of them with 16 filters at 32x32, 2n with 32 at 16x16, 2n
    with 64 at 8x8; the mean of each map; a linear layer with biases. Convolutions have padding 1 and no bias; after
    each of them BN has two parameters per map, which cost no multiply-adds. Every two convolutions have a shortcut:

    "A": without parameters or multiply-adds. "B": a 1x1 convolution without bias, and BN, where the number of maps
    changes (twice); its stride is that of the block, so it is used once for every pixel of its output. "plain": none.

    Difficulty 1 of 3, 15 minutes. Hint: a convolution of k x k from C to K maps has K C k k weights, each used once for
    every pixel of the output. What are C and K where a stage begins?
    """
    # TASK 5.1
    # BEGIN SOLUTION
    params = macs = 0

    def convolution(k, ins, outs, side):
        nonlocal params, macs
        params += outs * ins * k * k + 2 * outs
        macs += outs * ins * k * k * side * side

    convolution(3, 3, 16, 32)
    before = 16
    for maps, side in ((16, 32), (32, 16), (64, 8)):
        if shortcut == "B" and maps != before:
            convolution(1, before, maps, side)
        for _ in range(2 * n):
            convolution(3, before, maps, side)
            before = maps
    return params + 64 * 10 + 10, macs + 64 * 10
    # END SOLUTION


def imagenet_cost(depth, shortcut="B", variant="v1"):
    """Return (parameters, multiply-adds) of a network of table 1 for images (3, 224, 224) and 1000 classes.

    conv1 is 7x7 with 64 filters at 112x112 pixels; a pool makes 56x56 of it; the four stages are at 56, 28, 14 and 7
    pixels, with a width of 64, 128, 256, 512. ``BLOCKS`` above has their numbers of blocks. A basic block is two 3x3
    convolutions with ``width`` filters. A bottleneck is 1x1 with ``width`` filters, 3x3 with ``width``, 1x1 with
    4 * ``width``. No convolution has a bias, each is followed by BN with two parameters per filter. At the end the mean
    of each map, and a linear layer with biases.

    The first block of stages 2 to 4 (of four) has stride 2: a basic block in its first convolution, a bottleneck in its
    first 1x1 ("v1") or in its 3x3 ("v1.5"). What comes before the stride, in a block, is still computed at the larger
    size. Shortcut "A" costs nothing; "B" is a 1x1 convolution and BN in every block whose input has another number of
    maps than its output; "C" has them in every block.

    Difficulty 2 of 3, 30 minutes. Hint: the first stage has no stride, but in a bottleneck network its first block has
    64 maps coming in and 256 going out. Walk through the blocks with the number of maps that come in, and the side.
    """
    # TASK 5.2
    # BEGIN SOLUTION
    counts, bottleneck = BLOCKS[depth]
    params = macs = 0

    def convolution(k, ins, outs, side):
        nonlocal params, macs
        params += outs * ins * k * k + 2 * outs
        macs += outs * ins * k * k * side * side

    convolution(7, 3, 64, 112)
    before = 64
    for stage, count in enumerate(counts):
        width, side = 64 * 2**stage, 56 // 2**stage
        out = 4 * width if bottleneck else width
        for i in range(count):
            large = 2 * side if stage and not i else side
            if bottleneck:
                convolution(1, before, width, large if variant == "v1.5" else side)
                convolution(3, width, width, side)
                convolution(1, width, out, side)
            else:
                convolution(3, before, width, side)
                convolution(3, width, width, side)
            if shortcut == "C" or (shortcut == "B" and before != out):
                convolution(1, before, out, side)
            before = out
    return params + before * 1000 + 1000, macs + before * 1000
    # END SOLUTION


def batch_norm(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    """Return y = (x - mean) / sqrt(var + eps) * weight + bias for maps x (N, C, H, W).

    In training, mean and var are those of the batch, for each of the C maps over images and pixels; var is the biased
    variance (divided by m, the number of values). The running statistics (C,) then move, in place:

        running <- (1 - momentum) * running + momentum * batch

    where running_var gets the unbiased variance, m / (m - 1) times the batch's. Otherwise mean and var are the running
    ones, which do not change. ``weight`` and ``bias`` (C,) are the paper's gamma and beta.

    Difficulty 1 of 3, 20 minutes. Hint: statistics over axes 0, 2 and 3; ``v[:, None, None]`` lets a vector meet maps.
    Write into an array with ``running_mean[...] = ``; ``running_mean = `` only gives it another name.
    """
    # TASK 5.3
    # BEGIN SOLUTION
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        m = x.size // x.shape[1]
        running_mean[...] = (1 - momentum) * running_mean + momentum * mean
        running_var[...] = (1 - momentum) * running_var + momentum * var * m / (m - 1)
    xhat = (x - mean[:, None, None]) / np.sqrt(var + eps)[:, None, None]
    return xhat * weight[:, None, None] + bias[:, None, None]
    # END SOLUTION


def batch_norm_backward(dy, x, mean, invstd, weight, dx, dweight, dbias, train):
    """Write the gradients of batch normalisation into dx, dweight and dbias; each of these may be None: leave it out.

    dy, x and dx are (N, C, M), the M pixels of a map in one axis; mean, invstd, weight, dweight and dbias are (C,).
    y = (x - mean) * invstd * weight + bias. With ``train`` true mean and invstd = 1 / sqrt(var + eps) are the batch's
    own and depend on x; otherwise they are constants. ``weight`` may be None, which is the same as ones.

    Difficulty 3 of 3, 30 minutes. Hint: with xhat = (x - mean) * invstd and m = N M, in training dx is
    weight * invstd * (dy - mean of dy - xhat * mean of (dy * xhat)). Derive it: what is taken away are the parts of dy
    that BN cannot pass on, since shifting or stretching all of x changes nothing.
    """
    # TASK 5.4
    # BEGIN SOLUTION
    xhat = (x - mean[:, None]) * invstd[:, None]
    m = x.shape[0] * x.shape[2]
    total, along = dy.sum(axis=(0, 2)), (dy * xhat).sum(axis=(0, 2))
    if dbias is not None:
        dbias[...] = total
    if dweight is not None:
        dweight[...] = along
    if dx is not None:
        scale = invstd if weight is None else weight * invstd
        rest = dy - (total[:, None] + xhat * along[:, None]) / m if train else dy
        dx[...] = scale[:, None] * rest
    # END SOLUTION


def exact_statistics(batches):
    """Return (mean, var), each (C,), for BN in evaluation: averages over whole training batches, taken after training.

    ``batches`` is an iterable of arrays (N, C, H, W), what comes into a BN layer for some training batches; their sizes
    may differ. ``mean`` is the mean over ALL values of a map. ``var`` is their unbiased variance: the sum of squared
    distances from that mean / (number of values - 1). There is no room for two batches: each comes in the memory of the
    one before, so go through them once and keep numbers per map only. Some layers' values are large compared with their
    spread, so the mean of squares minus the squared mean is not accurate enough.

    Difficulty 3 of 3, 30 minutes. Hint: if a batch of m values with mean b joins k values with mean a, the mean moves
    by (b - a) * m / (k + m), and the sum of squared distances gains the batch's own and (b - a)^2 * k m / (k + m).
    """
    # TASK 5.5
    # BEGIN SOLUTION
    count, mean, spread = 0, 0.0, 0.0
    for batch in batches:
        m = batch.size // batch.shape[1]
        own = batch.mean(axis=(0, 2, 3), dtype=np.float64)
        distance = own - mean
        spread = spread + batch.var(axis=(0, 2, 3), dtype=np.float64) * m + distance**2 * count * m / (count + m)
        mean = mean + distance * m / (count + m)
        count += m
    return mean, spread / (count - 1)
    # END SOLUTION


def shortcut_a(x, channels, stride):
    """Return (y, back): the shortcut without parameters, and the way of the gradient through it.

    y (N, channels, ceil(H / stride), ceil(W / stride)) has the rows and columns 0, stride, 2 stride, ... of x (N, C, H,
    W), then channels - C maps of zeros. ``back(dy)`` returns the gradient of x, of x's shape, and may be called more
    than once. Neither x nor dy is changed; y and each dx have x's dtype, and are arrays of their own, which share no
    memory with others.

    Difficulty 1 of 3, 15 minutes. Hint: y[:, :C] = x[:, :, ::stride, ::stride]. Which pixels of x does y not depend on,
    and which numbers of dy come from no pixel?
    """
    # TASK 5.6
    # BEGIN SOLUTION
    C = x.shape[1]
    picked = x[:, :, ::stride, ::stride]
    y = np.zeros((len(x), channels, *picked.shape[2:]), x.dtype)
    y[:, :C] = picked

    def back(dy):
        dx = np.zeros_like(x)
        dx[:, :, ::stride, ::stride] = dy[:, :C]
        return dx

    return y, back
    # END SOLUTION


def residual_block(x, branch, shortcut):
    """Return (y, back) of a block y = ReLU(F(x) + shortcut(x)).

    ``branch`` and ``shortcut`` are functions of an array that return such pairs themselves: output, and a function from
    the output's gradient to x's. ``shortcut`` may be None: a plain network's block, ReLU(F(x)). ``back(dy)`` returns
    the gradient of x and may be called more than once. Both ways change nothing that they are handed: neither x and dy,
    nor what branch and shortcut and their ways back return. Where the sum is exactly 0 the gradient of ReLU is 0.

    Difficulty 2 of 3, 15 minutes. Hint: one gradient arrives at the sum, both summands get it, and at x two come
    together.
    """
    # TASK 5.7
    # BEGIN SOLUTION
    total, branch_back = branch(x)
    shortcut_back = None
    if shortcut is not None:
        carried, shortcut_back = shortcut(x)
        total = total + carried

    def back(dy):
        arriving = dy * (total > 0)
        dx = branch_back(arriving)
        return dx if shortcut_back is None else dx + shortcut_back(arriving)

    return np.maximum(total, 0), back
    # END SOLUTION


def learning_rates(train_errors, steps, drops=(32000, 48000)):
    """Return the list of learning rates of steps 0 to steps - 1, by which the paper trained its 110 layers.

    0.01 until the training error is below 80 %; then 0.1; a tenth of that from step drops[0] on, a hundredth from step
    drops[1] on. ``train_errors`` are the errors (0 to 1) of steps 0, 1, ...; a step's error is known when the step is
    done, so it counts from the next step on. Once the error has been below 80 %, the warm-up is over for good, however
    it rises again. Errors beyond the list are not known. A network that is still above 80 % at a drop stays at 0.01:
    only the rate 0.1 is divided.

    Difficulty 1 of 3, 15 minutes. Hint: one variable, warm, that starts out False; look at the error of step i - 1
    before you append the rate of step i.
    """
    # TASK 5.8
    # BEGIN SOLUTION
    rates, warm = [], False
    for i in range(steps):
        if 0 < i <= len(train_errors) and train_errors[i - 1] < 0.8:
            warm = True
        rates.append(0.1 / 10 ** sum(i >= drop for drop in drops) if warm else 0.01)
    return rates
    # END SOLUTION


def padded_crop(image, mean, draws, border=4):
    """Return a training image as ResNet's on CIFAR-10, of the shape of ``image`` (C, H, W).

    1. Subtract ``mean`` (C, H, W), the mean image of the training set: each pixel has its own.
    2. Add ``border`` zeros on all four sides.
    3. Cut out a window of the original size; every place at which it fits is equally likely.
    4. Swap left and right with probability 1/2.

    ``draws`` are three random numbers in [0, 1): for the upper edge, the left edge, and the mirror image, which is due
    below 0.5. From the first to the last place each gets an equal part of [0, 1). ``image`` stays as it is.

    Difficulty 1 of 3, 15 minutes. Hint: in which order does the border end up as the mean colour? At how many places
    does a window of 32 fit into 40?
    """
    # TASK 5.9
    # BEGIN SOLUTION
    height, width = image.shape[1:]
    large = np.pad(image - mean, ((0, 0), (border, border), (border, border)))
    top, left = (int(u * (2 * border + 1)) for u in draws[:2])
    window = large[:, top : top + height, left : left + width]
    return window[..., ::-1] if draws[2] < 0.5 else window
    # END SOLUTION


def resnet_init(w_rr, w_tr, w_rt, w_tt):
    """Return the weight of the one convolution that does what a layer of RiR does with its two streams.

    The layer computes, before BN and ReLU,

        r' = conv(r, w_rr) + conv(t, w_tr) + r          t' = conv(r, w_rt) + conv(t, w_tt)

    with 3x3 convolutions, padding 1. w_rr is (K, C, 3, 3), as are the others: C maps in each stream come in, K >= C go
    out; the r that is added has K - C zero maps appended. The result is one weight for the maps [r, t] in this order,
    giving [r', t'] in this order: conv([r, t], weight), without anything added.

    Difficulty 2 of 3, 20 minutes. Hint: rows of a weight are outputs, columns inputs; w_tr maps t to r'. Adding r is a
    convolution, too: which filter of 3x3 hands a map on as it is?
    """
    # TASK 5.10
    # BEGIN SOLUTION
    weight = np.concatenate([np.concatenate([w_rr, w_tr], axis=1), np.concatenate([w_rt, w_tt], axis=1)], axis=0)
    own = np.arange(w_rr.shape[1])
    weight[own, own, 1, 1] += 1
    return weight
    # END SOLUTION
