# %% [markdown]
# # Captions 7: a network that speaks
#
# minutes 30 | needs step6_segments.py | next step8_metrics.py
#
# A recurrent network reads START and says how likely each word is to come first. It reads that word and says what comes
# second, and so on, until it says END. Before the first word it has seen the scene. Here that is a layout: which digits
# are where, as the true boxes have it (a detector's come in step 9), so that only the sentences have to be learnt.

# %%
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scenes08 import TEST, TRAIN, scenes
from sentences08 import SAME, build, learn, pairs_of, right, said, true_layouts, unigram_perplexity, wordiness, words_of

import tinyconv
from tinyconv.captioning.beside import SILENT
from tinyconv.captioning.pages import described
from tinyconv.captioning.training import PerplexityCheck
from tinyconv.captioning.tree import beam_tree
from tinyconv.models.caption import Caption, bias_to_frequencies, caption_loss

lesson = tinyconv.lesson_step(__name__)
EPOCHS = 15

# %% [markdown]
# ## The network by hand
#
# h_t = ReLU(W_hx x_t + W_hh h_{t-1} + b_h + b_v), where x_t is the vector of the word before and b_v = W_hi scene is
# added at the first step only; y_t = softmax(W_oh h_t + b_o). A sentence costs the sum of -log y_t[the true next word],
# and after its last word the true next word is END. Word 0 is START where it is read and END where it is said.


# %%
def by_hand(model: Caption, scene: np.ndarray, words: list[int]) -> float:
    """Return what a sentence costs for one scene, step by step."""
    w = {name: p.detach().numpy().astype(float) for name, p in model.named_parameters()}
    h, cost = np.zeros(len(w["hidden.weight"])), 0.0
    for t, (word, next_word) in enumerate(zip([0, *words], [*words, 0], strict=True)):
        x = w["enter.weight"] @ w["word.weight"][word] + w["hidden.weight"] @ h + w["hidden.bias"]
        if t == 0:
            x = x + w["image.weight"] @ scene
        h = np.maximum(x, 0)
        scores = w["leave.weight"] @ h + w["leave.bias"]
        scores = scores - scores.max()
        cost -= scores[next_word] - np.log(np.exp(scores).sum())
    return cost


# %% [markdown]
# ## One scene by heart
#
# Before much is learnt, one scene: can the network say its sentences? With k different ones, all of them right, the
# best it can do is to give each the probability 1/k. The cost cannot fall below log k, and it should get there.


# %%
def memorise(found: Any, features: np.ndarray, words: Any, epochs: int) -> None:
    """Teach a new generator one scene's sentences and nothing else; print what it then says."""
    pairs, k = pairs_of(features[:1], found, words), len(found.sentences[0])
    model = build(words, features.shape[1], lesson.seed)
    history = learn(model, pairs, words, lesson.seed, epochs=epochs)
    costs = history.rows[0]["train_loss"], history.rows[-1]["train_loss"]
    print(f"\none scene, {k} sentences: cost {costs[0]:.2f} to {costs[1]:.2f}, log {k} is {np.log(k):.2f}")
    for hypothesis in model.generate(features[:1], 7)[0].hypotheses[: k + 1]:
        text = model.decode(hypothesis.words)
        mine = "its own" if text in found.sentences[0] else "not its own"
        print(f"  {np.exp(hypothesis.log_probability):.3f}  {text or SILENT} ({mine})")


# %% [markdown]
# ## Three ways to keep what was seen
#
# In the paper the scene is added at the first step only, and the state has to keep it. "RNN, always" adds b_v at every
# step, so that nothing of it need be kept. An LSTM has a second state c, which it does not multiply by a matrix: gates
# between 0 and 1 say how much of c stays (f), how much is added (i) and how much of it is shown (o).
#
#     i, f, o = sigmoid(W x_t + U h_{t-1} + b)    g = tanh(W x_t + U h_{t-1} + b)    each with its own W, U and b
#     c_t = f c_{t-1} + i g                       h_t = o tanh(c_t)                  element by element
#
# Where f is near 1, c's gradient comes back as it is. Ours is told the scene as if it were a word before START.
#
# ## Saying the most probable sentence
#
# Taking the most probable word each time is a beam of 1. It may begin well and be stuck with an improbable rest. A beam
# of 7 keeps the seven best beginnings; what has ended stays among them. Log probabilities are compared as they are, so
# short sentences, which multiply fewer numbers, have an advantage. In the figures: word, log probability so far; +6:
# continuations left out; 1., 2. ...: rank at the end.
#
# A probable sentence need not be true. Compare what is spoken with the scenes: often a size or a place is wrong.


