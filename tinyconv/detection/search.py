"""Selective search over a whole data set, in all cores. See :func:`search`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tinyconv.data.detection import DetectionSource
from tinyconv.settings import get_num_threads
from tinyconv.vision.selective_search import selective_search


def search(
    source: DetectionSource, progress: Callable[[], Any] = lambda: None, *, top: int | None = None, **settings: Any
) -> list[np.ndarray]:
    """Return the region proposals (P, 4) of every image of a source, best first.

    Parameters
    ----------
    source : DetectionSource
    progress : callable
        Called after each image.
    top : int, optional
        How many proposals of an image are kept.
    **settings
        For :func:`tinyconv.vision.selective_search.selective_search`.
    """

    def one(i: int) -> np.ndarray:
        found = selective_search(source.read(i)[0], **settings)[:top]
        progress()
        return found

    with ThreadPoolExecutor(get_num_threads()) as pool:  # its kernels do not hold the GIL
        return list(pool.map(one, range(len(source))))
