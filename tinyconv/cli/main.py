"""The entry point of the command ``tinyconv``: arguments, and what a failure looks like. See :func:`main`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tinyconv import __version__, interrupt
from tinyconv.cli import caption, data, detect, doctor, explain, lesson, predict, sample, summary, train
from tinyconv.cli.names import UsageError, choose

COMMANDS = {
    "lesson": lesson, "train": train, "predict": predict, "detect": detect, "caption": caption,
    "explain": explain, "sample": sample, "summary": summary, "data": data, "doctor": doctor,
}  # fmt: skip
# What the library raises for what a user did; anything else is a bug of ours and shows its traceback.
_USER_ERRORS = (ValueError, TypeError, RuntimeError, OSError, ArithmeticError, MemoryError, ImportError)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed, 2 not understood, 130 interrupted.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process by default.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        options = _parser().parse_args(_known_command(arguments))
        options.arguments = arguments
        return options.run(options) or 0
    except UsageError as problem:
        return _fail(problem, 2, debug)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return interrupt.EXIT_CODE
    except BrokenPipeError:  # tinyconv summary vgg | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains while it ends
        return 0
    except _USER_ERRORS as problem:
        return _fail(problem, 1, debug)


def _fail(problem: Exception, code: int, debug: bool) -> int:
    if debug:
        raise problem
    text = " ".join(str(problem).split()) or type(problem).__name__
    print(f"tinyconv: {text}", file=sys.stderr)
    return code


def _known_command(arguments: list[str]) -> list[str]:
    """Return the arguments, or raise with the closest command if the first names none."""
    if arguments and not arguments[0].startswith("-"):
        choose("command", arguments[0], list(COMMANDS))
    return arguments


def _parser() -> argparse.ArgumentParser:
    everywhere = _Parser(add_help=False)
    everywhere.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = _Parser(
        prog="tinyconv",
        description="Learn convolutional networks from the papers: lessons, training, tables, a check of this machine.",
        epilog="examples:\n"
        "  tinyconv lesson                      list the lessons, their steps, and what you have done\n"
        "  tinyconv lesson alexnet --step 1     run one step\n"
        "  tinyconv train lenet5 --data mnist   train a network\n"
        "  tinyconv doctor                      what this machine has, and what is wrong with it",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[everywhere],
    )
    parser.add_argument("--version", action="version", version=f"tinyconv {__version__}")
    parser.set_defaults(run=lambda options: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for name, module in COMMANDS.items():
        first, _, examples = (module.HELP or "").partition("\n\n")
        command = commands.add_parser(
            name,
            help=first,
            description=first[0].upper() + first[1:] + ".",
            epilog=examples,
            parents=[everywhere],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
