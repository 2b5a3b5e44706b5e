# %% [markdown]
# # Captions 3: words and regions
#
# minutes 30 | needs step2_recurrence.py | next step4_regions.py
#
# Both halves of the alignment model end in vectors of one space: v_i for a region, s_t for a word. If their product is
# large, the word speaks of the region. Nobody says which word speaks of which region; what is known is which sentence
# belongs to which picture. This step has the three formulas that make that enough: for s_t, for the score of a picture
# with a sentence, and for the loss. All by hand, and compared with the library.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scenes08 import TRAIN, vocabulary

import tinyconv
from tinyconv.models.alignment import alignment, ranking_loss
from tinyconv.text import rank, tokenise

lesson = tinyconv.lesson_step(__name__)
words = vocabulary(lesson.seed, 200 if lesson.smoke else TRAIN)
relu = lambda a: np.maximum(a, 0)  # noqa: E731

# %% [markdown]
# ## Words that know their neighbours
#
# The word "big" does not say what is big. So a word's vector has to know the words around it, before it and behind it:
# two recurrent networks read the sentence, one in each direction (BRNN). Word vectors x_t are random and stay so; W_e
# makes of them what is to be read.
#
#     e_t = f(W_e x_t + b_e)    hf_t = f(e_t + W_f hf_{t-1} + b_f)    hb_t = f(e_t + W_b hb_{t+1} + b_b)
#     s_t = f(W_d (hf_t + hb_t) + b_d)        f = ReLU


# %%
def brnn(x: np.ndarray, p: dict[str, np.ndarray], ahead: str = "ahead", back: str = "back") -> np.ndarray:
    """Return s (T, h) of a sentence's word vectors x (T, D) by the parameters of an alignment model."""
    e = relu(x @ p["enter.weight"].T + p["enter.bias"])
    states = np.zeros_like(e)
    for name, order in ((ahead, range(len(x))), (back, range(len(x))[::-1])):
        h = np.zeros(e.shape[1])
        for t in order:
            h = relu(e[t] + p[f"{name}.weight"] @ h + p[f"{name}.bias"])
            states[t] += h
    return relu(states @ p["leave.weight"].T + p["leave.bias"])


tinyconv.manual_seed(lesson.seed)
model = alignment(words.words, features=16, scale="lesson", dtype=np.float64).eval()
p = {name: value.numpy() for name, value in model.state_dict().items()}
TEXT = "a big eight is left of a six"
ids = words.encode(TEXT)
s = brnn(p["word.weight"][ids], p)
with tinyconv.no_grad():
    print(f"{TEXT!r} by hand and the library's s: {np.allclose(s, model.embed_words(ids[None]).numpy()[0])}")
turned = brnn(p["word.weight"][ids[::-1]], p, "back", "ahead")[::-1]
print(f"from behind, both directions exchanged: the same s from behind: {np.allclose(s, turned)}")
other = words.encode(TEXT.replace("six", "one"))
change = np.abs(brnn(p["word.weight"][other], p) - s).sum(axis=1) / np.abs(s).sum(axis=1)
print("six becomes one; each word's s changes by:", end=" ")
print(", ".join(f"{word} {100 * c:.1f} %" for word, c in zip(tokenise(TEXT), change, strict=True)))

# %% [markdown]
# ## The score of a picture with a sentence
#
# Every word looks for the region that fits it best, and what the words find is added up: S = sum_t max_i v_i . s_t. The
# year before (DeFrag), all positive products were added. The difference is who learns. A maximum hands its gradient to
# the region that won, and only to it. So if a word means a region ever so little more than the others, that one gets to
# mean it more: words decide. With the sum, all regions with a positive product move towards the word.
#
# Four words and two regions, with products v_i . s_t as below. Of each s_t, v_i gets as much as the gradient of S at
# their product says. In the figure the regions are six random vectors. Many words choose the same one, since vectors of
# ReLUs point much the same way before training.


# %%
def best(products: np.ndarray) -> tuple[float, np.ndarray]:
    """Return sum_t max_i, and its gradient at the products (T, R): 1 where a region won; of equal ones the first."""
    winners = products.argmax(axis=1)
    return products.max(axis=1).sum(), np.eye(products.shape[1])[winners]


