# %% [markdown]
# # Step 8: a GPU, one thread per output
#
# 25 minutes | needs: steps 4 and 7 | next: step9_shared.py
#
# A core does one thing fast; a GPU does thousands at once, each slowly. An H200 has 132 *multiprocessors* with room for
# 2048 *threads* each. While some wait for memory, others compute: that is how it hides the waiting that a core's caches
# avoid. A *kernel* is a function that every thread runs. Threads come in *blocks*: a block stays on one multiprocessor,
# and its threads can work together (step 9). The blocks of a launch are its *grid*: they run in any order, so none may
# wait for another. In a block, 32 threads at a time form a *warp*, which does one instruction for all 32 at once.
# %%
import ctypes
import os
from timeit import repeat

import matplotlib.pyplot as plt
import numba
import numpy as np
from matplotlib.colors import ListedColormap
from numba import float32, uint32

import tinyconv
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## With a GPU or without
# Without one, Numba's simulator runs a kernel as Python: slowly, but you can print in it and step through it. It must
# be chosen before `numba.cuda` is imported. `NUMBA_ENABLE_CUDASIM=1 python step8_cuda.py` chooses it on a GPU as well.
# %%
try:
    no_gpu = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1").cuInit(0) != 0
except OSError:  # no driver
    no_gpu = True
os.environ.setdefault("NUMBA_ENABLE_CUDASIM", str(int(no_gpu)))
numba.config.reload_config()

from tinyconv_kernels.cuda._cuda import SIMULATED, cuda  # numba's cuda

print(f"This runs on: {tinyconv.cuda.device_name()}\n")


# %% [markdown]
# ## The kernel
# C = A B, one thread for each element of C. `cuda.grid(2)` is the thread's place (x, y) in the grid: `blockIdx` of its
# block, times the block's size `blockDim`, plus its place in the block, `threadIdx`. A warp's neighbours are neighbours
# in x. So x is the column: a warp then reads neighbours of B, which memory delivers together.
#
# Why `uint32`? Numba allows A[-1], so it tests every index that may be negative (and it compares a uint64 with an int64
# as float64s, so sizes are uint32 too). Why not `range`? It must be ready for steps of any sign. Compiled for a GPU of
# compute capability 9.0, a turn of this loop takes 5 instructions, two of them the reads; with `for k in range(depth)`
# 17, and 22 if the indices are signed as well.
# %%
@cuda.jit
def product(A, B, C):
    x, y = cuda.grid(2)
    column, row, depth = uint32(x), uint32(y), uint32(A.shape[1])
    if row < C.shape[0] and column < C.shape[1]:  # the grid may be larger than C
        total, k = float32(0), uint32(0)
        while k < depth:
            total += A[row, k] * B[k, column]
            k += uint32(1)
        C[row, column] = total


# %% [markdown]
# ## Convolution
# As in step 4: A has a filter in each row, B a patch in each column, and C is the layer's output. Blocks of 8 x 4
# threads, one warp; so many of them that C is covered, rounded up. What if you round down?
# %%
filters, (H, W), block = 16, (5, 6), (8, 4)
image = lesson.rng.normal(size=(1, 1, H, W)).astype(np.float32)
weight = lesson.rng.normal(size=(filters, 1, 3, 3)).astype(np.float32)
patches = np.lib.stride_tricks.sliding_window_view(image[0, 0], (3, 3)).reshape(-1, 9)
A, B = weight.reshape(filters, 9), np.ascontiguousarray(patches.T)
(M, K), N = A.shape, B.shape[1]


def multiply(grid):
    C = cuda.to_device(np.full((M, N), np.nan, np.float32))  # outputs that nobody writes will be seen
    product[grid, block](cuda.to_device(A), cuda.to_device(B), C)
    return C.copy_to_host()


