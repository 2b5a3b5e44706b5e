# %% [markdown]
# # Step 9: tiles in shared memory
#
# 25 minutes | needs: step 8 | next: step10_registers.py
#
# With one thread per output, every element of A was read N times, and every element of B M times, all from the GPU's
# large and slow *global* memory. But each multiprocessor has a small and fast memory of its own, which the threads of a
# block *share*. So let a block compute a tile of C, T x T outputs: together its threads fetch a T x T tile of A and one
# of B, each thread one element of each; then all of them multiply out of shared memory; then come the next two tiles.
# %%
import ctypes
import os
from timeit import repeat

import matplotlib.pyplot as plt
import numba
import numpy as np
from numba import float32, uint32

import tinyconv

lesson = tinyconv.lesson_step(__name__)
try:
    no_gpu = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1").cuInit(0) != 0
except OSError:  # no driver
    no_gpu = True
os.environ.setdefault("NUMBA_ENABLE_CUDASIM", str(int(no_gpu)))  # as in step 8: before numba.cuda is imported
numba.config.reload_config()

from tinyconv_kernels.cuda._cuda import SIMULATED, cuda

print(f"This runs on: {tinyconv.cuda.device_name()}\n")


# %% [markdown]
# ## The kernel
# `cuda.syncthreads()` is a *barrier*: no thread of the block goes on before all have come to it. Two are needed:
# 1. nobody may multiply before everybody has fetched: each needs what the others fetch;
# 2. nobody may fetch the next tiles before everybody has multiplied: it would overwrite what others still need.
#
# All must come, so no thread may return early: those outside of C fetch zeros, which also fill up the last tiles of A
# and B. T and the two switches are constants when the kernel is compiled: what is switched off is not there.
# `seen` notes who fetched what, each thread at places of its own; it is empty if nothing shall be noted.
# %%
def make(T, first=True, second=True, note=True):
    t = uint32(T)

    @cuda.jit
    def product(A, B, C, seen_a, seen_b):
        tile_a = cuda.shared.array((T, T), float32)
        tile_b = cuda.shared.array((T, T), float32)
        x, y = uint32(cuda.threadIdx.x), uint32(cuda.threadIdx.y)
        block_x, block_y = uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.y)
        row, column = block_y * t + y, block_x * t + x
        M, N, K = uint32(A.shape[0]), uint32(B.shape[1]), uint32(A.shape[1])
        total, start = float32(0), uint32(0)
        while start < K:
            tile_a[y, x] = tile_b[y, x] = float32(0)
            if row < M and start + x < K:
                tile_a[y, x] = A[row, start + x]
                if note:
                    seen_a[block_y, block_x, y * t + x, row, start + x] += 1
            if start + y < K and column < N:
                tile_b[y, x] = B[start + y, column]
                if note:
                    seen_b[block_y, block_x, y * t + x, start + y, column] += 1
            if first:
                cuda.syncthreads()
            for k in range(t):
                total += tile_a[y, k] * tile_b[k, x]
            if second:
                cuda.syncthreads()
            start += t
        if row < M and column < N:
            C[row, column] = total

    return product


# %% [markdown]
# ## How many reads of global memory are left?
# Counted, not worked out. In the figure, a block's 16 threads fetch tiles of 4 x 4, those of one colour at a time.
# %%
M, N, K = 16, 12, 9
A = lesson.rng.normal(size=(M, K)).astype(np.float32)
B = lesson.rng.normal(size=(K, N)).astype(np.float32)


