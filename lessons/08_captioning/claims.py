"""Claims of the paper, tried small: ``make claims LESSON=08``, or ``python claims.py --claim retrieval --seeds 3``.

Each is measured with several seeds: the seed gives scenes and sentences, the initial weights, the order and dropout.
Results go to ``results.json`` after every seed; a later call measures what is missing. The README names the seeds
by which set-ups were chosen; what does not come out as in the paper is reported so. What is measured stands in
claims_alignment.py and claims_sentences.py.
"""

from __future__ import annotations

from pathlib import Path

from tinyconv.claims import Claims, import_step, main

FOLDER = Path(__file__).resolve().parent
PARTS = ("claims_alignment", "claims_sentences")

CLAIMS: Claims = {}
for part in PARTS:
    CLAIMS |= import_step(FOLDER, part).CLAIMS

if __name__ == "__main__":
    main(CLAIMS, __file__, __doc__)
