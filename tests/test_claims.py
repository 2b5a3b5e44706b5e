"""Measuring claims: what is missing is measured, what is there is kept, verdicts follow the runs."""

import json

import numpy as np
import pytest

import tinyconv
from tinyconv import claims, claims_training, nn, optim

RUNS = [{"a": {"error": 0.1}}, {"a": {"error": 0.3}}]


def program(measured):
    """Return a table of one claim that notes which seeds it measured."""

    def measure(seed):
        """Twice the seed."""
        measured.append(seed)
        return {"twice": 2 * seed}

    def verdict(runs):
        """The mean is above 0.5."""
        return claims.mean(runs, "twice") > 0.5, f"values {claims.values(runs, 'twice')}"

    return {"X": (measure, verdict), "Y": (measure, lambda runs: (None, "nothing"))}


def test_main_measures_only_what_is_missing(tmp_path, capsys):
    script, measured = tmp_path / "09_lesson" / "claims.py", []
    script.parent.mkdir()
    table = program(measured)
    claims.main(table, str(script), "Claims.\nMore.", ["--seeds", "1", "--claim", "X"])
    assert "X: DOES NOT HOLD\n" in capsys.readouterr().out
    claims.main(table, str(script), "Claims.", ["--seeds", "3", "--claim", "X"])
    assert measured == [0, 1, 2]
    assert "X: holds\n" in capsys.readouterr().out
    found = json.loads((script.parent / "results.json").read_text("utf-8"))
    entry = found["claims"]["X"]
    assert (found["lesson"], list(found["claims"])) == ("09_lesson", ["X"])
    assert entry["runs"] == {"0": {"twice": 0}, "1": {"twice": 2}, "2": {"twice": 4}}
    assert (entry["set_up"], entry["asserted"]) == ("Twice the seed.", "The mean is above 0.5.")
    assert (entry["holds"], entry["measured"]) == (True, "values [0, 2, 4]")
    assert entry["versions"]["tinyconv"] == tinyconv.__version__


def test_a_changed_verdict_judges_the_stored_runs_again(tmp_path, capsys):
    out, measured = tmp_path / "found.json", []
    table = program(measured)
    claims.measure(table, ["X"], 2, out, "09_lesson")
    claims.measure({"X": (table["X"][0], lambda runs: (None, "other"))}, ["X"], 2, out, "09_lesson")
    assert measured == [0, 1]
    assert json.loads(out.read_text("utf-8"))["claims"]["X"]["measured"] == "other"
    assert "X: not asserted\n" in capsys.readouterr().out


def test_what_another_process_wrote_meanwhile_is_kept(tmp_path):
    """While seed 0 of X is measured, someone else finishes Y."""
    out, table = tmp_path / "found.json", program([])

    def slow(seed):
        claims.measure(table, ["Y"], 1, out, "09_lesson")
        return {"twice": 2 * seed}

    claims.measure({"X": (slow, table["X"][1])}, ["X"], 1, out, "09_lesson")
    found = json.loads(out.read_text("utf-8"))["claims"]
    assert {name: list(entry["runs"]) for name, entry in found.items()} == {"Y": ["0"], "X": ["0"]}


def test_an_unknown_claim_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        claims.main(program([]), str(tmp_path / "claims.py"), "Claims.", ["--claim", "Z"])
    assert "invalid choice: 'Z'" in capsys.readouterr().err


def test_mean_and_values():
    assert claims.values(RUNS, "a", "error") == [0.1, 0.3]
    assert claims.mean(RUNS, "a", "error") == pytest.approx(0.2)
    assert claims.percents(RUNS, "a", "error") == "10% / 30%"
    assert claims.numbers(RUNS, "a", "error", form=".1f") == "0.1 / 0.3"


# -------------------------------------------------------------------------------------------------------- the training


def test_network_fits_its_images():
    for size, pool in ((24, (2, 2, 0)), (33, (3, 2, 1))):
        model = claims_training.network([4, 6], size=size, pool=pool, lrn=True, hidden=[7], dropout=0.5)
        assert model(tinyconv.zeros(2, 3, size, size)).shape == (2, 10)
    kinds = [type(layer) for layer in model]
    assert kinds.count(nn.LocalResponseNorm) == 2 and kinds.count(nn.Dropout) == 1


def test_train_yields_its_steps_and_the_order_is_the_seeds():
    data = claims_training.images(40, 0.1, seed=0, scale=2.0)
    assert 0.5 < np.abs(data.images).max() < 3
    weights = []
    for seed in (0, 0, 1):
        tinyconv.manual_seed(0)
        model = claims_training.network([2])
        assert list(claims_training.train(model, data, 6, 0.01, seed=seed, every=2)) == [2, 4, 6]
        weights.append(model[0].weight.detach().numpy().copy())
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_train_takes_an_optimiser():
    data = claims_training.images(40, 0.1, seed=0)
    model = claims_training.network([2])
    before = [p.detach().numpy().copy() for p in model.parameters()]
    still = optim.SGD(model.parameters(), lr=0.0)
    assert list(claims_training.train(model, data, 3, lr=1.0, optimizer=still, every=1)) == [1, 2, 3]
    for old, new in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(old, new.detach().numpy())
    error, loss = claims_training.judge(model, data)
    assert 0 <= error <= 1 and loss == pytest.approx(np.log(10), abs=0.5)
