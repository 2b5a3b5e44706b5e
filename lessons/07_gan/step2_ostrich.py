# %% [markdown]
# # GAN 2: everything is an ostrich
#
# minutes 25 | needs step1_fooled.py | next step3_adversarial_training.py
#
# Szegedy and others (2013) did not ask for one step but for the *smallest* change that makes a network see a class of
# their choice, within the box of pixels:
#
#     min |r|_2    such that    f(x + r) = l    and    0 <= x + r <= 1
#
# AlexNet then saw an ostrich in a bus, a temple and a dog, at a distortion (root mean square change of a pixel) of
# 0.0065 in the mean. Here every digit becomes an 8. For a linear classifier the answer is a formula, so it comes first.

# %%
import matplotlib.pyplot as plt
import numpy as np
from digits07 import SZEGEDY, TEST, TRAIN, digits, judge, noise_like, szegedy

import tinyconv
from tinyconv import nn
from tinyconv.explain.adversarial import scores, transfer_matrix
from tinyconv.explain.minimal import linear_distance, minimal_attack
from tinyconv.views import probabilities

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## A linear classifier: a formula
#
# With scores z = W x + b the class k of x and another class l are level on a plane, where (w_k - w_l) . x + b_k - b_l
# is 0. The way there is straight along w_l - w_k, and the distance (z_k - z_l) / |w_k - w_l|. The smallest change to
# *any* other class goes to the nearest of these planes; that need not be the class with the second largest score.


# %%
def nearest(x, weight, bias):
    """Return the smallest change r (N, F) that takes each x to the border of its class."""
    z, rows = x @ weight.T + bias, np.arange(len(x))
    own = z.argmax(axis=1)
    gap, normal = z[rows, own][:, None] - z, weight[own][:, None] - weight
    length = np.linalg.norm(normal, axis=2)
    length[rows, own] = 1.0  # a class is no neighbour of its own
    far = gap / length
    far[rows, own] = np.inf
    other = far.argmin(axis=1)
    return -(gap[rows, other] / length[rows, other] ** 2)[:, None] * normal[rows, other]


plane = nn.Sequential(nn.Linear(2, 3, dtype=np.float64))  # three classes of "images" with two pixels
plane[0].weight.data[...], plane[0].bias.data[...] = [[0, 0], [6, -1], [2, 5]], [0, -2, -3]
points = np.array([[0.15, 0.2], [0.45, 0.04], [0.7, 0.25], [0.95, 0.6], [0.3, 0.85], [0.1, 0.6], [0.02, 0.75]])
weight, bias = plane[0].weight.detach().numpy(), plane[0].bias.detach().numpy()
free, inside = nearest(points, weight, bias), minimal_attack(plane, points, loss="margin").images - points
print("two pixels: point, class, |r| by the formula, by search, and by search in the box")
searched = minimal_attack(plane, points, loss="margin", clip=None).images - points
for x, *ways in zip(points, free, searched, inside, strict=True):
    lengths = "  ".join(f"{np.linalg.norm(r):.4f}" for r in ways)
    print(f"  {x}  {scores(plane, x[None]).argmax()}   {lengths}")
assert np.allclose(np.linalg.norm(free, axis=1), linear_distance(weight, bias, points, scores(plane, points).argmax(1)))

# %% [markdown]
# The search is what networks need, for which there is no formula: descend c |r|^2 + loss(x + r, l) inside the box, with
# the largest c that still reaches the class, found for each image by trying. (The paper took L-BFGS.) Where the
# straight way leaves the box, as for one point here, it comes out longer than the formula's.
#
# ## Digits
#
# FC10 is softmax regression, with three weight decays; FC100-100-10 has two layers of 100 sigmoids. In the paper, on
# all of MNIST, the distortion at which nothing is read rightly any more is .062, .1, .14 for FC10 with decays of 1e-4,
# 1e-2, 1, and .058 for FC100-100-10. Here the goal is another, an 8 for each digit that is none.

