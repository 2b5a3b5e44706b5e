"""Planted bugs: mistakes that people make in tasks 8.8 to 8.11. The task's tests must catch every one of them.

A patch is (old, new): text that stands exactly once in the task's solution, and what replaces it.
"""


def _mutant(task: str, title: str, old: str, new: str) -> dict:
    return {"task": task, "title": title, "patch": (old, new)}


MUTANTS = [
    # 8.8 caption_cost
    _mutant("8.8", "forgets that END has to be said", "<= lengths[:, None]", "< lengths[:, None]"),
    _mutant("8.8", "pays for END again and again", "np.arange(t + 1) <= lengths[:, None]",
            "np.ones((n, t + 1), bool)"),
    _mutant("8.8", "END only in the last column", "counted = np.arange(t + 1) <= lengths[:, None]",
            "counted = np.arange(t + 1) < lengths[:, None]\n    counted[:, -1] = True"),
    _mutant("8.8", "a mean over the words", ".sum() / n, gradient", ".mean(), gradient"),
    _mutant("8.8", "a sum over the sentences", ".sum() / n, gradient", ".sum(), gradient"),
    _mutant("8.8", "a gradient of the sum", "= slopes / n", "= slopes"),
    _mutant("8.8", "a gradient of the mean over the words", "= slopes / n", "= slopes / len(wanted)"),
    _mutant("8.8", "a gradient without the true word", "    slopes[rows, wanted] -= 1\n", ""),
    _mutant("8.8", "up the gradient", "= slopes / n", "= -slopes / n"),
    _mutant("8.8", "overflows", "    some = some - some.max(axis=1, keepdims=True)\n", ""),
    _mutant("8.8", "subtracts the largest score of all", "some.max(axis=1, keepdims=True)", "some.max()"),
    _mutant("8.8", "NaN times 0", "np.zeros_like(logits)", "0 * logits"),
    _mutant("8.8", "the word that was said, not the next", "targets[:, :t] = np.where(words >= 0, words, 0)",
            "targets[:, 1:] = np.where(words >= 0, words, 0)"),
    # 8.9 beam_search
    _mutant("8.9", "drops what has ended",
            "                candidates.append(((words, total, True), None))\n", ""),
    _mutant("8.9", "ends with the first sentence",
            "        if not growing:\n", "        if len(growing) < len(found):\n"),
    _mutant("8.9", "sorts by the mean of a word", "-candidate[0][1])",
            "-candidate[0][1] / (len(candidate[0][0]) + 1))"),
    _mutant("8.9", "the least probable first",
            "lambda candidate: -candidate[0][1]", "lambda candidate: candidate[0][1]"),
    _mutant("8.9", "the states stay where they were",
            "        state = state[[row for (_, _, finished), row in candidates if not finished]]\n",
            "        state = state[: sum(not finished for _, _, finished in found)] if len(state) > 1 else "
            "state.repeat(sum(not finished for _, _, finished in found), 0)\n"),
    _mutant("8.9", "END is a word of the sentence", "words if word == 0 else (*words, word)", "(*words, word)"),
    _mutant("8.9", "END costs nothing",
            "total + float(logs[row, word])", "total + float(logs[row, word]) * (word > 0)"),
    _mutant("8.9", "the last word's probability only", "total + float(logs[row, word])", "float(logs[row, word])"),
    _mutant("8.9", "a row for what has ended, too",
            "                continue\n", "                row += 1\n                continue\n"),
    _mutant("8.9", "impossible words are taken", "np.flatnonzero(logs[row] > -np.inf)",
            "np.flatnonzero(np.maximum(logs[row], -1e300) > -np.inf)"),
    _mutant("8.9", "best sentences of each beginning's best word only", "np.flatnonzero(logs[row] > -np.inf).tolist()",
            "[int(logs[row].argmax())]"),
    _mutant("8.9", "larger words first", "(logs[row] > -np.inf).tolist()", "(logs[row] > -np.inf).tolist()[::-1]"),
    _mutant("8.9", "a step too many", "range(limit)", "range(limit + 1)"),
    _mutant("8.9", "a step too few", "range(limit)", "range(limit - 1)"),
    _mutant("8.9", "the first word again and again", "words[-1] if words else 0", "words[0] if words else 0"),
    _mutant("8.9", "keeps one more", "candidates[beam:]", "candidates[beam + 1 :]"),
    # 8.10 bleu
    _mutant("8.10", "does not clip", "(own & most).values()", "(own[gram] for gram in own if gram in most)"),
    _mutant("8.10", "clips at the sum of the references", "most |= _runs", "most += _runs"),
    _mutant("8.10", "a run counts once", "sum((own & most).values())", "len(own & most)"),
    _mutant("8.10", "a mean of sentences' scores",
            "    for words, truths in zip(candidates, references, strict=True):\n",
            "    if len(candidates) > 1:\n"
            "        return np.mean([bleu([a], [b], n) for a, b in zip(candidates, references, strict=True)], axis=0)\n"
            "    for words, truths in zip(candidates, references, strict=True):\n"),
    _mutant("8.10", "the longer of two equally close", "(abs(len(truth) - len(words)), len(truth))",
            "(abs(len(truth) - len(words)), -len(truth))"),
    _mutant("8.10", "the shortest reference",
            "min((abs(len(truth) - len(words)), len(truth)) for truth in truths)[1]", "min(map(len, truths))"),
    _mutant("8.10", "long sentences pay", "min(1.0, np.exp(1 - r / c))", "min(1.0, np.exp(1 - c / r))"),
    _mutant("8.10", "nobody pays", "min(1.0, np.exp(1 - r / c))", "1.0"),
    _mutant("8.10", "who is longer is paid", "min(1.0, np.exp(1 - r / c))", "np.exp(1 - r / c)"),
    _mutant("8.10", "a mean of the precisions", "np.cumprod(right / np.maximum(runs, 1)) ** (1 / np.arange(1, n + 1))",
            "np.cumsum(right / np.maximum(runs, 1)) / np.arange(1, n + 1)"),
    _mutant("8.10", "always the fourth root", "(1 / np.arange(1, n + 1))", "(1 / n)"),
    _mutant("8.10", "silence divides by 0", "    if not c:\n        return np.zeros(n)\n", ""),
    # 8.11 cider_d
    _mutant("8.11", "df counts sentences",
            "for gram in set().union(*group))", "for grams in group for gram in set(grams))"),
    _mutant("8.11", "no frequencies of images", "count * (np.log(images) - np.log(max(1, df[gram])))", "count"),
    _mutant("8.11", "unknown runs weigh nothing", "max(1, df[gram])", "df[gram] or images"),
    _mutant("8.11", "a plain cosine", "min(own[gram], theirs[gram]) * theirs[gram]", "own[gram] * theirs[gram]"),
    _mutant("8.11", "no penalty for the length", "penalty = np.exp(-((len(words) - len(truth)) ** 2) / 72)",
            "penalty = 1"),
    _mutant("8.11", "a penalty without the two", "** 2) / 72)", "** 2) / 36)"),
    _mutant("8.11", "a sum over the references", "(4 * len(references[i]))", "4"),
    _mutant("8.11", "a sum over the lengths of runs", "(4 * len(references[i]))", "len(references[i])"),
    _mutant("8.11", "in [0, 1]", "10 * penalty", "penalty"),
    _mutant("8.11", "three lengths of runs",
            "zip((1, 2, 3, 4), runs, strict=True)", "zip((1, 2, 3), runs, strict=False)"),
    _mutant("8.11", "the length of the sum", "np.sqrt(sum(g * g for g in weights.values()))", "sum(weights.values())"),
    _mutant("8.11", "0 / 0", "                if lengths:\n", "                if True:\n"),
    _mutant("8.11", "a run weighs once", "return {gram: count *", "return {gram: min(count, 1) *"),
]  # fmt: skip
