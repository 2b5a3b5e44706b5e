"""Exercises of lesson 07: adversarial examples and generative networks. Run ``pytest lessons/07_gan`` to check them.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition.

Conventions: images are rows, ``(N, D)``, unless a task says otherwise; a linear classifier has the scores ``x @
weight.T + bias`` with ``weight`` (K, D) and ``bias`` (K,), and softmax makes probabilities of them. Densities are
arrays of non-negative numbers. No function changes what it is handed (kernels write to their outputs), and none gives a
warning, however large its numbers are. Any way of computing it is right: loops or NumPy.
"""

import numpy as np


def softmax_fgsm(x, labels, weight, bias, eps, clip=(0.0, 1.0)):
    """Return images that raise a softmax regression's loss, by the fast gradient sign method (Goodfellow 2014, sec. 4).

        x' = x + eps * sign(dJ / dx)        J = -log softmax(x @ weight.T + bias)[label]

    ``x`` (N, D), ``labels`` (N,). Each image has its own loss and its own gradient. Where a gradient is 0 the pixel
    stays. Then all values are limited to the interval ``clip``; None: they are left as they are. Scores may be in the
    thousands.

    Difficulty 2 of 3, 25 minutes. Hint: the gradient of J to the scores is p - onehot(label), and the scores are linear
    in x. exp(1000) overflows; subtract each row's largest score first.
    """
    # TASK 7.1
    # BEGIN SOLUTION
    scores = x @ weight.T + bias
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(x)), labels] -= 1
    changed = x + eps * np.sign(p @ weight)
    return changed if clip is None else np.clip(changed, *clip)
    # END SOLUTION


def smallest_change(x, weight, bias):
    """Return (change, other): the shortest way from each image to where another class scores as high as its own.

    ``change`` (N, D) has the smallest Euclidean length of all r for which, with k the class of x (the first of the
    largest scores), some other class l with another row of ``weight`` scores at x + r what k scores there. ``other``
    (N,) says which l; of two that are equally near, the first. There are no bounds for x + r. Classes with the same row
    as k do not count, whatever their bias: no change of x brings them closer. Some class has another row.

    Difficulty 2 of 3, 25 minutes. Hint: z_k - z_l changes by (w_k - w_l) @ r, and changes fastest along w_k - w_l: the
    distance is (z_k - z_l) / |w_k - w_l|. The nearest class need not have the second largest score.
    """
    # TASK 7.2
    # BEGIN SOLUTION
    scores, rows = x @ weight.T + bias, np.arange(len(x))
    own = scores.argmax(axis=1)
    gaps = scores[rows, own][:, None] - scores
    normals = weight[own][:, None] - weight
    lengths = np.sqrt((normals**2).sum(axis=2))
    distances = np.divide(gaps, lengths, out=np.full(gaps.shape, np.inf), where=lengths > 0)
    other = distances.argmin(axis=1)
    factors = gaps[rows, other] / lengths[rows, other] ** 2
    return -factors[:, None] * normals[rows, other], other
    # END SOLUTION


def adversarial_logistic(weight, bias, x, y, eps):
    """Return (loss, dweight, dbias) of logistic regression on the worst images within eps of each pixel.

    P(y = 1 | x) = sigmoid(weight @ x + bias) with ``weight`` (D,); ``y`` (N,) holds 1 and -1. The attack x + eps *
    sign(gradient) moves weight @ x by eps * |weight|_1 in the direction that hurts, whichever label it is. The loss is
    the mean over the images (N, D), and ``dweight`` (D,) and ``dbias`` are its gradients:

        loss = mean softplus(eps * |weight|_1 - y (weight @ x + bias))        softplus(m) = log(1 + exp(m))

    The derivative of |w| at w = 0 is taken as 0. Margins may be in the thousands.

    Difficulty 2 of 3, 25 minutes. Hint: softplus'(m) = sigmoid(m); ``np.logaddexp(0, m)`` is softplus for any m, and
    sigmoid(m) = exp(-softplus(-m)). The text books' form softplus(y (eps |w|_1 - weight @ x - bias)) is right for one
    of the labels only.
    """
    # TASK 7.3
    # BEGIN SOLUTION
    margins = eps * np.abs(weight).sum() - y * (x @ weight + bias)
    slopes = np.exp(-np.logaddexp(0, -margins)) / len(x)
    dweight = eps * slopes.sum() * np.sign(weight) - (slopes * y) @ x
    return np.logaddexp(0, margins).mean(), dweight, -(slopes * y).sum()
    # END SOLUTION


