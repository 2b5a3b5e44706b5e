"""Exercises of lesson 08: recurrent networks, alignment, sentences. Run ``pytest lessons/08_captioning`` to check them.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition.

Conventions: N sentences of up to T words lie in one array ``(N, T, ...)``; sentence n has ``lengths[n]`` words, 0 to T,
and what lies behind them may be anything, also NaN: it is never used. No function changes what it is handed (kernels
write to their outputs), and none gives a warning. Any way of computing it is right: loops or NumPy.
"""

from collections import Counter

import numpy as np


def rnn_forward(x, weight, h0, lengths, reverse, relu, y):
    """Write all states of a recurrent layer into ``y`` (N, T, H).

        h = f(x[n, t] + weight @ (the state before))        f is ReLU if ``relu``, else tanh

    ``x`` (N, T, H) is what arrives at the units from below, all biases included; ``weight`` is (H, H) with a row for
    each unit; ``h0`` (N, H) is the state before the first step. Sample n takes ``lengths[n]`` steps: t = 0, 1, ... up
    to its last one or, if ``reverse``, from its last one, lengths[n] - 1, down to 0. The state of step t goes into
    ``y[n, t]``. ``y`` may hold anything before; behind a sample's end it becomes 0. ``lengths`` (N,) is int64; N, T and
    every length may be 0. Nothing is returned. This is a kernel: the library's layers can run on it.

    Difficulty 1 of 3, 20 minutes. Hint: samples do not know each other. Begin with zeros in ``y``, then take one sample
    after the other, and carry its state from step to step in a variable of its own.
    """
    # TASK 8.1
    # BEGIN SOLUTION
    y[...] = 0
    for n, length in enumerate(lengths):
        h = h0[n]
        for t in range(length - 1, -1, -1) if reverse else range(length):
            a = x[n, t] + weight @ h
            h = np.maximum(a, 0) if relu else np.tanh(a)
            y[n, t] = h
    # END SOLUTION


def rnn_backward(dy, y, weight, lengths, reverse, relu, dx, dh0):
    """Write the gradients of ``rnn_forward``: ``dx`` (N, T, H), and ``dh0`` (N, H) of the state before the first step.

    ``dy`` (N, T, H) is the loss's gradient at each state, as far as it comes from above; what later steps made of the
    state comes on top. ``y`` (N, T, H) are the states. The slope of tanh is 1 - h^2; that of ReLU is 1 where h > 0,
    else 0. ``dx`` and ``dh0`` may hold anything before; behind a sample's end ``dx`` becomes 0, and ``dy`` is not used
    there. A sample without steps has a ``dh0`` of 0. Nothing is returned. This is a kernel.

    Difficulty 2 of 3, 30 minutes. Hint: go through the steps in the opposite order. At each one, what has come back so
    far and dy add up to the gradient at the state; times the slope it is dx; ``weight.T @ dx`` is what goes back to the
    state before, and behind all of them to h0.
    """
    # TASK 8.2
    # BEGIN SOLUTION
    dx[...] = 0
    for n, length in enumerate(lengths):
        back = np.zeros_like(dh0[n])
        for t in range(length) if reverse else range(length - 1, -1, -1):
            dh = dy[n, t] + back
            dx[n, t] = dh * (y[n, t] > 0) if relu else dh * (1 - y[n, t] ** 2)
            back = weight.T @ dx[n, t]
        dh0[n] = back
    # END SOLUTION


