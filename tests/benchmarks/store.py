"""Results on disk, a file per instruction set and processor; BENCHMARKS.md is rendered from them.

Parts can be measured again alone.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
Row = dict[str, Any]


def path(isa: str, processor: str, folder: Path = FOLDER) -> Path:
    """Return the file of an instruction set on a processor: `native-amd-epyc.json`."""
    words = re.sub(r"\((r|tm)\)|\b(processor|cpu)\b", " ", processor.lower())
    return folder / f"{isa}-{'-'.join(re.findall('[a-z0-9]+', words)) or 'unknown'}.json"


def load(isa: str, processor: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Return what was measured: {"isa", "machine", "parts": {name: [row, ...]}}; without a file nothing was."""
    file = path(isa, processor, folder)
    if not file.exists():
        return {"isa": isa, "machine": {}, "parts": {}}
    return json.loads(file.read_text(encoding="utf-8"))


def load_all(isas: Iterable[str], folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return all that was measured, by instruction set and then by processor."""
    files = [file for isa in isas for file in sorted(folder.glob(f"{isa}-*.json"))]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def merge(
    results: dict[str, Any], part: str, identity: tuple[str, ...], rows: list[Row], machine: dict[str, Any]
) -> str:
    """Put new rows in place of the old ones of the same identity; return a message, "" if there is nothing to say.

    What was measured on another machine whose processor has the same name, or with other versions, does not fit beside
    the new rows: it is dropped.
    """
    message = ""
    same = ("processor", "cores", "caches", "versions")
    if results["parts"] and any(results["machine"].get(name) != machine[name] for name in same):
        message = f"dropped all earlier results of {results['isa']} in this file: another machine, or other versions"
        results["parts"] = {}
    results["machine"] = machine
    stamp = {"date": datetime.date.today().isoformat(), "kernels": machine["hash of kernels"]}
    table = {_key(row, identity): row for row in results["parts"].get(part, [])}
    table |= {_key(row, identity): {**row, **stamp} for row in rows}
    results["parts"][part] = list(table.values())
    return message


def save(results: dict[str, Any], folder: Path = FOLDER) -> None:
    """Write the file: one row per line, so that a change shows which."""
    parts = []
    for name, rows in results["parts"].items():
        lines = ",\n".join(f"      {json.dumps(row)}" for row in rows)
        parts.append(f"    {json.dumps(name)}: [\n{lines}\n    ]")
    machine = json.dumps(results["machine"], indent=2).replace("\n", "\n  ")
    body = ",\n".join(parts)
    text = f'{{\n  "isa": {json.dumps(results["isa"])},\n  "machine": {machine},\n  "parts": {{\n{body}\n  }}\n}}\n'
    folder.mkdir(parents=True, exist_ok=True)
    path(results["isa"], results["machine"]["processor"], folder).write_text(text, encoding="utf-8")


def _key(row: Row, identity: tuple[str, ...]) -> tuple:
    return tuple(row[name] for name in identity)
