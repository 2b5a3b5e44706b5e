"""Training and judging generative networks: what stands beside :mod:`tinyconv.models`."""
