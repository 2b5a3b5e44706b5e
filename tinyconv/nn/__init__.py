"""Modules: parameters, layers and containers, with PyTorch's names. Each layer is one line around a function."""

from tinyconv.nn import functional, init, utils
from tinyconv.nn.activation import (
    Dropout,
    Flatten,
    Identity,
    LeakyReLU,
    LogSoftmax,
    Maxout,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    Unflatten,
    ZeroPad2d,
)
from tinyconv.nn.averaging import average_statistics
from tinyconv.nn.containers import ModuleList, Sequential
from tinyconv.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HingeLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    SmoothL1Loss,
)
from tinyconv.nn.module import Module, Parameter
from tinyconv.nn.norm import BatchNorm1d, BatchNorm2d, LocalResponseNorm
from tinyconv.nn.pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d, MaxUnpool2d, Upsample
from tinyconv.nn.recurrent import LSTM, RNN
from tinyconv.nn.weighted import Conv2d, ConvTranspose2d, Embedding, Linear
