"""Lesson 09, steps 6 to 8: distortions are undone, the layer by hand is the library's, the training is the claims'."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from _exercises import LESSONS
from _steps import imported, run_in_full, run_step, script_of

import tinyconv
from tinyconv import models
from tinyconv.data import warps
from tinyconv.data.distorted import DistortedDigits
from tinyconv.nn import functional as F

LESSON = LESSONS / "09_spatial_transformer"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A step by its number: imported as with --smoke, what it prints as a program, and its folder; each once."""
    folder, found = tmp_path_factory.mktemp("lesson09"), {}

    def of(number: int):
        if number not in found:
            script = script_of(LESSON, number)
            step, text = imported(script, folder)[0], run_step(script, folder)
            found[number] = step, text, folder / "tinyconv-output" / "09" / "smoke"
        return found[number]

    return of


# -------------------------------------------------------------------------------------------------------------- step 6


def test_corners_give_the_projective_theta(ran):
    step, *_ = ran(6)
    rng = np.random.default_rng(0)
    corners = np.array([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])
    np.testing.assert_allclose(step.corners_to_theta(corners), [1, 0, 0, 0, 1, 0, 0, 0], atol=1e-12)
    for _ in range(5):
        moved = corners + 0.2 * rng.standard_normal((4, 2))
        theta = step.corners_to_theta(moved)
        np.testing.assert_allclose(theta, warps.homography(moved).ravel()[:8], atol=1e-10)
        grid = F.projective_grid(tinyconv.tensor(theta[None]), (1, 1, 5, 7), align_corners=True).numpy()[0]
        np.testing.assert_allclose(grid[[0, 0, -1, -1], [0, -1, 0, -1]], moved, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("r", {"angle": 0}),
        ("tc", {"clutter": 0}),
        ("p", {"deviation": 0, "scale": 1}),
        ("e", {"deviation": 0, "scale": 1}),
    ],
)
def test_where_nothing_was_lost_undoing_gives_the_upright_digit(ran, kind, options):
    """Not turned, moved by whole pixels, or not bent: what was sampled can be had back to rounding."""
    step, *_ = ran(6)
    data = DistortedDigits(kind, "test", 5, **options)
    for i in range(5):
        np.testing.assert_allclose(step.undo(data, data.distorted(i)), data.source(i)[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["r", "rts", "p", "e", "tc"])
def test_undoing_brings_digits_back(ran, kind):
    step, *_ = ran(6)
    data = DistortedDigits(kind, "test", 40)
    off = [np.abs(step.undo(data, data.distorted(i)) - data.source(i)[0]).mean() for i in range(40)]
    cut = (data.size - 28) // 2
    before = [np.abs(data[i][0][0, cut : cut + 28, cut : cut + 28] - data.source(i)[0]).mean() for i in range(40)]
    assert np.mean(off) < 0.5 * np.mean(before)
    as_it_is, undone = step.errors(kind)
    assert undone < as_it_is


def test_no_digit_is_seen_twice(ran):
    _, text, _ = ran(6)
    assert "5,000 digits to learn from, 1,000 to test; in both: 0" in text
    assert "the same in the next epoch: False" in text


# -------------------------------------------------------------------------------------------------------------- step 7


def test_grid_and_sampler_by_hand_are_the_librarys(ran):
    """Also outside of the image, and at another height than width."""
    step, *_ = ran(7)
    rng = np.random.default_rng(1)
    theta, images = rng.normal(0, 0.8, (3, 6)), rng.random((3, 2, 5, 7))
    found = []
    for by_hand in (True, False):
        t, u = tinyconv.tensor(theta, requires_grad=True), tinyconv.tensor(images, requires_grad=True)
        if by_hand:
            y = step.sample(u, step.grid_of(t, 4, 6))
        else:
            grid = F.affine_grid(t.reshape(-1, 2, 3), (3, 2, 4, 6), align_corners=True)
            y = F.grid_sample(u, grid, align_corners=True)
        (y * y * y).sum().backward()
        found.append((y.detach().numpy(), t.grad.numpy(), u.grad.numpy()))
    for mine, theirs in zip(*found, strict=True):
        assert np.abs(theirs).max() > 0.1
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


def test_the_sampler_by_hand_has_the_right_derivative_at_whole_positions(ran):
    """Pixels 2, 5, 11 at position 1: 11 - 5 for each pixel, and a coordinate is one pixel here."""
    step, *_ = ran(7)
    grid = tinyconv.tensor(np.zeros((1, 1, 1, 2)), requires_grad=True)
    y = step.sample(tinyconv.tensor(np.array([[[[2.0, 5, 11]] * 3]])), grid)
    y.sum().backward()
    assert y.item() == 5
    np.testing.assert_array_equal(grid.grad.numpy().ravel(), [6, 0])


def test_the_layer_is_the_librarys_and_begins_with_the_identity(ran):
    step, text, _ = ran(7)
    outputs, gradients = step.compare(np.random.default_rng(2).random((2, 1, 28, 28)))
    assert max(outputs, gradients) < 1e-12
    same, other = re.findall(r"differ by (\S+), ink (\S+) times .* weights (\S+), (\S+), (\S+)$", text, re.MULTILINE)
    assert float(same[0]) < 1e-5 and same[1] == "1.00"
    assert float(same[2]) == float(same[3]) == 0 < float(same[4])
    assert float(other[0]) > 0.1 and min(map(float, other[2:])) > 0


def counts(text):
    """Return {row: (parameters, MACs, the sampler's MACs)} of step 7's table."""
    rows = re.findall(r"^  (\S.*\S) +([\d,]+) +([\d,]+)(?: +([\d,]+) \(.*\))?$", text, re.MULTILINE)
    return [(name.strip(), *(int(n.replace(",", "")) for n in numbers if n)) for name, *numbers in rows]


def test_the_table_of_networks_is_their_summaries(ran):
    _, text, _ = ran(7)
    rows = counts(text)
    assert len(rows) == 22
    assert all(row[1] <= 400_000 for row in rows[:8]) and all(row[1] <= 60_000 for row in rows[8:16])
    assert min(row[1] for row in rows[:8]) > 390_000 and min(row[1] for row in rows[8:16]) > 59_000
    wanted = [
        tinyconv.summary(models.build("st_svhn", form=form, device="meta")) for form in ("none", "single", "multi")
    ]
    wanted += [
        tinyconv.summary(models.build("st_cub", transformers=n, image_size=448, device="meta")) for n in (0, 2, 4)
    ]
    assert [row[1:3] for row in rows[16:]] == [(found.total_params, found.total_macs) for found in wanted]
    values = [3 * 64 * 64, 3 * 64 * 64 + 48 * 32 * 32 + 64 * 32 * 32 + 128 * 16 * 16]
    assert [row[3] for row in rows[16:] if len(row) > 3] == [4 * n for n in [*values, 2 * 3 * 224**2, 4 * 3 * 224**2]]


# -------------------------------------------------------------------------------------------------------------- step 8


def test_step_8_leaves_model_strip_and_film(ran):
    _, text, out = ran(8)
    for file in ("model.npz", "attended/strip.png", "attended/attended.gif", "looks-after.png", "digit.png"):
        assert (out / file).stat().st_size > 0, file
    model = tinyconv.load(out / "model.npz")
    assert len(model.transformers) == 1 and model.input_shape == (1, 42, 42)
    assert re.search(r"test error \d+\.\d% of 100 images", text)


def test_being_watched_changes_nothing(ran):
    """The step's network is the one that ``run_one`` of the claims would train: same weights, same error."""
    step, text, out = ran(8)
    model = step.build("ST-CNN", "rts", 0)
    step.train(model, 0, small=True)
    watched = tinyconv.load(out / "model.npz").state_dict()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), watched[name].numpy(), err_msg=name)
    error = step.judge(model, step.digits("rts", "test", 0, 100))
    assert f"test error {error:.1%} of 100 images" in text


