"""Rows of small images, each row below its title. See :func:`page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np


def page(rows: Mapping[str, Sequence[np.ndarray]], width: float = 8.4) -> Any:
    """Return a figure of grey images in [0, 1], {title: images (H, W)}; those of a row have one height."""
    fig, axes = plt.subplots(len(rows), 1, figsize=(width, 1.15 * len(rows)), layout="constrained", squeeze=False)
    for axis, (title, images) in zip(axes[:, 0], rows.items(), strict=True):
        framed = [np.pad(image, ((0, 0), (0, 2)), constant_values=1) for image in images]
        axis.imshow(np.hstack(framed)[:, :-2], cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, loc="left", fontsize=8)
        axis.axis("off")
    return fig
