# %% [markdown]
# # Spatial transformers 10: several of them, and no labels at all
#
# minutes 25 | needs step9_look_inside.py | next exercises.py
#
# Two transformers side by side, for two digits that are to be added. Then a task in which nobody says anything: a
# hundred images with the same kind of thing somewhere, and the transformer has to find it. Last, everything that was
# measured, beside the paper's numbers.

# %%
import json
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from colocalise09 import colocalise
from digits09 import build, digits, judge, learn
from matplotlib.patches import Rectangle
from together09 import PAPER, measured_table, which_channel

import tinyconv
from tinyconv.explain.attended_figures import attended_figure

lesson = tinyconv.lesson_step(__name__)
OTHERS = {
    "S3": "TC: FCN 13.2, CNN 3.5, ST-FCN 2.0, ST-CNN 1.7 %",
    "S4": "sums 0 to 18 (here 0 to 8): FCN 47.7, ST-FCN 18.5, 2xST-FCN 5.8 %",
    "S4, digits 0 to 9": "as above",
    "S5": "IoU above 0.5: 100 % without clutter, 75 to 93 % with",
    "S6": "digits begin at the identity, birds at tiles; localisation networks at the rest's rate, SVHN a tenth",
}

# %% [markdown]
# ## Two digits, two transformers
#
# An image has two channels with a digit in each, turned and moved by themselves; the label is the sum. Both channels go
# through every transformer, so one transformer can put right only one digit. With two of them, each could look at a
# channel of its own, and the classifier would find each digit put right somewhere. Nobody tells them to. Whether it
# happens is measured: what a transformer says is held against how each channel's digit was drawn. And so it is, for the
# places: each has gone to a digit of its own. Angles, up to 30 degrees, are left as they are.


# %%
def add(short: bool) -> None:
    """Train 2xST-FCN on sums, and say which channel each transformer follows."""
    model = build("2xST-FCN", "pairs", lesson.seed)
    train, test = (digits("pairs", split, lesson.seed, 128 if short else None) for split in ("train", "test"))
    learn(model, train, 1 if short else 20, lesson.seed, factor=0.3)
    print(f"2xST-FCN, sums of digits 0 to 4: test error {judge(model, test):.1%}")
    found = which_channel(model, test, min(len(test), 1000))
    for k, channels in enumerate(found):
        for c, (angle, x, y) in enumerate(channels):
            print(f"  transformer {k + 1}, digit {c + 1}: correlations of angle {angle:5.2f}, x {x:5.2f}, y {y:5.2f}")
    images = np.stack([test[i][0] for i in range(6)])
    looks = model.attended(tinyconv.tensor(images))
    # Its two channels below each other, for an output of two channels is drawn as the lighter of both.
    both = [(np.concatenate([grid] * 2), np.concatenate([out[:, :1], out[:, 1:]])) for grid, out in looks]
    shown, titles = np.concatenate([images[:, :1], images[:, 1:]]), ["first digit"] * 6 + ["second digit"] * 6
    alt = "six pairs, all first digits, then all second: each of two transformers has one of them in its middle"
    lesson.save(attended_figure(shown, both, titles), "two-digits", alt=alt)


# %% [markdown]
# ## Finding what pictures have in common
#
# A hundred images show a three each, among pieces of other digits. A frozen network describes what is seen, e(crop),
# and the only wish is: what the transformer sees of two images shall be more alike than what it sees of one and a
# random window of that image is. That is a hinge over all pairs,
#
#     max(0, |e_n - e_m|^2 - |e_n - beside_n|^2 + 1)
#
# The gradient goes through e_n and e_m. Here, without clutter, that ends in the dark: black is very much like black.
# If e_m is held fixed in the term of n the threes are found: what is seen moves towards what the others see, and away
# from what chance shows. All else is the same. The hinge need not fall: its gradient is followed on one side only. With
# clutter half of the threes are found, 75 to 93 % in the paper.


# %%
def find(short: bool) -> None:
    """Find threes three times; draw boxes."""
    ways: dict[str, dict[str, Any]] = {
        "both learn, no clutter": {"clutter": 0, "through_both": True},
        "one learns, no clutter": {"clutter": 0},
        "one learns, 16 pieces": {"clutter": 16},
    }
    fig, axes = plt.subplots(len(ways), 8, figsize=(9, 4), layout="constrained")
    steps = {"steps": 3, "small": True} if short else {}
    for row, (name, options) in zip(axes, ways.items(), strict=True):
        found = colocalise(3, seed=lesson.seed, **options, **steps)
        share = (found["iou"] > 0.5).mean()
        black = (found["images"] == 0).mean()
        print(f"{name}: IoU above 0.5 in {share:.0%}, median {np.median(found['iou']):.2f}; hinge ", end="")
        print(f"{found['losses'][:10].mean():.2f} to {found['losses'][-10:].mean():.2f}; {black:.0%} of pixels black")
        for axis, image, box, true in zip(row, found["images"], found["boxes"], found["true"], strict=False):
            axis.imshow(image[0], cmap="gray", vmin=0, vmax=1, extent=(0, image.shape[2], image.shape[1], 0))
            for (x1, y1, x2, y2), look in ((true, {"ls": ":", "ec": "C0"}), (box, {"ec": "C1"})):
                axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, lw=1.5, **look))
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=7)
    alt = "threes somewhere in eight images, dotted the true frame, solid what was found: black if both learn"
    lesson.save(fig, "found", alt=alt)


# %% [markdown]
# ## All of it
#
# The paper's networks have 400,000 parameters, 60,000 digits and 150,000 steps; these 60,000, 5,000 and 1,600 to 3,200.
# So the numbers are not to be compared from left to right, but their order is.


# %%
def beside() -> None:
    """Print the paper's numbers and those that the lesson's claims measured."""
    file = lesson.script.with_name("results.json") if lesson.script is not None else None
    claims = json.loads(file.read_text("utf-8"))["claims"] if file is not None and file.exists() else {}
    here = measured_table(claims)
    print(f"{'error in per cent':22s}" + "".join(f"{kind:>17s}" for kind in PAPER["FCN"]))
    for name, errors in PAPER.items():
        ours = {kind: f"{np.mean(found):.1f}" for kind, found in here[name].items()}
        cells = [f"{error}, here {ours.get(kind, '?')}" for kind, error in errors.items()]
        print(f"  {name:20s}" + "".join(f"{cell:>17s}" for cell in cells))
    for name, said in OTHERS.items():
        measured = claims[name]["measured"] if name in claims else "not measured yet: make claims LESSON=09"
        print(f"{name}\n  paper  {said}\n  here   {measured}")


# %%
if __name__ == "__main__":
    add(lesson.smoke)
    print()
    find(lesson.smoke)
    print()
    beside()
    lesson.next("exercises.py", why="write these parts yourself")
