# %% [markdown]
# # Step 10: register tiles
#
# 30 minutes | needs: step 9 | next: exercises.py
#
# With tiles, global memory is read seldom, but each multiply-add still needs two reads of shared memory, which is not
# *that* fast. The way out is that of step 7's micro-kernel, one storey higher: registers. Let each thread own R x R
# outputs. It fetches R numbers of A's tile and R of B's into its registers, and multiplies each by each: 2 R reads for
# R x R multiply-adds. The block's tile of C becomes T R x T R, so global memory is read less as well.
# %%
import ctypes
import os
from timeit import repeat

import matplotlib.pyplot as plt
import numba
import numpy as np
from numba import float32, uint32

import tinyconv
from tinyconv.nn import functional as F

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
# Step 9's with R; R = 1 is step 9. A thread's outputs lie T apart, so that neighbours in a warp still read neighbours.
# `cuda.local.array` is memory of one thread; it becomes registers, as the compiler knows every index (T and R are
# constants). Each thread counts its reads and multiply-adds where they happen; at the end all counts are added up.
# %%
def make(T, R, note=True):
    t, r, side = uint32(T), uint32(R), T * R

    @cuda.jit
    def product(A, B, C, counts):
        tile_a = cuda.shared.array((side, T), float32)
        tile_b = cuda.shared.array((T, side), float32)
        total, a, b = cuda.local.array((R, R), float32), cuda.local.array(R, float32), cuda.local.array(R, float32)
        x, y = uint32(cuda.threadIdx.x), uint32(cuda.threadIdx.y)
        row, column = uint32(cuda.blockIdx.y) * uint32(side) + y, uint32(cuda.blockIdx.x) * uint32(side) + x
        M, N, K = uint32(A.shape[0]), uint32(B.shape[1]), uint32(A.shape[1])
        start = of_global = of_shared = macs = uint32(0)
        for i in range(r):
            for j in range(r):
                total[i, j] = float32(0)
        while start < K:
            for i in range(r):
                tile_a[y + i * t, x] = tile_b[y, x + i * t] = float32(0)
                if row + i * t < M and start + x < K:
                    tile_a[y + i * t, x] = A[row + i * t, start + x]
                    of_global += uint32(1)
                if start + y < K and column + i * t < N:
                    tile_b[y, x + i * t] = B[start + y, column + i * t]
                    of_global += uint32(1)
            cuda.syncthreads()
            for k in range(t):
                for i in range(r):
                    a[i], b[i] = tile_a[y + i * t, k], tile_b[k, x + i * t]
                    of_shared += uint32(2)
                for i in range(r):
                    for j in range(r):
                        total[i, j] += a[i] * b[j]
                        macs += uint32(1)
            cuda.syncthreads()
            start += t
        for i in range(r):
            for j in range(r):
                if row + i * t < M and column + j * t < N:
                    C[row + i * t, column + j * t] = total[i, j]
        if note:
            cuda.atomic.add(counts, 0, of_global)  # many threads add to one number: none must be lost
            cuda.atomic.add(counts, 1, of_shared)
            cuda.atomic.add(counts, 2, macs)

    return product