def brnn(x, lengths, enter, ahead, back, leave):
    """Return s (N, T, h): what each word of a sentence means among its neighbours (Karpathy, Fei-Fei 2015, eq. 3 to 6).

        e_t  = f(W_e x_t + b_e)                     enter = (W_e, b_e), (H, D) and (H,)
        hf_t = f(e_t + W_f hf_{t-1} + b_f)          ahead = (W_f, b_f), (H, H) and (H,)
        hb_t = f(e_t + W_b hb_{t+1} + b_b)          back  = (W_b, b_b), (H, H) and (H,)
        s_t  = f(W_d (hf_t + hb_t) + b_d)           leave = (W_d, b_d), (h, H) and (h,)

    with f = ReLU everywhere. ``x`` (N, T, D) are vectors of words. Before a sentence's first word hf is 0, behind its
    last word hb is 0, wherever that is. Behind a sentence's end s is 0. Sizes are at least 1, a length may be 0.

    Difficulty 2 of 3, 25 minutes. Hint: take one sentence after the other, and cut it at its length first: then nothing
    can come in from behind. One loop goes up and one down, and both see the same e.
    """
    # TASK 8.3
    # BEGIN SOLUTION
    s = np.zeros((*x.shape[:2], len(leave[1])), x.dtype)
    for n, length in enumerate(lengths):
        e = np.maximum(x[n, :length] @ enter[0].T + enter[1], 0)
        states = np.zeros_like(e)
        for (weight, bias), steps in ((ahead, range(length)), (back, range(length - 1, -1, -1))):
            h = np.zeros_like(bias)
            for t in steps:
                h = np.maximum(e[t] + weight @ h + bias, 0)
                states[t] += h
        s[n, :length] = np.maximum(states @ leave[0].T + leave[1], 0)
    return s
    # END SOLUTION


def scores(v, counts, s, lengths, dscores):
    """Return (S, dv, ds): how well I pictures fit N sentences, and the gradients of a loss (ibid., eq. 8).

        S[k, l] = sum over the words t of sentence l of  max over the regions i of picture k of  v[k, i] @ s[l, t]

    ``v`` (I, R, h) are vectors of regions; picture k has ``counts[k]`` of them, 1 to R, and rows behind may be
    anything, also NaN. ``s`` (N, T, h) are vectors of words. A sentence without words scores 0. ``dscores`` (I, N) is
    the loss's gradient at S; ``dv`` and ``ds`` are its gradients at v and s, 0 behind a picture's last region and a
    sentence's end. Only the region that wins a word has a share in it, the first of equally good ones.

    Difficulty 2 of 3, 30 minutes. Hint: the best product of a word may be negative, so that rows of zeros behind a
    picture's regions would win; cut them off. The winner's row gets dscores[k, l] times the word's vector, and the word
    dscores[k, l] times the winner's; a region that wins several words gets several, and ``+=`` with an array of indices
    adds once for each index only.
    """
    # TASK 8.4
    # BEGIN SOLUTION
    total, dv, ds = np.zeros_like(dscores), np.zeros_like(v), np.zeros_like(s)
    for k, l in np.ndindex(total.shape):  # noqa: E741  (as in the paper)
        products = v[k, : counts[k]] @ s[l, : lengths[l]].T
        for t, winner in enumerate(products.argmax(axis=0)):
            total[k, l] += products[winner, t]
            dv[k, winner] += dscores[k, l] * s[l, t]
            ds[l, t] += dscores[k, l] * v[k, winner]
    return total, dv, ds
    # END SOLUTION


def ranking_loss(scores, margin=1.0):
    """Return (loss, gradient): by how much pairs that belong together are behind strangers (eq. 9, over B).

        C = 1/B sum_k [ sum_{l != k} max(0, S_kl - S_kk + margin) + sum_{l != k} max(0, S_lk - S_kk + margin) ]

    ``scores`` (B, B) holds S_kl of image k (row) with sentence l (column); sentence k belongs to image k. The first sum
    ranks all sentences for an image, the second all images for a sentence. The paper adds up, and so does step 3; here
    the sum is divided by B. ``gradient`` (B, B) is dC/dS; the slope of
    max(0, m) at m = 0 is taken as 0. A batch of one pair has no stranger: its loss and its gradient are 0.

    Difficulty 2 of 3, 25 minutes. Hint: make two (B, B) arrays of what stands in max(0, ...), the pair's own score
    taken from each row and from each column. An element above 0 pushes its own score down by 1/B and its pair's up by
    1/B. The diagonal is margin in both, though it does not count.
    """
    # TASK 8.5
    # BEGIN SOLUTION
    scores = np.asarray(scores, float)
    b, pairs = len(scores), np.diagonal(scores)
    sentences = scores - pairs[:, None] + margin
    images = scores - pairs[None, :] + margin
    np.fill_diagonal(sentences, 0)
    np.fill_diagonal(images, 0)
    loss = (np.maximum(sentences, 0) + np.maximum(images, 0)).sum() / b
    down, across = (sentences > 0) * 1.0, (images > 0) * 1.0
    gradient = down + across
    gradient[np.arange(b), np.arange(b)] = -(down.sum(axis=1) + across.sum(axis=0))
    return loss, gradient / b
    # END SOLUTION


