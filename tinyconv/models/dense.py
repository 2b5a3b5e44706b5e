"""Classifiers whose fully connected layers are convolutions, so that larger images give a map of scores.

See :func:`fully_convolutional`.
"""

from __future__ import annotations

import copy
import math

from tinyconv import device, nn
from tinyconv.nn.module import Parameter
from tinyconv.summary import summary
from tinyconv.tensor import Tensor

# What may stand among the fully connected layers: it treats every element for itself, wherever it stands.
_ELEMENTWISE = (nn.Dropout, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.Tanh)


class FullyConvolutional(nn.Sequential):
    """A network for images of any size from ``window`` on; its output is a map (N, K, MH, MW).

    Attributes
    ----------
    window : (int, int)
        Height and width of the image that gives a map of one place, in pixels: the classifier's input.
    stride : (int, int)
        Pixels between the windows of neighbouring places: the window of place (r, c) begins at pixel (r, c) * stride.
    """

    window: tuple[int, int]
    stride: tuple[int, int]

    def forward(self, x: Tensor) -> Tensor:
        """Return the map; images smaller than the window are refused by name."""
        if x.ndim == 4 and (x.shape[2] < self.window[0] or x.shape[3] < self.window[1]):
            raise ValueError(
                f"fully_convolutional: images must have at least {self.window[0]}x{self.window[1]} pixels, "
                f"got {x.shape[2]}x{x.shape[3]}; resize them"
            )
        return super().forward(x)


def fully_convolutional(model: nn.Module, *, share: bool = True) -> FullyConvolutional:
    """Turn the fully connected layers of a classifier into convolutions (Simonyan & Zisserman 2014, sec. 3.2).

    fc6 becomes a convolution with the window of the last feature map: row k of its weights, C * h * w numbers with the
    channel outermost, is filter k of shape (C, h, w). Every later one becomes a 1x1 convolution. On an image of the
    training size the map has one place, whose scores are the classifier's; for VGG a square image of Q pixels gives a
    map of side floor(Q / 32) - 6: 2 for 256, 6 for 384, 10 for 512.

    Parameters
    ----------
    model : Sequential
        Convolutions and pools, one Flatten, then Linear layers with ReLU, dropout and the like between them: AlexNet,
        ZF Net, VGG. Its ``input_shape`` is the training size. An adaptive pool before Flatten must change nothing at
        that size; it is left out, since it would squeeze every image to one place.
    share : bool
        The convolutions use the memory of the model's weights, so they also follow its training; features are the
        model's own modules. False: everything is copied.

    Raises
    ------
    ValueError
        The model is not of this kind, or has no ``input_shape``.

    Examples
    --------
    >>> from tinyconv.models import vgg
    >>> dense = fully_convolutional(vgg(device="meta"))
    >>> dense(tinyconv.empty(1, 3, 384, 384, device="meta")).shape
    (1, 1000, 6, 6)
    """
    layers = _checked(model)
    if not share:
        model = copy.deepcopy(model)
        layers = dict(model.named_children())
    shapes = {row.name: row.output_shape for row in summary(model).rows}
    names = list(layers)
    flat = next(i for i, name in enumerate(names) if isinstance(layers[name], nn.Flatten))
    features = names[:flat]
    if features and isinstance(layers[features[-1]], (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)):
        before, after = (shapes.get(name) for name in features[-2:])
        if before != after:
            raise ValueError(
                f"fully_convolutional: {features[-1]} must change nothing at the training size, got {before} -> {after}"
            )
        features.pop()
    shape = shapes[features[-1]] if features else model.input_shape
    assert shape is not None  # the features ran in the summary
    parts = {name: layers[name] for name in features}
    for name in names[flat + 1 :]:
        layer = layers[name]
        parts[name] = layer
        if isinstance(layer, nn.Linear):
            parts[name] = _convolution(layer, shape)
            shape = (layer.out_features, 1, 1)
    dense = FullyConvolutional(parts)
    dense.training = model.training
    dense.input_shape = model.input_shape
    assert model.input_shape is not None
    dense.window = (model.input_shape[1], model.input_shape[2])
    strides = [_stride(layers[name]) for name in features]
    dense.stride = (math.prod(rows for rows, _ in strides), math.prod(columns for _, columns in strides))
    return dense


def _checked(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers by name; ValueError unless fully_convolutional knows what to do with them."""
    who, wanted = "fully_convolutional: the model must be a Sequential of", "convolutions and pools, Flatten, Linear"
    layers = dict(model.named_children())
    if not isinstance(model, nn.Sequential) or sum(isinstance(m, nn.Flatten) for m in layers.values()) != 1:
        raise ValueError(f"{who} {wanted} layers, with one Flatten; got {type(model).__name__}({', '.join(layers)})")
    if model.input_shape is None or len(model.input_shape) != 3:
        raise ValueError(
            f"fully_convolutional: the model must have an input_shape (C, H, W), got {model.input_shape}; "
            "set model.input_shape to the size it was trained with"
        )
    flat = False
    for name, layer in layers.items():
        if flat and not isinstance(layer, (nn.Linear, *_ELEMENTWISE)):
            raise ValueError(f"{who} {wanted} layers; after Flatten came {name}, a {type(layer).__name__}")
        flat = flat or isinstance(layer, nn.Flatten)
    if not any(isinstance(layer, nn.Linear) for layer in layers.values()):
        raise ValueError(f"{who} {wanted} layers; got no Linear layer in {', '.join(layers)}")
    return layers


def _convolution(layer: nn.Linear, shape: tuple[int, ...]) -> nn.Conv2d:
    """Return the convolution over maps of this shape (C, h, w) with the layer's weights."""
    channels, height, width = shape
    has_bias = layer.bias is not None
    twin = nn.Conv2d(channels, layer.out_features, (height, width), bias=has_bias, device="meta")
    weight = device.contiguous(layer.weight.data).reshape(layer.out_features, channels, height, width)
    twin.weight = Parameter(weight, layer.weight.requires_grad)
    if has_bias:
        twin.bias = layer.bias
    return twin


def _stride(layer: nn.Module) -> tuple[int, int]:
    """Return by how many inputs (rows, columns) neighbouring outputs of a layer are apart."""
    stride = getattr(layer, "stride", (1, 1))
    return (stride, stride) if isinstance(stride, int) else tuple(stride)
