"""Which of two digits each transformer looks at, and the paper's errors beside ours. See step 10."""

from __future__ import annotations

from typing import Any

import numpy as np
from digits09 import correlation

import tinyconv
from tinyconv.explain.attended import centre, rotation, to_pixels

#: Errors in per cent; 2015, section 4.1. ST-FCN and ST-CNN by their transform.
PAPER = {
    "FCN": {"R": 2.1, "RTS": 5.2, "P": 3.1, "E": 3.2},
    "CNN": {"R": 1.2, "RTS": 0.8, "P": 1.5, "E": 1.4},
    "ST-FCN affine": {"R": 1.2, "RTS": 0.8, "P": 1.5, "E": 2.7},
    "ST-FCN projective": {"R": 1.3, "RTS": 0.9, "P": 1.4, "E": 2.6},
    "ST-FCN tps": {"R": 1.1, "RTS": 0.8, "P": 1.4, "E": 2.4},
    "ST-CNN affine": {"R": 0.7, "RTS": 0.5, "P": 0.8, "E": 1.2},
    "ST-CNN projective": {"R": 0.8, "RTS": 0.6, "P": 0.8, "E": 1.3},
    "ST-CNN tps": {"R": 0.7, "RTS": 0.5, "P": 0.8, "E": 1.1},
}
_CLAIMS = {"S1": "R", "R": "R", "S2": "RTS", "P": "P", "E": "E"}  # claim: the set that it is about


def which_channel(model: Any, data: Any, count: int) -> np.ndarray:
    """Return (transformers, 2, 3): how what each says goes together with the digit in each channel.

    Correlations over ``count`` pairs, of the angle and of x and y of the middle. A transformer that looks at one
    channel only has large ones there and about none with the other.
    """
    images = tinyconv.tensor(np.stack([data[i][0] for i in range(count)]))
    pairs = [data.distorted(i) for i in range(count)]
    true = np.array([[[one.angle, *one.centre] for one in pair] for pair in pairs])
    found = []
    with tinyconv.no_grad():
        for transformer in model.transformers:
            theta = transformer.theta(images)
            grid, _ = transformer.look(images, theta)
            middles = to_pixels(centre(grid.numpy()), (images.shape[2], images.shape[3]))
            found.append(np.column_stack([rotation(theta.numpy()), middles]))
    return correlations(true, np.array(found))


def correlations(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return (K, C, M) of found (K, N, M) with true (N, C, M); 0 where nothing moves."""
    result = np.zeros((len(found), *true.shape[1:]))
    for k, c, m in np.ndindex(result.shape):
        result[k, c, m] = correlation(found[k, :, m], true[:, c, m])
    return result


def measured_table(claims: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Return {network: {set: errors in per cent, seed by seed}} out of results.json's claims, as PAPER has them."""
    table: dict[str, dict[str, list[float]]] = {name: {} for name in PAPER}
    for claim, kind in _CLAIMS.items():
        for run in claims.get(claim, {}).get("runs", {}).values():
            for name, found in run.items():
                full = f"{name} affine" if name in ("ST-FCN", "ST-CNN") else name
                if full in table:  # others are not in the paper
                    table[full].setdefault(kind, []).append(100 * found["error"])
    return table
