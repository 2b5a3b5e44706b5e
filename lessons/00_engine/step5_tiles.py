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

import tinyconv
from tinyconv.nn import functional as F
from tinyconv_kernels.geometry import output_size

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## How large is the matrix?
# In float32, for one image, and for the 128 images of AlexNet's training batch. Ratio: how often im2col copies a pixel.

# %%
layers = {
    "AlexNet conv1": (3, 227, 11, 4, 0),
    "AlexNet conv3": (256, 13, 3, 1, 1),
    "VGG conv1_2": (64, 224, 3, 1, 1),
    "VGG conv3_2": (256, 56, 3, 1, 1),
}
print(f"{'layer':15}{'input':>10}{'matrix':>11}{'ratio':>7}{'matrix of 128 images':>22}")
for name, (C, size, kernel, stride, padding) in layers.items():
    image, out = 4 * C * size**2, output_size(size, kernel, stride, padding)
    cols = 4 * C * kernel**2 * out**2
    print(f"{name:15}{image / 1e6:>7.2f} MB{cols / 1e6:>8.1f} MB{cols / image:>7.1f}{128 * cols / 1e9:>19.2f} GB")

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
    """Return the best time of several runs, as many as fit into 0.1 s."""
    times = []
    while sum(times) < (0.02 if lesson.smoke else 0.1):
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
megabytes = [4 * C * 9 * rows * size / 1e6 for rows in heights]

# %% [markdown]
# ## The engine's convolution beside it
# `F.conv2d` runs our own kernel. It takes a tile of outputs too, but fills no tile of patches. It copies the *pixels*
# that these outputs see, with zeros for padding, into a window of about half a megabyte at most (`cpu/_window.py` in
# `kernels/tinyconv_kernels`). There a tap of a filter is a fixed distance, so the innermost loop, written for the
# processor's vector registers, reads patches where they lie and multiplies each pixel with a vector of filters
# (`cpu/_micro.py`). Here it does the same multiplications as im2col; step 7 switches on a method with fewer. The
# measure of all is BLAS's product of two large square matrices, which hardly waits for memory.

# %%
a = lesson.rng.normal(size=(1024, 1024)).astype(np.float32)
tensor_x, tensor_weight = tinyconv.tensor(x[None]), tinyconv.tensor(weight)


def engine():
    with tinyconv.use_winograd(False):
        return F.conv2d(tensor_x, tensor_weight)


tiled(x, weight, y, size)
np.testing.assert_allclose(engine().numpy()[0], y, rtol=1e-3, atol=1e-3)  # also compiles it, or loads it compiled
before = tinyconv.get_num_threads()
tinyconv.set_num_threads(1)
measured = []
for _ in range(1 if lesson.smoke else 10):  # all in turn: another program may slow us down for a second
    measured.append([seconds(tiled, x, weight, y, rows) for rows in heights])
    measured[-1] += seconds(engine), seconds(np.matmul, a, a)
*times, time_engine, time_blas = np.min(measured, axis=0)
peak = 2 * 1024**3 / time_blas / 1e9
time_tiles, rows, memory = min(zip(times, heights, megabytes, strict=True))
ways = {
    "im2col, the whole matrix": (f"{megabytes[-1]:.2f} MB", times[-1]),
    f"tiles, {rows} rows of the output": (f"{memory:.2f} MB", time_tiles),
    "tinyconv": ("none", time_engine),
}
print(f"\nA layer of {C} channels, {K} filters 3 x 3, output {size} x {size}: {gflop:.2f} GFLOP; one core")
print(f"{'way':34}{'patches':>11}{'ms':>8}{'GFLOP/s':>9}{'share':>8}")
for name, (memory, t) in ways.items():
    print(f"{name:34}{memory:>11}{t * 1e3:>8.2f}{gflop / t:>9.0f}{gflop / t / peak:>8.0%}")
print(f"{'BLAS, 1024 x 1024 by 1024 x 1024':34}{'':>19}{peak:>9.0f}{1:>8.0%}")
tinyconv.set_num_threads(before)
t = seconds(engine)
print(f"tinyconv with {before} thread(s): {t * 1e3:.2f} ms, {gflop / t:.0f} GFLOP/s")

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.semilogx(megabytes, np.array(times) * 1e3, "o-", label="tiles in NumPy (right end: im2col)")
axes.axhline(time_engine * 1e3, color="darkred", label="tinyconv: no patches")
axes.axhline(gflop / peak * 1e3, color="gray", linestyle="--", label="at BLAS's rate")
axes.set(title="One convolution, tiles of every size, one core", xlabel="memory for patches (MB)", ylabel="time (ms)")
axes.set_ylim(0)
axes.legend(loc="lower center", ncols=2, fontsize=9)
lesson.save(figure, "tiles", alt="Time against tile size: the whole matrix takes longest; tinyconv is a line below.")

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