grid = -(-N // block[0]), -(-M // block[1])  # rounded up
C, short = multiply(grid), multiply((N // block[0], M // block[1]))
print(f"C = A B, {M} x {K} times {K} x {N}; grid of {grid[0]} x {grid[1]} blocks of {block[0]} x {block[1]}: ", end="")
print(f"{np.prod(grid) * 32} threads for {C.size} outputs")
print(f"rounded down, the grid leaves {np.isnan(short).sum()} outputs unwritten")
layer = F.conv2d(tinyconv.tensor(image), tinyconv.tensor(weight)).numpy().reshape(M, N)
print(f"largest difference from NumPy's product: {abs(C - A.astype(float) @ B).max():.0e}, ", end="")
print(f"from the engine's conv2d on the CPU: {abs(C - layer).max():.0e}\n")


# %% [markdown]
# ## Who reads what?
# The same kernel, and for each read a note: which thread, which element. (No two threads note at the same place. If
# they must, `cuda.atomic.add` keeps them from overwriting each other.)
# %%
@cuda.jit
def noted(A, B, seen_a, seen_b):
    x, y = cuda.grid(2)
    column, row, depth = uint32(x), uint32(y), uint32(A.shape[1])
    if row < A.shape[0] and column < B.shape[1]:
        k = uint32(0)
        while k < depth:
            seen_a[row, column, row, k] += 1
            seen_b[row, column, k, column] += 1
            k += uint32(1)


seen = [cuda.to_device(np.zeros((M, N, *matrix.shape), np.int32)) for matrix in (A, B)]
noted[grid, block](cuda.to_device(A), cuda.to_device(B), *seen)
seen_a, seen_b = (array.copy_to_host() for array in seen)
reads_a, reads_b = seen_a.sum((0, 1)), seen_b.sum((0, 1))
assert (reads_a == N).all() and (reads_b == M).all()
print(f"each of A is read {N} times, each of B {M} times: ", end="")
print(f"{reads_a.sum() + reads_b.sum()} reads for {M * N * K} multiply-adds")

figure, axes = plt.subplots(2, 2, figsize=(7, 7.5), width_ratios=(K, N), height_ratios=(K, M), layout="constrained")
who = np.zeros((M, N), int)
who[4:8, :8], who[5, 3] = 1, 2
for ax, title, colors, reads in (
    (axes[1, 0], "A", seen_a[who > 0].any(0) + seen_a[5, 3], reads_a),
    (axes[0, 1], "B", seen_b[who > 0].any(0) + seen_b[5, 3], reads_b),
    (axes[1, 1], "C: each square a thread, each box a warp", who, np.empty((0, 0))),
):
    ax.pcolormesh(colors, cmap=ListedColormap(["white", "#9ecae1", "#fd8d3c"]), edgecolor="gray")
    ax.set(title=title, aspect="equal", xticks=[], yticks=[], ylim=(len(colors), 0))
    for i, j in np.ndindex(reads.shape):
        ax.text(j + 0.5, i + 0.5, reads[i, j], ha="center", va="center", fontsize=8)
axes[1, 1].hlines(range(0, M + 1, 4), 0, N, "k")
axes[1, 1].vlines((0, 8, N), 0, M, "k")
axes[0, 0].text(0, 0.3, "orange: one thread\nblue: its warp\nnumbers: how often\nall threads read it", fontsize=12)
axes[0, 0].axis("off")
lesson.save(figure, "threads", alt="One thread of C reads a row of A and a column of B; its warp 4 rows and 8 columns.")

# %% [markdown]
# ## How fast?
# %%
if SIMULATED:
    print("The simulator's time says nothing about a GPU, so none is printed.")
else:
    n, launch = 2048, product[(2048 // 32, 2048 // 8), (32, 8)]
    a, b, c = (cuda.to_device(np.ones((n, n), np.float32)) for _ in range(3))
    # The first run compiles. A launch returns at once: wait for the GPU.
    took = min(repeat(lambda: (launch(a, b, c), cuda.synchronize()), number=1, repeat=6))
    print(f"{n} x {n} by {n} x {n}: {1e3 * took:.2f} ms, {2 * n**3 / took / 1e12:.2f} TFLOP/s")
lesson.next(why="a block reads each element once and shares it")
