"""Measuring a paper's claims with small networks over several seeds, into a results.json. See :func:`main`."""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv
from tinyconv.files import write_text

Runs = list[dict[str, Any]]
Measure = Callable[[int], dict[str, Any]]
Verdict = Callable[[Runs], tuple[bool | None, str]]
Claims = dict[str, tuple[Measure, Verdict]]


def import_step(folder: Path, name: str) -> Any:
    """Import a step of a lesson; other lessons have steps of the same names, and a step may import another.

    Parameters
    ----------
    folder : Path
        The lesson's.
    name : str
        Such as "step8_train".
    """
    before = {other: sys.modules.pop(other) for other in list(sys.modules) if other.startswith("step")}
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location(f"lesson_{folder.name[:2]}_{name}", folder / f"{name}.py")
        assert spec and spec.loader, folder
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(folder))
        for other in [other for other in sys.modules if other.startswith("step")]:
            del sys.modules[other]
        sys.modules.update(before)


def read(path: Path, lesson: str) -> dict[str, Any]:
    """Return what was measured so far: ``{"lesson": ..., "claims": {name: entry}}``, see :func:`measure`."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {"lesson": lesson, "claims": {}}


def _write(path: Path, results: dict[str, Any]) -> None:
    write_text(path, json.dumps(results, indent=1) + "\n")


def measure(claims: Claims, names: Sequence[str], seeds: int, path: Path, lesson: str) -> None:
    """Measure the seeds that are missing, print what comes out, and write it after every seed.

    Parameters
    ----------
    claims : dict
        name -> (measure, verdict). ``measure(seed)`` returns what is stored of a run, a dict that JSON can hold; its
        docstring says the set-up. ``verdict(runs)`` returns (True, False, or None where nothing is asserted; a text of
        figures); its docstring says what is asserted.
    names : sequence of str
        Which of them, in this order.
    seeds : int
        Seeds 0 to seeds - 1.
    path : Path
        The JSON file. An entry has ``set_up``, ``asserted``, ``runs`` {seed: run}, ``date``, ``versions``, ``holds``
        and ``measured``: the verdict over all runs that are there.
    lesson : str
        The lesson's folder name, for a new file.
    """
    for name in names:
        run, verdict = claims[name]
        for seed in range(seeds):
            if str(seed) in read(path, lesson)["claims"].get(name, {}).get("runs", {}):
                continue
            start = time.perf_counter()
            found = run(seed)
            results = read(path, lesson)  # only now: another process may have written meanwhile
            new: dict[str, Any] = {"set_up": run.__doc__, "asserted": verdict.__doc__, "runs": {}}
            entry = results["claims"].setdefault(name, new)
            entry["runs"][str(seed)] = found
            entry["date"] = datetime.date.today().isoformat()
            entry["versions"] = {
                "tinyconv": tinyconv.__version__,
                "numpy": np.__version__,
                "numba": version("numba"),
                "python": platform.python_version(),
            }
            entry["holds"], entry["measured"] = verdict(list(entry["runs"].values()))
            _write(path, results)
            print(f"{name}, seed {seed}, {time.perf_counter() - start:.0f} s: {entry['measured']}", flush=True)
        results = read(path, lesson)
        entry = results["claims"][name]
        entry["asserted"], (entry["holds"], entry["measured"]) = verdict.__doc__, verdict(list(entry["runs"].values()))
        _write(path, results)
        outcome = {None: "not asserted", True: "holds", False: "DOES NOT HOLD"}[entry["holds"]]
        print(f"{name}: {outcome}\n", flush=True)


def main(claims: Claims, script: str, description: str, arguments: Sequence[str] | None = None) -> None:
    """Run a lesson's claims.py as a program: ``main(CLAIMS, __file__, __doc__)``.

    Parameters
    ----------
    claims : dict
        See :func:`measure`.
    script : str
        Path of the program: its folder names the lesson, and ``results.json`` lies beside it.
    description : str
        Its first line is shown by ``--help``.
    arguments : sequence of str, optional
        ``--seeds N``, ``--claim NAME`` (may be repeated), ``--out FILE``; those of the command line if None.
    """
    folder = Path(script).resolve().parent
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1 (3)")
    parser.add_argument("--claim", action="append", choices=list(claims), help="only this one; may be repeated")
    parser.add_argument(
        "--out", type=Path, default=folder / "results.json", help="JSON file to write and to go on from"
    )
    given = parser.parse_args(arguments)
    measure(claims, given.claim or list(claims), given.seeds, given.out, folder.name)


def mean(runs: Runs, *keys: str) -> float:
    """Return the mean over the runs of ``run[key1][key2]...``."""
    return float(np.mean(values(runs, *keys)))


def values(runs: Runs, *keys: str) -> list[Any]:
    """Return ``run[key1][key2]...`` of every run."""
    found: list[Any] = list(runs)
    for key in keys:
        found = [value[key] for value in found]
    return found


def percents(runs: Runs, *keys: str) -> str:
    """Return a share of every run, as "41% / 38% / 40%"."""
    return " / ".join(f"{value:.0%}" for value in values(runs, *keys))


def numbers(runs: Runs, *keys: str, form: str = ".2f") -> str:
    """Return a number of every run, as "0.41 / 0.38 / 0.40"."""
    return " / ".join(f"{value:{form}}" for value in values(runs, *keys))


def errors(runs: Runs, *variants: str) -> str:
    """Return test errors of variants in every run, their means, and the means of the training errors."""
    pairs = ", ".join(" / ".join(f"{run[v]['test_error']:.1%}" for v in variants) for run in runs)
    means = [" / ".join(f"{mean(runs, v, what):.1%}" for v in variants) for what in ("test_error", "train_error")]
    return f"test error {' / '.join(variants)}: {pairs}; means {means[0]}; training error {means[1]}"
