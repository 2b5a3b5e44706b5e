"""Data sets, image transforms and the loader. See :class:`DataLoader`, :mod:`tinyconv.data.transforms`."""

from tinyconv.data.bundled import digits, fashion_mnist, mnist, photographs
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.data.captions import CaptionedImages, read_coco_captions, read_flickr8k_tokens, read_karpathy
from tinyconv.data.cifar import cifar10_folder, cifar100_folder
from tinyconv.data.co_localisation import CoLocalisation
from tinyconv.data.coco import CocoDetection
from tinyconv.data.dataset import ArrayDataset, Dataset, ImageDataset, Subset, random_split
from tinyconv.data.detection import DetectionDataset, SceneDetection, collate
from tinyconv.data.digit_pairs import DigitPairs
from tinyconv.data.distorted import DistortedDigits
from tinyconv.data.feature_files import read_features
from tinyconv.data.geometric import ResizeWithin
from tinyconv.data.idx import mnist_folder, read_idx
from tinyconv.data.image import read_image, resize_image
from tinyconv.data.image_folder import ImageFolder
from tinyconv.data.loader import Batch, DataLoader
from tinyconv.data.pairs import SentencePairs
from tinyconv.data.scenes import Scene, Scenes
from tinyconv.data.shapes10 import Shapes10, shapes10
from tinyconv.data.transforms import (
    CenterCrop,
    Compose,
    Normalize,
    Pad,
    PCAColor,
    RandomCrop,
    RandomMirror,
    RandomResize,
    RandomResizedCrop,
    Resize,
    SubtractMean,
    TenCrop,
    ToFloat,
    Transform,
    from_description,
)
from tinyconv.data.voc import VOCDetection

__all__ = [
    "ArrayDataset", "Batch", "CaptionedImages", "CaptionedScenes", "CenterCrop", "CoLocalisation", "CocoDetection",
    "Compose", "DataLoader", "Dataset", "DetectionDataset", "DigitPairs", "DistortedDigits",
    "ImageDataset", "ImageFolder", "Normalize", "PCAColor", "Pad",
    "RandomCrop", "RandomMirror", "RandomResize", "RandomResizedCrop", "Resize", "ResizeWithin", "Scene",
    "SceneDetection", "Scenes", "SentencePairs", "Shapes10", "Subset", "SubtractMean", "TenCrop", "ToFloat",
    "Transform", "VOCDetection", "cifar100_folder", "cifar10_folder", "collate", "digits", "fashion_mnist",
    "from_description", "mnist", "mnist_folder", "photographs", "random_split", "read_coco_captions", "read_features",
    "read_flickr8k_tokens", "read_idx", "read_image", "read_karpathy", "resize_image", "shapes10",
]  # fmt: skip
