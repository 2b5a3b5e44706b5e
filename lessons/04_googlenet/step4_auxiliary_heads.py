# %% [markdown]
# # GoogLeNet 4: classifiers on the way
#
# minutes 20 | needs step3_costs.py | next step5_no_fully_connected.py
#
# Twenty-two layers, no batch normalisation (it did not exist yet): will the gradient reach the first of them? GoogLeNet
# puts two more classifiers on the way, behind modules 4a and 4d, and trains on
#
#     loss = main + 0.3 aux1 + 0.3 aux2
#
# After training they are thrown away. This step computes what they do to the gradients.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv import models
from tinyconv.data import fashion_mnist, photographs
from tinyconv.models.googlenet import AUX_WEIGHT, GoogLeNet
from tinyconv.nn import functional as F
from tinyconv.random import training_step

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## A head
#
# Average 5x5 with stride *3* (14 becomes 4), 1x1 to 128 maps, 2048 to 1024, dropout of 70 %, 1000 classes (sec. 5).

# %%
full = models.googlenet(device="meta")
for head, channels in (("aux1", 512), ("aux2", 528)):
    rows = tinyconv.summary(getattr(full, head), (channels, 14, 14)).rows
    parts = ", ".join(f"{row.name} {'x'.join(map(str, row.output_shape))}" for row in rows)
    print(f"{head} on {channels}x14x14: {parts}\n  {sum(row.params for row in rows):,d} parameters")
total = sum(p.numel() for p in full.parameters())
trunk = sum(p.numel() for name, p in full.named_parameters() if not name.startswith("aux"))
print(f"in training {total:,d} parameters, afterwards {trunk:,d}: the heads are {1 - trunk / total:.0%}\n")


# %% [markdown]
# ## Losses add, and so do gradients
#
# The derivative is linear. So the gradient of the sum is the gradient of main, plus 0.3 times that of either head, in
# every parameter; checked here in float64, with the same dropout masks each time. Above 4d the heads change nothing:
# they do not depend on 4e.


# %%
def gradients(model: GoogLeNet, images: np.ndarray, labels: np.ndarray, loss) -> dict[str, np.ndarray]:
    """Return the gradient of loss(outputs, labels) by every parameter that it depends on."""
    model.train().zero_grad()
    with training_step(0, np.arange(len(images))):  # step 0: its dropout masks
        loss(model(tinyconv.tensor(images)), tinyconv.tensor(labels)).backward()
    return {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.grad is not None}


LOSSES = {
    "main": lambda outputs, labels: F.cross_entropy(outputs.scores, labels),
    "aux1": lambda outputs, labels: F.cross_entropy(outputs.aux1, labels),
    "aux2": lambda outputs, labels: F.cross_entropy(outputs.aux2, labels),
    "total": GoogLeNet.loss,
}
clothes = fashion_mnist("train")
images, labels = clothes.images[:32] / 255.0, clothes.labels[:32]
images = (images - images.mean()) / images.std()
small = models.googlenet(10, scale="lesson", in_channels=1, width=0.5, dtype=np.float64)
g = {name: gradients(small, images, labels, loss) for name, loss in LOSSES.items()}
worst = 0.0
for name, whole in g["total"].items():
    parts = [weight * g[loss][name] for loss, weight in (("main", 1), ("aux1", AUX_WEIGHT), ("aux2", AUX_WEIGHT))
             if name in g[loss]]  # fmt: skip
    worst = max(worst, float(np.abs(whole - sum(parts)).max() / np.abs(whole).max()))
print(f"{len(g['total'])} parameters: total = main + 0.3 aux1 + 0.3 aux2 but for {worst:.0e} of the largest value")
only = sorted({name.split(".")[0] for name in g["main"]} - {name.split(".")[0] for name in g["aux2"]})
print(f"not reached by aux2: {', '.join(only)}\n")

# %% [markdown]
# ## How large they are
#
# The length of the gradient with respect to the weights of each part, on one batch, before any training: of the main
# loss alone, and of the total. Twice: a small network with He's weights on clothes, and the full-size one with those of
# its Caffe port (Glorot's, biases 0.2; the paper gives none) on windows of two photographs with made-up labels. The
# ratio says how much further the part moves in its first step of plain SGD (Adam's first step does not depend on the
# length); the cosine, whether main and heads pull the same way.


# %%
def by_part(gradient: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights' gradients as one vector for each part of the trunk, from conv1 to 5b."""
    found: dict[str, list[np.ndarray]] = {}
    for name, array in gradient.items():
        part = name.split(".")[0].removeprefix("inception_")
        if array.ndim == 4 and not part.startswith("aux"):
            found.setdefault(part, []).append(array.ravel())
    return {part: np.concatenate(arrays) for part, arrays in found.items()}


def windows(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return windows (count, 3, side, side) of the two photographs, centred, and labels 0 to count - 1."""
    found = []
    for i in range(count):
        picture = photographs()[i % 2][0]
        top, left = (int(lesson.rng.integers(room - side + 1)) for room in picture.shape[1:])
        found.append(picture[:, top : top + side, left : left + side])
    return np.stack(found) - np.float32(0.45), np.arange(count)


width, count = (0.125, 2) if lesson.smoke else (1.0, 8)
big = models.googlenet(width=width)
norms = {}
for name, case in {"small, He": (small, images, labels), "full size, Glorot": (big, *windows(count, 224))}.items():
    main, total = (by_part(gradients(*case, LOSSES[loss])) for loss in ("main", "total"))
    norms[name] = {part: (np.linalg.norm(main[part]), np.linalg.norm(total[part])) for part in main}
    print(f"{name:18s} gradient of main    of the total    ratio   cosine of main and heads")
    for part, (alone, both) in norms[name].items():
        heads = total[part] - main[part]
        cosine = f"{main[part] @ heads / alone / np.linalg.norm(heads):+.2f}" if heads.any() else "no heads"
        print(f"  {part:16s} {alone:16.1e} {both:15.1e} {both / alone:8.1f}   {cosine:>8s}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(12, 3.8), layout="constrained")
for axis, (name, found) in zip(axes, norms.items(), strict=True):
    alone, both = zip(*found.values(), strict=True)
    axis.semilogy(list(found), alone, "o-", label="main alone")
    axis.semilogy(list(found), both, "s-", label="with both heads")
    axis.set(title=f"length of the weights' gradient: {name}")
    axis.tick_params(axis="x", rotation=90)
    axis.legend()
lesson.save(fig, "gradients", alt="up to 4d the gradient with heads is larger than without; from 4e on they are equal")

# %% [markdown]
# In `eval()` the network returns the main scores only, and the heads are not run. Whether they help the training is
# another question than whether they make gradients larger: a higher rate would do that, too. `claims.py` asks it.

# %%
assert isinstance(small.eval()(tinyconv.tensor(images)), tinyconv.Tensor)
lesson.next(why="what a classifier costs without fully connected layers")
