"""Finding what pictures have in common, without labels (Jaderberg et al. 2015, appendix A.2): :func:`colocalise`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import tinyconv
from tinyconv import Tensor, models, nn, optim
from tinyconv import functional as F
from tinyconv.data import DataLoader
from tinyconv.data.co_localisation import CoLocalisation
from tinyconv.data.distorted import DistortedDigits
from tinyconv.models.spatial_transformer import SpatialTransformer
from tinyconv.random import generator
from tinyconv.threads import limited_threads
from tinyconv.vision import paired_iou

WINDOW = 28  # pixels of a side of what the encoder sees
LAYERS = ("pool1", "pool2", "relu3")  # whose activations are e, one behind the other
LENGTH = 4.0  # root mean square length of each of the three, over upright digits; the margin is 1
BATCH, LR = 20, 0.002


class Encoder:
    """e(crop): activations of three layers of a digit CNN that learns no more.

    Parameters
    ----------
    model : STNetwork
        Without transformers, for images of 28x28.
    images : array, (N, 1, 28, 28)
        Digits by whose activations each layer is brought to the mean square length LENGTH^2.
    """

    def __init__(self, model: Any, images: np.ndarray) -> None:
        self.model = model.eval()
        self.factors: tuple[float, ...] = (1.0,) * len(LAYERS)
        for p in model.parameters():
            p.requires_grad = False
        lengths = [np.sqrt((part.numpy() ** 2).sum(axis=1).mean()) for part in self.parts(tinyconv.tensor(images))]
        self.factors = tuple(LENGTH / float(length) for length in lengths)

    def parts(self, x: Tensor) -> list[Tensor]:
        """Return the layers' activations, (N, numbers) each."""
        found: list[Tensor] = []
        for name, layer in self.model.classifier.named_children():
            x = layer(x)
            if name in LAYERS:
                found.append(x.reshape(x.shape[0], -1) * self.factors[len(found)])
            if name == LAYERS[-1]:
                break
        return found

    def __call__(self, x: Tensor) -> Tensor:
        """Map crops (N, 1, 28, 28) to e (N, D)."""
        return F.cat(self.parts(x), 1)


@cache
def encoder(seed: int, small: bool = False) -> Encoder:
    """Return the encoder: the lesson's CNN, three epochs of upright digits (turned by +-10 degrees), 5 s."""
    tinyconv.manual_seed(seed)
    model = models.st_cnn(transform=None, scale="lesson")
    data = DistortedDigits("r", "train", 128 if small else None, seed=seed, angle=10, hold_out=False)
    optimizer = optim.Adam(model.parameters(), lr=LR)
    loader = DataLoader(data, 64, shuffle=True, seed=seed)
    tinyconv.fit(model, loader, optimizer=optimizer, epochs=1 if small else 3, seed=seed, progress=False)
    return Encoder(model, data.sources.images[:500])


def triplet_loss(e: Tensor, other: Tensor, beside: Tensor) -> Tensor:
    """Return the mean of max(0, |e_n - other_m|^2 - |e_n - beside_n|^2 + 1) over n and m != n; all are (N, D)."""
    count = len(e)
    squares = (e * e).sum(1).reshape(-1, 1) + (other * other).sum(1).reshape(1, -1)
    between = squares - F.matmul(e, other.transpose(0, 1)) * 2.0
    away = ((e - beside) ** 2).sum(1).reshape(-1, 1)
    pairs = tinyconv.tensor(1 - np.eye(count, dtype=e.dtype))
    return (F.relu(between - away + 1.0) * pairs).sum() * (1 / (count * (count - 1)))