def best_discriminator(data, fake, width=1.0):
    """Return (D, value): the best discriminator of two densities, and the value of the game when it plays.

    ``data`` and ``fake`` are densities p and q at the same places (any shape), each with ``width`` of space around it;
    probabilities have a width of 1. At each place D = p / (p + q), and 1/2 where both are 0. The value is

        V = sum of (p log D + q log(1 - D)) * width        with 0 log 0 = 0

    which is never above 0, and is -log 4 where both densities are the same and have a sum times width of 1.

    Difficulty 1 of 3, 20 minutes. Hint: ``np.divide`` and ``np.log`` have ``out`` and ``where``. 1 - D is q / (p + q);
    as a difference it is 0 where p is much larger, and q may be small without being 0.
    """
    # TASK 7.4
    # BEGIN SOLUTION
    data, fake = np.asarray(data, float), np.asarray(fake, float)
    total = data + fake

    def share(part):
        return np.divide(part, total, out=np.full(total.shape, 0.5), where=total > 0)

    def entropy(part):
        return part * np.log(share(part), out=np.zeros(total.shape), where=share(part) > 0)

    return share(data), (entropy(data) + entropy(fake)).sum() * width
    # END SOLUTION


def generator_loss(logits, saturating=False):
    """Return (loss, gradient) of a generator whose samples get these logits s (N,) from the discriminator.

    D = sigmoid(s) is the discriminator's belief that a sample is real. Algorithm 1 of the paper lets the generator
    descend the mean of log(1 - D) (``saturating``); in practice it descends the mean of -log D. ``gradient`` (N,) is
    the loss's to the logits. Logits may be -1000 or 1000; neither loss nor gradient is then inf or NaN.

    Difficulty 1 of 3, 15 minutes. Hint: -log sigmoid(s) = softplus(-s) and log(1 - sigmoid(s)) = -softplus(s), with
    softplus(m) = log(1 + exp(m)) = ``np.logaddexp(0, m)`` and the derivative sigmoid(m) = exp(-softplus(-m)).
    """
    # TASK 7.5
    # BEGIN SOLUTION
    if saturating:
        return -np.logaddexp(0, logits).mean(), -np.exp(-np.logaddexp(0, -logits)) / len(logits)
    return np.logaddexp(0, -logits).mean(), -np.exp(-np.logaddexp(0, logits)) / len(logits)
    # END SOLUTION


def maxout_forward(x, y, switches):
    """Write the largest of each unit's pieces into ``y``, and which piece it was into ``switches``.

    ``x`` (N, U, P, M) holds P pieces of U units, for N images, at M places (1 behind a linear layer); ``y`` (N, U, M)
    and ``switches`` (N, U, M), int64, may hold anything before. ``switches`` counts the pieces from 0. The first of
    equal maxima wins. A NaN beats every number, and of several NaNs the last one is kept. Nothing is returned. This is
    a kernel: the library's GAN can run on it.

    Difficulty 1 of 3, 20 minutes. Hint: begin with piece 0, not with 0: all pieces may be negative. value > best is
    false for every NaN; value != value is true for a NaN only.
    """
    # TASK 7.6
    # BEGIN SOLUTION
    for n, u, m in np.ndindex(y.shape):
        best, at = x[n, u, 0, m], 0
        for p in range(1, x.shape[2]):
            value = x[n, u, p, m]
            if value > best or value != value:
                best, at = value, p
        y[n, u, m], switches[n, u, m] = best, at
    # END SOLUTION


