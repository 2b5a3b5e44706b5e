# %% [markdown]
# # Step 7: a ladder under two roofs
#
# 30 minutes | needs: steps 4 and 5 | next: step8_cuda.py
#
# How fast can a convolution be? The core does so many operations a second, and memory delivers so many bytes. What does
# I operations with each byte (its *intensity*) does no more a second than the core can, and no more than I times what
# memory delivers: over I, a flat roof and a sloping one (Williams et al. 2009). Here are seven ways of one layer.
# %%
from timeit import repeat

import matplotlib.pyplot as plt
import numba
import numpy as np

import tinyconv
from tinyconv_kernels.cpu._micro import ROWS, VECTOR_BYTES, VECTORS, outer_tile

lesson = tinyconv.lesson_step(__name__)
C, K, size, crop = (16, 16, 16, 2) if lesson.smoke else (64, 64, 56, 8)
x = lesson.rng.normal(size=(C, size + 2, size + 2)).astype(np.float32)
matrix = lesson.rng.normal(size=(K, C * 9)).astype(np.float32)
weight, y = matrix.reshape(K, C, 3, 3), np.empty((K, size, size), np.float32)


# %% [markdown]
# ## Rungs 1 to 5: what steps 4 and 5 built
# Loops in Python, and compiled; im2col with a plain product (compiled, sums side by side) and with BLAS's; tiles.
# %%
def loops(x, weight, y):
    for k, oh, ow in np.ndindex(y.shape):
        total = 0.0
        for c in range(weight.shape[1]):
            for i in range(3):
                for j in range(3):
                    total += weight[k, c, i, j] * x[c, oh + i, ow + j]
        y[k, oh, ow] = total


@numba.njit
def product(a, b, out):
    out[:] = 0
    for k, r in np.ndindex(a.shape):
        for p in range(b.shape[1]):
            out[k, p] += a[k, r] * b[r, p]


def patches(cols, first=0):
    for i, j in np.ndindex(3, 3):
        cols[:, i, j] = x[:, first + i : first + i + cols.shape[3], j : j + size]
    return cols.reshape(C * 9, -1)


def tiles(tile):
    for first in range(0, size, 8):
        y[:, first : first + 8] = (matrix @ patches(tile, first)).reshape(K, 8, size)


# %% [markdown]
# ## Rung 6: registers are the innermost cache
# A core multiplies vectors (16 float32 with AVX-512) that lie in registers; all else must be fetched first. The
# engine's inner loop, `outer_tile`, keeps the sums of 8 places by 48 filters in 24 of 32 registers. For each tap it
# fetches 8 pixels and 3 vectors of filters, for 24 multiply-adds. Why not vectors of pixels? Filters can be packed,
# each vector aligned to a cache line; pixels not: the next tap sees them one further (vectors off the lines cost us
# nothing in the first-level cache, up to a fifth beyond), and with stride 2 they are not even neighbours.
#
# Alone, on data in the first-level cache, it is the flat roof. With depth 1, the sums leave the registers at each tap.
# %%
width = VECTORS * VECTOR_BYTES // 4
values, sums = lesson.rng.normal(size=128 * width).astype(np.float32), np.empty(ROWS * width, np.float32)
places, taps, u64 = np.arange(0, 128 * ROWS, 128).astype("u8"), np.arange(128).astype("u8"), numba.uint64


@numba.njit
def core(values, sums, depth):
    for d in range(0, 200 * 128, depth):
        at = d % 128
        outer_tile(values, places, u64(0), taps, u64(at), values, u64(at * width), u64(width),
                   sums, u64(0), u64(width), u64(depth), u64(VECTORS), at > 0)  # fmt: skip


# %% [markdown]
# ## Rung 7: fewer multiplications
# Polynomials can be multiplied by their values: evaluate both at enough points, multiply there, interpolate. Winograd
# (1980) did so with convolutions. Two neighbouring sums of three products, 6 multiplications, become 4, at the points
# 0, 1, -1 and infinity. In two dimensions the savings multiply: 16 for 36. With 6 points, the engine has 36 for 144.
# %%
B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # pixels to values: additions only
G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2  # filter to values: once for the whole image
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])  # products to outputs: once, after the sum over channels
products = (G @ weight[0, 0, 0]) * (B @ x[0, 0, :4])
print(f"F(2,3): {np.correlate(x[0, 0, :4], weight[0, 0, 0])} by 6 products, {A @ products} by {len(products)}\n")

