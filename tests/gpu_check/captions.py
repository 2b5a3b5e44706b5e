"""Regions, features, sentences and the loss of a step of models that align or speak; nothing depends on a rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyconv
from tinyconv import Tensor, device
from tinyconv.models.alignment import alignment_loss
from tinyconv.models.caption import caption_loss

from . import detectors

MODELS = ("alignment", "caption", "captioner")
_WORDS = 5  # of the longest sentence


def batch(model: Any, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random inputs and what belongs to them: rows, sentences, or of a captioner a detector's targets."""
    rng = np.random.default_rng(0)
    if hasattr(model, "describe"):
        return detectors.batch(model.detector, images)
    features = rng.standard_normal((images, *model.input_shape)).astype(np.float32)
    words = _sentences(rng, images, model.word.num_embeddings)
    if features.ndim == 2:
        return features, words
    regions = features.shape[1] - np.arange(images)[:, None] % 2  # every other image has one region less
    return features, np.concatenate([regions, words], axis=1)


def loss(model: Any, inputs: Tensor, truth: Tensor) -> Tensor:
    """Return the loss of training; of a captioner, those of its three networks added."""
    if hasattr(model, "region"):
        return alignment_loss(model(inputs, truth), truth)
    if not hasattr(model, "describe"):
        return caption_loss(model(inputs, truth), truth)
    total = detectors.loss(model.detector, model(inputs), truth)
    rng = np.random.default_rng(1)
    for part in filter(None, (model.sentence, model.snippet)):
        features = rng.standard_normal((len(inputs), *part.input_shape)).astype(inputs.dtype)
        words = tinyconv.tensor(_sentences(rng, len(inputs), part.word.num_embeddings))
        total = total + caption_loss(part(Tensor(device.move(features, inputs.device)), words), words)
    return total


def _sentences(rng: np.random.Generator, count: int, vocabulary: int) -> np.ndarray:
    """Return word ids (count, 5), the second sentence of two words, then -1."""
    words = rng.integers(1, vocabulary, (count, _WORDS))
    words[1::2, 2:] = -1
    return words
