"""What the tests of training share: a small data set, a small model, a program that is started, killed and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import tinyconv
from tinyconv import data, nn, optim

SCRIPT = Path(__file__).with_name("training_script.py")
ROOT = SCRIPT.parent.parent


def run_script(*arguments, script=SCRIPT):
    """Run the training script in a process of its own, warnings being errors."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error", str(script), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)


def blobs(n=60, seed=0):
    """Three well separated classes of 1 x 2 x 2 images."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.normal(0, 0.3, (n, 1, 2, 2)).astype(np.float32)
    images[np.arange(n), 0, labels // 2, labels % 2] += 2
    return data.ArrayDataset(images, labels, classes=["a", "b", "c"])


def small(seed=0, dropout=0.0):
    """Return a fresh small model, its optimizer and its loader."""
    tinyconv.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))
    return model, optim.SGD(model.parameters(), 0.2, momentum=0.9), data.DataLoader(blobs(), 20, shuffle=True)


def weights(model):
    """Return copies of all arrays of the model."""
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


def assert_same(a, b):
    """Every array is equal, bit by bit."""
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].tobytes() == b[key].tobytes(), key