def test_errors_to_compare_are_those_of_the_results(ran, tmp_path, monkeypatch):
    step, *_ = ran(8)
    monkeypatch.setattr(step, "__file__", str(tmp_path / "step8_train.py"))
    assert step.measured() == {}
    runs = {"0": {"FCN": {"error": 0.25}, "CNN": {"error": 0.0625}}, "1": {"FCN": {"error": 0.5}, "CNN": {"error": 0}}}
    for claims, wanted in (({"S2": {"runs": runs}}, {"FCN": [25, 50], "CNN": [6.25, 0]}), ({"S1": {"runs": runs}}, {})):
        (tmp_path / "results.json").write_text(json.dumps({"claims": claims}), "utf-8")
        assert step.measured() == wanted


# ---------------------------------------------------------------------------------------------------------- the README


@pytest.fixture(scope="module")
def readme():
    return (LESSON / "README.md").read_text("utf-8")


def cells(readme, first):
    """Return the cells of a table's row after its first one."""
    line = next(line for line in readme.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_readmes_networks_are_the_librarys(readme):
    for first, builder, options in (
        ("house numbers: plain, single", "st_svhn", [{"form": form} for form in ("none", "single", "multi")]),
        ("birds: plain, two", "st_cub", [{"transformers": n} for n in (0, 2, 4)]),
    ):
        found = [tinyconv.summary(models.build(builder, device="meta", **how)).total_params for how in options]
        assert cells(readme, first)[0] == f"{', '.join(f'{count:,}' for count in found)} parameters"
    filters = [models.st_cnn(transform=None, image_size=size, device="meta").classifier.conv1.weight.shape[0]
               for size in (42, 28)]  # fmt: skip
    assert "has {} to {} filters".format(*filters) in " ".join(readme.split())


def test_the_readmes_table_is_what_step_6_prints(readme, tmp_path):
    """In full, half a minute. Rounding may exchange a nearest neighbour or two of a thousand."""
    text = run_in_full(script_of(LESSON, 6), tmp_path)
    printed = re.findall(r"^  (\w+) +([\d.]+)%  ([\d.]+)%$", text, re.MULTILINE)
    assert [kind for kind, *_ in printed] == ["r", "rts", "p", "e", "tc"]
    rows = [line for line in readme.splitlines() if line.startswith("| 6 |")]
    for line, (kind, *errors) in zip(rows, printed, strict=True):
        assert re.search(rf"\b{kind.upper()}\b", line)
        said = re.findall(r"([\d.]+) %", line)
        assert [float(v) for v in said] == pytest.approx([float(v) for v in errors], abs=0.25)