# %% [markdown]
# ## The race
# Bytes are estimated: x, weights and y once each; the matrix of patches, too large for the core's own cache (1 MB, we
# say), for each pass over it. Python computes a crop, scaled up. Winograd's GFLOP/s are *effective*: the operations
# that the others need, by its time. Error: the largest, by the largest output, against float64.
#
# How to read the figure: loops (1, 2) lie far under the roofs, each addition waits for the one before. Vectors (3) meet
# the slope, as each filter fetches all patches again (above it if a cache shared by the cores has them). BLAS (4) uses
# a fetched patch for many filters, but copies first and then multiplies. Tiles (5) stay in the cache: to the right. No
# patch is copied (6): towards the roof. Winograd (7) breaks it with a quarter of the products, and a larger error.
# %%
conv2d, options = tinyconv.device.kernels_for(x).conv.conv2d_forward, ((1, 1), (0, 0), (1, 1), 1, None, None)
cols, tile = (np.empty((C, 3, 3, rows, size), np.float32) for rows in (size, 8))
compiled, flat, big = numba.njit(loops), y.reshape(K, -1), np.ones((2, 1 << (20 if lesson.smoke else 26)), np.float32)
exact = (matrix.astype(float) @ patches(cols).astype(float)).reshape(y.shape)
flop, least, best, errors = 2 * y.size * C * 9, x.nbytes + weight.nbytes + y.nbytes, {}, {}
engine = (lambda: conv2d(x[None], weight, None, y[None], *options), flop, least)
ways = {  # name: (function, operations, bytes from and to memory)
    "1 Python loops": (lambda: loops(x, weight[:8], y[:8, :crop, :crop]), flop, least),
    "2 Numba loops": (lambda: compiled(x, weight, y), flop, least),
    "3 im2col, plain product": (lambda: product(matrix, patches(cols), flat), flop, least + (1 + K) * cols.nbytes),
    "4 im2col, BLAS": (lambda: np.matmul(matrix, patches(cols), flat), flop, least + 2 * cols.nbytes),
    "5 tiles, BLAS": (lambda: tiles(tile), flop, least),
    "6 micro-kernel": engine,
    "7 Winograd": engine,
    "core": (lambda: core(values, sums, 128), 200 * 256 * ROWS * width, 1),
    "core, depth 1": (lambda: core(values, sums, 1), 200 * 256 * ROWS * width, 1),
    "memory": (lambda: np.copyto(*big), 2 * big[0].nbytes, 1),  # bytes for operations
}
before = tinyconv.get_num_threads()
tinyconv.set_num_threads(1)
for _ in range(1 if lesson.smoke else 8):  # in rounds: another program may slow us down for a second
    for name, (run, *_) in ways.items():
        y.fill(np.inf)
        with tinyconv.use_winograd(name == "7 Winograd"):
            run()  # the first time, this compiles
            best[name] = min(best.get(name, np.inf), *repeat(run, number=1, repeat=2 if name[0] in "12" else 10))
        errors[name] = abs(y - exact).max(where=np.isfinite(y), initial=0) / abs(exact).max()
tinyconv.set_num_threads(before)
best["1 Python loops"] *= y.size / (8 * crop**2)
speed = {name: operations / best[name] / 1e9 for name, (_, operations, _) in ways.items()}
top, slope = speed["core"], speed["memory"]
print(f"core: {top:.0f} GFLOP/s ({speed['core, depth 1']:.1f} with depth 1); memory: {slope:.1f} GB/s\n")
figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
axes.loglog(roof := np.geomspace(0.1, 3e3), np.minimum(top, slope * roof), "k")
axes.text(0.1, 0.4 * top, f"flat roof: the core, {top:.0f} GFLOP/s\nslope: memory, {slope:.0f} GB/s")
print(f"{'':24}{'MB':>7}{'FLOP/byte':>11}{'ms':>9}{'GFLOP/s':>9}{'of roof':>9}{'error':>8}")
for name, (_, operations, memory) in list(ways.items())[:7]:
    I, rate = operations / memory, speed[name]
    print(f"{name:24}{memory / 1e6:>7.1f}{I:>11.1f}{1e3 * best[name]:>9.2f}{rate:>9.3g}", end="")
    print(f"{rate / min(top, slope * I):>9.1%}{errors[name]:>8.0e}")
    offset = {"3": (8, -12), "4": (-48, -18), "5": (8, -15), "6": (8, -5)}.get(name[0], (8, 0))
    axes.plot(I, rate, "o")
    axes.annotate(f"{name}: {rate:.3g}", (I, rate), offset, textcoords="offset points")
axes.set(title="Seven ways of a 3 x 3 convolution, one core", xlabel="FLOP per byte of memory", ylabel="GFLOP/s")
lesson.save(figure, "ladder", alt="Loops far below the roofs, plain im2col at the slope, Winograd above the flat roof.")
lesson.next(why="the same product by thousands of threads")
