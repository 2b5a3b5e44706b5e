"""Planted bugs of task 0.11, the kernel for GPUs; see mutants.py."""

MUTANTS = [
    {
        "task": "0.11",
        "title": "multiplies before all have fetched (no first barrier)",
        "patch": ("        cuda.syncthreads()\n        for k in", "        for k in"),
    },
    {
        "task": "0.11",
        "title": "fetches before all have multiplied (no second barrier)",
        "patch": ("        cuda.syncthreads()\n    if row", "    if row"),
    },
    {
        "task": "0.11",
        "title": "leaves out the last tile if it is cut off",
        "patch": ("range(0, K, TILE)", "range(0, K // TILE * TILE, TILE)"),
    },
    {
        "task": "0.11",
        "title": "reads B's tile with its axes swapped",
        "patch": ("tile_b[k, x]", "tile_b[x, k]"),
    },
    {
        "task": "0.11",
        "title": "takes x for the row",
        "patch": ("column, row = cuda.grid(2)", "row, column = cuda.grid(2)"),
    },
    {
        "task": "0.11",
        "title": "fetches no zeros outside of A: what lay in its tile before is multiplied",
        "patch": (
            "        tile_a[y, x] = A[row, start + x] if row < M and start + x < K else float32(0)",
            "        if row < M and start + x < K:\n            tile_a[y, x] = A[row, start + x]",
        ),
    },
    {
        "task": "0.11",
        "title": "fetches beyond B's last row",
        "patch": ("if start + y < K and column < N", "if column < N"),
    },
    {
        "task": "0.11",
        "title": "threads outside of C return before a barrier",
        "patch": ("    total = float32(0)\n", "    if row >= M or column >= N: return\n    total = float32(0)\n"),
    },
    {
        "task": "0.11",
        "title": "adds to what C held before",
        "patch": ("C[row, column] = total", "C[row, column] += total"),
    },
    {
        "task": "0.11",
        "title": "keeps the last tile's sum only",
        "patch": ("        for k in", "        total = float32(0)\n        for k in"),
    },
    {
        "task": "0.11",
        "title": "is right, but each thread reads B from global memory",
        "patch": (
            "            total += tile_a[y, k] * tile_b[k, x]",
            "            if start + k < K and column < N: total += tile_a[y, k] * B[start + k, column]",
        ),
    },
]
