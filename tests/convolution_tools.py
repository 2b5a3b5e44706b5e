"""What the tests of convolution share: arrays of a geometry, and the three passes of a module's kernels on them."""

import numpy as np

from tinyconv_kernels.geometry import output_size


def y_shape(shape, filters, kernel, stride, padding, dilation, groups):
    sides = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    return (shape[0], filters, *(output_size(*side) for side in sides))


def arrays(geometry, dtype, seed=0):
    """x, weight, bias and dy of a convolution."""
    shape, K, kernel, *_, groups = geometry
    rng = np.random.default_rng(seed)
    shapes = shape, (K, shape[1] // groups, *kernel), (K,), y_shape(*geometry)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def run(module, name, first, second, out_shape, geometry, *, x, weight, y):
    """Call a kernel with a workspace of exactly the size it asks for, into an output filled with rubbish."""
    out = np.full(out_shape, 77, first.dtype)
    groups = geometry[-1]
    size = getattr(module, name + "_workspace")(x, weight, y, first.dtype, groups)
    workspace = np.full(size + 64, 0xAA, np.uint8) if size else None
    arguments = [first, second, out, *geometry[3:7]]
    if name.endswith("forward"):
        arguments.insert(2, None)
    if name == "conv2d_forward":
        arguments.append(None)
    getattr(module, name)(*arguments, None if workspace is None else workspace[:size])
    assert workspace is None or (workspace[size:] == 0xAA).all(), f"{name} wrote behind its workspace"
    return out


def three_passes(module, x, weight, dy, geometry, kind="conv2d"):
    """Forward, input gradient, weight gradient; for conv_transpose2d, x and dy change their roles."""
    if kind == "conv_transpose2d":
        x, dy = dy, x
    shapes = {"x": x.shape, "weight": weight.shape, "y": dy.shape}
    return [
        run(module, kind + "_forward", x, weight, dy.shape, geometry, **shapes),
        run(module, kind + "_backward_input", dy, weight, x.shape, geometry, **shapes),
        run(module, kind + "_backward_weight", dy, x, weight.shape, geometry, **shapes),
    ]