def retrieval_ranks(scores, image_of):
    """Return (annotation, search): at which place images find their sentences, and sentences their images; 1 is best.

    ``scores`` (I, S) is of image i (row) with sentence s (column), larger is better; ``image_of`` (S,) says which image
    each sentence describes, in any order. Every image has one sentence or more.

        annotation[i] = 1 + number of other images' sentences that score at least as high with image i as its best own
        search[s]     = 1 + number of other images that score at least as high with sentence s as its own image

    So ties count against the model, and an image's second sentence is never in the way of its first. Both are arrays of
    whole numbers, (I,) and (S,).

    Difficulty 1 of 3, 20 minutes. Hint: count, do not sort: a sort puts equal scores in the order in which they came.
    ``scores[image_of, np.arange(S)]`` is what each sentence has with its own image; it is at least itself.
    """
    # TASK 8.6
    # BEGIN SOLUTION
    scores, image_of = np.asarray(scores), np.asarray(image_of)
    mine = image_of[None, :] == np.arange(len(scores))[:, None]
    best = np.where(mine, scores, -np.inf).max(axis=1, keepdims=True)
    annotation = 1 + ((scores >= best) & ~mine).sum(axis=1)
    search = (scores >= scores[image_of, np.arange(len(image_of))]).sum(axis=0)
    return annotation, search
    # END SOLUTION


def viterbi(scores, beta):
    """Return for each word of a sentence its region (T,), where neighbours gain by having the same one (sec. 3.1.4).

    The regions a maximise E(a) = sum_t scores[t, a_t] + beta * (number of t with a_t = a_{t+1}), ``scores`` (T, M),
    ``beta`` 0 or more. Of several best assignments it is the first in the order of tuples: the first word takes the
    smallest region that it can, then the second, and so on. A score may be -inf (a region that the image has not);
    every word has one that is not. Sentences may have a thousand words, so do not try all M^T assignments. No words: an
    empty array of whole numbers.

    Difficulty 3 of 3, 35 minutes. Hint: let V_t(i) be the best that the words from t on can have if word t has region
    i: V_t(i) = scores[t, i] + max(max_k V_{t+1}(k), V_{t+1}(i) + beta), from the last word backwards. Then go forwards:
    the first word takes the best V_1; every further one the best V_t, after its predecessor's region got beta on top.
    """
    # TASK 8.7
    # BEGIN SOLUTION
    best = np.array(scores, float)
    regions = np.zeros(len(best), int)
    for t in range(len(best) - 2, -1, -1):
        best[t] += np.maximum(best[t + 1].max(), best[t + 1] + beta)
    for t in range(len(best)):
        if t > 0:
            best[t, regions[t - 1]] += beta
        regions[t] = best[t].argmax()
    return regions
    # END SOLUTION


