"""Convolution, its transpose, and the patches both are made of."""

from __future__ import annotations

from typing import Any

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.functional.batching import batched
from tinyconv.functional.shape import pad
from tinyconv.tensor import Tensor
from tinyconv_kernels.geometry import transposed_size

Pair = int | tuple[int, int]


class _Filters(Function):
    """What conv2d and conv_transpose2d share: the kernels' names differ, not what is allocated and kept."""

    kernel = ""

    @classmethod
    def _run(cls, which: str, a: Any, b: Any, out: Any, shapes: tuple, rule: tuple, *between: Any) -> Any:
        """Call the kernel ``which`` on arrays a and b with the workspace it asks for; return ``out``."""
        kernels = device.kernels_for(a).conv
        size = getattr(kernels, f"{cls.kernel}_{which}_workspace")(*shapes, out.dtype, rule[3])
        getattr(kernels, f"{cls.kernel}_{which}")(a, b, *between, device.workspace(a, size))
        return out

    @classmethod
    def _forward(cls, ctx: Any, x: Any, weight: Any, bias: Any, out: tuple[int, ...], rule: tuple, *rest: Any) -> Any:
        x, weight = device.contiguous(x), device.contiguous(weight)
        bias = None if bias is None else device.contiguous(bias)
        y = device.empty(x, (x.shape[0], *out))
        ctx.shapes, ctx.rule = (x.shape, weight.shape, y.shape), rule
        cls._run("forward", x, weight, y, ctx.shapes, rule, bias, y, *rule, *rest)
        # Each gradient needs the other input.
        ctx.save(x if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)
        return y

    @classmethod
    def _backward(cls, ctx: Any, dy: Any) -> Any:
        (x, weight), dy = ctx.saved[:2], device.contiguous(dy)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = device.empty(dy, ctx.shapes[0])
            cls._run("backward_input", dy, weight, dx, ctx.shapes, ctx.rule, dx, *ctx.rule)
        if ctx.needs_input_grad[1]:
            dweight = device.empty(dy, ctx.shapes[1])
            cls._run("backward_weight", dy, x, dweight, ctx.shapes, ctx.rule, dweight, *ctx.rule)
        if ctx.needs_input_grad[2]:
            dbias = device.empty(dy, dy.shape[1:2])
            device.kernels_for(dy).conv.conv2d_backward_bias(dy, dbias)
        return dx, dweight, dbias, None, None


class Conv2d(_Filters):
    """Every filter at every position; see :func:`conv2d`."""

    kernel = "conv2d"

    @staticmethod
    def forward(
        ctx: Any, x: Any, weight: Any, bias: Any, out: tuple[int, ...], rule: tuple, activation: str | None
    ) -> Any:
        y = Conv2d._forward(ctx, x, weight, bias, out, rule, activation)
        if activation:
            ctx.save(*ctx.saved, y)  # where the ReLU let the gradient through is seen in its result
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        if len(ctx.saved) == 3:
            dy, y = device.contiguous(dy), ctx.saved[2]
            dz = device.empty(dy, dy.shape)
            device.kernels_for(dy).elementwise.relu_backward(dy, y, dz)
            dy = dz
        return *Conv2d._backward(ctx, dy), None


class ConvTranspose2d(_Filters):
    """Every pixel stamps its filters; see :func:`conv_transpose2d`."""

    kernel = "conv_transpose2d"

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, out: tuple[int, ...], rule: tuple) -> Any:
        return ConvTranspose2d._forward(ctx, x, weight, bias, out, rule)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return ConvTranspose2d._backward(ctx, dy)


class Unfold(Function):
    """Patches as columns; see :func:`unfold`."""

    @staticmethod
    def forward(ctx: Any, x: Any, out: tuple[int, int], *window: tuple[int, int]) -> Any:
        x = device.contiguous(x)
        cols = device.empty(x, (x.shape[0], x.shape[1] * window[0][0] * window[0][1], out[0] * out[1]))
        device.kernels_for(x).conv.im2col(x, cols, *window)
        ctx.shape, ctx.window = x.shape, window
        return cols

    @staticmethod
    def backward(ctx: Any, dcols: Any) -> Any:
        dx = device.empty(dcols, ctx.shape)
        device.kernels_for(dcols).conv.col2im(device.contiguous(dcols), dx, *ctx.window)
        return dx, None, None, None, None, None


