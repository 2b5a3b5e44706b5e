"""A small network that the tests of ``explain`` share."""

import numpy as np

from tinyconv import nn


def small_network(rng, *, signed=True, norm=False, pool=(2, 2), dtype=np.float64):
    """Return two convolutions with pools and two fully connected layers over (2, 12, 12) images, in evaluation mode.

    Without ``signed``, weights are non-negative and biases are zero.
    """
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(2, 4, 3, padding=1, dtype=dtype),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(*pool, ceil_mode=True),
            **({"norm1": nn.LocalResponseNorm(3, 0.1, 0.75, 1.0)} if norm else {}),
            "conv2": nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, dtype=dtype),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(*pool, ceil_mode=True),
            "flatten": nn.Flatten(),
            "fc3": nn.Linear(24 if pool[0] == 2 else 6, 5, dtype=dtype),
            "relu3": nn.ReLU(),
            "dropout3": nn.Dropout(0.5, inverted=False),
            "fc4": nn.Linear(5, 3, dtype=dtype),
        }
    )
    for parameter in model.parameters():
        weights = rng.standard_normal(parameter.shape) if signed else rng.uniform(0, 1, parameter.shape)
        parameter.data[:] = weights if signed or parameter.ndim > 1 else 0
    return model.eval()
