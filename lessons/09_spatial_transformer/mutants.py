"""Planted bugs: mistakes that people make in tasks 9.1 to 9.5. The task's tests must catch every one of them.

A patch is (old, new): text that stands exactly once in the task's solution, and what replaces it.
"""


def _mutant(task: str, title: str, old: str, new: str) -> dict:
    return {"task": task, "title": title, "patch": (old, new)}


MUTANTS = [
    # 9.1 affine_grid
    _mutant("9.1", "the other convention of the corners", "if align_corners and", "if not align_corners and"),
    _mutant("9.1", "always from centre to centre", "if align_corners and count > 1 else edges",
            "if count > 1 else edges"),
    _mutant("9.1", "one pixel looks from the left end", "align_corners and count > 1", "align_corners"),
    _mutant("9.1", "from the pixels' left edges", "(2 * np.arange(count) + 1)", "(2 * np.arange(count))"),
    _mutant("9.1", "y before x", "np.stack([x, y,", "np.stack([y, x,"),
    _mutant("9.1", "y grows upwards", "np.stack([x, y,", "np.stack([x, -y,"),
    _mutant("9.1", "the grid transposed", 'indexing="ij"', 'indexing="xy"'),
    _mutant("9.1", "theta transposed", "theta)\n", "theta[:, [[0, 1, 0], [0, 1, 1]], [[0, 0, 2], [1, 1, 2]]])\n"),
    _mutant("9.1", "the map turned round", "theta)\n", "theta * [1, 1, -1])\n"),
    _mutant("9.1", "the shift before the rest", "np.ones_like(x)], axis=-1)", "np.ones_like(x)], axis=-1)\n"
            "    theta = np.concatenate([theta[:, :, :2], theta[:, :, :2] @ theta[:, :, 2:]], axis=2)"),
    # 9.2 grid_sample_bilinear_forward
    _mutant("9.2", "adds to what was there", "    y[...] = 0\n", ""),
    _mutant("9.2", "the other convention of the corners", "    if align_corners:", "    if not align_corners:"),
    _mutant("9.2", "cuts to whole numbers instead of floor", "int(np.floor(px)), int(np.floor(py))",
            "int(px), int(py)"),
    _mutant("9.2", "the weights exchanged", "((left, 1 - a), (left + 1, a))", "((left, a), (left + 1, 1 - a))"),
    _mutant("9.2", "rows and columns exchanged", "x[n, :, h, w]", "x[n, :, min(w, H - 1), min(h, W - 1)]"),
    _mutant("9.2", "the grid is y first", "px, py = _forward_pixels(grid[n, i, j], (W, H)",
            "py, px = _forward_pixels(grid[n, i, j], (H, W)"),
    _mutant("9.2", "height and width exchanged", "(W, H), align", "(H, W), align"),
    _mutant("9.2", "pixels outside come from the other end", "if 0 <= h < H and 0 <= w < W:", "if h < H and w < W:"),
    _mutant("9.2", "sees only what is fully inside", "elif -1 < px < W and -1 < py < H",
            "elif 0 <= px <= W - 1 and 0 <= py <= H - 1"),
    _mutant("9.2", "sees nothing between -1 and -0.99", "elif -1 < px < W", "elif -0.99 < px < W"),
    _mutant("9.2", "the border goes on outside",
            "                    if 0 <= h < H and 0 <= w < W:\n"
            "                        y[n, :, i, j] += v * u * x[n, :, h, w]",
            "                    y[n, :, i, j] += v * u * x[n, :, np.clip(h, 0, H - 1), np.clip(w, 0, W - 1)]"),
    _mutant("9.2", "NaN sees nothing", "y[n, :, i, j] = np.nan", "y[n, :, i, j] = 0"),
    _mutant("9.2", "NaN in the first channel only", "y[n, :, i, j] = np.nan", "y[n, 0, i, j] = np.nan"),
    _mutant("9.2", "NaN across only", "if np.isnan(px) or np.isnan(py)", "if np.isnan(px)"),
    _mutant("9.2", "every image by the first grid", "_forward_pixels(grid[n, i, j]", "_forward_pixels(grid[0, i, j]"),
    _mutant("9.2", "reads pixels that are not there, with weight 0", "if 0 <= h < H and 0 <= w < W:\n"
            "                        y[n, :, i, j] += v * u * x[n, :, h, w]",
            "if True:\n                        inside = 0 <= h < H and 0 <= w < W\n"
            "                        y[n, :, i, j] += inside * v * u * x[n, :, h % H, w % W]"),
    # 9.3 grid_sample_bilinear_backward_grid
    _mutant("9.3", "keeps what was there", "    dgrid[...] = 0\n", ""),
    _mutant("9.3", "per pixel instead of per coordinate", "seen * v * du * worth[0]", "seen * v * du"),
    _mutant("9.3", "the worth of the other axis", "seen * dv * u * worth[1]", "seen * dv * u * worth[0]"),
    _mutant("9.3", "the worth of the other convention", "if align_corners else (W / 2, H / 2)",
            "if align_corners else ((W - 1) / 2, (H - 1) / 2)"),
    _mutant("9.3", "x and y exchanged", "dgrid[n, i, j, 0] += seen * v * du * worth[0]\n"
            "                        dgrid[n, i, j, 1] += seen * dv * u * worth[1]",
            "dgrid[n, i, j, 1] += seen * v * du * worth[0]\n"
            "                        dgrid[n, i, j, 0] += seen * dv * u * worth[1]"),
    _mutant("9.3", "the sign turned round", "((left, 1 - a, -1), (left + 1, a, 1))",
            "((left, 1 - a, 1), (left + 1, a, -1))"),
    _mutant("9.3", "the derivative to the left at whole positions", "int(np.floor(px)), int(np.floor(py))",
            "int(np.ceil(px)) - 1, int(np.ceil(py)) - 1"),
    _mutant("9.3", "the paper's formula at whole positions", "((left, 1 - a, -1), (left + 1, a, 1))",
            "((left, 1 - a, -1 if a else 1), (left + 1, a, 1 if a else 0))"),
    _mutant("9.3", "no gradient half outside", "elif -1 <= px < W and -1 <= py < H",
            "elif 0 <= px < W - 1 and 0 <= py < H - 1"),
    _mutant("9.3", "none at one pixel before the image", "elif -1 <= px < W and -1 <= py",
            "elif -1 < px < W and -1 < py"),
    _mutant("9.3", "the border goes on outside", "if 0 <= h < H and 0 <= w < W:\n"
            "                        seen = (dy[n, :, i, j] * x[n, :, h, w]).sum()",
            "if True:\n                        near = x[n, :, min(max(h, 0), H - 1), min(max(w, 0), W - 1)]\n"
            "                        seen = (dy[n, :, i, j] * near).sum()"),
    _mutant("9.3", "the first channel only", "(dy[n, :, i, j] * x[n, :, h, w]).sum()",
            "dy[n, 0, i, j] * x[n, 0, h, w]"),
    _mutant("9.3", "the mean over channels", "(dy[n, :, i, j] * x[n, :, h, w]).sum()",
            "(dy[n, :, i, j] * x[n, :, h, w]).sum() / max(x.shape[1], 1)"),
    _mutant("9.3", "forgets the gradient that comes in", "(dy[n, :, i, j] * x[n, :, h, w]).sum()",
            "x[n, :, h, w].sum()"),
    _mutant("9.3", "the other axis's weight forgotten", "seen * v * du * worth[0]", "seen * du * worth[0]"),
    _mutant("9.3", "NaN in one number gives one NaN", "dgrid[n, i, j] = np.nan",
            "dgrid[n, i, j] = np.where(np.isnan([px, py]), np.nan, 0)"),
    _mutant("9.3", "NaN has no gradient", "dgrid[n, i, j] = np.nan", "dgrid[n, i, j] = 0"),
    # 9.4 grid_sample_bilinear_backward_input
    _mutant("9.4", "keeps what was there", "    dx[...] = 0\n", ""),
    _mutant("9.4", "the last output overwrites", "dx[n, :, h, w] += v", "dx[n, :, h, w] = v"),
    _mutant("9.4", "the weights exchanged", "((left, 1 - a), (left + 1, a))", "((left, a), (left + 1, 1 - a))"),
    _mutant("9.4", "rows and columns exchanged", "dx[n, :, h, w] +=", "dx[n, :, min(w, H - 1), min(h, W - 1)] +="),
    _mutant("9.4", "to the nearest pixel only", "a, b = px - left, py - top",
            "a, b = px - left, py - top\n            a, b = np.rint(a), np.rint(b)"),
    _mutant("9.4", "cuts to whole numbers instead of floor", "int(np.floor(px)), int(np.floor(py))",
            "int(px), int(py)"),
    _mutant("9.4", "pixels outside are at the other end", "if 0 <= h < H and 0 <= w < W:", "if h < H and w < W:"),
    _mutant("9.4", "the other convention of the corners", "if align_corners else", "if not align_corners else"),
    _mutant("9.4", "times the worth of a coordinate, as the grid's", "v * u * dy", "v * u * scale[0] * dy"),
    _mutant("9.4", "all channels get the first one's", "dy[n, :, i, j]", "dy[n, 0, i, j]"),
    _mutant("9.4", "shared among the outputs", "v * u * dy[n, :, i, j]",
            "v * u * dy[n, :, i, j] / grid[n, ..., 0].size"),
    # 9.5 reflect
    _mutant("9.5", "the mirrors of the other convention", "if align_corners else", "if not align_corners else"),
    _mutant("9.5", "reflects once", "% (2 * max(span, 1.0))", "+ 0"),
    _mutant("9.5", "comes round instead of back", "np.where(back, 2 * span - way, way)",
            "np.where(back, way - span, way)"),
    _mutant("9.5", "after one distance at the same place", "% (2 * max(span, 1.0))", "% max(span, 1.0)"),
    _mutant("9.5", "the slope is 1 on the way back, too", "np.where(back, -1.0, 1.0)", "np.where(back, 1.0, 1.0)"),
    _mutant("9.5", "the ends have a slope", "(at <= 0) | (at >= size - 1)", "(at < 0) | (at > size - 1)"),
    _mutant("9.5", "only the left end rests", "(at <= 0) | (at >= size - 1)", "at <= 0"),
    _mutant("9.5", "stays beyond the centres", "    at = np.clip(at, 0, size - 1)\n", ""),
    _mutant("9.5", "the remainder has the sign of the position",
            "(np.where(finite, position, 0.0) - low) % (2 * max(span, 1.0))",
            "np.fmod(np.where(finite, position, 0.0) - low, 2 * max(span, 1.0))"),
    _mutant("9.5", "divides by a distance of 0", "2 * max(span, 1.0)", "2 * span"),
    _mutant("9.5", "infinitely far is the first pixel", "np.where(finite, at, np.nan)",
            "np.where(np.isnan(position), np.nan, at)"),
    _mutant("9.5", "nowhere has a slope", "np.where(finite, slope, np.nan)", "slope"),
    _mutant("9.5", "mirrors where the image begins in memory", "(-0.5, float(size))", "(0.0, float(size))"),
]  # fmt: skip
