"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .engines import Missing, all_cores, load_torch
from .layers import DIRECTIONS, choose
from .timing import QUICK, Rule


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=["conv"], default=["conv"])
    parser.add_argument("--layers", nargs="+")
    parser.add_argument("--threads", nargs="+", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-write", action="store_true")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        load_torch()
        from tqdm import tqdm

        from . import conv, limit, report_conv

        layers = choose(options.layers)
        for count in options.threads or (1, all_cores()):
            flops = limit.multiply_adds(count)
            rule = QUICK if options.quick else Rule()
            steps = tqdm(conv.measure(layers, count, rule), total=len(DIRECTIONS) * len(layers), leave=False, disable=None)
            rows = list(steps)
            print(f"\n{count} thread(s), limit {flops / 1e9:.0f} GFLOP/s\n")
            print(report_conv.layer_table(rows, flops), report_conv.total_table(rows), sep="\n\n", end="\n\n")
            print(*report_conv.goals(rows), sep="\n")
    except (Missing, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
