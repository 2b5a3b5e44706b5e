# %% [markdown]
# # Spatial transformers 5: the sampler as a kernel
#
# minutes 25 | needs step3_gradient.py | next step6_distorted_digits.py
#
# The sampler reads four numbers and writes one: most of its work is finding out what to read. Below, three ways.

# %%
import ctypes
import os
from timeit import repeat

import matplotlib.pyplot as plt
import numba
import numpy as np
from numba import njit
from sampling09 import square

import tinyconv
from tinyconv_kernels import cpu

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Three ways
#
# All channels of an image look at the same places. So the place, floor, and the four weights are worked out once per
# position, and the loop over channels is inside. NumPy writes them down as a table of offsets and weights, four of each
# per position, and then reads `image[:, offsets]`: four copies of all outputs. Loops need no copies. The library's
# kernel has a table, too, of one pixel and two distances per position, worked out in vectors; with many channels it
# turns the image first, so that a pixel's channels lie side by side and are read together.


# %%
@njit(nogil=True)
def loops(x, grid, y):
    """Write what each grid (OH, OW, 2) of a batch sees in its image (C, H, W)."""
    C, H, W = x.shape[1:]
    one = x.dtype.type(1)
    for n, i, j in np.ndindex(grid.shape[:3]):
        px, py = (grid[n, i, j, 0] + one) * (W - 1) / 2, (grid[n, i, j, 1] + one) * (H - 1) / 2
        left, top = int(np.floor(px)), int(np.floor(py))
        a, b = x.dtype.type(px - left), x.dtype.type(py - top)
        y[n, :, i, j] = 0
        for h, v in ((top, one - b), (top + 1, b)):
            for w, u in ((left, one - a), (left + 1, a)):
                if 0 <= h < H and 0 <= w < W:
                    for c in range(C):
                        y[n, c, i, j] += v * u * x[n, c, h, w]


def table(grid, size):
    """Return offsets and weights (4, OH OW) of the pixels around each position of a grid; weight 0 outside."""
    H, W = size
    px, py = (grid.reshape(-1, 2).T + 1) * (np.array([[W], [H]], grid.dtype) - 1) / 2
    w, h = (np.floor(p).astype(int) for p in (px, py))
    a, b = (px - w).astype(grid.dtype), (py - h).astype(grid.dtype)
    rows, columns = np.stack([h, h, h + 1, h + 1]), np.stack([w, w + 1, w, w + 1])
    weights = np.stack([(1 - b) * (1 - a), (1 - b) * a, b * (1 - a), b * a])
    there = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    return np.where(there, rows * W + columns, 0), np.where(there, weights, 0)


def by_tables(x, grid, y):
    for image, positions, out in zip(x, grid, y, strict=True):
        offsets, weights = table(positions, image.shape[1:])
        out[...] = (weights * image.reshape(len(image), -1)[:, offsets]).sum(axis=1).reshape(out.shape)


def the_kernel(x, grid, y):
    cpu.sampler.grid_sample_bilinear_forward(x, grid, y, 0, True)


offsets, weights = table(np.array([[[-0.5, 0.0]]]), (2, 2))
print(f"the table of px = 0.25, py = 0.5 in 2 x 2 pixels: offsets {offsets.ravel()}, weights {weights.ravel()}")
SHAPES = {"a batch of digits": (64, 1, 42, 42), "feature maps": (16, 64, 28, 28)}
shapes = {name: (2, shape[1], 8, 8) for name, shape in SHAPES.items()} if lesson.smoke else SHAPES
before, turned = tinyconv.get_num_threads(), np.array([[0.8, -0.6], [0.6, 0.8]])  # by 37 degrees
tinyconv.set_num_threads(1)
for name, shape in shapes.items():
    x = lesson.rng.standard_normal(shape).astype(np.float32)
    grid = np.stack([(1.1 * square(shape[2]) @ turned.T).astype(np.float32)] * shape[0])
    found, said = [], []
    for way, title in ((loops, "loops"), (by_tables, "NumPy"), (the_kernel, "the kernel")):
        found.append(y := np.empty_like(x))
        way(x, grid, y)  # the first run compiles
        seconds = np.median(repeat(lambda way=way, x=x, grid=grid, y=y: way(x, grid, y), number=1, repeat=9))
        said.append(f"{title} {1000 * seconds:.2f} ms")
    assert all(np.allclose(found[0], y, atol=1e-4) for y in found)
    print(f"{name} {shape}, one thread: {', '.join(said)}")
