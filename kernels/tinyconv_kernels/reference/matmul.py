"""Matrix product, defined: one output is one dot product."""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


@_quiet
def matmul(a, b, out):
    """One output is a row of ``a`` times a column of ``b``. Writes out; shapes as in NumPy's matmul, any strides."""
    rows = a if a.ndim > 1 else a[None, :]
    columns = b if b.ndim > 1 else b[:, None]
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    product = out.reshape(batch + (rows.shape[-2], columns.shape[-1])) if a.ndim == 1 or b.ndim == 1 else out
    for i in range(rows.shape[-2]):
        for j in range(columns.shape[-1]):
            product[..., i, j] = np.sum(rows[..., i, :] * columns[..., :, j], axis=-1)
    if product is not out:  # reshape may have copied a strided out
        out[...] = product.reshape(out.shape)
