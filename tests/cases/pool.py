"""Pooling: every geometry that has broken somebody's implementation."""

from .case import Case, Ints

_IMAGE = ((2, 3, 7, 6),)
_GEOMETRIES = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2},  # AlexNet's overlapping windows
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)},
    {"kernel_size": 2, "stride": 3},  # stride > kernel: pixels in no window
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
]

CASES = [
    *[Case("max_pool2d", _IMAGE, k, "distinct") for k in _GEOMETRIES],
    Case("max_pool2d", _IMAGE, {"kernel_size": 2, "stride": 1, "dilation": 3}, "distinct"),
    Case("max_pool2d", _IMAGE, {**_GEOMETRIES[6], "dilation": (2, 1)}, "distinct"),
    Case("max_pool2d", ((2, 1, 1, 1),), {"kernel_size": 1}, "distinct", note="one pixel"),
    Case("max_pool2d", ((2, 1, 1, 1),), {"kernel_size": 3, "padding": 1}, "distinct", note="mostly padding"),
    Case("max_pool2d", ((0, 3, 6, 6),), {"kernel_size": 3, "stride": 2}, "distinct", note="empty batch"),
    Case("max_pool2d", ((3, 7, 6),), {"kernel_size": 3, "stride": 2}, "distinct", note="no batch axis"),
    *[Case("max_pool2d", _IMAGE, {**k, "return_indices": True}, v) for k in _GEOMETRIES[1:6] for v in ("ties", "nan")],
    *[Case("avg_pool2d", _IMAGE, k) for k in _GEOMETRIES],
    *[Case("avg_pool2d", _IMAGE, {**k, "count_include_pad": False}) for k in _GEOMETRIES[2:]],
    Case("avg_pool2d", _IMAGE, {"kernel_size": 3, "stride": 2, "padding": 1, "divisor_override": 5}),
    Case("avg_pool2d", ((0, 3, 6, 6),), {"kernel_size": 2}, note="empty batch"),
    Case("avg_pool2d", ((3, 7, 6),), {"kernel_size": 2}, note="no batch axis"),
    *[Case(f"adaptive_{kind}_pool2d", _IMAGE, {"output_size": size}, "distinct")
      for kind in ("avg", "max") for size in (1, 3, (2, 5), (None, 2), 7, (9, 8))],
    Case("adaptive_avg_pool2d", ((0, 2, 5, 5),), {"output_size": 2}, note="empty batch"),
    *[Case("adaptive_max_pool2d", _IMAGE, {"output_size": 3, "return_indices": True}, v) for v in ("ties", "nan")],
    *[Case("max_unpool2d", ((2, 3, 3, 2), Ints((2, 3, 3, 2), high)), k, parity=False, note=f"{high} places")
      for high, k in [(1, {"kernel_size": 2}),
                      (24, {"kernel_size": 2}),
                      (24, {"kernel_size": 2, "accumulate": True}),
                      (42, {"kernel_size": 3, "stride": 2, "output_size": (7, 6)})]],
]  # fmt: skip
