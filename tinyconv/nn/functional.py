"""PyTorch's place for the functions: ``import tinyconv.nn.functional as F``. See :mod:`tinyconv.functional`."""

from tinyconv.functional import *  # noqa: F403
