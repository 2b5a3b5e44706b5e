"""The one table of operations: every row runs in test_cases.py, and against PyTorch in parity/."""

import importlib
import pkgutil

from .case import Case, Ints

CASES: list[Case] = []
for _module in pkgutil.iter_modules(__path__):
    if _module.name not in ("adapters", "case"):
        CASES += importlib.import_module(f"{__name__}.{_module.name}").CASES

_ids = [case.id for case in CASES]
assert len(set(_ids)) == len(_ids), f"two rows are the same: {sorted(i for i in _ids if _ids.count(i) > 1)}"
