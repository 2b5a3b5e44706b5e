"""Training and judging detectors: what stands beside :mod:`tinyconv.models` and :mod:`tinyconv.vision`."""
