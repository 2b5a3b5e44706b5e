"""Claims of the paper, tried small: ``make claims LESSON=09``, or ``python claims.py --claim S1 --seeds 3``.

Each is measured with several seeds: the seed gives initial weights, order and distortions. Results go to
``results.json`` after every seed; a later call measures what is missing. What does not come out as in the paper is
reported so. What is measured stands in claims_digits.py and claims_parts.py.
"""

from __future__ import annotations

from pathlib import Path

from tinyconv.claims import Claims, import_step, main

FOLDER = Path(__file__).resolve().parent
PARTS = ("claims_digits", "claims_parts")

CLAIMS: Claims = {}
for part in PARTS:
    CLAIMS |= import_step(FOLDER, part).CLAIMS

if __name__ == "__main__":
    main(CLAIMS, __file__, __doc__)
