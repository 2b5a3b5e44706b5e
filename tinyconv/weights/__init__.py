"""Weights that other programs saved: reading their files without running them, loading them into our models."""

from tinyconv.weights.loading import load_torchvision
from tinyconv.weights.names import guess
from tinyconv.weights.problem import WeightsError
from tinyconv.weights.reader import is_checkpoint, read
from tinyconv.weights.safetensors import save_safetensors

__all__ = ["WeightsError", "guess", "is_checkpoint", "load_torchvision", "read", "save_safetensors"]
