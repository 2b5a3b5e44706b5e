"""Training and judging caption models, and what they look at: what stands beside :mod:`tinyconv.models`."""
