# %% [markdown]
# # AlexNet 7: making the convolution fast
#
# minutes 20 | needs step6_augmentation.py | next step8_assemble.py
#
# conv1 alone is 105 million multiply-adds per image, and the paper's training run took some 2 * 10^17 of them in all.
# The authors wrote CUDA kernels for it; that was half of their contribution. Here is the same layer in four ways,
# measured on this machine: 96 filters of 11x11x3, stride 4, on 227x227 images.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numba
import numpy as np

import tinyconv
from tinyconv.device import kernels_for

lesson = tinyconv.lesson_step(__name__)

N, K, SIDE = (1, 16, 11) if lesson.smoke else (4, 96, 11)
x = lesson.rng.standard_normal((N, 3, 227, 227)).astype(np.float32)
weight = lesson.rng.standard_normal((K, 3, SIDE, SIDE)).astype(np.float32)
y = np.zeros((N, K, 55, 55), np.float32)
FLOPS = 2 * y.size * weight[0].size  # a multiply and an add
measured: dict[str, float] = {}


def measure(name: str, run, flops: int = FLOPS, repeat: int = 3) -> None:
    """Keep the best time of ``repeat`` runs, as billions of operations per second."""
    times = []
    for _ in range(1 if lesson.smoke else repeat):
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    measured[name] = flops / min(times) / 1e9
    whole = FLOPS / N / flops * min(times)
    print(f"{name:28s} {measured[name]:9.4f} GFLOP/s   {1000 * whole:11.2f} ms per image")


# %% [markdown]
# ## 1. The definition, in Python
#
# Seven loops. This is how `kernels/tinyconv_kernels/reference` defines an operation: nothing to misread. We run it
# for one row of one filter and scale up, since the whole layer would take minutes per image.


# %%
def loops(x, weight, y, stride, filters, rows):
    """Fill y for the first ``filters`` and ``rows``."""
    for n in range(x.shape[0]):
        for k in range(filters):
            for oh in range(rows):
                for ow in range(y.shape[3]):
                    total = x.dtype.type(0)
                    for c in range(x.shape[1]):
                        for i in range(weight.shape[2]):
                            for j in range(weight.shape[3]):
                                total += x[n, c, oh * stride + i, ow * stride + j] * weight[k, c, i, j]
                    y[n, k, oh, ow] = total


measure("Python loops", lambda: loops(x[:1], weight, y, 4, 1, 1), flops=2 * 55 * weight[0].size, repeat=1)

# %% [markdown]
# ## 2. NumPy: patches become columns
#
# Write every patch as a column of length 3 * 11 * 11 = 363 (*im2col*). The convolution is then one product of
# matrices, for which NumPy calls a tuned library. The price: each pixel is copied up to nine times, since patches
# overlap.


# %%
def im2col(x: np.ndarray) -> np.ndarray:
    """Return the columns (N, 363, 3025) of all 55 x 55 patches."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (SIDE, SIDE), axis=(2, 3))[:, :, ::4, ::4]
    return windows.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), -1, 55 * 55)


measure("NumPy im2col + matmul", lambda: np.matmul(weight.reshape(K, -1), im2col(x), out=y.reshape(N, K, -1)))
definition = y.copy()
columns = im2col(x)


def off_by() -> None:
    """Print how far y now is from what im2col gave."""
    difference = np.abs(y - definition).max() / np.abs(definition).max()
    print(f"{'':28s} differs from im2col by {difference:.0e} of the largest output")


print(f"{'':28s} image {x[0].nbytes / 1e6:.2f} MB, its columns {columns[0].nbytes / 1e6:.2f} MB")

# %% [markdown]
# ## 3. Numba: the same seven loops, compiled
#
# Not a line changes: `njit` turns the function above into machine code. The first call compiles (once per argument
# type).

# %%
compiled = numba.njit(loops)
start = perf_counter()
compiled(x, weight, y, 4, 1, 1)
print(f"{'compiling':28s} {perf_counter() - start:9.2f} s")
measure("Numba, the same loops", lambda: compiled(x, weight, y, 4, K, 55), repeat=1)
off_by()

# %% [markdown]
# ## 4. Numba, the library's kernel
#
# The compiled loops wait: every multiplication needs two loads, and every addition waits for the one before it. The
# library's kernel (`kernels/tinyconv_kernels/cpu/conv.py`) works on a *tile* of outputs at a time, whose pixels stay in
# the cache, and copies no patches: it reads them where they lie. Its innermost part keeps a block of outputs in
# registers: each loaded number is used several times, several additions run side by side, and all cores work.

# %%
convolve = kernels_for(x).conv.conv2d_forward
geometry = (4, 4), (0, 0), (1, 1), 1
convolve(x, weight, None, y, *geometry, None, None)  # loads the compiled kernel
measure("Numba, tinyconv's kernel", lambda: convolve(x, weight, None, y, *geometry, None, None))
off_by()

# %% [markdown]
# ## And CUDA?
#
# A GPU kernel turns such tiles into blocks of threads: a block copies a tile of pixels and of filters into the memory
# that its threads share, waits until all have copied, and each thread then adds up a few outputs in registers.
# The outer loops disappear into the grid. This version of tinyconv computes on the CPU only; its CUDA kernels come
# with a later version, with the same names and the same signatures as those here.

# %%
fig, axis = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
bars = axis.barh(list(measured)[::-1], list(measured.values())[::-1], log=True, color=["C0", "C2", "C1", "C3"])
axis.bar_label(bars, labels=[f" {rate:.3g}" for rate in list(measured.values())[::-1]])
axis.set(xlabel="billions of operations per second (logarithmic)", xlim=(1e-4, 20 * max(measured.values())))
lesson.save(
    fig, "kernels", alt="from Python loops to the tiled kernel the same layer gets four to five powers of ten faster"
)
fast, slow = measured["Numba, tinyconv's kernel"], measured["Python loops"]
print(f"from the first to the last: {fast / slow:,.0f} times as fast")
lesson.next(why="the whole network")
