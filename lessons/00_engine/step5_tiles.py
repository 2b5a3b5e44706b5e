# %% [markdown]
# # Step 5: the same speed without the big matrix
#
# 25 minutes | needs: step 4 | next: step6_digits.py
#
# im2col was the fastest way, but its matrix of patches is KH KW times as large as the image. It is written to memory
# once and read back once, and memory is slow: the processor could do dozens of MACs in the time it fetches one number.
# The way out: never make the whole matrix. Fill a *tile* of it, so small that it stays in the processor's own memory
# (its cache), multiply, and fill the next tile over it.

# %%
import time

import matplotlib.pyplot as plt
import numba
import numpy as np
from threadpoolctl import threadpool_limits

import tinyconv
from tinyconv.nn import functional as F
from tinyconv_kernels.cpu.conv import TILE
from tinyconv_kernels.geometry import output_size

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## How large is the matrix?
# In float32, for one image, and for the 128 images of AlexNet's training batch. The tile of our kernel is the same for
# all: 240 places of the window (columns) by up to 256 of its weights (rows).

# %%
layers = {
    "AlexNet conv1": (3, 227, 11, 4, 0),
    "AlexNet conv3": (256, 13, 3, 1, 1),
    "VGG conv1_2": (64, 224, 3, 1, 1),
    "VGG conv3_2": (256, 56, 3, 1, 1),
}
print(f"{'layer':15}{'input':>10}{'matrix':>11}{'ratio':>7}{'matrix of 128 images':>22}{'our tile':>11}")
for name, (C, size, kernel, stride, padding) in layers.items():
    image, out = 4 * C * size**2, output_size(size, kernel, stride, padding)
    cols = 4 * C * kernel**2 * out**2
    print(
        f"{name:15}{image / 1e6:>7.2f} MB{cols / 1e6:>8.1f} MB{cols / image:>7.1f}{128 * cols / 1e9:>19.2f} GB"
        f"{4 * TILE * DEPTH / 1e6:>8.2f} MB"
    )

# %% [markdown]
# ## Tiles in NumPy
# A tile is a few rows of the output. One row at a time gives many small matrix products; all rows at a time is im2col.


# %%
def tiled(x, weight, y, rows):
    (C, _, _), (K, OH, OW) = x.shape, y.shape
    matrix = weight.reshape(K, C * 9)
    cols = np.empty((C, 3, 3, rows, OW), x.dtype)
    for first in range(0, OH, rows):
        for i in range(3):
            for j in range(3):
                cols[:, i, j] = x[:, first + i : first + i + rows, j : j + OW]
        y[:, first : first + rows] = (matrix @ cols.reshape(C * 9, rows * OW)).reshape(K, rows, OW)


def seconds(function, *arguments):
    """Return the best time of several runs, as many as fit into half a second."""
    times = []
    while sum(times) < (0.05 if lesson.smoke else 0.5):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


C, K, size = (16, 16, 32) if lesson.smoke else (64, 64, 112)
x = lesson.rng.normal(size=(C, size + 2, size + 2)).astype(np.float32)
weight = lesson.rng.normal(size=(K, C, 3, 3)).astype(np.float32)
y = np.empty((K, size, size), np.float32)
gflop = 2 * y.size * C * 9 / 1e9  # a MAC is two floating-point operations
heights = [rows for rows in range(1, size + 1) if size % rows == 0]
with threadpool_limits(1):
    times = [seconds(tiled, x, weight, y, rows) for rows in heights]
megabytes = [4 * C * 9 * rows * size / 1e6 for rows in heights]

# %% [markdown]
# ## The engine's convolution beside it
# `F.conv2d` runs our own kernel: it fills tiles like these, and multiplies them in a loop written for the processor's
# vector registers (`kernels/tinyconv_kernels/cpu/_micro.py`). The measure of all is BLAS's product of two large square
# matrices, which hardly waits for memory: as fast as this processor multiplies.

# %%
a = lesson.rng.normal(size=(1024, 1024)).astype(np.float32)
tensor_x, tensor_weight = tinyconv.tensor(x[None]), tinyconv.tensor(weight)


def engine():
    return F.conv2d(tensor_x, tensor_weight)


np.testing.assert_allclose(engine().numpy()[0], y, rtol=1e-3, atol=1e-3)  # also compiles it, or loads it compiled
best = int(np.argmin(times))
print(f"\nA layer of {C} channels, {K} filters 3 x 3, output {size} x {size}: {gflop:.2f} GFLOP; one core")
print(f"{'way':34}{'patches':>11}{'ms':>8}{'GFLOP/s':>9}{'share':>8}")
numba.set_num_threads(1)
with threadpool_limits(1):
    peak = 2 * 1024**3 / seconds(np.matmul, a, a) / 1e9
    ways = {"im2col, the whole matrix": (megabytes[-1], times[-1])}
    ways[f"tiles, {heights[best]} rows of the output"] = megabytes[best], times[best]
    ways["tinyconv"] = 4 * TILE * DEPTH / 1e6, seconds(engine)
for name, (memory, t) in ways.items():
    print(f"{name:34}{memory:>8.2f} MB{t * 1e3:>8.2f}{gflop / t:>9.0f}{gflop / t / peak:>8.0%}")
print(f"{'BLAS, 1024 x 1024 by 1024 x 1024':34}{'':>19}{peak:>9.0f}{1:>8.0%}")
numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
t = seconds(engine)
print(f"tinyconv on all {numba.get_num_threads()} cores: {t * 1e3:.2f} ms, {gflop / t:.0f} GFLOP/s")

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.semilogx(megabytes, np.array(times) * 1e3, "o-", label="tiles in NumPy (right end: im2col)")
axes.plot(*np.array([ways["tinyconv"]]).T * [[1], [1e3]], "D", color="darkred", label="tinyconv")
axes.axhline(gflop / peak * 1e3, color="gray", linestyle="--", label="at BLAS's rate")
axes.set(title="One convolution, tiles of every size, one core", xlabel="memory for patches (MB)", ylabel="time (ms)")
axes.set_ylim(0)
axes.legend()
lesson.save(figure, "tiles", alt="Time against tile size: slow for one row and for the whole matrix, best between.")

# %% [markdown]
# ## When a compiled kernel goes wrong
# Compiled code checks no index: it reads whatever lies beyond the array. But a kernel is still the Python you wrote:
# `.py_func` is the function before compilation, and `NUMBA_DISABLE_JIT=1 python step.py` runs *all* kernels as Python,
# slowly: an index error then names index and size, and `breakpoint()` in the middle of a loop opens the debugger.


# %%
@numba.njit
def moving_sum(x, out):
    for i in range(len(x)):
        out[i] = x[i] + x[i + 1]  # one too far at the last i


try:
    moving_sum.py_func(np.ones(5), np.empty(5))
except IndexError as error:
    print(f"\nmoving_sum.py_func: IndexError: {error}")
lesson.next(why="a small network trained on what is there now")
