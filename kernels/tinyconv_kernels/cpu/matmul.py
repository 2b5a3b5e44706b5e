"""Matrix product by NumPy's BLAS; definition: ``reference/matmul.py``."""

import numpy as np


@np.errstate(all="ignore")
def matmul(a, b, out):
    """Writes out = a b; shapes by NumPy's matmul rules, strides free (BLAS takes transposed views as they are)."""
    np.matmul(a, b, out=out)
