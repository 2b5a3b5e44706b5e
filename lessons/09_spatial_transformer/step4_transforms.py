# %% [markdown]
# # Spatial transformers 4: other transformations
#
# minutes 30 | needs step3_gradient.py | next step5_kernels.py
#
# The sampler does not care where its grid comes from, as long as the positions have a derivative with respect to theta.
# The paper tries four families:
#
#     attention, 3      (s x + t_x, s y + t_y): a window
#     affine, 6         any linear map, and a shift: parallel lines stay parallel
#     projective, 8     (t1 x + t2 y + t3, t4 x + t5 y + t6) / (t7 x + t8 y + 1): straight lines stay straight
#     thin-plate spline, 32    a sheet of metal, pushed to given places at 16 points: lines bend
#
# Each contains the one before it, but for the splines, which contain the affine maps only. More numbers can undo more;
# they can also go wrong in more ways.

# %%
import numpy as np
from sampling09 import check, digit, draw_looks, square

import tinyconv
from tinyconv.nn import functional as F

lesson = tinyconv.lesson_step(__name__)

# %% [markdown]
# ## By hand
#
# Projective maps are affine ones of (x, y, 1), divided by a third number that is affine as well: by perspective, what
# is far is small. Its gradient is the quotient rule's: with (u, v, d) before the division and g the gradient at u/d and
# v/d, the gradient at (u, v) is g/d and at d -(g . (u, v))/d^2.


# %%
def projective(theta, targets):
    """Return the grid of theta (8,) for targets (P, 2)."""
    u, v, d = np.append(theta, 1.0).reshape(3, 3) @ np.c_[targets, np.ones(len(targets))].T
    return np.stack([u / d, v / d], axis=1)


def projective_backward(dgrid, theta, targets):
    """Return the gradient (8,) of a loss whose gradient at the grid is dgrid (P, 2)."""
    ones = np.c_[targets, np.ones(len(targets))]
    d = ones @ np.append(theta[6:], 1.0)
    whole = np.c_[dgrid, -(dgrid * projective(theta, targets)).sum(axis=1)] / d[:, None]
    return (whole.T @ ones).ravel()[:8]


# %% [markdown]
# A thin-plate spline T is affine plus a bump at each of K control points P_k:
#
#     T(p) = a_1 + a_x x + a_y y + sum_k w_k U(|p - P_k|)      U(r) = r^2 log r^2
#
# It has to send each P_k to Q_k, theta; that is K equations for K + 3 numbers (for x and for y each). The other three
# say that the bumps shall have no affine part of their own: sum w = sum w x = sum w y = 0. Of all maps that fit, this
# one bends least. w and a are linear in Q, so the grid is one constant matrix times theta, and so is the gradient.


# %%
def bumps(p, control):
    """Return U(|p - P_k|) for points p (P, 2): (P, K); U(0) = 0."""
    squared = ((p[:, None] - control) ** 2).sum(axis=-1)
    return squared * np.log(np.where(squared > 0, squared, 1))


def spline(control, sources):
    """Return w (K, 2) and a (3, 2) of the spline that sends control points (K, 2) to sources (K, 2)."""
    affine = np.c_[np.ones(len(control)), control]
    system = np.block([[bumps(control, control), affine], [affine.T, np.zeros((3, 3))]])
    solved = np.linalg.solve(system, np.r_[sources, np.zeros((3, 2))])
    return solved[:-3], solved[-3:]


def bend(p, control, sources):
    """Return T(p) for points p (P, 2)."""
    w, a = spline(control, sources)
    return bumps(p, control) @ w + np.c_[np.ones(len(p)), p] @ a


control, targets = square(4).reshape(16, 2), square(28).reshape(-1, 2)
affine = np.array([[0.8, 0.3, 0.1], [-0.3, 0.9, -0.2]])
tilted = np.append(affine.ravel(), [0.3, -0.2])
pushed = control + 0.15 * lesson.rng.standard_normal((16, 2))


def theirs(name, theta):
    """Return the library's grid (28 * 28, 2)."""
    grid = getattr(F, name)(tinyconv.tensor(np.asarray(theta, float)[None]), (1, 1, 28, 28), align_corners=True)
    return grid.numpy().reshape(-1, 2)


