# %% [markdown]
# # VGG 3: six networks that differ in one thing
#
# minutes 15 | needs step2_gradient_check.py | next step4_initialising.py
#
# An experiment changes one thing at a time. VGG's six networks have the same image, the same five groups, the same
# pools, the same fully connected layers; only the number of convolutions in the groups grows, from 8 to 16 (table 1).
# What do they cost, and where? Everything here is arithmetic, then compared with the library's networks.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Table 1
#
# The windows of the convolutions in each group. C has some of 1x1: more ReLUs, no wider field. A-LRN is A with
# AlexNet's normalisation after the first convolution.

# %%
TABLE = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}
FILTERS = (64, 128, 256, 512, 512)
PAPER_MILLIONS = {"A": 133, "A-LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144}  # table 2
PAPER_ERRORS = {"A": (29.6, 10.4), "A-LRN": (29.7, 10.5), "B": (28.7, 9.9), "C": (28.1, 9.4), "D": (27.0, 8.8),
                "E": (27.3, 9.0)}  # fmt: skip  # table 3: S = Q = 256, top-1 and top-5, %


def count(config: str) -> list[tuple[str, int, int]]:
    """Return (part, parameters, multiply-adds) of the five groups and of the three fully connected layers."""
    parts, channels, side = [], 3, 224
    for group, (windows, filters) in enumerate(zip(TABLE[config], FILTERS, strict=True), 1):
        weights = params = 0
        for k in windows:
            weights += k * k * channels * filters
            params += k * k * channels * filters + filters  # one bias per filter
            channels = filters
        parts.append(
            (f"group {group}", params, weights * side * side)
        )  # each weight once per place; padding keeps them
        side //= 2
    for name, ins, outs in (("fc6", 512 * 7 * 7, 4096), ("fc7", 4096, 4096), ("fc8", 4096, 1000)):
        parts.append((name, ins * outs + outs, ins * outs))
    return parts


counts = {config: count(config) for config in TABLE}
print("        weight layers   parameters  in the paper    multiply-adds  top-1 / top-5 error in the paper")
for config, parts in counts.items():
    params, macs = (sum(part[i] for part in parts) for i in (1, 2))
    depth, (top1, top5) = sum(map(len, TABLE[config])) + 3, PAPER_ERRORS[config]
    print(
        f"{config:6s} {depth:14d} {params:12,d} {PAPER_MILLIONS[config]:9d} M. {macs:16,d}  {top1:.1f} / {top5:.1f} %"
    )

# %% [markdown]
# Is that what the library builds? On the device "meta" nothing is allocated; `tinyconv.summary` runs shapes only.

# %%
for config, parts in counts.items():
    built = tinyconv.summary(models.vgg(config=config, device="meta"))
    wanted = tuple(sum(part[i] for part in parts) for i in (1, 2))
    print(f"{config:6s} as built by tinyconv.models.vgg: {(built.total_params, built.total_macs) == wanted}")

# %% [markdown]
# ## Where they are
#
# The parameters sit in the fully connected layers, most of them in fc6 alone: 89 % of D's. The work sits in the
# convolutions: 99 %. So eight more convolutions, from A to E, add 8 % to the parameters and 158 % to the work. And so
# the next networks (lessons 04 and 05) will drop fc6 and fc7, and lose little.

# %%
for config in ("A", "D", "E"):
    fully, convs = counts[config][5:], counts[config][:5]
    share = sum(part[1] for part in fully) / sum(part[1] for part in counts[config])
    work = sum(part[2] for part in convs) / sum(part[2] for part in counts[config])
    print(f"{config}: {share:.0%} of the parameters are fully connected, {work:.1%} of the work is convolution")
a, e = (np.array([part[1:] for part in counts[config]]).sum(0) for config in ("A", "E"))
print(f"from A to E: {e[0] / a[0] - 1:.0%} more parameters, {e[1] / a[1] - 1:.0%} more work")

# %% [markdown]
# ## What the paper learnt from the comparison
#
# - Normalisation does not help: A-LRN is no better than A, and costs memory and time. It disappears from here on.
# - Depth helps: 10.4 % (A), 9.9 % (B), 8.8 % (D). Between D and E it levels off.
# - It is not only the ReLUs: C has as many layers as D, three of them 1x1. It is better than B, so more ReLUs help, and
#   worse than D, so the wider field helps as well.
# - B with every pair of 3x3 replaced by one 5x5 was 7 points worse (top-1). Step 1's arithmetic counts for something.

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
colours = [*plt.cm.Blues(np.linspace(0.25, 0.9, 5)), *plt.cm.Oranges(np.linspace(0.4, 0.8, 3))]
for axis, index, unit, title in ((axes[0], 1, 1e6, "parameters, millions"), (axes[1], 2, 1e9, "multiply-adds, 10^9")):
    bottom = np.zeros(len(TABLE))
    for part, colour in enumerate(colours):
        heights = np.array([parts[part][index] for parts in counts.values()]) / unit
        axis.bar(list(TABLE), heights, bottom=bottom, color=colour, label=counts["A"][part][0])
        bottom += heights
    axis.set_title(title)
axes[0].set_ylim(0, 200)
axes[0].legend(ncols=4, fontsize=8)
lesson.save(fig, "configurations", alt="parameters are alike and sit in fc6; the work more than doubles from A to E")
lesson.next(why="deep ones do not start by themselves")
