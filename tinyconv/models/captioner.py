"""From pixels to sentences: a detector, and what says what it has found. See :func:`captioner`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinyconv import device as devices
from tinyconv import nn
from tinyconv.function import no_grad
from tinyconv.models.caption import Caption, caption
from tinyconv.models.fast_rcnn import FastRCNN
from tinyconv.models.faster_rcnn import faster_rcnn
from tinyconv.models.registry import describe
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.text.beam import Beam
from tinyconv.vision.layout import layout, layout_size
from tinyconv.vision.nms import distinct

if TYPE_CHECKING:
    from tinyconv.summary import Row

# Which detections are spoken of: from this probability on, so many at most, and of two that overlap more than this,
# whatever their classes, the better one.
LEAST, TOP, SAME = 0.5, 19, 0.5


class Description(NamedTuple):
    """What is said of an image.

    Attributes
    ----------
    sentence : str
        Of the whole image: the most probable one that the beam search found.
    beam : Beam
        All it found.
    boxes : array, (R, 4)
        Of the regions, best first, in pixels.
    labels : array, (R,)
        The detector's classes.
    scores : array, (R,)
        The detector's probabilities.
    snippets : list of R str
        Of the regions; empty without a model for them.
    log_probabilities : array, (R,)
        Of the snippets.
    """

    sentence: str
    beam: Beam
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    snippets: list[str]
    log_probabilities: np.ndarray


class Captioner(nn.Module):
    """See :func:`captioner`.

    Attributes
    ----------
    detector : FasterRCNN
    sentence : Caption
        Speaks of whole images, told what the detector found where (:func:`tinyconv.vision.layout.layout`).
    snippet : Caption or None
        Speaks of single regions, told what the detector's last shared layer says of them.
    """

    def __init__(self, detector: FastRCNN, sentence: Caption, snippet: Caption | None) -> None:
        super().__init__()
        self.detector, self.sentence = detector, sentence
        self.snippet = snippet

    def forward(self, images: Tensor) -> Any:
        """Return what the detector's network puts out; sentences come from :meth:`describe`."""
        return self.detector(images)

    def summary_note(self, rows: Iterable[Row]) -> str:
        """Return what the table of ``summary`` cannot know: which parts run once for each region or word, and words."""
        return (
            f"{self.detector.summary_note(rows)}\n(not run): the generators, once for each word; here for a vocabulary "
            f"of {self.sentence.word.num_embeddings} words, with which their parameters grow"
        )

    def forget_snippets(self) -> None:
        """Take the generator of regions away, such as one that nothing could be taught."""
        self.snippet = None
        if self.config is not None:
            self.config["arguments"]["snippets"] = False

    @no_grad()
    def describe(
        self, image: np.ndarray, beam: int = 7, limit: int = 20, *, least: float = LEAST, top: int = TOP
    ) -> Description:
        """Describe an image and its regions, in evaluation mode.

        Parameters
        ----------
        image : array, (C, H, W)
            Prepared as the detector's training images were.
        beam, limit : int
            See :meth:`tinyconv.models.caption.Caption.generate`.
        least : float
            Probability below which a detection is not spoken of.
        top : int
            Regions at most.

        Returns
        -------
        Description
            Of an image without detections: a sentence all the same, the one the model says when it sees nothing.
        """
        with kept_modes(self):
            self.eval()
            found = distinct(self.detector.detect(image, least=least, top=top), SAME, top)
            boxes, labels = found.boxes, found.labels
            classes = self.detector.get_submodule("cls_score").out_features - 1
            seen = layout(boxes, labels, classes, image.shape[1:])
            said = self.sentence.generate(seen[None], beam, limit)[0]
            snippets: list[str] = []
            values: list[float] = []
            if self.snippet is not None and len(boxes):
                for each in self.snippet.generate(self._features(image, boxes), beam, limit):
                    snippets.append(self.snippet.decode(each.hypotheses[0].words))
                    values.append(each.hypotheses[0].log_probability)
        text = self.sentence.decode(said.hypotheses[0].words)
        return Description(text, said, boxes, labels, found.scores, snippets, np.array(values))

    def _features(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return the features (R, F) of regions."""
        where = next(self.detector.parameters())
        outputs = self.detector(Tensor(devices.move(image[None].astype(where.dtype, copy=False), where.device)))
        return devices.host(self.detector.features(self.detector.maps(outputs), [boxes]).data)


def captioner(
    words: list[str] | None = None,
    num_classes: int = 10,
    *,
    snippets: bool = True,
    hidden: int | None = None,
    look: str = "always",
    in_channels: int = 3,
    image_size: tuple[int, int] | None = None,
    scale: str = "lesson",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> Captioner:
    """Build a Faster R-CNN and two generators: one for whole images and one for regions.

    Parameters
    ----------
    words : list of str
        The vocabulary, ``words[0]`` standing for a sentence's end; by default one of two words, for summaries.
    num_classes : int
        Of the detector.
    snippets : bool
        Whether there is a generator for regions.
    hidden : int, optional
        Hidden units of the generators, by default those of the scale.
    look : {"always", "first"}
        When the generator of whole scenes sees the layout: at every step, or at the first, as in the paper. For scenes
        of digits every step is better (lesson 08 has the figures): 460 numbers are much to keep in mind.
    in_channels, image_size, scale, width, device, dtype
        See :func:`tinyconv.models.faster_rcnn`; the scale is that of all three networks, and by default the lesson's:
        the paper has no such chain of three.

    Examples
    --------
    >>> model = captioner(["<end>", "a", "three"], 10)
    >>> said = model.describe(np.zeros((3, 64, 64), np.float32))
    >>> isinstance(said.sentence, str), len(said.snippets) == len(said.boxes)
    (True, True)
    """
    words = ["<end>", "a"] if words is None else words
    if not isinstance(words, (list, tuple)):
        raise ValueError(f"captioner: words must be a list, such as a Vocabulary's words, got {type(words).__name__}")
    words = list(words)
    place: dict[str, Any] = {"scale": scale, "width": width, "device": device, "dtype": dtype}
    detector = faster_rcnn(num_classes, in_channels=in_channels, image_size=image_size, **place)
    units = detector.get_submodule("cls_score").in_features
    sentence = caption(words, features=layout_size(num_classes), hidden=hidden, look=look, **place)
    snippet = caption(words, features=units, hidden=hidden, **place) if snippets else None
    model = Captioner(detector, sentence, snippet)
    shape = detector.input_shape
    assert shape is not None
    return describe(
        model, "captioner", shape, words=words, num_classes=num_classes, snippets=snippets, hidden=hidden,
        look=look, in_channels=in_channels, image_size=shape[1:], scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip
