"""What a captioner says of a picture as it is in its file. See :func:`describe_in`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.detection.evaluation import scale_between


def describe_in(image: np.ndarray, model: Any, transform: Any = None, **how: Any) -> Any:
    """Describe a picture as it is in its file.

    Parameters
    ----------
    image : array, (C, H, W)
        Values in [0, 1].
    model : Captioner
        Or a network of your own with ``describe(image, **how) -> Description``.
    transform : callable, optional
        What the training images went through; it may resize.
    **how
        For ``model.describe``: beam, limit, least, top.

    Returns
    -------
    Description
        Its boxes in pixels of ``image``.
    """
    prepared = image if transform is None else transform(image, None)
    said = model.describe(prepared, **how)
    scale = scale_between(image.shape[1:], prepared.shape[1:])
    return said._replace(boxes=np.asarray(said.boxes, float).reshape(-1, 4) / scale)