def caption_cost(logits, words):
    """Return (cost, gradient): what a generator pays for its sentences, and the cost's gradient at its scores.

    ``logits`` (N, T + 1, V) are the scores of every next word: ``logits[n, t]`` after START and the first t words of
    sentence n. ``words`` (N, T), integers, holds the sentences' words, -1 after their end; a sentence may be empty, or
    as long as T. At every step the true next word is to be said, and behind the last one END, which is word 0:

        cost = 1 / N sum_n sum_t -log softmax(logits[n, t])[true next word]        t = 0 .. length of n

    Steps after END cost nothing, and their gradient is 0, whatever their scores are, NaN included. ``gradient`` has the
    shape of ``logits``. Scores may be in the thousands.

    Difficulty 2 of 3, 25 minutes. Hint: write the true next words as an array (N, T + 1) first, and put END where each
    sentence ends. The gradient of a step is softmax(logits) - onehot(true next word), over N. NaN * 0 is NaN: choose
    the steps that count before you compute, or put 0 there afterwards.
    """
    # TASK 8.8
    # BEGIN SOLUTION
    words = np.asarray(words)
    n, t = words.shape
    lengths = (words >= 0).sum(axis=1)
    targets = np.zeros((n, t + 1), int)  # END
    targets[:, :t] = np.where(words >= 0, words, 0)
    counted = np.arange(t + 1) <= lengths[:, None]
    some, wanted = logits[counted], targets[counted]
    some = some - some.max(axis=1, keepdims=True)
    logs = some - np.log(np.exp(some).sum(axis=1, keepdims=True))
    rows, gradient = np.arange(len(wanted)), np.zeros_like(logits)
    slopes = np.exp(logs)
    slopes[rows, wanted] -= 1
    gradient[counted] = slopes / n
    return -logs[rows, wanted].sum() / n, gradient
    # END SOLUTION


def beam_search(step, state, beam, limit):
    """Return probable sentences: a list of (words, log_probability, finished), the most probable first.

    ``step(tokens, state) -> (log_probabilities, state)`` is a generator: from the last words of B beginnings,
    ``tokens`` (B,) int64, and their states, an array (B, ...), come the logarithms (B, V) of the next word's
    probabilities, and the states after it. ``state`` is the one before the first word, (1, ...). The first token is
    START, number 0; as a next word, 0 is END. ``beam`` and ``limit`` are 1 or more.

    In each of at most ``limit`` steps every beginning is continued by every word; where the logarithm is -inf the word
    is impossible, and not taken. Of the continuations and of the sentences that have ended before, the ``beam`` most
    probable stay, by the sum of the logarithms, whatever their lengths. Equal ones: first come those that belong to an
    earlier entry of the list before, then those of a smaller word. When all have ended, or after the last step, the
    list is the answer: ``words`` a tuple of numbers without START and END, ``log_probability`` a float, END included,
    ``finished`` whether END was said. END takes a step. ``step`` is called with those only that have not ended, in the
    list's order, and not at all when there are none.

    Difficulty 3 of 3, 40 minutes. Hint: note of each candidate which row of the states it continues; the rows of those
    that stay, and have not ended, are the next states. Python's ``sort`` keeps the order of equal ones.
    """
    # TASK 8.9
    # BEGIN SOLUTION
    found = [((), 0.0, False)]
    for _ in range(limit):
        growing = [words for words, _, finished in found if not finished]
        if not growing:
            break
        tokens = np.array([words[-1] if words else 0 for words in growing], np.int64)
        logs, state = step(tokens, state)
        candidates, row = [], 0
        for words, total, finished in found:
            if finished:
                candidates.append(((words, total, True), None))
                continue
            for word in np.flatnonzero(logs[row] > -np.inf).tolist():
                longer = words if word == 0 else (*words, word)
                candidates.append(((longer, total + float(logs[row, word]), word == 0), row))
            row += 1
        candidates.sort(key=lambda candidate: -candidate[0][1])
        del candidates[beam:]
        found = [candidate for candidate, _ in candidates]
        state = state[[row for (_, _, finished), row in candidates if not finished]]
    return found
    # END SOLUTION


