"""Claims of the papers, tried small: ``make claims LESSON=07``, or ``python claims.py --claim fooled --seeds 3``.

Each is measured with several seeds: the seed gives the initial weights, the order, the noise and all samples. Results
go to ``results.json`` after every seed; a later call measures what is missing. The set-ups were fixed before measuring,
with the exceptions that the README names; what does not come out as in the papers is reported so. What is measured
stands in claims_adversarial.py, claims_gan.py and claims_images.py.
"""

from __future__ import annotations

from pathlib import Path

from tinyconv.claims import Claims, import_step, main

FOLDER = Path(__file__).resolve().parent
PARTS = ("claims_adversarial", "claims_gan", "claims_images")

CLAIMS: Claims = {}
for part in PARTS:
    CLAIMS |= import_step(FOLDER, part).CLAIMS

if __name__ == "__main__":
    main(CLAIMS, __file__, __doc__)
