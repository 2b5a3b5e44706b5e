"""Planted bugs: mistakes that people make in tasks 9.9 and 9.10. The task's tests must catch every one of them.

A patch is (old, new): text that stands exactly once in the task's solution, and what replaces it.
"""


def _mutant(task: str, title: str, old: str, new: str) -> dict:
    return {"task": task, "title": title, "patch": (old, new)}


MUTANTS = [
    # 9.9 triplet_hinge
    _mutant("9.9", "an image is its own partner", "    terms[np.arange(count), np.arange(count)] = 0\n", ""),
    _mutant("9.9", "no margin", "[:, None] + 1\n", "[:, None]\n"),
    _mutant("9.9", "the other image's window", "axis=1)[:, None] + 1", "axis=1)[None] + 1"),
    _mutant("9.9", "lengths, not their squares", "(to_others**2).sum(axis=2)", "np.sqrt((to_others**2).sum(axis=2))"),
    _mutant("9.9", "no gradient through the other image", "both = active + active.T", "both = active"),
    _mutant("9.9", "the gradient of the other image twice", "both = active + active.T", "both = 2 * active"),
    _mutant("9.9", "the hinge has no corner", "(terms > 0).astype", "(terms > -np.inf).astype"),
    _mutant("9.9", "at the corner there is a gradient", "(terms > 0)", "(terms >= 0)"),
    _mutant("9.9", "the window's gradient has the wrong sign", "terms, 0).sum(), de, pushed",
            "terms, 0).sum(), de, -pushed"),
    _mutant("9.9", "e does not run from its window", ".sum(axis=1) - pushed", ".sum(axis=1)"),
    _mutant("9.9", "runs from the window once, however many pairs are active", "active.sum(axis=1)[:, None]",
            "active.max(axis=1, initial=0)[:, None]"),
    _mutant("9.9", "counts a pair's columns, not its rows", "active.sum(axis=1)[:, None]",
            "active.sum(axis=0)[:, None]"),
    _mutant("9.9", "a mean over the pairs", "return np.maximum(terms, 0).sum(), de, pushed",
            "pairs = max(1, count * (count - 1))\n"
            "    return np.maximum(terms, 0).sum() / pairs, de / pairs, pushed / pairs"),
    _mutant("9.9", "each pair once", "    active = ", "    terms = np.triu(terms)\n    active = "),
    # 9.10 polar
    _mutant("9.10", "clockwise", "np.arctan2(b - c, a + d)", "np.arctan2(c - b, a + d)"),
    _mutant("9.10", "the angle of the first row", "np.arctan2(b - c, a + d)", "np.arctan2(b, a)"),
    _mutant("9.10", "the angle of the first column", "np.arctan2(b - c, a + d)", "np.arctan2(-c, a)"),
    _mutant("9.10", "arctan knows no half turns", "np.arctan2(b - c, a + d)",
            "np.arctan((b - c) / np.where(a + d == 0, 1e-300, a + d))"),
    _mutant("9.10", "radians", "np.degrees(np.arctan2(b - c, a + d))", "np.arctan2(b - c, a + d)"),
    _mutant("9.10", "-180 is a half turn, too", "np.where(angle <= -180, 180.0, angle)", "angle"),
    _mutant("9.10", "mirrors are not taken off", "    matrix[flipped, :, 0] *= -1\n", ""),
    _mutant("9.10", "the second column is mirrored", "matrix[flipped, :, 0]", "matrix[flipped, :, 1]"),
    _mutant("9.10", "the first row is mirrored", "matrix[flipped, :, 0]", "matrix[flipped, 0, :]"),
    _mutant("9.10", "all are mirrored if one is", "matrix[flipped, :, 0]", "matrix[:, :, 0]"),
    _mutant("9.10", "the share of the area", "np.sqrt(np.abs(determinant))", "np.abs(determinant)"),
    _mutant("9.10", "the length of the first column", "np.sqrt(np.abs(determinant))", "np.hypot(a, c)"),
    _mutant("9.10", "mirrored maps have no scale", "np.sqrt(np.abs(determinant))",
            "np.sqrt(np.maximum(determinant, 0))"),
    _mutant("9.10", "maps onto a line are mirrored ones", "determinant < 0", "determinant <= 0"),
    _mutant("9.10", "changes theta", "np.array(theta[:, :, :2], dtype=float)", "theta[:, :, :2]"),
]  # fmt: skip