def run(T, **switches):
    """Return the errors of C, and who fetched which element: (block's y and x, thread, row, column)."""
    grid = -(-N // T), -(-M // T)
    C = cuda.to_device(np.full((M, N), np.nan, np.float32))
    seen_a, seen_b = (cuda.to_device(np.zeros((*grid[::-1], T * T, *m.shape), np.int32)) for m in (A, B))
    make(T, **switches)[grid, (T, T)](cuda.to_device(A), cuda.to_device(B), C, seen_a, seen_b)
    return abs(C.copy_to_host() - A.astype(float) @ B), seen_a.copy_to_host(), seen_b.copy_to_host()


sizes = (4, 8) if lesson.smoke else (2, 4, 8)
results, reads = {T: run(T) for T in sizes}, {"step 8": 2.0}  # which we counted there
print(f"C = A B, {M} x {K} times {K} x {N}: {M * N * K} multiply-adds")
print(f"{'tile':7}{'reads':>8}{'each of A':>11}{'each of B':>11}{'per multiply-add':>18}{'error':>8}")
for T, (error, *seen) in results.items():
    of_a, of_b = (s.sum((0, 1, 2)) for s in seen)
    total = of_a.sum() + of_b.sum()
    reads[f"{T} x {T}"] = share = total / (M * N * K)
    print(f"{T} x {T:<3}{total:>8}{of_a.max():>11}{of_b.max():>11}{share:>18.2f}{error.max():>8.0e}")

own = np.zeros((16, M, N), int)
own[np.arange(16), np.repeat(range(4, 8), 4), np.tile(range(4, 8), 4)] = 1
figure, axes = plt.subplots(2, 2, figsize=(7.5, 8), width_ratios=(K, N), height_ratios=(K, M), layout="constrained")
for ax, title, seen, turn in (
    (axes[1, 0], "A: which thread fetches what", results[4][1][1, 1], np.arange(K) // 4 + np.zeros((M, 1))),
    (axes[0, 1], "B: which thread fetches what", results[4][2][1, 1], np.arange(K)[:, None] // 4 + np.zeros(N)),
    (axes[1, 1], "C: the block's threads and their outputs", own, np.full((M, N), 4)),
):
    ax.pcolormesh(np.where(seen.any(0), turn, np.nan), cmap="Pastel1", vmin=0, vmax=9, edgecolor="lightgray")
    ax.set(title=title, aspect="equal", xticks=[], yticks=[], ylim=(len(turn), 0))
    for thread, i, j in np.argwhere(seen):
        ax.text(j + 0.5, i + 0.5, thread, ha="center", va="center", fontsize=8)
axes[0, 0].bar(reads.keys(), reads.values(), color="gray")
axes[0, 0].set(title="global reads per multiply-add", xlabel="tile")
lesson.save(figure, "shared", alt="16 threads fetch tiles of A and B in turn; reads fall as one by the tile's size.")

# %% [markdown]
# ## Leave out a barrier
# No error is raised: threads *race*, and the sum depends on who was first. A race may hide: on a GPU, the threads of a
# warp mostly march together, so 4 x 4 threads can come out right, today and on this GPU. What finds races that do no
# harm yet is NVIDIA's `compute-sanitizer --tool racecheck python program.py`.
# %%
print(f"\nwrong outputs, of {M * N}:")
for T in (4,) if lesson.smoke else (4, 8):
    errors = results[T][0], run(T, first=False)[0], run(T, second=False)[0]
    both, no_first, no_second = (M * N - (error < 1e-5).sum() for error in errors)  # NaN is wrong too
    print(f"tile {T} x {T}: both barriers {both}, without the first {no_first}, without the second {no_second}")

# %%
if SIMULATED:
    print("\nThe simulator's time says nothing about a GPU, so none is printed.")
for T in () if SIMULATED else (8, 16, 32):
    n, launch = 2048, make(T, note=False)[(2048 // T, 2048 // T), (T, T)]
    arrays = [cuda.to_device(np.ones((n, n), np.float32)) for _ in range(3)]
    arrays += [cuda.to_device(np.zeros((1,) * 5, np.int32))] * 2
    took = min(repeat(lambda run=launch, on=arrays: (run(*on), cuda.synchronize()), number=1, repeat=6))
    print(f"{n} x {n} by {n} x {n}, tile {T} x {T}: {1e3 * took:.2f} ms, {2 * n**3 / took / 1e12:.2f} TFLOP/s")
lesson.next(why="each thread computes several outputs")
