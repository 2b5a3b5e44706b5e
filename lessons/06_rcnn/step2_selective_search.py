# %% [markdown]
# # R-CNN 2: where to look at all
#
# minutes 30 | needs step1_boxes.py | next step3_rcnn.py
#
# A picture of 64x64 pixels has four million boxes, a photograph billions. R-CNN's network looks at the hundreds or
# thousands that selective search proposes (Uijlings et al. 2013). It knows no classes: it cuts the picture into regions
# of like colour, merges the two neighbours that are most alike, again and again, until one is left, and proposes the
# box around each region that was there on the way. So objects of every size turn up.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from scenes06 import proposals, scenes

import tinyconv
from tinyconv.data import photographs
from tinyconv.models.backbones import SEARCH
from tinyconv.vision.colour_spaces import colour_space
from tinyconv.vision.selective_search import felzenszwalb, hierarchy, selective_search
from tinyconv.vision.voc_eval import recall_and_mabo

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## First regions (Felzenszwalb and Huttenlocher 2004)
#
# Every pixel begins as a region of its own. All edges between neighbouring pixels, with their difference in colour as
# weight, come by in ascending order. An edge merges the regions A and B at its ends if its weight is at most
#
#     min(Int(A) + k / |A|, Int(B) + k / |B|)        Int(A): the largest weight that has merged something inside A
#
# A small region merges easily, a large one only with what hardly differs; a restless one forgives more.


# %%
def neighbours(a):
    """Return what an array (H, W) holds at both ends of every edge between 8-neighbours."""
    pairs = [(a[:, :-1], a[:, 1:]), (a[:-1], a[1:]), (a[:-1, :-1], a[1:, 1:]), (a[1:, :-1], a[:-1, 1:])]
    return (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))


def segment(gray, k):
    """Return labels (H, W) of a gray image of 0 to 255; each region has a root, which its pixels lead to."""
    N, (one, other) = gray.size, neighbours(gray.astype(float))
    (first, second), weight = neighbours(np.arange(N).reshape(gray.shape)), abs(one - other)
    root, size, inner = list(range(N)), [1] * N, [0.0] * N

    def find(i):
        return i if root[i] == i else find(root[i])

    for e in np.argsort(weight, kind="stable"):
        a, b = find(first[e]), find(second[e])
        if a != b and weight[e] <= min(inner[a] + k / size[a], inner[b] + k / size[b]):
            root[b], size[a], inner[a] = a, size[a] + size[b], weight[e]
    return np.unique([find(i) for i in range(N)], return_inverse=True)[1].reshape(gray.shape)


halves = np.repeat([[0, 0, 100, 100]], 4, axis=0)
for k in (799, 800):  # k / 8 is what a half of 8 pixels forgives
    found, theirs = segment(halves, k), felzenszwalb(halves / 255, k, sigma=0, min_size=1)
    print(f"4x4 pixels, left 0, right 100, k = {k}: {found.max() + 1} regions, the library's {theirs.max() + 1}")

# %% [markdown]
# ## A tree of regions
#
# Likeness of two neighbours is a sum of up to four numbers in [0, 1]: *colour* and *texture* (what their histograms
# have in common), *size* (1 - their share of the image, so that small ones merge first), and *fill* (1 - the share of
# the gaps in the box around both, so that a region merges with what lies in it). A merged histogram is the mean of the
# two, weighted by their sizes: it needs no pixels. n regions give 2n - 1 boxes. The loop for colour + size + fill:


# %%
def group(boxes, sizes, colours, pairs, area):
    """Merge until one region is left; the lists grow. ``pairs`` are those of neighbours."""

    def likeness(pair):
        i, j = pair
        around = np.prod(np.maximum(boxes[i], boxes[j])[2:] - np.minimum(boxes[i], boxes[j])[:2])
        size, fill = 1 - (sizes[i] + sizes[j]) / area, 1 - (around - sizes[i] - sizes[j]) / area
        return np.minimum(colours[i], colours[j]).sum() + size + fill

    alike = {pair: likeness(pair) for pair in pairs}
    while alike:
        i, j = max(alike, key=alike.get)
        boxes.append(np.r_[np.minimum(boxes[i], boxes[j])[:2], np.maximum(boxes[i], boxes[j])[2:]])
        sizes.append(sizes[i] + sizes[j])
        colours.append((sizes[i] * colours[i] + sizes[j] * colours[j]) / sizes[-1])
        around = {n for pair in alike if pair != (i, j) and {i, j} & set(pair) for n in pair} - {i, j}
        alike = {pair: value for pair, value in alike.items() if not {i, j} & set(pair)}
        alike |= {pair: likeness(pair) for pair in ((n, len(boxes) - 1) for n in around)}