def maxout_backward(dy, switches, dx):
    """Write the gradient of the pieces into ``dx`` (N, U, P, M), which may hold anything before.

    ``dy`` (N, U, M) is the gradient of what :func:`maxout_forward` put out, and ``switches`` (N, U, M) what it noted.
    The winning piece gets all of it, the others nothing. Nothing is returned. A kernel, too.

    Difficulty 1 of 3, 15 minutes. Hint: first zeros everywhere, then one number for each of dy's.
    """
    # TASK 7.7
    # BEGIN SOLUTION
    dx[...] = 0
    for n, u, m in np.ndindex(dy.shape):
        dx[n, u, switches[n, u, m], m] = dy[n, u, m]
    # END SOLUTION


def parzen_log_likelihood(points, centres, sigma):
    """Return the log-density (n,) of each point under equally likely Gaussians around the centres, in nat.

        log p(x) = log (1 / m) sum_j exp(-|x - mu_j|^2 / (2 sigma^2)) - D log(sigma sqrt(2 pi))

    ``points`` (n, D) and ``centres`` (m, D), float64; ``sigma`` is a number. This is how generators were judged: the
    centres are their samples, the points test images. Points may be 10,000 away from every centre, where exp gives 0
    and the logarithm -inf; the right answer is finite. They may also be close to a centre and both far from 0.

    Difficulty 2 of 3, 25 minutes. Hint: log sum exp(a_j) = a + log sum exp(a_j - a), with the point's own largest a_j
    for a. Subtract x and mu before squaring: |x|^2 - 2 x mu + |mu|^2 has lost the difference if both are large.
    """
    # TASK 7.8
    # BEGIN SOLUTION
    squares = np.array([((centres - x) ** 2).sum(axis=1) for x in points]).reshape(len(points), len(centres))
    exponents = -squares / (2 * sigma**2)
    largest = exponents.max(axis=1)
    sums = np.exp(exponents - largest[:, None]).mean(axis=1)
    return largest + np.log(sums) - points.shape[1] * np.log(sigma * np.sqrt(2 * np.pi))
    # END SOLUTION


