"""Training and judging generative networks: what stands beside :mod:`tinyconv.models`.

See :func:`train_gan`, :class:`AlgorithmOne`, :class:`Watch`, :func:`parzen`, :func:`discriminator_features`.
"""

from tinyconv.generative import figures
from tinyconv.generative.algorithm import AlgorithmOne, discriminator_loss, generator_loss
from tinyconv.generative.features import discriminator_features, svm_error
from tinyconv.generative.measures import nearest_distance, sharpness, spread, verdict
from tinyconv.generative.parzen import parzen, references
from tinyconv.generative.training import train_gan
from tinyconv.generative.watch import Watch

__all__ = [
    "AlgorithmOne", "Watch", "discriminator_features", "discriminator_loss", "figures", "generator_loss",
    "nearest_distance", "parzen", "references", "sharpness", "spread", "svm_error", "train_gan", "verdict",
]  # fmt: skip
