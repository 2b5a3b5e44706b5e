# %% [markdown]
# # R-CNN 10: four steps
#
# minutes 15 | needs step9_look_inside.py | next exercises.py
#
# Step 8 trained Faster R-CNN in one go, as the authors did later. In the paper the two networks come to share their
# convolutions in four steps:
#
# 1. Train the region proposal network, with convolutions of its own.
# 2. Train a Fast R-CNN on its proposals, again with convolutions of its own. Nothing is shared yet.
# 3. Put Fast R-CNN's convolutions under a new region proposal network, as they are; train its three layers.
# 4. Train Fast R-CNN's own layers on the new proposals. Now both stand on the same convolutions.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
from scenes06 import dataset
from step8_train import build, judge
from step9_look_inside import detector

import tinyconv
from tinyconv.detection.alternating import proposals_of, with_proposals
from tinyconv.detection.training import train_detector
from tinyconv.models.fast_rcnn import fast_rcnn
from tinyconv.models.faster_rcnn import FasterRCNN, initialise_regions
from tinyconv.vision.targets import unpack_targets
from tinyconv.vision.voc_eval import recall_and_mabo

lesson = tinyconv.lesson_step(__name__)
PROPOSALS, DETECTOR = ("rpn_conv", "rpn_score", "rpn_delta"), ("head", "cls_score", "bbox_pred")


# %%
def copy(source: object, target: object, parts: tuple[str, ...]) -> None:
    """Give the target the source's weights of some parts."""
    for part in parts:
        target.get_submodule(part).load_state_dict(source.get_submodule(part).state_dict())


def four_steps(model: FasterRCNN, n: int, epochs: int, tests: int) -> list[float]:
    """Train in four steps by hand; return the recall of 20 proposals after steps 1, 2 and 3, and print it."""
    data, test, recalls = dataset("train", n, seed=lesson.seed), dataset("test", tests, seed=lesson.seed), []
    how = {"epochs": epochs, "seed": lesson.seed, "progress": False}

    def loss_of_proposals(outputs, targets):
        return model.regions_loss(outputs, unpack_targets(targets.numpy()))

    def learn_proposals(*parts):
        own = [p for part in parts for p in model.get_submodule(part).parameters()]
        train_detector(model, data, loss=loss_of_proposals, parameters=own, **how)

    def note(what):
        truths = [truth.boxes for truth in test.truths()]
        recalls.append(recall_and_mabo(proposals_of(model, test, 20), truths)[0])
        print(f"{what}: recall of 20 proposals {recalls[-1]:.3f}", flush=True)

    learn_proposals("backbone", *PROPOSALS)
    note("1. proposals, alone")
    fast = fast_rcnn(10, scale="lesson")
    fast.sampling = model.sampling
    train_detector(fast, with_proposals(data, proposals_of(model, data)), **how)
    copy(fast, model, ("backbone", *DETECTOR))
    note("2. step 1's proposal layers over the detector's convolutions")
    initialise_regions(model)
    for network in (model, fast):
        for parameter in network.backbone.parameters():
            parameter.requires_grad_(False)
    learn_proposals(*PROPOSALS)
    note("3. proposals, on the detector's convolutions")
    train_detector(fast, with_proposals(data, proposals_of(model, data)), **how)
    copy(fast, model, DETECTOR)
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(True)
    return recalls


# %% [markdown]
# The line of 2 says why step 3 is needed: layers that were trained on other convolutions find less than half as much on
# these, though both networks have seen the same images. `tinyconv.detection.alternating` does the four steps in one
# call, and ends with the same weights.
#
# Then four steps beside one, on a part of the scenes (the network of step 8 has seen all). `claims.py` measures it on
# all of them, with 2,000 steps each, and three seeds.

# %%
if __name__ == "__main__":
    n, tests, epochs = (8, 4, 1) if lesson.smoke else (300, 200, 4)
    tinyconv.manual_seed(lesson.seed)
    model, began = build("faster_rcnn"), perf_counter()
    recalls = four_steps(model, n, epochs, tests)
    took = perf_counter() - began
    joint = build("faster_rcnn")
    began = perf_counter()
    train_detector(joint, dataset("train", n, seed=lesson.seed), epochs=2 * epochs, seed=lesson.seed, progress=False)
    rows = {
        f"trained on {n} scenes: four steps of {epochs * n // 2:,}": (model.eval(), f"{took:.0f}"),
        f"trained on {n} scenes: joint, {epochs * n:,} steps": (joint.eval(), f"{perf_counter() - began:.0f}"),
    }
    if not lesson.smoke:
        rows["trained on 1,000 scenes: joint (step 8)"] = (detector("faster_rcnn", lesson), "")
    scores = {name: judge(m, tests, [], lesson.seed) for name, (m, _) in rows.items()}
    print(f"\n{f'{tests} test scenes':44s}mAP, 11-point   all-point   seconds")
    for name, found in scores.items():
        print(f"{name:44s}{found.mean_eleven_point:13.3f} {found.mean_all_point:11.3f} {rows[name][1]:>9s}")
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    axes[0].bar(["after 1", "after 2", "after 3"], recalls, color=["C0", "C3", "C0"])
    axes[0].set(title="recall of 20 proposals", ylim=(0, 1))
    axes[1].barh(list(scores)[::-1], [found.mean_eleven_point for found in scores.values()][::-1])
    axes[1].set(title="11-point mAP", xlim=(0, 1))
    lesson.save(
        fig, "four_steps", alt="recall of proposals after each of three steps; precision of joint and stepwise training"
    )
    lesson.next("exercises.py", why="write these parts yourself")
