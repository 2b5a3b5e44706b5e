# %% [markdown]
# # Step 4: convolution, from seven loops to compiled ones
#
# 25 minutes | needs: NumPy slices | next: step5_tiles.py
#
# A convolution layer slides K filters of C x KH x KW weights over an image of C channels and writes, at every place,
# the sum of the products (strictly a correlation, as no filter is flipped; everybody calls it convolution):
#
# y[n, k, oh, ow] = sum over c, i, j of weight[k, c, i, j] x[n, c, oh + i, ow + j]
#
# That is seven loops: n, k, oh, ow, c, i, j. One product and its addition are a MAC (multiply-accumulate), and their
# number is fixed. Here are five ways of doing the same MACs: what differs is who runs the loops, and in which order.
# %%
import time

import matplotlib.pyplot as plt
import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

import tinyconv

lesson = tinyconv.lesson_step(__name__)


# %% 1. As it is written
def seven_loops(x, weight, y):
    N, K, OH, OW = y.shape
    _, C, KH, KW = weight.shape
    for n in range(N):
        for k in range(K):
            for oh in range(OH):
                for ow in range(OW):
                    total = 0.0
                    for c in range(C):
                        for i in range(KH):
                            for j in range(KW):
                                total += weight[k, c, i, j] * x[n, c, oh + i, ow + j]
                    y[n, k, oh, ow] = total


# %% [markdown]
# ## 2. NumPy slices
# For one tap (i, j) of the window, what all outputs read is one slice of the image. Two loops stay in Python; the other
# five happen inside NumPy, as a product (K, C) times (C, OH OW) per tap and image.
# %%
def slices(x, weight, y):
    OH, OW = y.shape[2:]
    y[...] = 0
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            y += np.einsum("kc,nchw->nkhw", weight[:, :, i, j], x[:, :, i : i + OH, j : j + OW], optimize=True)


# %% [markdown]
# ## 3. im2col: a convolution is a matrix product
# Copy the patch that each output reads into a column. Then all sums are one product, (K, C KH KW) by (C KH KW, OH OW),
# and a matrix product is what NumPy's library (BLAS) does best. The price: every pixel is copied KH KW times.
# %%
def im2col(x, weight, y):
    (N, C), (KH, KW), (OH, OW) = x.shape[:2], weight.shape[2:], y.shape[2:]
    cols = np.empty((N, C, KH, KW, OH, OW), x.dtype)
    for i in range(KH):
        for j in range(KW):
            cols[:, :, i, j] = x[:, :, i : i + OH, j : j + OW]
    matrix = weight.reshape(len(weight), C * KH * KW)
    np.matmul(matrix, cols.reshape(N, C * KH * KW, OH * OW), out=y.reshape(N, -1, OH * OW))


# %% [markdown]
# ## 4 and 5. The seven loops, compiled, in two orders
# `njit` turns the very same Python into machine code when it is first called (we time that too). But the innermost
# loops add up one number, and each addition waits for the one before. With the loop over ow innermost (5), OW sums
# grow side by side: the processor adds 8 or 16 at once, and reads x in the order in which it lies in memory.
# %%
compiled = njit(seven_loops)


@njit
def reordered(x, weight, y):
    N, K, OH, OW = y.shape
    _, C, KH, KW = weight.shape
    y[:] = 0
    for n in range(N):
        for k in range(K):
            for oh in range(OH):
                for c in range(C):
                    for i in range(KH):
                        for j in range(KW):
                            for ow in range(OW):
                                y[n, k, oh, ow] += weight[k, c, i, j] * x[n, c, oh + i, ow + j]


# %% [markdown]
# ## The race
# A small layer, which even Python's loops can do, and one of a real network's size. All on one core: BLAS would take
# every core, and we would compare cores, not ways (step 5 uses them all). Error: the largest difference from way 1.
# %%
def layer(N, C, size, K):
    x = lesson.rng.normal(size=(N, C, size, size)).astype(np.float32)
    weight = lesson.rng.normal(size=(K, C, 3, 3)).astype(np.float32)
    return x, weight, np.empty((N, K, size - 2, size - 2), np.float32)


def seconds(function, *arguments):
    """Return the best time of several runs, as many as fit into 0.3 s."""
    times = []
    while sum(times) < (0.05 if lesson.smoke else 0.3):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


small, large = layer(1, 4, 12, 8) if lesson.smoke else layer(2, 8, 24, 16), layer(4, 32, 34, 64)
macs_small, macs_large = (y.size * weight[0].size for x, weight, y in (small, large))
ways = {"1 seven Python loops": seven_loops, "2 NumPy slices": slices, "3 im2col, matmul": im2col}
ways |= {"4 Numba, same loops": compiled, "5 Numba, reordered": reordered}
print(f"small layer: {macs_small / 1e6:.2f} million MACs; large layer: {macs_large / 1e6:.0f} million MACs\n")
print(f"{'':21}{'compile s':>10}{'small ms':>10}{'large ms':>10}{'GMAC/s':>8}{'speed-up':>10}{'error':>9}")
rates, gained = [], []
with threadpool_limits(1):
    for name, function in ways.items():
        start = time.perf_counter()
        function(*layer(1, 1, 4, 1))
        compile_time = time.perf_counter() - start if "Numba" in name else 0
        time_small = seconds(function, *small)
        if rates:
            time_large = seconds(function, *large)
        else:
            expected, time_large = small[2].copy(), time_small * macs_large / macs_small
        rates.append((macs_small / time_small, macs_large / time_large))
        gained.append(rates[-1][1] / rates[0][1])
        row = f"{name:21}{compile_time:>10.1f}{1e3 * time_small:>10.2f}{1e3 * time_large:>10.1f}"
        print(f"{row}{rates[-1][1] / 1e9:>8.3f}{gained[-1]:>10.0f}{abs(small[2] - expected).max():>9.0e}")
print("(way 1 on the large layer: worked out from the small one)\n")
print(f"Compiled, the loops are {gained[3]:.0f} times faster; in another order {gained[4] / gained[3]:.1f} times more.")
print(f"im2col is {gained[2] / gained[4]:.1f} times faster still, though it copies every pixel 9 times first.")

figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
for i, size in enumerate(("small layer", "large layer")):
    axes.barh(np.arange(5) - 0.2 + 0.4 * i, [rate[i] for rate in rates], 0.4, label=size)
axes.set(xscale="log", xlim=(1e5, None), xlabel="MACs per second, one core", title="Five ways to the same convolution")
axes.set_yticks(range(5), ways)
axes.invert_yaxis()
axes.legend()
lesson.save(figure, "ways", alt="Bars: Python's loops reach millions of MACs per second, im2col tens of billions.")
lesson.next(why="what im2col costs, and how to do without its matrix")