# %%
if __name__ == "__main__":
    sizes = (60, 8) if lesson.smoke else (TRAIN, TEST)
    train, test = (scenes(split, n, lesson.seed) for split, n in zip(("train", "test"), sizes, strict=True))
    words = words_of(lesson.seed, sizes[0])
    known, seen = true_layouts(train), true_layouts(test)
    pairs, others = pairs_of(known, train, words), pairs_of(seen, test, words)

    model = build(words, known.shape[1], lesson.seed)
    ids = pairs.words[:1]
    cost = caption_loss(model(tinyconv.tensor(known[:1]), ids), ids).item()
    hand = by_hand(model, known[0], [int(k) for k in ids[0] if k >= 0])
    print(f"cost of '{train.sentences[0][0]}': by hand {hand:.5f}, the library's {cost:.5f}")
    print(f"\nperplexity of the training sentences; {len(words)} words")
    print(f"  a new network {wordiness(model, known, pairs):.2f}")
    bias_to_frequencies(model, words)
    print(f"  b_o: log frequencies {wordiness(model, known, pairs):.2f}; the unigrams' {unigram_perplexity(words):.2f}")

    one = scenes("test", 1, lesson.seed)
    memorise(one, seen, words, 5 if lesson.smoke else 300)

    fig, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    models, ends, epochs = {}, {}, 1 if lesson.smoke else EPOCHS
    print(f"\n{len(pairs):,} sentences of {len(train):,} scenes, {epochs} epochs; perplexity")
    for kind, name in (("first", "RNN"), ("always", "RNN, always"), ("lstm", "LSTM")):
        models[name], began = build(words, known.shape[1], lesson.seed, kind), perf_counter()
        check = PerplexityCheck(seen[others.image_of], others.words)
        rows = learn(models[name], pairs, words, lesson.seed, epochs=epochs, callbacks=[check]).rows
        took, ends[name] = perf_counter() - began, rows[-1]["test_perplexity"]
        axis.plot([row["epoch"] for row in rows], [row["test_perplexity"] for row in rows], "o-", label=name)
        print(f"  {name:11s} training {wordiness(models[name], known, pairs):.2f}, test {ends[name]:.2f}, {took:.0f} s")
    axis.set(title="a true sentence's words, given those before", xlabel="epoch", ylabel="perplexity, test scenes")
    axis.legend()
    lesson.save(fig, "perplexity", alt="perplexity of test sentences by epoch for three networks")

    name = min(ends, key=lambda name: ends[name])
    best, spoken = models[name], {beam: said(models[name], seen, beam) for beam in (1, 7)}
    log = {beam: values for beam, (_, values) in spoken.items()}
    print(f"\n{name}: mean log probability of what is said, beam 1 {log[1].mean():.2f}, beam 7 {log[7].mean():.2f}")
    gain = log[7] - log[1]
    better, worse = (gain > SAME).mean(), (gain < -SAME).mean()
    print(f"  beam 7 is better in {better:.0%} of {len(test)} scenes, worse in {worse:.0%}")
    print("  named digits are there in {:.1%}, all is true in {:.1%}".format(*right(spoken[7][0], test, lesson.seed)))
    i = int(gain.argmax())
    for width in spoken:
        beam = best.generate(seen[i : i + 1], width)[0]
        title = f"beam {width}; a true sentence: {test.sentences[i][0]}"
        alt = f"a tree of words from START, beam {width}; the best path says: {best.decode(beam.best.words)}"
        figure = beam_tree(beam, words.words, most=20 if width == 1 else 45, title=title)
        lesson.save(figure, f"beam-{width}", alt=alt)
    texts, values = (found[:8] for found in spoken[7])
    notes = [f"log probability {value:.2f}" for value in values]
    page = described(test.scenes.images[:8], texts, [of[0] for of in test.sentences[:8]], notes=notes)
    lesson.save(page, "spoken", alt="eight test scenes, what the network says of each, and a true sentence")
    lesson.next(why="how good is a sentence?")
