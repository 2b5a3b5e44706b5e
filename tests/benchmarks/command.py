"""The command line: measure parts, keep their results, render BENCHMARKS.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from . import isa, report, store
from .engines import BenchmarkError, all_cores, load_torch
from .timing import FULL, QUICK

BUSY = 0.7  # processes running on average over the last minute
_EPILOG = """examples:
  python -m tests.benchmarks                                          everything; writes results and BENCHMARKS.md
  python -m tests.benchmarks --only conv --layers alexnet vgg.conv3_2 --threads 1 --quick
  python -m tests.benchmarks --only networks --networks alexnet      one row again, the others stay
  python -m tests.benchmarks --isa avx2                               a second section, with AVX2 only
  python -m tests.benchmarks --render                                 BENCHMARKS.md again from the results
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure tinyconv beside PyTorch.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", nargs="+", choices=report.ORDER, metavar="PART", help=f"parts: {', '.join(report.ORDER)}"
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="for conv, accuracy: vgg, vgg.conv3_2 or conv3_2")
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="for networks, forward, memory: alexnet ...")
    parser.add_argument(
        "--threads", nargs="+", type=int, metavar="N", help="numbers of threads (default: 1 and all cores)"
    )
    parser.add_argument("--isa", choices=[*isa.ISAS], help="measure with narrower vectors, all libraries alike")
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds; writes nothing")
    parser.add_argument("--no-write", action="store_true", help="print the tables only")
    parser.add_argument("--render", action="store_true", help="write BENCHMARKS.md from the results, measure nothing")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status. Errors of the user are one line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    try:
        if options.child:
            from . import child

            child.main(*options.child)
        elif options.render:
            write_report()
        elif options.isa and isa.current() != options.isa:
            load_torch()  # a message here, not from the second process
            return isa.run_again(options.isa, arguments)
        else:
            _run(options)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was measured is kept, and --render writes it to BENCHMARKS.md", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    load_torch()
    from tqdm import tqdm

    from . import layers, machine, networks, parts

    counts = options.threads or sorted({1, all_cores()})
    chosen = layers.choose(options.layers), networks.choose(options.networks)
    request = parts.Request(*chosen, counts, QUICK if options.quick else FULL)
    names = options.only or (parts.NARROW if options.isa else report.ORDER)
    write = not (options.quick or options.no_write)
    here = machine.describe()
    results: dict[str, Any] = {"isa": isa.current(), "machine": {}, "parts": {}}
    if write:
        results = store.load(isa.current(), here["processor"])
    print(report.machine(here), end="\n\n")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > BUSY:
        print("the machine is busy with something else: these times will not mean much\n", file=sys.stderr)
    # Without the limit the table of layers has an empty column.
    for name in dict.fromkeys(["limit", *names] if "conv" in names else names):
        part = parts.PARTS[name]
        rows: list[store.Row] = []
        try:
            for row in tqdm(part.measure(request), name, part.count(request), leave=False, disable=None):
                rows.append(row)
        finally:  # stopped or failed half-way: what there is is kept
            message = store.merge(results, name, part.identity, rows, here) if rows else ""
            if write and rows:
                store.save(results)
        shown = report.section(name, {**results["parts"], name: rows})
        print(*filter(None, [message, shown]), sep="\n\n", end="\n\n")
    print(report.goals({name: rows for name, rows in results["parts"].items() if name in names}))
    if write:
        write_report()


def write_report() -> None:
    """Write BENCHMARKS.md from all results that there are.

    Raises
    ------
    BenchmarkError
        There are none.
    """
    found = store.load_all(isa.TITLES)
    if not found:
        raise BenchmarkError("benchmarks: there are no results to render; run `make bench`")
    report.FILE.write_text(report.render(found), encoding="utf-8")
    print(f"\nwrote {report.FILE.name}")
