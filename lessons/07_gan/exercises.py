"""Exercises of lesson 07: adversarial examples and generative networks. Run ``pytest lessons/07_gan`` to check them.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition.

Conventions: images are rows, ``(N, D)``; a linear classifier has the scores ``x @ weight.T + bias`` with ``weight`` (K,
D) and ``bias`` (K,), and softmax makes probabilities of them. Densities are arrays of non-negative numbers. No function
changes what it is handed, and none gives a warning, however large its numbers are. Any way of computing it is right:
loops or NumPy.
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
    largest scores), some other class l scores at x + r what k scores there. ``other`` (N,) says which l; of two that
    are equally near, the first. There are no bounds for x + r. A class with the same row of ``weight`` as k is never
    nearer than another: no change of x brings it closer. Some class has another row.

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

    which is never above 0, and is -log 4 where both densities are the same and have a sum of 1.

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