class Fold(Function):
    """Columns added up as patches; see :func:`fold`."""

    @staticmethod
    def forward(ctx: Any, cols: Any, image: tuple[int, ...], *window: tuple[int, int]) -> Any:
        cols = device.contiguous(cols)
        x = device.empty(cols, (cols.shape[0], *image))
        device.kernels_for(cols).conv.col2im(cols, x, *window)
        ctx.shape, ctx.window = cols.shape, window
        return x

    @staticmethod
    def backward(ctx: Any, dx: Any) -> Any:
        dcols = device.empty(dx, ctx.shape)
        device.kernels_for(dx).conv.im2col(device.contiguous(dx), dcols, *ctx.window)
        return dcols, None, None, None, None, None


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
) -> Tensor:
    """Slide K filters over the image: an output is the sum of a filter times the patch under it (LeCun 1998, sec. II).

    y[n, k, oh, ow] = bias[k] + sum over c, i, j of
    weight[k, c, i, j] * x[n, c, oh * stride - padding + i * dilation, ow * stride - padding + j * dilation],
    x being 0 outside the image. As everywhere in this field it is a correlation: the filter is not turned.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W), float32 or float64
    weight : Tensor, (K, C // groups, KH, KW)
    bias : Tensor, (K,), optional
    stride, padding, dilation : int or (int, int)
        In pixels, (height, width). ``padding`` may be "valid" (none) or "same" (as much as keeps the size; stride 1).
    groups : int
        Filter k sees only the channels of its own group (Krizhevsky 2012, sec. 3.5); C for one filter per channel.
    activation : str, optional
        "relu": y is max(y, 0), computed while y is written: one pass over memory less than ``relu(conv2d(...))``, and
        one array. PyTorch has no such argument.

    Returns
    -------
    y : Tensor, (N, K, OH, OW)    OH = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1

    Raises
    ------
    ValueError
        Shapes do not fit together; groups does not divide C and K; the filter is larger than the padded image; another
        activation.
    """
    op = "conv2d"
    x, unbatched = batched(op, x)
    errors.check_same(op, x=x, weight=weight, bias=bias)
    errors.check_filters(op, x, weight, groups)
    if bias is not None:
        errors.check_shape(op, "bias", bias, weight.shape[:1], "(one number per filter)")
    stride, dilation = errors.pair(op, "stride", stride, 1), errors.pair(op, "dilation", dilation, 1)
    if isinstance(padding, str):
        x, padding = _named_padding(op, x, padding, weight.shape[2:], stride, dilation)
    padding = errors.pair(op, "padding", padding)
    out = errors.check_window(op, x.shape[2:], weight.shape[2:], stride, padding, dilation)
    if activation is not None:
        errors.check_choice(op, "activation", activation, ("relu",))
    rule = stride, padding, dilation, groups
    return unbatched(Conv2d.apply(x, weight, bias, (weight.shape[0], *out), rule, activation))