def laplacian_pyramid(images, levels):
    """Return [h_0, ..., h_{levels - 1}, I_levels]: what each size adds, finest first, and the smallest image.

    I_0 is ``images`` (N, C, H, W), floats. I_{k+1} is I_k at half the size, each pixel the mean of 2x2. And

        h_k = I_k - u(I_{k+1})

    where u doubles both sides, bilinearly. Along one axis its pixel 2 i is 3/4 x[i] + 1/4 x[i - 1], its pixel 2 i + 1
    is 3/4 x[i] + 1/4 x[i + 1]; where x has no such neighbour, x[i] stands for it. Then the same along the other axis.
    There are one or more ``levels``; raise ValueError if an image that is to be halved has an odd side.

    Difficulty, minutes and hint stand with ``collapse``, the task's other half.
    """
    # TASK 7.9
    # BEGIN SOLUTION
    pyramid = []
    for _ in range(levels):
        if images.shape[2] % 2 or images.shape[3] % 2:
            raise ValueError(f"laplacian_pyramid: sides must be even, got {images.shape[2:]}")
        small = sum(images[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
        pyramid.append(images - _enlarged(small))
        images = small
    return [*pyramid, images]


def _enlarged(images):
    for axis in (2, 3):
        first, last = images.take([0], axis), images.take([-1], axis)
        before = np.concatenate([first, images], axis).take(range(images.shape[axis]), axis)
        after = np.concatenate([images, last], axis).take(range(1, images.shape[axis] + 1), axis)
        pairs = np.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis + 1)
        images = pairs.reshape(*images.shape[:axis], -1, *images.shape[axis + 1 :])
    return images
    # END SOLUTION


def collapse(pyramid):
    """Return the images (N, C, H, W) of a pyramid: I_k = h_k + u(I_{k+1}), from the smallest to the largest.

    ``pyramid`` is a list as :func:`laplacian_pyramid` returns it, or one that generators made; u is the same. A list of
    one array is that array's image. LAPGAN (Denton and others, 2015) draws a small image and then the h of each size.

    Difficulty 2 of 3, 30 minutes. Hint: both functions need u; doubling one axis is a function of its own, or a loop
    over the axes. Interleave even and odd pixels with ``np.stack`` and ``reshape``, or with ``out[..., ::2] = ...``.
    """
    # TASK 7.9
    # BEGIN SOLUTION
    images = pyramid[-1]
    for details in pyramid[-2::-1]:
        images = details + _enlarged(images)
    return images
    # END SOLUTION


def pooled_features(layers, size=4):
    """Return a discriminator's features (N, F): the maps of its layers, max-pooled to size x size and joined.

    ``layers`` is a list of arrays (N, K, H, W), one for each layer, with K, H and W of their own. Cell i of n along a
    side of H pixels begins at floor(i H / n) and ends before ceil((i + 1) H / n): cells differ in size, and neighbours
    share pixels, where n does not divide H. Along a side of fewer pixels than ``size`` there are as many cells as
    pixels. A row of the result holds the first layer's cells, then the second's ...: map by map, each row by row.

    Radford and others (2015) give such features to a linear classifier: maps of 64, 128 and 256 are 7,168 numbers.

    Difficulty 1 of 3, 20 minutes. Hint: floor is ``//``; ceil(a / b) is ``-(-a // b)``. Values may all be negative.
    """
    # TASK 7.10
    # BEGIN SOLUTION
    rows = []
    for maps in layers:
        (height, width), pooled = maps.shape[2:], []
        down, across = min(size, height), min(size, width)
        for i in range(down):
            band = maps[:, :, i * height // down : -(-(i + 1) * height // down)]
            for j in range(across):
                cell = band[:, :, :, j * width // across : -(-(j + 1) * width // across)]
                pooled.append(cell.max(axis=(2, 3)))
        rows.append(np.stack(pooled, axis=2).reshape(len(maps), -1))
    return np.concatenate(rows, axis=1)
    # END SOLUTION


def algorithm_one(generator, discriminator, real, noise, rates):
    """Return (generator, discriminator) after one step of algorithm 1 (Goodfellow 2014), with gradients by hand.

    The generator has its second loss, -log D (task 7.5), which the paper takes in practice.

    The generator (a, b) makes the sample a z + b of a number z; the discriminator (w, c) gives a number x the logit w x
    + c, and D(x) = sigmoid(logit). ``rates`` are (that of D, that of G). First D learns k times, k = len(real): step i
    goes up the gradient of

        mean log D(x) + mean log(1 - D(a z + b))        x: real[i], (M,)   z: noise[i], (m,)

    while the generator stays as it is. Then the generator learns once, with new noise, through the discriminator as it
    is by now: it goes up the gradient of mean log D(a z + b) for z in noise[k], the last row of ``noise``. Both numbers
    of a network move at the same time, by the gradient at the place where both stood. Logits may be in the thousands.

    Difficulty 2 of 3, 30 minutes. Hint: the slope of log D in the logit is 1 - D, that of log(1 - D) is -D; the logit's
    slopes are x and 1 to w and c, and w z and w to a and b. sigmoid(s) = exp(-softplus(-s)).
    """
    # TASK 7.11
    # BEGIN SOLUTION
    (a, b), (w, c) = generator, discriminator

    def sigmoid(s):
        return np.exp(-np.logaddexp(0, -s))

    for x, z in zip(real, noise, strict=False):
        fake = a * z + b
        on_real, on_fake = sigmoid(-(w * x + c)), -sigmoid(w * fake + c)
        dw, dc = (on_real * x).mean() + (on_fake * fake).mean(), on_real.mean() + on_fake.mean()
        w, c = w + rates[0] * dw, c + rates[0] * dc
    z = noise[len(real)]
    slopes = sigmoid(-(w * (a * z + b) + c)) * w
    return (a + rates[1] * (slopes * z).mean(), b + rates[1] * slopes.mean()), (w, c)
    # END SOLUTION