def localisation(size: int) -> nn.Sequential:
    """Return the localisation network: averaged 2x2, two hidden layers of 32 units, two numbers."""
    body = [nn.AvgPool2d(2), nn.Flatten(), nn.Linear((size // 2) ** 2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()]
    return nn.Sequential(*body, nn.Linear(32, 2))


def boxes_of(shifts: np.ndarray, size: int) -> np.ndarray:
    """Return x1 y1 x2 y2 (N, 4), edges in pixels, of windows a third as wide as the image, shifted by (N, 2)."""
    middles = (shifts + 1) / 2 * (size - 1) + 0.5
    return np.concatenate([middles - size // 3 / 2, middles + size // 3 / 2], axis=1)


def colocalise(
    digit: int,
    clutter: int,
    seed: int,
    steps: int = 400,
    n: int = 100,
    size: int = 42,
    *,
    through_both: bool = False,
    small: bool = False,
) -> dict[str, Any]:
    """Find the digit that n images have in common; no label and no box is used.

    A transformer of fixed scale, a third of the image as the digit's frame is, says where each image is looked at. What
    it sees of two images is to be more alike, by :class:`Encoder`, than what it sees of one and a window of the same
    size at a random place of the same image: :func:`triplet_loss`.

    What was tried, 42x42, a seed each (share of IoU > .5). In the paper both images of a pair learn. Here both soon
    look at black, and black is like black: 0 % without clutter, with e of lengths 1, 2, 3 and 4, a fixed or a free
    scale, three kinds of localisation networks. If the other image's e is held fixed (``through_both=False``) what is
    seen moves from what random windows show to what the other images show: 94 to 100 %. A free scale then runs away,
    1 and 10 %. With 16 pieces, threes: this network 53 to 71 %, 400 to 600 steps, lengths 4 and 6; convolutions in it
    3 %; the third layer alone 15 %; a digit of 20 pixels 13 %; the paper's 84x84 56 %. Sevens have 36 %, ones 21 %;
    a window that begins wide and shrinks finds less, hidden layers of 128 units hardly more. Seeds 0 to 2 were used.

    Parameters
    ----------
    digit : int
        Class, 0..9.
    clutter : int
        Number of pieces of other digits; the paper has 16, 6x6 of 84x84, here in proportion.
    seed : int
        Of images, weights, batches and random windows.
    steps, n, size : int
        Steps of Adam with 20 images each; images; their side in pixels, a multiple of 6.
    through_both : bool
        Whether the gradient also goes through the other image of a pair, as in the paper.
    small : bool
        Whether the encoder only has a trial's training.

    Returns
    -------
    dict
        iou (n,), with the digit's true frame; boxes (n, 4); true (n, 4); images (n, 1, size, size); losses (steps,).
    """
    frame = size // 3
    data = CoLocalisation(digit, n, size=size, digit=frame, clutter=clutter, clutter_side=size // 14, seed=seed)
    scale, see = (frame - 1) / (size - 1), encoder(seed, small)
    tinyconv.manual_seed(seed)
    look = SpatialTransformer(localisation(size), "attention", WINDOW, fixed_scale=scale)
    with limited_threads(look):
        losses = learn(look, see, data.images, seed, steps, through_both)
    with tinyconv.no_grad():
        boxes = boxes_of(inside(look, tinyconv.tensor(data.images)).numpy(), size)
    found = paired_iou(boxes, data.boxes)
    return {"iou": found, "boxes": boxes, "true": data.boxes, "images": data.images, "losses": losses}


def inside(look: SpatialTransformer, x: Tensor) -> Tensor:
    """Return shifts (N, 2) that keep the window in the image: tanh of what the localisation network says, in part."""
    return F.tanh(look.theta(x)) * (1 - (look.fixed_scale or 0.0))


def learn(
    look: SpatialTransformer, see: Encoder, images: np.ndarray, seed: int, steps: int, through_both: bool
) -> np.ndarray:
    """Train the localisation network on batches of the images; return the loss of each step."""
    optimizer, losses = optim.Adam(look.parameters(), lr=LR), np.empty(steps)
    most = 1 - (look.fixed_scale or 0.0)
    for step in range(steps):
        rng = generator(seed, "co-localisation", step)
        x = tinyconv.tensor(images[rng.permutation(len(images))[:BATCH]])
        e = see(look(x, inside(look, x)))
        places = tinyconv.tensor(rng.uniform(-most, most, (len(x), 2)).astype(np.float32))
        loss = triplet_loss(e, e if through_both else e.detach(), see(look(x, places)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.item()
    return losses