# %% [markdown]
# ## Counted, under step 7's roofs
# A multiply-add is 2 FLOP, a read 4 bytes. The roofs are those of an H200 by its data sheet, not measured: its cores in
# float32, its memory, and its shared memory: 132 multiprocessors each read 32 numbers a clock, at 1.98 GHz. The lower
# of a kernel's two points is what its reads allow at best (unless the GPU's caches answer many of the global ones).
# %%
CORES, MEMORY, SHARED = 67, 4.8, 132 * 32 * 4 * 1.98e-3  # TFLOP/s, TB/s, TB/s
reads = {"step 8": (2, 0)}  # of global and of shared memory for a multiply-add; we counted them there
for R, n in [(1, 16), (2, 16), (4, 32)] if lesson.smoke else [(1, 16), (2, 16), (4, 32), (8, 64)]:
    A, B = (lesson.rng.normal(size=shape).astype(np.float32) for shape in ((n, 8), (8, n)))
    C, counts = cuda.to_device(np.full((n, n), np.nan, np.float32)), cuda.to_device(np.zeros(3, np.uint64))
    make(8, R)[(n // (8 * R),) * 2, (8, 8)](cuda.to_device(A), cuda.to_device(B), C, counts)
    np.testing.assert_allclose(C.copy_to_host(), A.astype(float) @ B, atol=1e-5)
    of_global, of_shared, macs = counts.copy_to_host().tolist()
    reads[f"{R} x {R}"] = of_global / macs, of_shared / macs

print(f"{'outputs':9}{'reads per multiply-add':^24}{'FLOP per byte':^20}{'an H200 allows, TFLOP/s':^26}")
print(f"{'a thread':9}{'global':>12}{'shared':>9}{'global':>12}{'shared':>9}{'at most':>13}")
figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
for rate, color, of in ((MEMORY, "tab:blue", "global memory"), (SHARED, "tab:orange", "shared memory")):
    axes.loglog(x := np.geomspace(0.1, 40, 500), np.minimum(CORES, rate * x), color, label=f"{of}, {rate:.3g} TB/s")
for name, counted in reads.items():
    intensity = [0.5 / count if count else np.inf for count in counted]
    limits = np.minimum(CORES, np.multiply(intensity, (MEMORY, SHARED)))
    print(f"{name:9}{counted[0]:>12.3f}{counted[1]:>9.3f}{intensity[0]:>12.2f}{intensity[1]:>9.2f}{min(limits):>13.1f}")
    for x, y, color in zip(intensity, limits, ("tab:blue", "tab:orange"), strict=True):
        axes.plot(x, y, "o", color=color)
        axes.annotate(name, (x, y), (6, -12), textcoords="offset points", color=color)
axes.set(title="What an H200 allows, from the counts", xlabel="FLOP per byte read", ylabel="TFLOP/s", xlim=(0.1, 40))
axes.legend(loc="lower right")
lesson.save(figure, "registers", alt="Along both slopes, more outputs a thread come nearer to the limit of the cores.")

# %% [markdown]
# ## The engine's convolution
# It is such a product: up to 8 x 8 outputs a thread, four numbers a read, the next tiles fetched while these are
# multiplied, and patches read where they lie, as in step 5 (`cuda/_product.py` in `kernels/tinyconv_kernels`).
#
# What comes next are *tensor cores*, with which a warp multiplies two small matrices in one instruction. They round
# float32 to 10 bits of mantissa (TF32), so the engine uses them only inside `with tinyconv.allow_tf32(True):`.
# %%
C, size = (8, 6) if SIMULATED else (64, 56)
image, weight = (lesson.rng.normal(size=shape) for shape in ((1, C, size, size), (C, C, 3, 3)))


def seconds(run, *arguments):
    """Return the best time of six runs: the first one compiles. A launch returns at once, so wait for the GPU."""
    return min(repeat(lambda: (run(*arguments), cuda.synchronize()), number=1, repeat=6))


outputs = {}
for device in ("cpu", "cuda"):
    x, w = (tinyconv.tensor(array, dtype="float32", device=device) for array in (image, weight))
    outputs[device] = F.conv2d(x, w).to("cpu").numpy()
    time = "not timed in the simulator" if SIMULATED else f"{1e3 * seconds(F.conv2d, x, w):.2f} ms"
    print(f'conv2d, {C} channels, {size} x {size}, on "{device}": {time}; largest output {outputs[device].max():.4f}')
print(f"largest difference {abs(outputs['cpu'] - outputs['cuda']).max():.0e}")
for R in () if SIMULATED else (1, 2, 4, 8):
    n, kernel = 2048, make(16, R, note=False)
    a, b, c = (cuda.to_device(np.ones((n, n), np.float32)) for _ in range(3))
    took = seconds(kernel[(n // (16 * R),) * 2, (16, 16)], a, b, c, counts)
    print(f"{n} x {n} by {n} x {n}, {R} x {R} outputs a thread: {2 * n**3 / took / 1e12:.2f} TFLOP/s")
lesson.next("exercises.py", "build these parts yourself, and train a network on them: pytest lessons/00_engine")