def _named_padding(
    op: str, x: Tensor, name: str, kernel: Any, stride: Any, dilation: Any
) -> tuple[Tensor, tuple[int, int]]:
    """Padding in pixels; an odd total puts its extra pixel on the right and at the bottom, as PyTorch does."""
    errors.check_choice(op, "padding", name, ("same", "valid"))
    if name == "valid":
        return x, (0, 0)
    if stride != (1, 1):
        raise ValueError(f'{op}: padding="same" needs stride 1, got stride {stride}; give the padding in pixels')
    rows, columns = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    if rows % 2 or columns % 2:
        x = pad(x, (0, columns % 2, 0, rows % 2))
    return x, (rows // 2, columns // 2)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Each pixel stamps its filters, times its value, onto a larger map; where stamps overlap they add up.

    It is the gradient of :func:`conv2d` with respect to its input: the "deconvolution" of Zeiler & Fergus 2014, sec.
    2.1, and the upsampling of DCGAN's generator (Radford 2016, fig. 1). It does not undo a convolution.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W), float32 or float64
    weight : Tensor, (C, K // groups, KH, KW)
        The weight of the convolution that would map the result back to the shape of x.
    bias : Tensor, (K,), optional
    stride, padding, dilation : int or (int, int)
        Those of that convolution: ``stride`` pixels between stamps, ``padding`` pixels cut off all around.
    output_padding : int or (int, int)
        Pixels added at the bottom and right: ``stride`` sizes convolve onto that of x, this picks one.
        Less than stride or dilation.

    Returns
    -------
    y : Tensor, (N, K, OH, OW)    OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1

    Raises
    ------
    ValueError
        Shapes do not fit together; groups does not divide C; output_padding is too large; nothing is left of y.
    """
    op = "conv_transpose2d"
    x, unbatched = batched(op, x)
    errors.check_same(op, x=x, weight=weight, bias=bias)
    errors.check_filters(op, x, weight, groups, transposed=True)
    filters = weight.shape[1] * groups
    if bias is not None:
        errors.check_shape(op, "bias", bias, (filters,), "(one number per output channel)")
    stride, dilation = errors.pair(op, "stride", stride, 1), errors.pair(op, "dilation", dilation, 1)
    padding, extra = errors.pair(op, "padding", padding), errors.pair(op, "output_padding", output_padding)
    sides = list(zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, extra, strict=True))
    if any(e >= max(s, d) for _, _, s, _, d, e in sides):
        raise ValueError(f"{op}: output_padding must be less than stride {stride} or dilation {dilation}, got {extra}")
    out = tuple(transposed_size(*side) for side in sides)
    if min(*out, *x.shape[2:]) < 1:
        raise ValueError(f"{op}: wanted an output of at least one pixel, got {out} from x of shape {x.shape}; pad less")
    return unbatched(ConvTranspose2d.apply(x, weight, bias, (filters, *out), (stride, padding, dilation, groups)))


def unfold(x: Tensor, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> Tensor:
    """Write the patch under each position of a window as a column ("im2col"); a convolution is then a matrix product.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size, dilation, padding, stride : int or (int, int)
        In pixels, as in :func:`conv2d`.

    Returns
    -------
    cols : Tensor, (N, C * KH * KW, OH * OW)    rows ordered (c, i, j), columns (oh, ow)
    """
    op = "unfold"
    x, unbatched = batched(op, x)
    window, out = _window(op, x.shape[2:], kernel_size, stride, padding, dilation)
    return unbatched(Unfold.apply(x, out, *window))


def fold(
    x: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
) -> Tensor:
    """Add every column back where :func:`unfold` took it from ("col2im"): the transpose of unfold, not its inverse.

    Parameters
    ----------
    x : Tensor, (N, C * KH * KW, OH * OW) or (C * KH * KW, OH * OW), float32 or float64
    output_size : int or (int, int)
        Height and width of the image.
    kernel_size, dilation, padding, stride : int or (int, int)
        Those of the unfold.

    Returns
    -------
    image : Tensor, (N, C, *output_size)

    Raises
    ------
    ValueError
        The number of rows is no multiple of KH * KW, or the number of columns is not that of the window's positions.
    """
    op = "fold"
    errors.check_ndim(op, "x", x, (2, 3), "(N, C * KH * KW, L) or (C * KH * KW, L)")
    errors.check_float(op, "x", x)
    size = errors.pair(op, "output_size", output_size, 1)
    window, out = _window(op, size, kernel_size, stride, padding, dilation)
    taps, positions = window[0][0] * window[0][1], out[0] * out[1]
    if x.shape[-2] % taps or x.shape[-1] != positions:
        raise ValueError(
            f"{op}: x must be (N, C * {taps}, {positions}) for kernel_size {window[0]} at {out[0]} x {out[1]} "
            f"positions, got shape {x.shape}"
        )
    cols = x if x.ndim == 3 else x.unsqueeze(0)
    image = Fold.apply(cols, (cols.shape[1] // taps, *size), *window)
    return image if x.ndim == 3 else image.squeeze(0)


def _window(
    op: str, size: Any, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> tuple[tuple, tuple[int, int]]:
    """The window as pairs (kernel, stride, padding, dilation), and its number of positions (OH, OW)."""
    kernel, stride = errors.pair(op, "kernel_size", kernel_size, 1), errors.pair(op, "stride", stride, 1)
    padding, dilation = errors.pair(op, "padding", padding), errors.pair(op, "dilation", dilation, 1)
    return (kernel, stride, padding, dilation), errors.check_window(op, size, kernel, stride, padding, dilation)
