"""``tinyconv doctor``: what this machine has, what is wrong with it, and what to do."""

from __future__ import annotations

import argparse

HELP = """show what this machine has for tinyconv, and what is wrong with it

examples:
  tinyconv doctor                  versions, cores, BLAS, the compiler's cache, GPU, disk
  tinyconv doctor --cuda           try Numba's CUDA package too (slower; needs no GPU)
  tinyconv doctor --clear-cache    delete the compiled kernels: they are compiled again when they are needed

Exit code: 0 if tinyconv can work here, 1 if something is broken."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--clear-cache", action="store_true", help="delete the compiled kernels, then check")
    parser.add_argument("--cuda", action="store_true", help="import numba.cuda and say what it finds")


def run(options: argparse.Namespace) -> int:
    """Print every finding, then ``all good`` or what to do about the others."""
    from tinyconv.cli import doctor_checks as checks
    from tinyconv.cli import doctor_gpu as gpu

    if options.clear_cache:
        count, size = checks.clear_cache()
        print(f"deleted {count} files of compiled kernels, {size / 1e6:.1f} MB\n")
    findings = []
    for check in (*checks.CHECKS, gpu.driver, *([gpu.cuda_package] if options.cuda else [])):
        try:
            found = check()
        except Exception as problem:  # a check that fails is a finding, not the end of the others
            text = f"{type(problem).__name__}: {problem}"
            found = [checks.Finding(check.__name__, text, "this check failed; please report it", checks.BROKEN)]
        for finding in found:
            mark = {checks.GOOD: " ", checks.NOTE: "!", checks.BROKEN: "X"}[finding.level]
            print(f"{mark} {finding.what:12} {finding.text}", flush=True)
        findings += found
    notes = [finding for finding in findings if finding.level != checks.GOOD]
    if not notes:
        print("\nall good")
        return 0
    print()
    for number, finding in enumerate(sorted(notes, key=lambda f: f.level != checks.BROKEN), 1):
        kind = "broken" if finding.level == checks.BROKEN else "note"
        print(f"{number}. {kind}: {finding.what}: {finding.advice}")
    broken = any(finding.level == checks.BROKEN for finding in notes)
    if not broken:
        print("\nall good, but for the notes")
    return int(broken)
