"""The solver on functions whose minima over a box are known."""

import numpy as np
import pytest

from tinyconv.explain.spectral import minimise


def quadratics(rng, n=6, f=5):
    """Return N functions c |x - m|^2 / 2 + (x - m)' D (x - m) / 2 with diagonal D: the minimum over a box is P(m)."""
    middle, curves = rng.uniform(-1, 2, (n, f)), rng.uniform(1, 30, (n, f))
    seen = np.zeros(n, int)

    def objective(x, which):
        seen[which] += 1
        d = x - middle[which]
        return (curves[which] * d * d).sum(axis=1) / 2, curves[which] * d

    return middle, curves, seen, objective


@pytest.mark.parametrize("box", [None, (0.0, 1.0), "own"])
def test_the_minimum_of_separable_quadratics_is_the_nearest_point_of_the_box(box, rng):
    middle, curves, seen, objective = quadratics(rng)
    start = np.full((6, 5), 0.5)
    low, high = (-np.inf, np.inf) if box is None else box if box != "own" else (rng.uniform(0, 0.4, (6, 5)), 0.8)
    limits = None if box is None else tuple(np.broadcast_to(limit, (6, 5)) for limit in (low, high))
    found = minimise(objective, start, limits, 1 / curves.min(axis=1), steps=200, origin=start, tolerance=1e-6)
    np.testing.assert_allclose(found, np.clip(middle, low, high), atol=1e-4)
    assert (found >= low).all() and (found <= high).all()
    assert seen.max() < 150  # it ends by itself


def test_functions_that_have_converged_are_left_alone(rng):
    middle, curves, seen, objective = quadratics(rng)
    curves[:3] = 2.0  # the first step arrives
    minimise(objective, np.zeros((6, 5)), None, 1 / curves.min(axis=1), steps=50, origin=np.full((6, 5), 9.0))
    assert (seen[:3] == 2).all() and (seen[3:] > 2).all()


def test_each_function_goes_its_own_way(rng):
    """Alone or among others: the same steps."""
    _, curves, _, objective = quadratics(rng)
    together = minimise(objective, np.zeros((6, 5)), None, 1 / curves.min(axis=1), steps=9, origin=np.ones((6, 5)))
    for n in range(6):
        alone = minimise(
            lambda x, _, n=n: objective(x, np.array([n])), np.zeros((1, 5)), None, 1 / curves[n : n + 1].min(axis=1),
            steps=9, origin=np.ones((1, 5)),
        )  # fmt: skip
        np.testing.assert_array_equal(alone[0], together[n])


def test_a_curved_valley_is_walked_down():
    """Rosenbrock's (1 - x)^2 + 10 (y - x^2)^2, whose minimum over y <= 0.25 is on the border."""

    def objective(p, _):
        x, y = p.T
        bend = y - x * x
        return (1 - x) ** 2 + 10 * bend**2, np.stack([-2 * (1 - x) - 40 * bend * x, 20 * bend], axis=1)

    start, far = np.array([[-1.0, 0.0]]), np.array([[9.0, 9.0]])
    free = minimise(objective, start, None, np.ones(1), steps=300, origin=far, tolerance=1e-8)
    np.testing.assert_allclose(free, [[1, 1]], atol=1e-3)
    box = tuple(np.broadcast_to(np.array(limit), (1, 2)) for limit in ([-2.0, -2.0], [2.0, 0.25]))
    held = minimise(objective, start, box, np.ones(1), steps=300, origin=far, tolerance=1e-8)
    x = held[0, 0]
    assert held[0, 1] == 0.25 and -2 * (1 - x) - 40 * (0.25 - x * x) * x == pytest.approx(0, abs=1e-3)


def test_a_search_along_which_the_function_only_worsens_ends():
    """With b = 1, 0.3, 0.09, 0.027, 0.0081, 0.00243, not with 0.00073: seven calls, and the start comes back."""
    seen = []

    def objective(x, _):
        seen.append(float(x[0, 0]))
        return np.array([float(len(seen))]), np.array([[-1.0]])

    found = minimise(objective, np.zeros((1, 1)), None, np.ones(1), steps=50, origin=np.full((1, 1), 9.0))
    np.testing.assert_allclose(seen, [0, *0.3 ** np.arange(6)], rtol=1e-12)
    assert found == 0


def test_the_step_is_between_a_thousandth_of_the_longest_and_the_longest():
    """Slopes -1, 9999, -1, -1: the first a is 1; then s = 1, y = 10^4, a = 10^-4, which is raised to 10^-3."""
    seen, slopes = [], iter([-1.0, 9999.0, -1.0, -1.0])

    def objective(x, _):
        seen.append(float(x[0, 0]))
        return np.array([-100.0 * len(seen)]), np.array([[next(slopes)]])

    minimise(objective, np.zeros((1, 1)), None, np.ones(1), steps=4, origin=np.full((1, 1), 1e-3))
    # 1 - 9999 / 1000 = -8.999; there s = -9.999, y = -10^4, a = 9.999 / 10^4 = 0.0009999, raised again.
    np.testing.assert_allclose(seen, [0, 1, -8.999, -8.999 + 0.001], rtol=1e-12)
