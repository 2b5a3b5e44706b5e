"""Sentences of scenes in the three ways in which captions of photographs are published. See :func:`write_files`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_files(found: Any, features: np.ndarray, folder: Path) -> list[Path]:
    """Write scenes' sentences as Flickr8k, COCO and Karpathy do, and their features; the last tenth is for testing."""
    n = len(found)
    files = [folder / name for name in ("tokens.txt", "captions.json", "dataset.json", "features.npy")]
    lines = [f"{i}.jpg#{k}\t{s} ." for i, of in enumerate(found.sentences) for k, s in enumerate(of)]
    files[0].write_text("\n".join(lines) + "\n", "utf-8")
    every = [(i, sentence) for i, of in enumerate(found.sentences) for sentence in of]
    notes = [{"image_id": i, "id": k, "caption": sentence} for k, (i, sentence) in enumerate(every)]
    names = [{"id": i, "file_name": f"{i}.jpg", "height": 64, "width": 64} for i in range(n)]
    files[1].write_text(json.dumps({"images": names, "annotations": notes}), "utf-8")
    images = [
        {"imgid": i, "filename": f"{i}.jpg", "split": "test" if i >= n - n // 10 else "train",
         "sentences": [{"tokens": s.split(), "raw": s, "imgid": i} for s in of]}
        for i, of in enumerate(found.sentences)
    ]  # fmt: skip
    files[2].write_text(json.dumps({"dataset": "scenes", "images": images}), "utf-8")
    np.save(files[3], features)
    return files
