"""Optimisers and schedules, with PyTorch's names; AlexNetSGD is the paper's own update."""

from tinyconv.optim.adam import Adam, AdamW
from tinyconv.optim.decay import ExponentialDecay, LinearDecay
from tinyconv.optim.filters import filter_rms, renormalise_filters
from tinyconv.optim.optimizer import Optimizer
from tinyconv.optim.rmsprop import RMSprop
from tinyconv.optim.schedule import LinearWarmup, MultiStepLR, ReduceLROnPlateau, StepLR
from tinyconv.optim.sgd import SGD, AlexNetSGD