# %%
training, test = digits("train", 500 if lesson.smoke else TRAIN), digits("test", 60 if lesson.smoke else TEST)
is_other = test.labels != 8
images, labels = test.images[is_other], test.labels[is_other]
models, made = {}, {}
print(f"\n{len(labels)} digits, wanted: 8       error: training, test   success   distortion: mean, largest")
for name in SZEGEDY:
    models[name] = szegedy(name, training, epochs=2 if lesson.smoke else 20, seed=lesson.seed)
    found = minimal_attack(models[name], images, 8)
    made[name] = found.images
    wrong = [judge(models[name], part.images, part.labels)[0] for part in (training, test)]
    print(f"{name:24s} {wrong[0]:13.1%} {wrong[1]:6.1%}", end="")
    print(f" {found.success.mean():10.1%} {found.distortion.mean():12.3f} {found.distortion.max():7.3f}")

# %% [markdown]
# ## Who else is fooled?
#
# The change is made for one network. Szegedy and others found that networks of other widths, and networks trained on
# other images, are wrong on it, too, and more often than on noise. So it is no accident of one network's weights. Each
# row is what the images were made for, each column who reads them; noise has in each image the deviation of the change.

# %%
made["noise as for FC10(1e-4)"] = noise_like(images, made["FC10(1e-4)"], lesson.seed)
made["noise as for FC10(1)"] = noise_like(images, made["FC10(1)"], lesson.seed)
made["nothing"] = images
print("\nerror on images made for    " + "".join(f"{name:>14s}" for name in models))
for name, row in zip(made, transfer_matrix(models, made, labels), strict=True):
    print(f"{name:28s}" + "".join(f"{error:14.1%}" for error in row))

# %% [markdown]
# Everything becomes an 8, at a change that FC10 with a strong decay resists longer: its borders are further away, and
# it reads worse for that. Images made for one network fool the others less than itself, since they lie just behind its
# own border, but more than noise as large, which changes nothing.

# %%
fig, axis = plt.subplots(figsize=(5, 5), layout="constrained")
grid = np.stack(np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 1, 300)), -1).reshape(-1, 2)
colours = plt.matplotlib.colors.ListedColormap(["#cfe3f5", "#fde0c5", "#d5ecd0"])
axis.imshow(scores(plane, grid).argmax(1).reshape(300, 300), origin="lower", extent=(0, 1, 0, 1), cmap=colours)
for x, r, within in zip(points, free, inside, strict=True):
    axis.annotate("", x + r, x, arrowprops={"arrowstyle": "->", "color": "C3", "shrinkA": 0, "shrinkB": 0})
    if not np.allclose(r, within, atol=1e-3):
        axis.annotate("", x + within, x, arrowprops={"arrowstyle": "->", "ls": "--", "shrinkA": 0, "shrinkB": 0})
axis.plot(*points.T, "ko")
axis.set(title="the shortest way out (dashed: inside the box)", xlabel="pixel 1", ylabel="pixel 2", xlim=(-0.15, 1.05))
lesson.save(fig, "nearest", alt="seven points in three regions, from each an arrow straight to the nearest border")
fig, axes = plt.subplots(2, 9, figsize=(12, 3.2), layout="constrained")
right = scores(models["FC10(1e-4)"], images).argmax(1) == labels  # of each digit the first that is read rightly
chosen = [np.argmax((labels == digit) * (1 + right)) for digit in range(10) if digit != 8]
for line, name in zip(axes, ("FC10(1e-4)", "FC100-100-10"), strict=True):
    before, after = (probabilities(scores(models[name], x[chosen])) for x in (images, made[name]))
    for axis, i, p, q in zip(line, chosen, before, after, strict=True):
        axis.imshow(made[name][i, 0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"was {p.argmax()}, is {q.argmax()}: {q.max():.0%}", fontsize=8)
        axis.axis("off")
    line[0].set_title(f"{name}:\n{line[0].get_title()}", fontsize=8)
lesson.save(fig, "eights", alt="nine digits that are not 8 and look like themselves, all read as 8 by two networks")
lesson.next(why="can a network learn to resist?")
