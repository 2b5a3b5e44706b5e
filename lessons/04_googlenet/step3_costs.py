# %% [markdown]
# # GoogLeNet 3: naive and reduced
#
# minutes 15 | needs step2_inception_module.py | next step4_auxiliary_heads.py
#
# The first idea of the module has no reductions: 1x1, 3x3 and 5x5 straight on the input, and the pool beside them
# (fig. 2a). The paper calls it naive and says why: the 5x5 is dear, and the pool hands on all the maps it gets, so a
# module can only put out more than it takes in, and the next one costs more still. Here are both, counted for the nine
# modules of the network.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## Table 1, the modules
#
# Side of the maps; filters of 1x1, 1x1 before 3x3, 3x3, 1x1 before 5x5, 5x5, and of the 1x1 behind the pool. And what
# the paper's table says of parameters (thousands) and operations (millions).

# %%
TABLE = {
    "3a": (28, (64, 96, 128, 16, 32, 32), 159, 128),
    "3b": (28, (128, 128, 192, 32, 96, 64), 380, 304),
    "4a": (14, (192, 96, 208, 16, 48, 64), 364, 73),
    "4b": (14, (160, 112, 224, 24, 64, 64), 437, 88),
    "4c": (14, (128, 128, 256, 24, 64, 64), 463, 100),
    "4d": (14, (112, 144, 288, 32, 64, 64), 580, 119),
    "4e": (14, (256, 160, 320, 32, 128, 128), 840, 170),
    "5a": (7, (256, 160, 320, 32, 128, 128), 1072, 54),
    "5b": (7, (384, 192, 384, 48, 128, 128), 1388, 71),
}


def reduced(C: int, filters: tuple[int, ...]) -> tuple[int, int]:
    """Return the weights of a module with reductions, and how many maps it puts out."""
    ones, reduce3, threes, reduce5, fives, pooled = filters
    weights = C * (ones + reduce3 + reduce5 + pooled) + 9 * reduce3 * threes + 25 * reduce5 * fives
    return weights, ones + threes + fives + pooled


def naive(C: int, filters: tuple[int, ...]) -> tuple[int, int]:
    """Return the same of the module without them; the pool's maps are the input's."""
    ones, _, threes, _, fives, _ = filters
    return C * (ones + 9 * threes + 25 * fives), ones + threes + fives + C


print("            weights           in K; paper     multiply-adds, millions      maps out")
print("        reduced      naive                   reduced   paper    naive   reduced  naive")
counted, channels = {}, 192
for name, (side, filters, paper_k, paper_ops) in TABLE.items():
    (w, out), (w_naive, out_naive) = reduced(channels, filters), naive(channels, filters)
    counted[name] = w, w_naive, side * side, out, out_naive
    print(f"{name}  {w:11,d} {w_naive:10,d} {w / 1024:9.1f} {paper_k:6d} {w * side**2 / 1e6:11.1f} {paper_ops:7d} "
          f"{w_naive * side**2 / 1e6:8.1f} {out:9d} {out_naive:6d}")  # fmt: skip
    built = [module(channels, models.inception.Widths(*filters), device="meta")
             for module in (models.inception.Inception, models.inception.NaiveInception)]  # fmt: skip
    for module, weights in zip(built, (w, w_naive), strict=True):
        assert sum(p.numel() for p in module.parameters() if p.ndim == 4) == weights, "not what the library builds"
    channels = out

# %% [markdown]
# The library's modules have as many weights. At the same filters, reductions make a module 2.4 (3a) to 5.1 times (5a)
# cheaper. The paper's operations fit its filters, but for 5a, which comes to 51 million and not 54 (4a's 73 is 73.6 cut
# off). Its parameters are in units of 1024 and count weights only; those of 4a, 4c, 4d, 4e, 5a and 5b do not follow
# from its own filters (3b and 4b are off by 1). So believe the filters, and count yourself.
#
# ## On top of each other
#
# That compared modules one by one, at the inputs that the *reduced* network gives them. On top of each other, naive
# modules get wider and wider (pools between groups change sides, not widths).

# %%
wide, chain = 192, []
for name, (side, filters, _, _) in TABLE.items():
    weights, out = naive(wide, filters)
    chain.append((name, wide, out, weights, weights * side * side))
    wide = out
print("\nnaive modules on top of each other: maps " + ", ".join(f"{name} {out:,d}" for name, _, out, _, _ in chain))
for what, index in (("weights", 3), ("multiply-adds", 4)):
    stacked = sum(row[index] for row in chain)
    one = sum(w * (1 if index == 3 else area) for w, _, area, _, _ in counted.values())
    print(f"{what}: {stacked:,d}, with reductions {one:,d}: {stacked / one:.1f} times as many")

# %% [markdown]
# The reduced modules are no cheaper *per filter* by magic: their large windows see a summary of the input. The claim is
# that more and deeper modules for the same money are worth more than the lost detail (step 10 tries it, small).
#
# Is the time saved as well? One module of each kind, 3a's filters, forward and backward. (Six small convolutions keep a
# processor less busy than three large ones; and pool, ReLU and concatenation are not counted.)


# %%
def milliseconds(module: tinyconv.nn.Module, images: int = 8, repeat: int = 9) -> float:
    """Return the fastest of some forward and backward passes."""
    x = tinyconv.tensor(lesson.rng.random((images, 192, 28, 28)).astype(np.float32), requires_grad=True)
    times = []
    for _ in range(2 if lesson.smoke else repeat):
        start = perf_counter()
        module(x).sum().backward()
        times.append(perf_counter() - start)
    return 1e3 * min(times)


times = {
    module.__name__: milliseconds(module(192, models.inception.Widths(*TABLE["3a"][1])))
    for module in (models.inception.Inception, models.inception.NaiveInception)
}
w, w_naive, *_ = counted["3a"]
print(f"\n3a, 8 images, forward and backward: {', '.join(f'{k} {v:.0f} ms' for k, v in times.items())}: "
      f"{times['NaiveInception'] / times['Inception']:.1f} times (counted {w_naive / w:.1f})")  # fmt: skip

# %%
fig, axes = plt.subplots(1, 2, figsize=(11.5, 3.6), layout="constrained")
x = np.arange(len(TABLE))
axes[0].bar(x - 0.2, [w * area / 1e6 for w, _, area, _, _ in counted.values()], 0.4, label="with reductions")
axes[0].bar(x + 0.2, [w * area / 1e6 for _, w, area, _, _ in counted.values()], 0.4, label="naive, the same input")
axes[0].set(title="multiply-adds, millions", xticks=x, xticklabels=list(TABLE))
axes[1].plot(x, [out for *_, out, _ in counted.values()], "o-", label="with reductions")
axes[1].plot(x, [out for _, _, out, _, _ in chain], "s-", label="naive, on top of each other")
axes[1].set(title="maps that a module puts out", xticks=x, xticklabels=list(TABLE), ylim=(0, None))
for axis in axes:
    axis.legend()
lesson.save(fig, "costs", alt="naive modules cost 2.4 to 5.1 times as much, and stacked they widen to 4,944 maps")
lesson.next(why="twenty-two layers, and gradients that arrive")
