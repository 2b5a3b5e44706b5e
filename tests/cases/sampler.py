"""Resizing: up, down, one pixel, both conventions of the corners, sizes that do not divide."""

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
]
