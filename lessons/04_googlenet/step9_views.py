# %% [markdown]
# # GoogLeNet 9: 144 looks at one picture
#
# minutes 20 | needs step8_class_maps.py | next step10_equal_cost.py
#
# AlexNet averaged ten crops. GoogLeNet takes 144 (sec. 7): the shorter side is resized to 256, 288, 320 and 352; along
# the longer side lie three squares; each square gives four corners and the middle, 224x224, and itself, resized to
# that; and all of them mirrored. 4 * 3 * 6 * 2.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from step7_train import SIDE, SIZE, build, normaliser, pictures, train_briefly

import tinyconv
from tinyconv import views
from tinyconv.data import photographs
from tinyconv.models.googlenet import GoogLeNet

lesson = tinyconv.lesson_step(__name__)
SIDES = tuple(round(side * SIZE / 224) for side in (256, 288, 320, 352))  # for windows of 36: 41, 46, 51, 57
PAPER = {1: (10.07, 8.09), 10: (9.15, 7.62), 144: (7.89, 6.67)}  # top-5 error of one network and of seven, %

# %% [markdown]
# ## Which they are
#
# On a photograph all are different. On a square picture the three squares are the same one, and each view comes three
# times: 48 are left, at three times the price.

# %%
photograph = photographs()[0][0]
for name, picture in (("photograph", photograph), ("its middle square", photograph[:, :, 106:533])):
    found = [view.tobytes() for _, view in views.googlenet_crops(picture)]
    print(f"{name} of {picture.shape[1]}x{picture.shape[2]}: {len(found)} views, {len(set(found))} different ones")

side, (whole,) = 352, views.rescale(photograph[None], 352)
fig, axes = plt.subplot_mosaic("aabcd;aaefg", figsize=(13, 4.2), layout="constrained")
axes["a"].imshow(np.clip(whole.transpose(1, 2, 0), 0, 1))
for i, colour in enumerate(("C0", "C1", "C2")):  # drawn a little smaller each, so that all can be seen
    left, inset = (whole.shape[2] - side) * i // 2, 3 + 6 * i
    corner, length = (left + inset, inset), side - 2 * inset
    axes["a"].add_patch(Rectangle(corner, length, length, fill=False, ec=colour, lw=3))
axes["a"].set_title(f"resized to {side}x{whole.shape[2]}: three squares")
names = ("upper left", "upper right", "lower left", "lower right", "middle", "all of it, resized")
for (view, pixels), axis in zip(
    [found for found in views.googlenet_crops(photograph, sides=(side,)) if found[0].square == 1][::2],
    list(axes.values())[1:], strict=True,
):  # fmt: skip
    axis.imshow(np.clip(pixels.transpose(1, 2, 0), 0, 1))
    axis.set_title(f"{names[view.crop]}", fontsize=9, color="C1")
for axis in axes.values():
    axis.set(xticks=[], yticks=[])
lesson.save(fig, "views", alt="a photograph with three squares along it, and the six views of the middle square")

# %% [markdown]
# ## What they buy
#
# Each view gets its class probabilities, and these are averaged. (The paper also tried the maximum over the views:
# worse.) Our pictures are 48x66, and the one central window often misses a part of the object; so looking around is
# worth more here than on ImageNet, whose photographers point at things.
#
# There is another way, which the paper does not use: this network takes the whole picture at once and averages over all
# places by itself (step 8). That is VGG's dense evaluation, for nothing.


# %%
def all_views(model: GoogLeNet, images: np.ndarray) -> np.ndarray:
    """Return the class probabilities (N, 144, classes) of all views."""
    found = []
    for image in images:
        crops = np.stack([crop for _, crop in views.googlenet_crops(image, SIZE, SIDES)])
        found.append(views.predict(model, crops, batch_size=144))
    return np.stack(found)


def compare(model: GoogLeNet) -> dict[str, float]:
    """Print the error of each way of looking, with its number of views and time; return the errors."""
    n = 2 if lesson.smoke else 120
    test = pictures("test", n, seed=2)
    images = normaliser()(test.images.astype(np.float32) / 255)
    scaled = views.rescale(images, SIDE)
    top, left = (scaled.shape[2] - SIZE) // 2, (scaled.shape[3] - SIZE) // 2
    middle = scaled[:, :, top : top + SIZE, left : left + SIZE]
    ways = {
        "the middle": (1, lambda: views.predict(model, middle)),
        "corners, middle, mirrored": (10, lambda: views.ten_crop(model, scaled, SIZE)),
        "GoogLeNet's": (144, lambda: all_views(model, images)),
        "the whole picture": (1, lambda: views.predict(model, scaled)),
        "the whole picture, 4 scales": (4, lambda: views.multi_scale(images, SIDES, lambda x: views.predict(model, x))),
    }
    errors = {}
    print(f"\n{n} test pictures               views    error   ms per picture")
    for name, (count, way) in ways.items():
        start = perf_counter()
        found = way()
        seconds = perf_counter() - start
        if count == 144:
            each, found = found, found.mean(1)
        errors[name] = views.top_k_error(found, test.labels)
        print(f"{name:32s} {count:5d} {errors[name]:8.1%} {1e3 * seconds / n:12.1f}")
    assert np.allclose(each[:2].mean(1), views.googlenet_views(model, images[:2], SIZE, sides=SIDES), atol=1e-4)
    print(f"{'GoogLeNet, the maximum':32s} {144:5d} {views.top_k_error(each.max(1), test.labels):8.1%}")
    one = [views.top_k_error(each[:, i], test.labels) for i in range(144)]
    print(f"each of the 144 alone: {min(one):.1%} to {max(one):.1%}, on average {np.mean(one):.1%}")
    return errors


# %%
if __name__ == "__main__":
    short = "6 epochs, about a minute"
    model = lesson.load_or_train(build, lambda model: train_briefly(model, lesson.smoke), short=short)
    compare(model)
    print("\nin the paper, top-5 error of one network and of seven:")
    for count, (one, seven) in PAPER.items():
        print(f"  {count:3d} view{'s' if count > 1 else ' '} {one:5.2f} % {seven:5.2f} %")
    lesson.next(why="is all this better than a plain network?")