def defrag(products: np.ndarray) -> tuple[float, np.ndarray]:
    """Return sum_t sum_i max(0, .), and its gradient."""
    return relu(products).sum(), (products > 0).astype(float)


products = np.array([[2, 0], [0.9, 1], [2, 0], [0, 3]])
for name, score in (("max", best), ("DeFrag", defrag)):
    total, gradient = score(products)
    print(f"{name:6s} S = {total:.1f}, gradient at the products {gradient.astype(int).tolist()}")
v, sentences = lesson.rng.standard_normal((3, 6, 64)), lesson.rng.standard_normal((3, 8, 64))
scores = np.array([[best(sentence @ regions.T)[0] for sentence in sentences] for regions in v])
with tinyconv.no_grad():
    theirs = model.compare(tinyconv.tensor(v), np.full(3, 6), tinyconv.tensor(sentences), np.full(3, 8)).numpy()
print(f"three pictures with three sentences, by hand and the library's: {np.allclose(scores, theirs)}")

# %% [markdown]
# ## The loss
#
# A batch has B pictures with a sentence each, and all other sentences of the batch are wrong ones for a picture, all
# other pictures wrong ones for a sentence. The right score shall lead by a margin of 1, both ways:
#
#     C = sum_k [ sum_{l != k} max(0, S_kl - S_kk + 1) + sum_{l != k} max(0, S_lk - S_kk + 1) ]
#
# The paper adds up; training and exercise 8.5 take the mean over the pictures, C / B.
# If all scores are equal each term is 1, and C is 2 B (B - 1). A pair with l = k would add 1 whatever is learnt; so it
# is left out. Two sentences of one scene may meet in a batch, and then count as wrong for each other. If a step was too
# long and every ReLU of s_t is off, all scores are 0, and the loss stays at 2 B (B - 1): no gradient leads away.


# %%
def ranking(scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return C, and its gradient at the scores (B, B), pictures in rows."""
    own, others = np.diag(scores), 1 - np.eye(len(scores))
    rows, columns = (relu(scores - own[side] + 1) * others for side in ((slice(None), None), (None, slice(None))))
    pushed = (rows > 0).astype(float) + (columns > 0)
    return (rows + columns).sum(), pushed - np.diag((rows > 0).sum(axis=1) + (columns > 0).sum(axis=0))


if __name__ == "__main__":
    small = np.array([[3, 1, 2.5], [0, 2, 0], [4, 0, 1]])
    tensor = tinyconv.tensor(small, requires_grad=True)
    theirs = ranking_loss(tensor, reduction="sum")
    theirs.backward()
    loss, gradient = ranking(small)
    print(f"\nC of {small.tolist()}: {loss}, gradient {gradient.astype(int).tolist()}")
    print(f"the library's: {theirs.item()}, the same gradient: {np.array_equal(gradient, tensor.grad.numpy())}")
    print("all scores equal: " + ", ".join(f"B = {b}: C = {ranking(np.zeros((b, b)))[0]:.0f}" for b in (2, 10, 100)))
    equal = rank(np.zeros((100, 100)), np.arange(100)).annotation
    print(f"  and R@1 of 100 such pictures is {equal.recall(1):.0f} %, Med r {equal.median:.0f}: ties count as lost")
    fig, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    start, batch = s @ lesson.rng.standard_normal((s.shape[1], 6)), lesson.rng.normal(0, 1, (10, 10)) + 2 * np.eye(10)
    panels = {
        "max": best(start)[1],
        "DeFrag": defrag(start)[1],
        "loss at the scores": ranking(batch)[1],
    }
    for axis, (title, values) in zip(axes, panels.items(), strict=True):
        edge = np.abs(values).max()
        axis.imshow(values, cmap="RdBu_r", vmin=-edge, vmax=edge, aspect="auto")
        axis.set(title=title, xlabel="sentence", ylabel="picture")
        if "loss" not in title:
            axis.set(title=f"{title}; dark: this region\nlearns from this word", xlabel="region", ylabel="")
            axis.set_yticks(range(len(ids)), tokenise(TEXT))
    alt = "each word teaches one region by the maximum, several by DeFrag; the loss raises scores on the diagonal"
    lesson.save(fig, "who_learns", alt=alt)
    lesson.next(why="regions of real scenes")
