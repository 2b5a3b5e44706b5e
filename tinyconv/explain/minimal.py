"""The smallest change that makes a network give another answer. See :func:`minimal_attack`, :func:`linear_distance`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinyconv import device, errors
from tinyconv.explain.adversarial import Clip, as_box, as_labels, distortion
from tinyconv.explain.input_gradient import as_inputs, batch_size
from tinyconv.explain.layers import batches, check_count, evaluating
from tinyconv.explain.minimal_search import Network, Search
from tinyconv.functional.loss import cross_entropy
from tinyconv.nn.modes import frozen
from tinyconv.tensor import Tensor

LOSSES = ("cross_entropy", "margin")


class Attack(NamedTuple):
    """What :func:`minimal_attack` found.

    Attributes
    ----------
    images : array, like the images
        Changed ones; where there is no success, the image as it was.
    success : bool array, (N,)
        Whether the network gives a wanted answer.
    distortion : array, (N,)
        Root mean square change, see :func:`tinyconv.explain.adversarial.distortion`; 0 where there is no success.
    """

    images: np.ndarray
    success: np.ndarray
    distortion: np.ndarray


def minimal_attack(
    model: Any,
    images: Any,
    target: Any = None,
    *,
    labels: Any = None,
    clip: Clip = (0.0, 1.0),
    loss: str = "cross_entropy",
    searches: int = 8,
    steps: int = 20,
) -> Attack:
    """Look for the smallest |r| for which the network sees the class l in x + r (Szegedy et al. 2013, sec. 4.1).

        minimise  c |r|^2 + loss(x + r, l)   over   low <= x + r <= high

    for several c, each image with a c of its own: the largest with which the class is still reached gives the smallest
    r. The paper has c |r|. Both have the same solutions, each at another c: where c |r|^2 is minimal at r*, so is
    (2 c |r*|) |r|; the square is smooth at r = 0. In place of L-BFGS the solver is :func:`spectral.minimise`, all
    images at once. Of all points it visits, the nearest with a wanted answer is kept, and shortened towards x as far as
    the answer allows. No random draws; an image's result does not depend on the others.

    Parameters
    ----------
    model : Module
        Any classifier; it runs in evaluation mode.
    images : array or Tensor, (N, C, H, W) or (N, F)
        Within ``clip``; see :class:`tinyconv.explain.adversarial.PixelModel`.
    target : int or N ints, optional
        The wanted class. None: any class other than ``labels``; l is then, of the ten with the largest scores, the one
        whose border is nearest by the network's linearisation at x. For a linear network that is the nearest, for
        others mostly: on 8 x 8 digits the change was 2 % longer on average than the best of all nine targets.
    labels : int or N ints, optional
        Only without ``target``; by default what the network says.
    clip : (low, high) or None
    loss : {"cross_entropy", "margin"}
        The paper's -log p_l, or max(max_{j != l} z_j - z_l, 0), which is 0 as soon as the class is reached and then
        leaves |r| alone. For a linear network the second finds the border's nearest point; the first does so for two
        classes, and for more pulls away from all the others, too. Where the second does not reach the class with the
        first values of c (its edges can hold a search up), the first leads the way there.
    searches : int
        How many values of c are tried.
    steps : int
        Forward and backward passes for each, at most.

    Returns
    -------
    Attack
        ``images``, ``success``, ``distortion``. An image that has a wanted answer already is not changed.

    Raises
    ------
    TypeError, IndexError
        Classes are no ints; there is no such class.
    ValueError
        Shapes do not fit; images lie outside the box; there is no such loss; both target and labels are given.
    FloatingPointError
        Scores are not finite.
    """
    op = "minimal_attack"
    errors.check_choice(op, "loss", loss, LOSSES)
    check_count(op, "searches", searches)
    check_count(op, "steps", steps)
    if target is not None and labels is not None:
        raise ValueError(f"{op}: give target or labels, not both: a target is reached from whatever class")
    x = as_inputs(op, model, images)
    box = as_box(op, clip, x)
    name, given = ("target", target) if target is not None else ("labels", labels)
    classes = None if given is None else as_labels(op, name, given, len(x), cross_entropy)
    changed, success = x.copy(), np.zeros(len(x), bool)
    with evaluating(model), frozen(model):
        for part in batches(len(x), batch_size(x)):
            network = Network(op, model, loss)
            first = network.scores(x[part])
            wanted = first.argmax(axis=1) if classes is None else classes[part]
            errors.check_range(op, name, wanted, first.shape[1])
            limits = None if box is None else (box[0][part], box[1][part])
            search = Search(network, x[part], limits, first, wanted, avoid=target is None)
            for _ in range(searches):
                search.round(steps)
            changed[part], success[part] = search.result()
    return Attack(changed, success, distortion(x, changed))


def linear_distance(weight: Any, bias: Any, images: Any, labels: Any) -> np.ndarray:
    """Return the exact distance |r| (N,) at which a linear classifier z = W x + b leaves a class.

        min over l != k of (z_k - z_l) / |w_k - w_l|,   for one row (z > 0 is class 1, else 0)   |w.x + b| / |w|

    for an image of which k is the answer; 0 if k is not. It is the least |r| of :func:`minimal_attack` without a box,
    sqrt(F) times the distortion.

    Parameters
    ----------
    weight : array or Tensor, (K, F), or (1, F) or (F,) for two classes
    bias : array or Tensor, (K,), or one number for two classes
    images : array or Tensor, (N, F) or (N, C, H, W) with C H W = F
    labels : int or N ints

    Raises
    ------
    TypeError, IndexError
        Labels are no ints; there is no such class.
    ValueError
        Shapes do not fit; weight, bias or images are not finite.
    """
    op = "linear_distance"
    w, b, x = (np.asarray(device.host(v.data) if isinstance(v, Tensor) else v) for v in (weight, bias, images))
    w, b, x = np.atleast_2d(w).astype(np.float64), np.atleast_1d(b).astype(np.float64), x.astype(np.float64)
    fits = x.ndim in (2, 4) and 0 not in x.shape and w.ndim == 2 and w.shape[1] == np.prod(x.shape[1:])
    if not fits or b.shape != w.shape[:1]:
        raise ValueError(
            f"{op}: weight (K, F), bias (K,) and images (N, F) must fit, got {w.shape}, {b.shape} and {x.shape}"
        )
    for name, values in (("weight", w), ("bias", b), ("images", x)):
        if not np.isfinite(values).all():
            raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")
    if len(w) == 1:  # class 0 has the score 0
        w, b = np.concatenate([np.zeros_like(w), w]), np.concatenate([[0.0], b])
    k = as_labels(op, "labels", labels, len(x), cross_entropy)
    errors.check_range(op, "labels", k, len(w))
    z, rows = x.reshape(len(x), -1) @ w.T + b, np.arange(len(x))
    present, place = np.unique(k, return_inverse=True)
    lengths = np.stack([np.linalg.norm(w[own] - w, axis=1) for own in present])[place]
    with np.errstate(divide="ignore", invalid="ignore"):  # equal rows have no border, or it is everywhere
        distances = (z[rows, k][:, None] - z) / lengths
    distances[rows, k] = np.inf
    return np.maximum(np.where(np.isnan(distances), 0.0, distances).min(axis=1), 0.0)
