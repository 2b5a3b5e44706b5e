"""Planted bugs: mistakes that people make in each task. The task's tests must catch every one of them.

A patch is (old, new): text that stands exactly once in the task's solution, and what replaces it.
"""


def _mutant(task: str, title: str, old: str, new: str) -> dict:
    return {"task": task, "title": title, "patch": (old, new)}


MUTANTS = [
    # 2.1 receptive_field
    _mutant("2.1", "adds whole windows", "(kernel - 1) * jump", "kernel * jump"),
    _mutant("2.1", "forgets that units lie apart", "(kernel - 1) * jump", "kernel - 1"),
    _mutant("2.1", "a layer's own stride already widens its window",
            "(kernel - 1) * jump", "(kernel - 1) * jump * stride"),
    _mutant("2.1", "adds strides", "jump *= stride", "jump += stride - 1"),
    _mutant("2.1", "padding in units, not in pixels", "padding * jump", "padding"),
    _mutant("2.1", "padding moves the start inwards", "start -= padding", "start += padding"),
    _mutant("2.1", "begins with an empty field", "size, jump, start = 1, 1, 0", "size, jump, start = 0, 1, 0"),
    # 2.2 max_unpool2d_forward
    _mutant("2.2", "leaves in y what was there", "    y[...] = 0\n", ""),
    _mutant("2.2", "adds only once per pixel",
            "np.add.at(plane, where[there], values[there])", "plane[where[there]] += values[there]"),
    _mutant("2.2", "always adds", "if accumulate:", "if True:"),
    _mutant("2.2", "never adds", "if accumulate:", "if False:"),
    _mutant("2.2", "the first value stays", "plane[where[there]] = values[there]",
            "plane[where[there][::-1]] = values[there][::-1]"),
    _mutant("2.2", "the largest value stays", "plane[where[there]] = values[there]",
            "np.maximum.at(plane, where[there], values[there])"),
    _mutant("2.2", "-1 writes into the last pixel", "there = where >= 0", "there = where >= -1"),
    _mutant("2.2", "mixes planes up", "planes = y.reshape(y.shape[0] * y.shape[1], -1)",
            "planes = y.reshape(y.shape[0] * y.shape[1], -1)[::-1]"),
    # 2.3 conv_transpose2d_forward
    _mutant("2.3", "turns the filter", "weight[:, :, i, j]", "weight[:, :, ::-1, ::-1][:, :, i, j]"),
    _mutant("2.3", "mixes up rows and columns of the filter",
            "weight[:, :, i, j]", "weight[:, :, j % weight.shape[2], i % weight.shape[3]]"),
    _mutant("2.3", "overlapping stamps replace each other",
            "canvas[:, :, rows, columns] +=", "canvas[:, :, rows, columns] ="),
    _mutant("2.3", "pads instead of cropping", "PH : PH + OH, PW : PW + OW", ":OH, :OW"),
    _mutant("2.3", "crops at one end only", "PH : PH + OH, PW : PW + OW", "2 * PH :, 2 * PW :"),
    _mutant("2.3", "forgets the stride",
            "slice(i, i + SH * (H - 1) + 1, SH), slice(j, j + SW * (W - 1) + 1, SW)",
            "slice(i, i + H), slice(j, j + W)"),
    _mutant("2.3", "swaps the strides", "(SH, SW), (PH, PW), (H, W), (OH, OW)", "(SW, SH), (PH, PW), (H, W), (OH, OW)"),
    _mutant("2.3", "forgets the bias", "if bias is not None:", "if False:"),
    # 2.4 relu_rule
    _mutant("2.4", "the deconvnet keeps the forward mask too",
            '''    if rule == "deconvnet":
        return np.maximum(signal, 0)
''',
            '''    if rule == "deconvnet":
        return np.maximum(signal, 0) * (True if x is None else x > 0)
'''),
    _mutant("2.4", "the gradient is rectified", "return signal * (x > 0)", "return np.maximum(signal, 0) * (x > 0)"),
    _mutant("2.4", "guided is the gradient", "return np.maximum(signal, 0) * (x > 0)", "return signal * (x > 0)"),
    _mutant("2.4", "a closed unit passes: x is 0", "return signal * (x > 0)", "return signal * (x >= 0)"),
    _mutant("2.4", "multiplies by x", "return signal * (x > 0)", "return signal * np.maximum(x, 0)"),
    _mutant("2.4", "changes the caller's signal", "return np.maximum(signal, 0)\n",
            "return np.maximum(signal, 0, out=signal)\n"),
    # 2.5 deconvnet
    _mutant("2.5", "begins with 1, as a gradient does", "signal[n, index][at] = one[at]", "signal[n, index][at] = 1"),
    _mutant("2.5", "keeps the whole map",
            "signal[n, index][at] = one[at]", "signal[n, index] = one"),
    _mutant("2.5", "keeps all maps at the place", "signal[n, index][at] = one[at]",
            "signal[n][:, *at] = output[n][:, *at]"),
    _mutant("2.5", "one place for all images", "np.unravel_index(one.argmax(), one.shape)",
            "np.unravel_index(output[0, index].argmax(), one.shape)"),
    _mutant("2.5", "puts the value into map 0", "signal[n, index][at]", "signal[n, 0][at]"),
    _mutant("2.5", "does not rectify on the way down",
            'relu_rule(signal, None, "deconvnet")', "signal"),
    _mutant("2.5", "adds the bias on the way down", 'options["weight"], None, below',
            'options["weight"], np.resize(options["bias"], below.shape[1]), below'),
    _mutant("2.5", "writes zeros over values where pools overlap", 'note["switches"], below, True',
            'note["switches"], below, False'),
    _mutant("2.5", "normalises once more on the way down", "below = signal\n",
            "below = signal / (2 + 1e-4 * signal**2) ** 0.75\n"),
    # 2.6 renormalise_filters
    _mutant("2.6", "raises small filters too", "rms > limit, limit / np.maximum(rms, limit)",
            "rms > 0, limit / np.maximum(rms, 1e-9)"),
    _mutant("2.6", "one RMS for all filters", "axis=(1, 2, 3)", "axis=(0, 1, 2, 3)"),
    _mutant("2.6", "one RMS per channel of a filter", "axis=(1, 2, 3)", "axis=(2, 3)"),
    _mutant("2.6", "one RMS per input channel", "axis=(1, 2, 3)", "axis=(0, 2, 3)"),
    _mutant("2.6", "the length instead of the RMS", "np.mean(weight * weight", "np.sum(weight * weight"),
    _mutant("2.6", "the standard deviation",
            "np.sqrt(np.mean(weight * weight, axis=(1, 2, 3), keepdims=True))",
            "np.std(weight, axis=(1, 2, 3), keepdims=True)"),
    _mutant("2.6", "clips single weights",
            "weight *= np.where(rms > limit, limit / np.maximum(rms, limit), 1)",
            "np.clip(weight, -limit, limit, out=weight)"),
    _mutant("2.6", "scales a new array", "weight *= np.where", "weight = weight * np.where"),
    # 2.7 occlusion_maps
    _mutant("2.7", "all squares on one image", "covered[:, top : top + size, left : left + size] = value",
            "batch[-1, :, top : top + size, left : left + size] = value; covered[...] = batch[-1]"),
    _mutant("2.7", "leaves the last position out", "H - size + 1, stride", "H - size, stride"),
    _mutant("2.7", "steps by the square's size", "W - size + 1, stride", "W - size + 1, size"),
    _mutant("2.7", "covers one channel only", "covered[:, top", "covered[:1, top"),
    _mutant("2.7", "covers with zeros", "] = value", "] = 0"),
    _mutant("2.7", "another map for each position",
            "maps[:, strongest].sum(axis=(1, 2))", "maps.sum(axis=(2, 3)).max(axis=1)"),
    _mutant("2.7", "the map with the largest single activation", ".sum(axis=(2, 3))[0].argmax()",
            ".max(axis=(2, 3))[0].argmax()"),
    _mutant("2.7", "the probability of the best class", "probabilities[:, label]", "probabilities.max(axis=1)"),
    _mutant("2.7", "columns before rows", "for top in tops for left in lefts", "for left in lefts for top in tops"),
    # 2.8 correspondence
    _mutant("2.8", "a sign of two values", "np.sign(features - masked)", "(features - masked > 0)"),
    _mutant("2.8", "-1 against 1 counts twice", "(signs[:, None] != signs[None])",
            "np.abs(signs[:, None] - signs[None])"),
    _mutant("2.8", "compares the changes, not their signs", "np.sign(features - masked)", "(features - masked)"),
    _mutant("2.8", "does not divide by the features", ".mean(axis=2)", ".sum(axis=2)"),
    _mutant("2.8", "counts every pair once", "(len(signs) * (len(signs) - 1))", "(2 * len(signs) * (len(signs) - 1))"),
    _mutant("2.8", "counts an image with itself as a pair", "(len(signs) * (len(signs) - 1))", "len(signs) ** 2"),
    _mutant("2.8", "compares neighbours only", "differ.sum() / (len(signs) * (len(signs) - 1))",
            "np.diag(differ, 1).mean()"),
]  # fmt: skip
