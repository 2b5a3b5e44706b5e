"""Looking inside networks: projections to pixels, saliency, occlusion, strongest images, invariance. NumPy comes out.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks"; ``explain.figures`` draws the results.
"""

from tinyconv.explain import figures
from tinyconv.explain.activations import TopActivations, correspondence, features, top_activations
from tinyconv.explain.deconvnet import deconvnet
from tinyconv.explain.evolution import Evolution, Snapshot
from tinyconv.explain.invariance import Invariance, invariance, transformed
from tinyconv.explain.occlusion import Occlusion, occlusion
from tinyconv.explain.receptive import ReceptiveField, receptive_field
from tinyconv.explain.saliency import saliency
