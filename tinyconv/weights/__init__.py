"""Weights that other programs saved: reading their files without running them, loading them into our models."""

from tinyconv.weights.loading import fit, load_torchvision, load_trunk
from tinyconv.weights.names import TRUNKS, guess
from tinyconv.weights.problem import WeightsError
from tinyconv.weights.reader import is_checkpoint, read
from tinyconv.weights.safetensors import save_safetensors

__all__ = [
    "TRUNKS", "WeightsError", "fit", "guess", "is_checkpoint", "load_torchvision", "load_trunk", "read",
    "save_safetensors",
]  # fmt: skip