tinyconv.set_num_threads(before)

# %% [markdown]
# ## Backward: who reads a pixel?
#
# Forward each output has one owner, whatever the grid. Backward, to the image, an output's gradient goes to four
# pixels, and a pixel gets some from every output that has read it: with a scale of 1/4 some sixty, with a scale of 0
# all. On the CPU one thread owns whole channels and adds one output after the other. On a GPU one thread per output
# would need atomic additions, which happen in any order, and floats added in another order have other last bits: two
# runs of one training would differ. So a thread owns a *pixel* and goes through the positions in order: it gathers.
# (The library's passes over whole runs of 16 positions that look elsewhere.)

# %%
gains = lesson.rng.standard_normal(784).astype(np.float32)  # what 784 outputs that look at one pixel give back
orders = [np.cumsum(lesson.rng.permutation(gains))[-1] for _ in range(200)]
print(f"\n784 float32 numbers added one by one in 200 orders: {len(set(orders))} different sums")
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for axis, scale in zip(axes, (1, 0.5, 0.25), strict=True):
    offsets, weights = table(scale * square(28) @ turned.T, (28, 28))
    readers = np.bincount(offsets[weights > 0], minlength=784).reshape(28, 28)
    figure.colorbar(axis.imshow(readers, cmap="viridis"), ax=axis, shrink=0.7)
    axis.set_title(f"turned, scale {scale}", fontsize=9)
    axis.axis("off")
    print(f"  turned, scale {scale:<4}: of 784 outputs {readers.min()} to {readers.max()} read a pixel")
alt = "outputs that read each pixel: three to five but for the corners; at scale 1/4 dozens in the middle, none outside"
lesson.save(figure, "readers", alt=alt)


# %%
if __name__ == "__main__":
    try:  # without a GPU, Numba's simulator runs kernels as Python; it must be chosen before numba.cuda is imported
        no_gpu = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1").cuInit(0) != 0
    except OSError:
        no_gpu = True
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", str(int(no_gpu)))
    numba.config.reload_config()
    from tinyconv_kernels.cuda._cuda import cuda  # numba's cuda

    @cuda.jit
    def gather(dy, grid, dx):
        """One thread for each pixel of one channel: add, in order, what the outputs that read it give back."""
        w, h = cuda.grid(2)
        H, W = dx.shape
        if h < H and w < W:
            total = dy[0, 0] - dy[0, 0]
            for i in range(dy.shape[0]):
                for j in range(dy.shape[1]):
                    across = abs((grid[i, j, 0] + 1) / 2 * (W - 1) - w)
                    down = abs((grid[i, j, 1] + 1) / 2 * (H - 1) - h)
                    if across < 1 and down < 1:
                        total += (1 - across) * (1 - down) * dy[i, j]
            dx[h, w] = total

    grid, dy = 0.7 * square(6) + 0.2, lesson.rng.standard_normal((6, 6))
    dx, wanted = cuda.to_device(np.empty((5, 7))), np.empty((1, 1, 5, 7))
    gather[(1, 2), (8, 4)](cuda.to_device(dy), cuda.to_device(grid), dx)
    cpu.sampler.grid_sample_bilinear_backward_input(dy[None, None], grid[None], wanted, 0, True)
    difference = np.abs(dx.copy_to_host() - wanted).max()
    print(f"gathered on {tinyconv.cuda.device_name()}, largest difference from the CPU's: {difference:.0e}")
lesson.next(why="digits to be set upright")
