"""Resizing: up, down, one pixel, both conventions of the corners, sizes that do not divide.

Sampling at a grid: every mode, padding and convention, positions inside and beyond, on whole pixels, at NaN.
"""

from itertools import product

from .case import Case

_IMAGE = ((2, 3, 5, 4),)
_TARGETS = [
    {"size": (7, 9)},
    {"size": 3},
    {"size": (1, 4)},
    {"size": (5, 4)},
    {"size": (10, 8)},
    {"scale_factor": 2},
    {"scale_factor": (0.6, 1.7)},
    {"scale_factor": 2.1},
]
# x and grid: more positions than pixels, as many, fewer; one pixel; many channels (a CPU's lanes, and some more).
_GRIDS = [
    ((2, 3, 5, 4), (2, 7, 6, 2)),
    ((2, 1, 4, 4), (2, 4, 4, 2)),
    ((1, 2, 6, 3), (1, 2, 1, 2)),
    ((2, 2, 1, 1), (2, 3, 2, 2)),
    ((1, 37, 4, 5), (1, 3, 6, 2)),
]
_RULES = [
    {"mode": mode, "padding_mode": padding, "align_corners": align}
    for mode, padding, align in product(("bilinear", "nearest"), ("zeros", "border", "reflection"), (True, False))
]

CASES = [
    *[Case("interpolate", _IMAGE, target) for target in _TARGETS],
    *[
        Case("interpolate", _IMAGE, {**target, "mode": "bilinear", "align_corners": align})
        for target in _TARGETS
        for align in (True, False)
    ],
    Case("interpolate", ((2, 1, 1, 1),), {"size": (3, 2), "mode": "bilinear", "align_corners": True}, note="one pixel"),
    Case("interpolate", ((2, 1, 1, 1),), {"size": (3, 2)}, note="one pixel"),
    Case("interpolate", ((0, 2, 3, 3),), {"scale_factor": 2}, parity=False, note="empty batch"),
    Case("interpolate", _IMAGE, {"size": (7, 9)}, "nan"),
    *[Case("grid_sample", inputs, rule) for inputs in _GRIDS for rule in _RULES],
    # Whole positions, where a gradient is the derivative to the right, and corners of the image.
    *[Case("grid_sample", ((2, 2, 5, 3), (2, 4, 5, 2)), rule, "ties") for rule in _RULES],
    *[Case("grid_sample", ((2, 2, 5, 3), (2, 4, 5, 2)), rule, "nan", parity=False) for rule in _RULES],
    Case("grid_sample", ((0, 2, 3, 3), (0, 2, 2, 2)), {"align_corners": True}, parity=False, note="empty batch"),
]
