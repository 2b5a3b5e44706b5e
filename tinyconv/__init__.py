"""tinyconv: a from-scratch NumPy/Numba engine for learning convolutional networks."""

__version__ = "0.1.0"

import numpy as _np

from tinyconv.tensor import Tensor  # isort: skip  (first: everything else builds on it)
from tinyconv import cuda, functional, models, nn, ops, optim
from tinyconv.autograd import grad
from tinyconv.checkpoint import load, load_into, save
from tinyconv.creation import (
    arange,
    empty,
    eye,
    from_dlpack,
    from_numpy,
    full,
    linspace,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from tinyconv.device import backend
from tinyconv.evaluation import evaluate
from tinyconv.function import Function, enable_grad, no_grad
from tinyconv.functional import (
    abs,
    add,
    all,
    any,
    argmax,
    argmin,
    cat,
    chunk,
    clamp,
    clone,
    cos,
    div,
    eq,
    exp,
    flatten,
    ge,
    gt,
    isnan,
    le,
    log,
    log_softmax,
    logical_and,
    logical_not,
    logical_or,
    lt,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    mul,
    ne,
    neg,
    norm,
    permute,
    pow,
    relu,
    reshape,
    sigmoid,
    sign,
    sin,
    softmax,
    split,
    sqrt,
    square,
    squeeze,
    stack,
    std,
    sub,
    sum,
    take_along_dim,
    tanh,
    transpose,
    unsqueeze,
    var,
    where,
)
from tinyconv.gradcheck import GradientError, gradcheck
from tinyconv.lesson import lesson_step
from tinyconv.random import manual_seed
from tinyconv.settings import allow_tf32, get_num_threads, set_num_threads, use_winograd
from tinyconv.summary import summary
from tinyconv.train import fit

float32, float64 = _np.dtype("float32"), _np.dtype("float64")
int8, int16, int32, int64 = (_np.dtype(name) for name in ("int8", "int16", "int32", "int64"))
uint8 = _np.dtype("uint8")
bool = _np.dtype("bool")
