"""Lesson 04: its exercises are proven, its tables are the networks, its claims are those that were measured."""

import re

import pytest
from _claims import check_claim
from _exercises import LESSONS, ExerciseProof, load, solutions

import tinyconv
from tinyconv import models
from tinyconv.models.googlenet import MODULES
from tinyconv.models.inception import Inception, NaiveInception

LESSON = LESSONS / "04_googlenet"
CLAIMS = ["X8", "X8'", "average", "average'", "ensemble", "gradients", "heads", "views"]
SIDES = {"3": 28, "4": 14, "5": 7}


class TestExercises(ExerciseProof):
    lesson = "04_googlenet"


# ---------------------------------------------------------------------------------------------------------- the README


@pytest.fixture(scope="module")
def readme():
    return (LESSON / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def network():
    """The full network, and the output shape of each of its parts."""
    model, shapes = models.googlenet(device="meta"), {}
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda module, x, y, name=name: shapes.__setitem__(name, y.shape[1:]))
    model.eval()(tinyconv.zeros(1, 3, 224, 224, device="meta"))
    return model, shapes


def cells(readme, first):
    """Return the cells of a table's row after its first one."""
    line = next(line for line in readme.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_readmes_rows_are_the_network(readme, network):
    model, shapes = network
    rows = tinyconv.summary(model).rows
    for layer, shape in shapes.items():
        name = layer.removeprefix("inception_")
        if name in ("norm1", "conv2_reduce", "norm2", "flatten", "dropout") or name.startswith("aux"):
            continue
        found = cells(readme, name)
        inside = [row for row in rows if row.name.split(".")[0] in (layer, f"{name}_reduce")]
        params, macs = (sum(getattr(row, what) for row in inside) for what in ("params", "macs"))
        filters = [str(units) for units in MODULES[name]] if name in MODULES else [""] * 6
        if name == "conv2":
            filters[1:3] = str(model.conv2_reduce.conv.out_channels), str(model.conv2.conv.out_channels)
        assert found[0] == "x".join(map(str, shape)), name
        assert found[1:7] == filters, name
        assert [found[7], found[9]] == [f"{n:,d}" if n else "" for n in (params, macs)], name


def test_the_readmes_totals_are_the_networks(readme, network):
    model, _ = network
    rows = tinyconv.summary(model).rows
    trunk = [row for row in rows if not row.name.startswith("aux")]
    assert cells(readme, "all")[7] == f"{sum(row.params for row in trunk):,d}"
    assert cells(readme, "all")[9] == f"{sum(row.macs for row in trunk):,d}"
    for head, after, channels in (("aux1", "4a", 512), ("aux2", "4d", 528)):
        summary = tinyconv.summary(model.get_submodule(head), (channels, 14, 14))
        found = cells(readme, f"{head}, behind {after}")
        assert [found[7], found[9]] == [f"{summary.total_params:,d}", f"{summary.total_macs:,d}"]
    assert cells(readme, "with both")[7] == f"{sum(row.params for row in rows):,d}"


def test_the_readmes_naive_modules_are_the_librarys(readme):
    channels = 192
    for name, widths in MODULES.items():
        places = SIDES[name[0]] ** 2
        weights, outputs = [], []
        for kind in (Inception, NaiveInception):
            module = kind(channels, widths, device="meta")
            weights.append(sum(p.numel() for p in module.parameters() if p.ndim == 4))
            outputs.append(module(tinyconv.zeros(1, channels, 7, 7, device="meta")).shape[1])
        wanted = [channels, *(f"{w:,d}" for w in weights), *(f"{w * places / 1e6:.1f} M" for w in weights)]
        wanted += [f"{weights[1] / weights[0]:.1f}", *outputs]
        assert [cell.replace(",", "") for cell in cells(readme, f"{name}, module")] == [
            str(value).replace(",", "") for value in wanted
        ]
        channels = widths.out


def test_the_readme_counts_torchvisions_variant(readme):
    sizes = [tinyconv.summary(models.googlenet(variant="torchvision", aux=aux, device="meta")).total_params
             for aux in (False, True)]  # fmt: skip
    assert f"{sizes[0]:,d} parameters, {sizes[1]:,d} with heads" in " ".join(readme.split())


def test_the_readme_lists_the_exercises(readme):
    source = (LESSON / "exercises.py").read_text("utf-8")
    said = re.findall(r"\n    Difficulty (\d) of 3, (\d+) minutes\. Hint: ", source)
    tasks = [task for task, _ in solutions(source)]
    assert len(said) == len(tasks)
    for task, (difficulty, minutes) in zip(tasks, said, strict=True):
        assert cells(readme, task)[1:] == [difficulty, minutes]


def test_marks_say_what_the_readme_says(readme):
    marks = [
        mark.kwargs
        for file in ("test_exercises.py", "test_exercises_views.py")
        for mark in vars(load(LESSON / file, f"lesson_04_{file[:-3]}")).values()
        if isinstance(mark, pytest.MarkDecorator)
    ]
    assert len(marks) == 10
    for mark in marks:
        assert cells(readme, mark["id"])[1:] == [str(mark["difficulty"]), str(mark["minutes"])]


# ---------------------------------------------------------------------------------------------------------- the claims


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims.py", "lesson_04_claims")


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


def test_every_claim_is_checked(claims):
    assert list(claims.CLAIMS) == CLAIMS


def test_the_parameters_and_multiply_adds_of_x8s_networks(claims):
    """The counts were worked out before there was this code; step 10 prints the same."""
    counts = {}
    for build in (claims._inception, claims._plain):
        summary = tinyconv.summary(build(), (3, 24, 24))
        counts[build.__name__] = summary.total_params, summary.total_macs
    assert counts == {"_inception": (21_674, 1_497_888), "_plain": (17_165, 1_569_240)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_can_be_measured(claims, name):
    """A few steps: the programs still run, and their verdicts read what they write."""
    measure, verdict = claims.CLAIMS[name]
    few = {"gradients": {}, "views": {"steps": 3, "tests": 2}}
    holds, text = verdict([measure(0, **few.get(name, {"steps": 3}))])
    assert holds in (True, False, None)
    assert "nan" not in text
