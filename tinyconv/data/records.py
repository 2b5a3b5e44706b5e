"""JSON files of annotations, read with errors that name the record. See :func:`read_lists`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_lists(who: str, path: Path, names: Sequence[str], hint: str) -> dict[str, list[Any]]:
    """Return the JSON object in a file, which must have lists of these names; ``hint`` says which file to give.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no JSON, or lacks a list.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{who}: there is no file {path}")
    try:
        whole = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{who}: {path} is no JSON ({problem}); fetch it again") from None
    missing = [name for name in names if not isinstance(whole, dict) or not isinstance(whole.get(name), list)]
    if missing:
        lists = f"list{'s' * (len(names) > 1)} {', '.join(names)}"
        raise ValueError(f"{who}: {path} must be an object with the {lists}, it lacks {', '.join(missing)}; {hint}")
    return whole


def records_by_id(who: str, what: str, records: list[Any], key: str = "id") -> dict[Any, dict[str, Any]]:
    """Return the records by their ids, which must differ and be of one kind; ``what`` names one of them."""
    found: dict[Any, dict[str, Any]] = {}
    for number, record in enumerate(records):
        own = get(f"{who}: {what} at place {number}", record, key)
        if not isinstance(own, (int, str)) or own in found:
            raise ValueError(
                f"{who}: the {key} of each {what} must be a number of its own, got {own!r} at place {number}"
            )
        found[own] = record
    if not found or len({isinstance(own, str) for own in found}) > 1:
        raise ValueError(f"{who}: wanted at least one {what}, with ids of one kind, got {len(found)}")
    return found


def get(where: str, record: Any, key: str) -> Any:
    """Return an entry of a record, or raise; ``where`` names the file and the record."""
    if not isinstance(record, dict) or key not in record:
        raise ValueError(f"{where} must have {key!r}, got {list(record) if isinstance(record, dict) else record!r}")
    return record[key]


def get_text(where: str, record: Any, key: str) -> str:
    """Return an entry of a record that is a string, or raise."""
    found = get(where, record, key)
    if not isinstance(found, str):
        raise ValueError(f"{where}: {key} must be a string, got {found!r}")
    return found


def place_of(where: str, what: str, key: Any, table: dict[Any, int]) -> int:
    """Return the place of what a record names by its id, or raise."""
    if not isinstance(key, (int, str)) or key not in table:
        raise ValueError(f"{where} is of the {what} {key!r}, which the file does not list")
    return table[key]
