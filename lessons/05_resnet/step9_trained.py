# %% [markdown]
# # ResNet 9: networks that were trained to the end
#
# minutes 15 | needs step8_look_inside.py | next step10_rir.py
#
# Step 8 looked into a network after 2,198 steps. The paper's figure 7 was made after 64,000, at several depths. Others
# have trained the paper's networks on CIFAR-10 and given their weights away; with these the figure can be made again.
#
#     tinyconv data get cifar10
#     tinyconv data get resnet20           and the same with resnet56 and resnet110
#
# Without them this step only says so. (Nothing of them is run: they are read as numbers, see `tinyconv data --help`.)

# %%
import matplotlib.pyplot as plt
import numpy as np
from step8_look_inside import one_less, responses

import tinyconv
from tinyconv import models, views
from tinyconv.data import from_description, store
from tinyconv.lesson import Lesson

lesson = tinyconv.lesson_step(__name__)
DEPTHS = (20, 56, 110)
PAPER = {20: 8.75, 56: 6.97, 110: 6.43}  # table 6: error in %


def missing() -> list[str]:
    """Return what has to be fetched first."""
    wanted = ["cifar10", *(f"resnet{depth}" for depth in DEPTHS)]
    return [name for name in wanted if not store.place(name).is_file()]


def trained(depth: int) -> models.ResNet:
    """Return a network with the weights that others trained."""
    return tinyconv.load(store.stored(f"resnet{depth}")).eval()


def prepared(model: models.ResNet, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n of CIFAR-10's test images as the network takes them, and their labels."""
    test = store.dataset("cifar10", "test")
    view = from_description(model.meta["transform"])
    return np.stack([view(test[i][0]) for i in range(n)]), np.array([test[i][1] for i in range(n)])


# %% [markdown]
# ## Responses, again
#
# The standard deviation of what each 3x3 layer gives, after BN, before ReLU or sum. In the paper it is the smaller the
# deeper the network: the more blocks there are, the less each has to change.


# %%
def draw_responses(lesson: Lesson) -> plt.Figure:
    """Draw the responses of the three networks; print their errors and mean responses."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.7), layout="constrained", sharey=True)
    n = 20 if lesson.smoke else 1000
    print(f"{n} test images of CIFAR-10\nlayers   error   in the paper (10,000 images)   mean deviation after BN")
    for depth in DEPTHS[:1] if lesson.smoke else DEPTHS:
        model = trained(depth)
        images, labels = prepared(model, n)
        sizes = np.array(list(responses(model, images[:300]).values()))
        error = views.top_k_error(views.outputs(model, images), labels)
        print(f"{depth:6d} {error:7.1%} {PAPER[depth]:14.2f} % {sizes.mean():36.3f}", flush=True)
        axes[0].plot(np.linspace(0, 1, len(sizes)), sizes, label=f"ResNet-{depth}")
        axes[1].plot(np.linspace(0, 1, len(sizes)), np.sort(sizes)[::-1], label=f"ResNet-{depth}")
    axes[0].set(title="standard deviation after BN", xlabel="layer, from the first (0) to the last (1)", ylim=(0, None))
    axes[1].set(title="the same, sorted", xlabel="rank, from the largest (0) to the smallest (1)")
    axes[1].legend()
    return fig


# %% [markdown]
# ## One block less, again
#
# ResNet-56 has 27 blocks, and every block can be left out on its own. Which ones does it miss?


# %%
def draw_one_less(lesson: Lesson) -> plt.Figure:
    """Draw the error without each of the blocks, and print the worst."""
    depth, n = (20, 20) if lesson.smoke else (56, 300)
    model = trained(depth)
    images, labels = prepared(model, n)
    whole, errors = views.top_k_error(views.outputs(model, images), labels), one_less(model, images, labels)
    worst = sorted(errors, key=lambda block: -errors[block])[:4]
    print(f"\nResNet-{depth}, {n} test images: error {whole:.1%}")
    middle, named = np.median(list(errors.values())), ", ".join(f"{block} {errors[block]:.0%}" for block in worst)
    print(f"without one of the {len(errors)} blocks: {middle:.1%} or less for half of them; the worst {named}")
    fig, axis = plt.subplots(figsize=(9, 3.5), layout="constrained")
    axis.bar(range(len(errors)), [100 * error for error in errors.values()])
    axis.axhline(100 * whole, color="C3", ls=":", label="with all blocks")
    axis.set_xticks(range(len(errors)), [block.removeprefix("conv") for block in errors], rotation=90, fontsize=8)
    axis.set(title=f"error of ResNet-{depth} without one of its blocks (%)", xlabel="block taken out")
    axis.legend()
    return fig


# %%
if __name__ == "__main__":
    if missing():
        for name in missing():
            print(f"not here: {name} ({store.how_to_get(name)})")
        print("nothing was shown: fetch them, then run this step again")
    else:
        alt = "deviations after BN in the layers of trained ResNets of 20, 56 and 110 layers, in order and sorted"
        lesson.save(draw_responses(lesson), "responses_trained", alt=alt)
        alt = "without one block the error is close to that with all, but for a few, most the first of the second stage"
        lesson.save(draw_one_less(lesson), "one_block_less_trained", alt=alt)
    lesson.next(why="two streams in one network")