def bleu(candidates, references, n=4):
    """Return BLEU-1 to BLEU-n of a corpus, an array (n,).

    ``candidates`` is a list of N sentences, each a list of words; ``references`` a list of N lists of sentences, one or
    more for each candidate. With p_k the share of the candidates' runs of k words that count as right

        BLEU-k = BP (p_1 p_2 ... p_k)^(1/k)        BP = 1 if c >= r, else exp(1 - r / c)

    A run counts as often as it is in its candidate, but at most as often as in that reference which has it most often.
    Right runs, and all runs, are summed over the corpus before they are divided. c is the number of words of all
    candidates, r that of their references, of each candidate the one that is closest in length (of two equally close
    ones the shorter). A p_k without a right run, or without any run, is 0. A candidate may be empty; if all are, every
    BLEU is 0. No reference is empty.

    Difficulty 2 of 3, 30 minutes. Hint: ``collections.Counter`` of tuples: ``a | b`` takes the larger count of each,
    ``a & b`` the smaller.
    """
    # TASK 8.10
    # BEGIN SOLUTION
    right, runs, c, r = np.zeros(n), np.zeros(n), 0, 0
    for words, truths in zip(candidates, references, strict=True):
        c += len(words)
        r += min((abs(len(truth) - len(words)), len(truth)) for truth in truths)[1]
        for k in range(n):
            own, most = _runs(words, k + 1), Counter()
            for truth in truths:
                most |= _runs(truth, k + 1)
            right[k] += sum((own & most).values())
            runs[k] += sum(own.values())
    if not c:
        return np.zeros(n)
    penalty = min(1.0, np.exp(1 - r / c))
    return penalty * np.cumprod(right / np.maximum(runs, 1)) ** (1 / np.arange(1, n + 1))


def _runs(words, k):
    return Counter(tuple(words[i : i + k]) for i in range(len(words) - k + 1))
    # END SOLUTION


def cider_d(candidates, references):
    """Return CIDEr-D of each candidate, an array (N,).

    ``candidates`` and ``references`` as for :func:`bleu`. A run of k words, k = 1 .. 4, weighs

        g = how often it is in the sentence * (log N - log max(1, df))

    where df of the N images have it in one of their references or more. For a candidate c and one of its references r,
    which have l_c and l_r words,

        sim_k = exp(-(l_c - l_r)^2 / 72) * sum over runs of min(g_c, g_r) g_r / (|g_c| |g_r|)

    with |g| the Euclidean length of all of a sentence's weights for this k; sim_k = 0 where a length is 0. The score is
    10 times the mean of sim_k over the four k and over the candidate's references. A candidate may be empty; it
    scores 0.

    Difficulty 3 of 3, 35 minutes. Hint: df is made of the references only, before anything else; an image counts once,
    however many of its sentences have the run. Runs of the candidate that are in no reference have no part in the sum,
    but weigh log N in |g_c|.
    """
    # TASK 8.11
    # BEGIN SOLUTION
    runs = [[[_grams(truth, k) for truth in truths] for truths in references] for k in (1, 2, 3, 4)]
    scores = np.zeros(len(candidates))
    for k, groups in zip((1, 2, 3, 4), runs, strict=True):
        df = Counter(gram for group in groups for gram in set().union(*group))
        for i, words in enumerate(candidates):
            own = _weights(_grams(words, k), df, len(candidates))
            for truth, grams in zip(references[i], groups[i], strict=True):
                theirs = _weights(grams, df, len(candidates))
                lengths = _norm(own) * _norm(theirs)
                if lengths:
                    shared = sum(min(own[gram], theirs[gram]) * theirs[gram] for gram in own.keys() & theirs.keys())
                    penalty = np.exp(-((len(words) - len(truth)) ** 2) / 72)
                    scores[i] += 10 * penalty * shared / lengths / (4 * len(references[i]))
    return scores


def _grams(words, k):
    return Counter(tuple(words[i : i + k]) for i in range(len(words) - k + 1))


def _weights(grams, df, images):
    return {gram: count * (np.log(images) - np.log(max(1, df[gram]))) for gram, count in grams.items()}


def _norm(weights):
    return np.sqrt(sum(g * g for g in weights.values()))
    # END SOLUTION