print("by hand and by the library:", end="")
for ours, name, theta in (
    (projective(tilted, targets), "projective_grid", tilted),
    (bend(targets, control, pushed), "thin_plate_spline_grid", pushed),
    (0.5 * targets + [0.2, -0.3], "attention_grid", [0.5, 0.2, -0.3]),
):
    print(f" {name} {np.allclose(ours, theirs(name, theta), atol=1e-12)}", end="")
flat = np.append(affine.ravel(), [0, 0])
print(
    f"\nprojective with t7 = t8 = 0 is affine: {np.allclose(projective(flat, targets), theirs('affine_grid', affine))}"
)
rules = lambda theta: projective(theta, targets), lambda dgrid, theta: projective_backward(dgrid, theta, targets)
print(f"gradient check of the quotient: {check(*rules, [tilted])}")
w, a = spline(control, pushed)
sums = np.abs(np.c_[np.ones(16), control].T @ w).max()
miss = np.abs(bend(control, control, pushed) - pushed).max()
print(f"spline through 16 random places: misses them by {miss:.0e}; sum w, sum w x, sum w y at most {sums:.0e}")
for name, sources in (("where they are", control), ("an affine map", np.c_[control, np.ones(16)] @ affine.T)):
    w, a = spline(control, sources)
    print(f"control points to {name:15s} largest |w| {np.abs(w).max():.0e}, a = {(np.round(a, 3) + 0.0).tolist()}")

# %%
shift = control.copy()
shift[5] += 0.5  # one point of the inner four, to the right and down
grids = {
    "attention, 3": theirs("attention_grid", [0.6, 0.1, -0.1]), "affine, 6": theirs("affine_grid", affine),
    "projective, 8": theirs("projective_grid", np.append(np.eye(2, 3).ravel(), [0.35, 0.2])),
    "spline, 1 of 16\npoints moved": theirs("thin_plate_spline_grid", shift),
    "spline, 32": bend(targets, control, pushed),
}  # fmt: skip
alt = "a five under five grids: a window, one turned, one in perspective, and two that are bent; below what they see"
figure = draw_looks(digit(5), {name: grid.reshape(28, 28, 2) for name, grid in grids.items()}, 5)
lesson.save(figure, "families", alt=alt)

# %% [markdown]
# ## Where they break down
#
# Nothing keeps a localisation network from saying nonsense. Scale 0: all positions are one, and the target is of one
# colour; if it is the same all around, as in the middle of this five, nothing comes back at all. Far outside: nothing
# is seen and nothing comes back. A denominator that passes through 0 inside of the image: positions go to infinity and
# come back from the other side, upside down; the library keeps it 1e-6 from 0. NaN: a network has diverged. One wants
# to see that, so NaN it stays.

# %%
print("\ntheta                              positions up to    sum of V    largest |dL/dtheta| of L = 1/2 sum V^2")
far = {
    "identity": ("affine_grid", np.eye(2, 3)), "scale 0": ("attention_grid", [0.0, 0, 0]),
    "far outside": ("attention_grid", [1.0, 5, 0]), "denominator through 0": ("projective_grid", [*flat[:6], 1.5, 0]),
    "denominator 0 at the edge": ("projective_grid", [1, 0, 0, 0, 1, 0, -1.0, 0]),
    "NaN": ("attention_grid", [np.nan, 0, 0]),
}  # fmt: skip
for name, (family, numbers) in far.items():
    theta = tinyconv.tensor(np.asarray(numbers, float)[None], requires_grad=True)
    grid = getattr(F, family)(theta, (1, 1, 28, 28), align_corners=True)
    seen = F.grid_sample(tinyconv.tensor(digit(5)[None]), grid, align_corners=True)
    ((seen * seen).sum() / 2).backward()
    reach, pull = np.abs(grid.detach().numpy()).max(), np.abs(theta.grad.numpy()).max()
    print(f"  {name:30s}{reach:18.3g}{seen.sum().item():12.1f}{pull:18.3g}")
lesson.next(why="how fast, and on a GPU?")
