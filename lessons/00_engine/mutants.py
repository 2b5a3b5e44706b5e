"""Planted bugs: mistakes that people make in each task. The task's tests must catch every one of them.

A patch is (old, new): text that stands exactly once in the task's solution, and what replaces it.
"""

MUTANTS = [
    {
        "task": "0.1",
        "title": "takes the gradient of one copy instead of the sum over all",
        "patch": (
            "dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))",
            "dy = dy[(0,) * (dy.ndim - len(shape))]",
        ),
    },
    {
        "task": "0.1",
        "title": "forgets the axes of length 1",
        "patch": (
            "return dy.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)",
            "return dy",
        ),
    },
    {
        "task": "0.1",
        "title": "sums the axes of length 1 away altogether",
        "patch": ("keepdims=True", "keepdims=False"),
    },
    {
        "task": "0.1",
        "title": "takes the mean",
        "patch": ("return dy.sum(", "return dy.mean("),
    },
    {
        "task": "0.2",
        "title": "breadth first: right only if all ways to a node are equally long",
        "patch": (
            """    order, seen, stack = [], {root}, [(root, iter(root.inputs))]
    while stack:
        node, inputs = stack[-1]
        for source in inputs:
            if source not in seen:
                seen.add(source)
                stack.append((source, iter(source.inputs)))
                break
        else:
            order.append(node)
            stack.pop()
    return order
""",
            """    order, seen = [root], {root}
    for node in order:
        for source in node.inputs:
            if source not in seen:
                seen.add(source)
                order.append(source)
    return order[::-1]
""",
        ),
    },
    {
        "task": "0.2",
        "title": "recursive: dies in a deep graph",
        "patch": (
            """    order, seen, stack = [], {root}, [(root, iter(root.inputs))]
    while stack:
        node, inputs = stack[-1]
        for source in inputs:
            if source not in seen:
                seen.add(source)
                stack.append((source, iter(source.inputs)))
                break
        else:
            order.append(node)
            stack.pop()
    return order
""",
            """    order, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for source in node.inputs:
                visit(source)
            order.append(node)

    visit(root)
    return order
""",
        ),
    },
    {
        "task": "0.2",
        "title": "outputs first",
        "patch": ("return order", "return order[::-1]"),
    },
    {
        "task": "0.2",
        "title": "notes a node when it is found, not when its inputs are done",
        "patch": (
            """                stack.append((source, iter(source.inputs)))
                break
        else:
            order.append(node)
            stack.pop()
    return order
""",
            """                stack.append((source, iter(source.inputs)))
                order.append(source)
                break
        else:
            stack.pop()
    return [*order[::-1], root]
""",
        ),
    },
    {
        "task": "0.3",
        "title": "one-sided difference: the error is eps, not eps squared",
        "patch": (
            """        x[i] = kept - eps
        below = f(x)
        x[i] = kept
        gradient[i] = (above - below) / (2 * eps)
""",
            """        x[i] = kept
        gradient[i] = (above - f(x)) / eps
""",
        ),
    },
    {
        "task": "0.3",
        "title": "divides by eps instead of 2 eps",
        "patch": ("/ (2 * eps)", "/ eps"),
    },
    {
        "task": "0.3",
        "title": "leaves the nudge in x",
        "patch": ("        x[i] = kept\n        gradient[i]", "        gradient[i]"),
    },
    {
        "task": "0.4",
        "title": "turns NaN into 0",
        "patch": ("np.maximum(x, 0, out=out)", "out[...] = np.where(x > 0, x, 0)"),
    },
    {
        "task": "0.4",
        "title": "returns the result instead of writing it",
        "patch": ("np.maximum(x, 0, out=out)", "return np.maximum(x, 0)"),
    },
    {
        "task": "0.4",
        "title": "lets the gradient through at the kink",
        "patch": ("y > 0", "y >= 0"),
    },
    {
        "task": "0.4",
        "title": "asks the gradient for its sign, not the output (that is guided backpropagation)",
        "patch": ("y > 0", "dy > 0"),
    },
    {
        "task": "0.4",
        "title": "adds to what dx held before",
        "patch": ("np.multiply(dy, y > 0, out=dx)", "dx += dy * (y > 0)"),
    },
    {
        "task": "0.5",
        "title": "pads only below and to the right",
        "patch": ("padded[:, :, PH : PH + H, PW : PW + W] = x", "padded[:, :, :H, :W] = x"),
    },
    {
        "task": "0.5",
        "title": "swaps the window's axes",
        "patch": ("cols.reshape(N, C, KH, KW, OH, OW)", "cols.reshape(N, C, KW, KH, OH, OW).swapaxes(2, 3)"),
    },
    {
        "task": "0.5",
        "title": "swaps the output's axes",
        "patch": ("cols.reshape(N, C, KH, KW, OH, OW)", "cols.reshape(N, C, KH, KW, OW, OH).swapaxes(4, 5)"),
    },
    {
        "task": "0.5",
        "title": "puts the channel last, not first",
        "patch": ("cols.reshape(N, C, KH, KW, OH, OW)", "np.moveaxis(cols.reshape(N, KH, KW, C, OH, OW), 3, 1)"),
    },
    {
        "task": "0.5",
        "title": "flips the window (convolution in the mathematician's sense)",
        "patch": ("taps[:, :, i, j] =", "taps[:, :, KH - 1 - i, KW - 1 - j] ="),
    },
    {
        "task": "0.5",
        "title": "ignores the dilation down the rows",
        "patch": ("slice(i * DH, i * DH + SH * (OH - 1) + 1, SH)", "slice(i, i + SH * (OH - 1) + 1, SH)"),
    },
    {
        "task": "0.5",
        "title": "takes the vertical stride for both axes",
        "patch": (
            "slice(j * DW, j * DW + SW * (OW - 1) + 1, SW)",
            "slice(j * DW, j * DW + SH * (OW - 1) + 1, SH)",
        ),
    },
    {
        "task": "0.6",
        "title": "assigns instead of adding where patches overlap",
        "patch": ("padded[:, :, rows, columns] += taps", "padded[:, :, rows, columns] = taps"),
    },
    {
        "task": "0.6",
        "title": "forgets to cut the padding off on the left and above",
        "patch": ("padded[:, :, PH : PH + H, PW : PW + W]", "padded[:, :, :H, :W]"),
    },
    {
        "task": "0.6",
        "title": "adds to what x held before",
        "patch": ("x[...] = padded", "x += padded"),
    },
    {
        "task": "0.6",
        "title": "ignores the dilation along the columns",
        "patch": ("slice(j * DW, j * DW + SW * (OW - 1) + 1, SW)", "slice(j, j + SW * (OW - 1) + 1, SW)"),
    },
    {
        "task": "0.6",
        "title": "leaves out the last tap of the window",
        "patch": ("for j in range(KW):", "for j in range(KW - 1):"),
    },
    {
        "task": "0.7",
        "title": "adds the bias after the relu",
        "patch": (
            """    if bias is not None:
        y += bias[:, None, None]
    if activation == "relu":
        np.maximum(y, 0, out=y)
""",
            """    if activation == "relu":
        np.maximum(y, 0, out=y)
    if bias is not None:
        y += bias[:, None, None]
""",
        ),
    },
    {
        "task": "0.7",
        "title": "ignores the activation",
        "patch": ('if activation == "relu":', "if False:"),
    },
    {
        "task": "0.7",
        "title": "deals the filters out to the groups in turn, not in blocks",
        "patch": (
            "weight.reshape(groups, K // groups, C // groups * KH * KW)",
            "weight.reshape(K // groups, groups, C // groups * KH * KW).swapaxes(0, 1)",
        ),
    },
    {
        "task": "0.7",
        "title": "flips the filters",
        "patch": ("matrix = weight.reshape", "matrix = weight[:, :, ::-1, ::-1].reshape"),
    },
    {
        "task": "0.7",
        "title": "adds to what y held before",
        "patch": ("y[...] = (matrix @ cols)", "y += (matrix @ cols)"),
    },
    {
        "task": "0.7",
        "title": "forgets the padding's second number",
        "patch": (
            "im2col(x, cols, (KH, KW), stride, padding, dilation)",
            "im2col(x, cols, (KH, KW), stride, (padding[0], padding[0]), dilation)",
        ),
    },
    {
        "task": "0.8",
        "title": "averages the filters' gradient over the images",
        "patch": ("product.sum(axis=0)", "product.mean(axis=0)"),
    },
    {
        "task": "0.8",
        "title": "keeps the last image's gradient only",
        "patch": ("product.sum(axis=0)", "product[-1]"),
    },
    {
        "task": "0.8",
        "title": "reshapes where it should transpose the patches",
        "patch": ("cols.swapaxes(2, 3)", "cols.reshape(N, groups, OH * OW, -1)"),
    },
    {
        "task": "0.8",
        "title": "reshapes where it should transpose the filters",
        "patch": ("matrix.swapaxes(1, 2) @", "matrix.reshape(groups, -1, K // groups) @"),
    },
    {
        "task": "0.8",
        "title": "ignores the dilation on the way back",
        "patch": (
            "col2im(cols.reshape(N, C * KH * KW, OH * OW), dx, (KH, KW), stride, padding, dilation)",
            "col2im(cols.reshape(N, C * KH * KW, OH * OW), dx, (KH, KW), stride, padding, (1, 1))",
        ),
    },
    {
        "task": "0.9",
        "title": "the last of equal values wins",
        "patch": ("(x[:, :, h, w] > best)", "(x[:, :, h, w] >= best)"),
    },
    {
        "task": "0.9",
        "title": "the maximum starts at 0, so a negative image has maximum 0",
        "patch": (
            """            best = np.full(x.shape[:2], -np.inf, x.dtype)
            at = np.full(x.shape[:2], -1)
""",
            """            best = np.zeros(x.shape[:2], x.dtype)
            at = np.zeros(x.shape[:2], int)
""",
        ),
    },
    {
        "task": "0.9",
        "title": "counts switches in the padded image",
        "patch": ("h * W + w, at)", "(h + padding[0]) * (W + 2 * padding[1]) + w + padding[1], at)"),
    },
    {
        "task": "0.9",
        "title": "counts switches within the window",
        "patch": ("h * W + w, at)", "i * kernel[1] + j, at)"),
    },
    {
        "task": "0.9",
        "title": "takes the height for the width in a switch",
        "patch": ("h * W + w, at)", "h * H + w, at)"),
    },
    {
        "task": "0.9",
        "title": "assigns the gradient instead of adding it where windows overlap",
        "patch": ("np.add.at(planes, (n, c, switches), dy)", "planes[n, c, switches] = dy"),
    },
    {
        "task": "0.9",
        "title": "adds with +=, which NumPy does once per place however often it is named",
        "patch": ("np.add.at(planes, (n, c, switches), dy)", "planes[n, c, switches] += dy"),
    },
    {
        "task": "0.9",
        "title": "adds to what dx held before",
        "patch": ("dx[...] = planes", "dx += planes"),
    },
    {
        "task": "0.10",
        "title": "forgets to halve the filters' sums",
        "patch": ("(g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2", "g0 + g1 + g2, g0 - g1 + g2"),
    },
    {
        "task": "0.10",
        "title": "adds the third product to the second output",
        "patch": ("m1 - m2 - m3", "m1 + m2 - m3"),
    },
    {
        "task": "0.10",
        "title": "takes the difference of pixels the other way round",
        "patch": ("d1 - d3", "d3 - d1"),
    },
    {
        "task": "0.10",
        "title": "flips the filters",
        "patch": ("w[:, :, 0], w[:, :, 1], w[:, :, 2]", "w[:, :, 2], w[:, :, 1], w[:, :, 0]"),
    },
    {
        "task": "0.10",
        "title": "leaves out the last of an odd number of outputs",
        "patch": ("return y[:, :outputs]", "return y[:, : outputs // 2 * 2]"),
    },
    {
        "task": "0.10",
        "title": "starts with the second pixel",
        "patch": ("padded[:, i : i + 2 * pairs : 2]", "np.roll(padded, -1, 1)[:, i : i + 2 * pairs : 2]"),
    },
    {
        "task": "0.10",
        "title": "adds up channels before it multiplies",
        "patch": ("filters @ pixels", "filters.sum(2, keepdims=True) @ pixels.sum(1, keepdims=True)"),
    },
    {
        "task": "0.10",
        "title": "is right by the definition, with six multiplications for two outputs",
        "patch": (
            "return y[:, :outputs]",
            "return sum(w[:, :, i] @ x[:, i : i + outputs] for i in range(3))",
        ),
    },
]
