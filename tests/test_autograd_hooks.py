"""Hooks on gradients, and no_grad."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


# ----------------------------------------------------------------------------------------------- hooks


def test_hooks_see_and_replace_the_whole_gradient():
    x = leaf(1.0, 2.0)
    hidden = x * 3
    seen = []
    hidden.register_hook(lambda g: seen.append(g.tolist()))
    hidden.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(g.tolist()))
    (hidden * hidden + hidden).sum().backward()  # two paths: a hook gets their sum, once
    assert seen == [[7, 13], [210, 390]] and x.grad.tolist() == [210, 390]


def test_hook_on_a_leaf_replaces_what_is_added():
    x = leaf(1.0)
    remove = x.register_hook(lambda g: g * 2)
    (x * 3).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [12]
    remove()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [15]


def test_hooks_run_for_grad_too():
    x = leaf(1.0)
    hidden = x * 3
    hidden.register_hook(lambda g: g * 5)
    assert [g.tolist() for g in tc.grad((hidden * 2).sum(), [hidden, x])] == [[10], [30]]


def test_hook_of_the_wrong_shape():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match="register_hook: a hook must return shape \\(2,\\), got \\(\\)"):
        (x * 2).sum().backward()


@pytest.mark.parametrize(
    "returned, error, message",
    [
        (1.0, TypeError, "register_hook: a hook must return a Tensor or None, got float"),
        (np.ones(2), TypeError, "register_hook: a hook must return a Tensor or None, got ndarray"),
        (tc.ones(2, device="meta"), RuntimeError, 'register_hook: a hook must return a Tensor on "cpu", got "meta"'),
    ],
)
def test_hook_that_returns_something_else(returned, error, message):
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: returned)
    with pytest.raises(error, match=message):
        (x * 2).sum().backward()


def test_hook_that_is_no_function():
    with pytest.raises(TypeError, match="register_hook: wanted a function, got int"):
        leaf(1.0).register_hook(3)


def test_what_a_hook_returns_is_copied_in_the_gradients_dtype():
    x = leaf(1.0, 2.0)
    kept = tc.ones(2)
    x.register_hook(lambda g: kept)
    for _ in range(2):
        (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2] and x.grad.dtype == np.float64
    assert kept.tolist() == [1, 1]


def test_hooks_are_not_recorded():
    x = leaf(2.0)
    x.register_hook(lambda g: g * x)
    (x * 3).sum().backward()
    assert x.grad.tolist() == [6] and x.grad.node is None


# --------------------------------------------------------------------------------------------- no_grad


def test_no_grad_as_context_and_decorator():
    x = leaf(1.0)

    @tc.no_grad()
    def double(x):
        return x * 2

    @tc.enable_grad()
    def recorded(x):
        return x * 2

    with tc.no_grad():
        assert not (x * 2).requires_grad and (x * 2).node is None
        with tc.enable_grad():
            assert (x * 2).requires_grad
        assert recorded(x).requires_grad and not (x * 2).requires_grad
    assert not double(x).requires_grad and (x * 2).requires_grad


def test_no_grad_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), tc.no_grad():
        raise ZeroDivisionError
    assert (leaf(1.0) * 2).requires_grad


def test_no_grad_can_be_nested_and_used_again():
    quiet = tc.no_grad()
    with quiet, quiet:
        assert not (leaf(1.0) * 2).requires_grad
    assert (leaf(1.0) * 2).requires_grad


def test_no_grad_is_of_one_thread():
    found = {}
    inside, done = threading.Event(), threading.Event()

    def other():
        inside.wait()
        found["other"] = (leaf(1.0) * 2).requires_grad
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with tc.no_grad():
        inside.set()
        done.wait()
        found["here"] = (leaf(1.0) * 2).requires_grad
    thread.join()
    assert found == {"other": True, "here": False}


def test_a_decorated_function_running_in_two_threads():
    entered, leave = threading.Event(), threading.Event()

    @tc.no_grad()
    def work(first):
        if first:
            entered.set()
            leave.wait()

    recording = []

    def run():
        work(True)
        recording.append((leaf(1.0) * 2).requires_grad)

    thread = threading.Thread(target=run)
    with tc.no_grad():  # what this thread goes back to differs from the other's
        thread.start()
        entered.wait()
        work(False)
        leave.set()
        thread.join()
        recording.append((leaf(1.0) * 2).requires_grad)
    assert recording == [True, False]
