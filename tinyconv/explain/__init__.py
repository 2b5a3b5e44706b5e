"""Looking inside networks: projections to pixels, saliency, occlusion, strongest images, invariance. NumPy comes out.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks"; ``explain.figures`` draws the results. And
fooling them: :func:`fgsm`, :func:`minimal_attack` (Szegedy et al. 2013; Goodfellow et al. 2014).
"""

from tinyconv.explain import figures
from tinyconv.explain.activations import TopActivations, correspondence, features, top_activations
from tinyconv.explain.adversarial import distortion, fgsm, random_signs, transfer_matrix
from tinyconv.explain.adversarial_training import AdversarialUpdate
from tinyconv.explain.attended import outline
from tinyconv.explain.attended_figures import attended_figure
from tinyconv.explain.attended_watch import AttendedWatch
from tinyconv.explain.deconvnet import deconvnet
from tinyconv.explain.evolution import Evolution, Snapshot
from tinyconv.explain.invariance import Invariance, invariance, transformed
from tinyconv.explain.minimal import Attack, linear_distance, minimal_attack
from tinyconv.explain.occlusion import Occlusion, occlusion
from tinyconv.explain.pixel_model import PixelModel, pixel_model
from tinyconv.explain.receptive import ReceptiveField, receptive_field
from tinyconv.explain.saliency import saliency
