"""Every differentiable operation as a function of tensors, with PyTorch's names, arguments and defaults."""

from tinyconv.functional.activation import (
    abs,
    clamp,
    cos,
    dropout,
    exp,
    leaky_relu,
    log,
    log_softmax,
    neg,
    relu,
    sigmoid,
    sign,
    sin,
    softmax,
    softplus,
    sqrt,
    square,
    tanh,
)
from tinyconv.functional.arithmetic import (
    add,
    div,
    eq,
    ge,
    gt,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    pow,
    sub,
    where,
)
from tinyconv.functional.conv import conv2d, conv_transpose2d, fold, unfold
from tinyconv.functional.grids import affine_grid, attention_grid, projective_grid, thin_plate_spline_grid
from tinyconv.functional.indexing import embedding, getitem
from tinyconv.functional.linear import linear, matmul
from tinyconv.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    kl_div,
    l1_loss,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    smooth_l1_loss,
)
from tinyconv.functional.maxout import maxout
from tinyconv.functional.norm import batch_norm, local_response_norm, normalize
from tinyconv.functional.pool import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    max_pool2d,
    max_unpool2d,
)
from tinyconv.functional.recurrent import lstm, rnn
from tinyconv.functional.reduce import (
    all,
    any,
    argmax,
    argmin,
    max,
    mean,
    min,
    norm,
    std,
    sum,
    take_along_dim,
    var,
)
from tinyconv.functional.roi import roi_align, roi_pool
from tinyconv.functional.sampler import grid_sample, interpolate
from tinyconv.functional.shape import (
    cat,
    chunk,
    clone,
    contiguous,
    expand,
    flatten,
    pad,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    to,
    transpose,
    unsqueeze,
    view,
)
