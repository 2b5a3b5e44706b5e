"""Planted bugs: mistakes that people make in each task. The task's tests must catch every one of them.

A patch is (old, new): text that stands exactly once in the task's solution, and what replaces it.
"""


def _mutant(task: str, title: str, old: str, new: str) -> dict:
    return {"task": task, "title": title, "patch": (old, new)}


MUTANTS = [
    # 1.1 local_response_norm_forward
    _mutant(
        "1.1", "a negative start of the slice wraps round",
        "max(0, i - size // 2) : i + size // 2 + 1", "i - size // 2 : i + size // 2 + 1",
    ),
    _mutant("1.1", "the window stops one channel early", "i + size // 2 + 1]", "i + size // 2]"),
    _mutant("1.1", "divides alpha by size: Caffe's scaling", "k + alpha *", "k + alpha / size *"),
    _mutant("1.1", "mean for sum, which cuts the divisor at the borders", ".sum(axis=1)", ".mean(axis=1)"),
    _mutant("1.1", "sums the values, not their squares", "(window * window)", "window"),
    _mutant("1.1", "forgets k", "k + alpha", "1 + alpha"),
    _mutant("1.1", "multiplies by the power", "x / scale**beta", "x * scale**beta"),
    # 1.2 local_response_norm_backward
    _mutant("1.2", "only the channel's own denominator", "max(0, j - size // 2) : j + size // 2 + 1", "j : j + 1"),
    _mutant("1.2", "no denominator at all", " - 2 * alpha * beta * x[:, j] * near", ""),
    _mutant("1.2", "forgets the 2 of the square", "2 * alpha", "alpha"),
    _mutant("1.2", "adds the second part", " - 2 * alpha", " + 2 * alpha"),
    _mutant("1.2", "takes the power -beta in the sum", "(-beta - 1)", "-beta"),
    _mutant("1.2", "multiplies by the gradient's channel instead of x", "beta * x[:, j]", "beta * dy[:, j]"),
    # 1.3 max_pool2d_backward
    _mutant("1.3", "assigns where windows overlap", "np.add.at(plane, where, gradient)", "plane[where] = gradient"),
    _mutant("1.3", "+= adds once per pixel only", "np.add.at(plane, where, gradient)", "plane[where] += gradient"),
    _mutant("1.3", "does not clear dx", "    dx[...] = 0\n", ""),
    _mutant("1.3", "mixes planes up",
            "dx.reshape(dx.shape[0] * dx.shape[1], -1)", "dx.reshape(-1, dx[0, 0].size)[::-1]"),
    # 1.4 conv2d_forward
    _mutant("1.4", "interleaves the channels", "x[:, g * depth : (g + 1) * depth]", "x[:, g::groups]"),
    _mutant("1.4", "every group sees the first channels", "x[:, g * depth : (g + 1) * depth]", "x[:, :depth]"),
    _mutant("1.4", "adds the bias after the ReLU",
            '''    if bias is not None:
        y += bias[:, None, None]
    if activation == "relu":
        np.maximum(y, 0, out=y)
''',
            '''    if activation == "relu":
        np.maximum(y, 0, out=y)
    if bias is not None:
        y += bias[:, None, None]
'''),
    _mutant("1.4", "ignores the activation", 'if activation == "relu":', "if False:"),
    _mutant("1.4", "adds the bias along the rows", "bias[:, None, None]", "np.resize(bias, y.shape[3])"),
    _mutant("1.4", "swaps stride and dilation", "stride, padding, dilation)", "dilation, padding, stride)"),
    # 1.5 paper_dropout
    _mutant("1.5", "the inverted form", "x * (uniform >= p) if", "x * (uniform >= p) / (1 - p) if"),
    _mutant("1.5", "drops with 1 - p", "uniform >= p", "uniform < p"),
    _mutant("1.5", "testing multiplies by p", "x * (1 - p)", "x * p"),
    _mutant("1.5", "testing changes nothing", "x * (1 - p)", "x"),
    # 1.6 colour_shift
    _mutant("1.6", "eigenvalues in eigh's order", "values[::-1] * a", "values * a"),
    _mutant("1.6", "eigenvectors as rows", "vectors[:, ::-1] @", "vectors[:, ::-1].T @"),
    _mutant("1.6", "square roots of the eigenvalues, as the released code",
            "values[::-1] * a", "np.sqrt(values[::-1]) * a"),
    _mutant("1.6", "does not subtract the mean colour", "np.cov(pixels)", "pixels @ pixels.T / pixels.shape[1]"),
    _mutant("1.6", "reshapes without moving the colours first",
            "images.transpose(1, 0, 2, 3).reshape(3, -1)", "images.reshape(3, -1)"),
    # 1.7 alexnet_sgd_step
    _mutant("1.7", "the rate outside the velocity, as PyTorch",
            '''    velocity -= weight_decay * lr * param
    velocity -= lr * grad
    param += velocity
''',
            '''    velocity -= weight_decay * param
    velocity -= grad
    param += lr * velocity
'''),
    _mutant("1.7", "a new array for the parameter", "param += velocity", "param = param + velocity"),
    _mutant("1.7", "weight decay without the rate", "weight_decay * lr * param", "weight_decay * param"),
    _mutant("1.7", "forgets the weight decay", "    velocity -= weight_decay * lr * param\n", ""),
    _mutant("1.7", "dampens the gradient", "lr * grad", "(1 - momentum) * lr * grad"),
    # 1.8 layer_table
    _mutant("1.8", "kernels see all channels", ' * (shape[0] // options["groups"])', " * shape[0]"),
    _mutant("1.8", "no biases", 'options["filters"] * (per_output + 1)', 'options["filters"] * per_output'),
    _mutant("1.8", "pools round up, as Caffe",
            '- options["kernel"]) // step + 1', '- options["kernel"] + step - 1) // step + 1'),
    _mutant("1.8", "takes every map for a square", "sides[0] * sides[1]", "sides[0] ** 2"),
    _mutant("1.8", "pads on one side only", "2 * padding", "padding"),
    _mutant("1.8", "counts the bias as a multiply-add", "units * inputs", "units * (inputs + 1)"),
    # 1.9 train_step
    _mutant("1.9", "lets gradients add up over the steps",
            '''    for parameter in parameters:
        parameter.grad = None
''', ""),
    _mutant("1.9", "updates only the first half", "zip(parameters, velocities, strict=True)",
            "list(zip(parameters, velocities))[: len(parameters) // 2]"),
    _mutant("1.9", "no weight decay", "0.0005", "0.0"),
    _mutant("1.9", "returns the loss as a tensor", "return loss.item()", "return loss"),
    _mutant("1.9", "updates copies", "parameter.data, parameter.grad", "parameter.data.copy(), parameter.grad"),
]  # fmt: skip