labels = felzenszwalb(image := scenes("test", 4).images[3], 50, min_size=8)
tree, n = hierarchy(image, labels, "csf"), labels.max() + 1
pairs = {(int(min(pair)), int(max(pair))) for pair in zip(*neighbours(labels), strict=True) if pair[0] != pair[1]}
boxes, sizes, colours = list(tree.boxes[:n]), list(tree.sizes[:n]), list(tree.colours[:n])
group(boxes, sizes, colours, pairs, labels.size)
same = np.array_equal(boxes, tree.boxes) and np.allclose(colours, tree.colours)
print(f"\na scene: {n} regions, so {len(boxes)} boxes; boxes and histograms equal to the library's: {same}")
fig, axes = plt.subplots(2, 5, figsize=(14, 5.2), layout="constrained", subplot_kw={"xticks": [], "yticks": []})
photograph = photographs()[0][0][:, :: 1 + lesson.smoke, :: 1 + lesson.smoke]
for row, picture, ks, counts in ((axes[0], image, (50, 100), (12, 5)), (axes[1], photograph, (100, 500), (20, 8))):
    row[0].imshow(picture.transpose(1, 2, 0))
    shown = {k: felzenszwalb(picture, k, min_size=min(k, picture.size // 1500)) for k in ks}
    up = hierarchy(picture, shown[ks[1]])
    shown |= {f"merged to {count}": up.level(count)[shown[ks[1]]] for count in counts}
    for axis, (title, regions) in zip(row[1:], shown.items(), strict=True):
        total = np.stack([np.bincount(regions.ravel(), plane.ravel()) for plane in picture], axis=1)
        axis.imshow((total / np.maximum(np.bincount(regions.ravel())[:, None], 1))[regions])
        axis.set_title(title if title not in ks else f"k = {title}: {regions.max() + 1} regions")
lesson.save(fig, "segments", alt="a scene and a photograph: regions in their mean colours, from many to a few")

# %% [markdown]
# ## Many trees, one list
#
# One tree is one opinion. R-CNN took 8: two k, two colour spaces, with and without colour; we take 4. Each box gets a
# rank u i: i is 1 at the top of its tree, 2 below it, ..., u is drawn from [0, 1); all are sorted by it. Is each object
# met by one of the first so many (IoU of at least 0.5)? Beside: first regions, of the same segmentations; random boxes.

# %%
n, draw, how = 10 if lesson.smoke else 200, lesson.rng.uniform, SEARCH["lesson"]
found = {"selective search": proposals(lesson.out, "test", n, top=1000), "first regions": [], "random": []}
for picture in scenes("test", n).images:
    flat, spaces = [], [colour_space(picture, name) / 255 for name in how["colours"]]
    for labels in (felzenszwalb(planes, k, min_size=how["min_size"]) for planes in spaces for k in how["k"]):
        pixels = [np.argwhere(labels == region)[:, ::-1] for region in range(labels.max() + 1)]
        flat += [np.r_[at.min(0), at.max(0) + 1] for at in pixels]
    flat = lesson.rng.permutation(np.unique(flat, axis=0))
    found["first regions"].append(flat[(flat[:, 2:] - flat[:, :2] >= how["min_side"]).all(1)])
    found["random"].append(np.hstack([corner := draw(0, 44, (400, 2)), corner + draw(10, 28, (400, 2))]))
tops, truths = (5, 10, 20, 50, 100, 200, 400), [scenes("test", n).truth(i).boxes for i in range(n)]
print(f"\n{n} test scenes, recall (IoU 0.5) of the first{''.join(f'{top:7d}' for top in tops)}   mean best IoU of 100")
fig, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained", width_ratios=(1, 1.5, 1.2))
for name, boxes in found.items():
    recalls = [recall_and_mabo(boxes, truths, top=top)[0] for top in tops]
    name = f"{name}, {np.mean(list(map(len, boxes))):.0f} boxes in the mean"
    print(f"  {name:42s}{''.join(f'{r:7.3f}' for r in recalls)}   {recall_and_mabo(boxes, truths, top=100)[1]:.3f}")
    axes[2].plot(tops, recalls, "o-", label=name)
    axes[2].legend()
axes[2].set(xscale="log", xlabel="first boxes of a scene", ylabel="recall (IoU 0.5)", xticks=tops, xticklabels=tops)
pictures = (image, found["selective search"][3]), (photograph, selective_search(photograph, mode="fast"))
for axis, (picture, boxes) in zip(axes, pictures, strict=False):
    axis.imshow(picture.transpose(1, 2, 0), extent=(0, picture.shape[2], picture.shape[1], 0))
    for box in boxes[:30]:
        axis.add_patch(Rectangle(box[:2], *(box[2:] - box[:2]), fill=False, ec="white", lw=0.8))
    axis.set(title=f"the first 30 of this picture's {len(boxes)} boxes", xticks=[], yticks=[])
lesson.save(fig, "proposals", alt="boxes on a scene and on a photograph; recall grows to 1 with the number of boxes")
lesson.next(why="the boxes meet a network")
