"""Captions of photographs as they are published: Flickr8k's token files, Karpathy's JSON, COCO's.

See :class:`CaptionedImages`, :func:`read_flickr8k_tokens`, :func:`read_karpathy`, :func:`read_coco_captions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyconv.data.records import get, get_text, place_of, read_lists, records_by_id
from tinyconv.text.tokens import tokenise

REST = "rest"  # the split of an image that no list names


@dataclass(frozen=True, eq=False)
class CaptionedImages:
    """Names of images, and what people said of them.

    Sentences without a letter or a digit are left out by the readers; an image may have none.

    Attributes
    ----------
    names : list of N str
        Files of the images, below their folder.
    sentences : list of N lists of str
    splits : list of N str
    ids : list of N int or str
        What other files call the images: Karpathy's ``imgid``, which is the row of
        :func:`~tinyconv.data.feature_files.read_features`; COCO's ``id``; for token files 0, 1, ...
    left_out : int
        Sentences of the whole file that were left out.

    Raises
    ------
    ValueError
        The lists differ in length.

    Examples
    --------
    >>> data = CaptionedImages(["a.jpg", "b.jpg"], [["A dog ."], ["Two cats ."]], ["train", "test"], [0, 1])
    >>> data.split("test").names, len(data)
    (['b.jpg'], 2)
    """

    names: list[str]
    sentences: list[list[str]]
    splits: list[str]
    ids: list[Any]
    left_out: int = 0

    def __post_init__(self) -> None:
        lengths = [len(part) for part in (self.names, self.sentences, self.splits, self.ids)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"CaptionedImages: wanted as many names, lists of sentences, splits and ids, got {lengths}"
            )

    def split(self, name: str) -> CaptionedImages:
        """Return the images of a split.

        Raises
        ------
        ValueError
            It has no image: a file need not have all of train, val and test.
        """
        kept = [i for i, own in enumerate(self.splits) if own == name]
        if not kept:
            known = ", ".join(sorted(set(self.splits))) or "none"
            raise ValueError(f"CaptionedImages.split: wanted one of its splits, {known}, got {name!r}")
        return CaptionedImages(
            [self.names[i] for i in kept], [self.sentences[i] for i in kept], [name] * len(kept),
            [self.ids[i] for i in kept], self.left_out,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        counts = {name: self.splits.count(name) for name in dict.fromkeys(self.splits)}
        shown = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"CaptionedImages({shown or 'no'} images, {sum(map(len, self.sentences))} sentences)"


def read_flickr8k_tokens(
    file: str | Path, train: str | Path | None = None, val: str | Path | None = None, test: str | Path | None = None
) -> CaptionedImages:
    """Read the token file of Flickr8k or Flickr30k (Hodosh et al. 2013; Young et al. 2014).

    A line is the image's name, "#" and the sentence's number, a tab, the sentence: ``x.jpg#0<tab>A dog runs .``

    Parameters
    ----------
    file : str or Path
        ``Flickr8k.token.txt`` or alike, UTF-8.
    train, val, test : str or Path, optional
        Lists of images, a name in each line (``Flickr_8k.devImages.txt`` is val). An image in none of them is "rest".

    Returns
    -------
    CaptionedImages
        In the order in which the file names the images first.

    Raises
    ------
    FileNotFoundError
        A file is missing.
    ValueError
        A line has another form or comes twice, a list names an image twice, one of another list, or one without a line;
        there is no line at all. The message names the file and the line.
    """
    who, path = "read_flickr8k_tokens", Path(file)
    said: dict[str, list[str]] = {}
    seen: dict[tuple[str, int], int] = {}
    left_out = 0
    for number, line in _lines(who, path):
        key, tab, sentence = line.partition("\t")
        name, _, place = key.strip().rpartition("#")
        if not (tab and name and place.isdecimal()):
            raise ValueError(f'{who}: {path}, line {number}: wanted "name.jpg#0<tab>sentence", got {line[:60]!r}')
        if (name, int(place)) in seen:
            before = seen[name, int(place)]
            raise ValueError(f"{who}: {path}, line {number}: {key.strip()!r} was already in line {before}")
        seen[name, int(place)] = number
        left_out += _add(said.setdefault(name, []), sentence)
    if not said:
        raise ValueError(f"{who}: {path} has no line with a sentence")
    splits = dict.fromkeys(said, REST)
    for split, given in (("train", train), ("val", val), ("test", test)):
        for number, line in () if given is None else _lines(who, Path(given)):
            name, where = line.strip(), f"{who}: {given}, line {number}"
            if name not in said:
                raise ValueError(f"{where}: {path} has no sentence of the image {name!r}")
            if splits[name] != REST:
                raise ValueError(f"{where}: the image {name!r} is already in {splits[name]}")
            splits[name] = split
    return CaptionedImages(list(said), list(said.values()), list(splits.values()), list(range(len(said))), left_out)


def read_karpathy(file: str | Path, restval: bool = True) -> CaptionedImages:
    """Read a file of Karpathy's, such as ``dataset_flickr8k.json``, ``dataset_coco.json``.

    Parameters
    ----------
    file : str or Path
        An object with ``images``: filename, split, imgid, sentences, perhaps filepath. A sentence is that of its
        ``tokens``, joined by spaces; without them its ``raw`` text.
    restval : bool
        Whether the images of COCO's split "restval" count as "train", as in the authors' programs.

    Returns
    -------
    CaptionedImages
        ``ids`` are imgid: ``read_features(...)[data.split("test").ids]`` are the features of the test images. Where the
        file has no image of a split, ``split`` raises ValueError; ``set(data.splits)`` are those that it has.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing, is no JSON or lacks an entry; an imgid or a sentid comes twice. The message names the file
        and the image.
    """
    who, path = "read_karpathy", Path(file)
    parts, where = read_lists(who, path, ("images",), "give a dataset_*.json"), f"{who}: {path}"
    found = records_by_id(where, "image", parts["images"], "imgid")
    names, splits, known = list[str](), list[str](), set[Any]()
    sentences: list[list[str]] = []
    left_out = 0
    for key, image in found.items():
        at = f"{where}: image {key}"
        name, split = get_text(at, image, "filename"), get_text(at, image, "split")
        folder = get_text(at, image, "filepath") if "filepath" in image else ""
        names.append(f"{folder}/{name}" if folder else name)
        splits.append("train" if restval and split == "restval" else split)
        sentences.append([])
        listed = get(at, image, "sentences")
        if not isinstance(listed, list):
            raise ValueError(f"{at}: sentences must be a list, got {listed!r}")
        for number, sentence in enumerate(listed):
            here = f"{at}, sentence {number}"
            left_out += _add(sentences[-1], _sentence(here, sentence))
            _once(here, sentence, "sentid", known)
    return CaptionedImages(names, sentences, splits, list(found), left_out)


def read_coco_captions(file: str | Path, split: str = "train") -> CaptionedImages:
    """Read COCO's captions (Chen et al. 2015), such as ``captions_val2014.json``.

    Parameters
    ----------
    file : str or Path
        An object with ``images`` (id, file_name) and ``annotations`` (image_id, caption, perhaps id).
    split : str
        What the images of this file are.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing, is no JSON or lacks an entry, names an image that it does not list, or has an id twice. The
        message names the file and the record.
    """
    who, path = "read_coco_captions", Path(file)
    parts = read_lists(who, path, ("images", "annotations"), "give a file of captions")
    where = f"{who}: {path}"
    found = records_by_id(where, "image", parts["images"])
    names = [get_text(f"{where}: image {key}", image, "file_name") for key, image in found.items()]
    place = {key: i for i, key in enumerate(found)}
    sentences: list[list[str]] = [[] for _ in names]
    known: set[Any] = set()
    left_out = 0
    for number, annotation in enumerate(parts["annotations"]):
        at = f"{where}: annotation at place {number}"
        i = place_of(at, "image", get(at, annotation, "image_id"), place)
        left_out += _add(sentences[i], get_text(at, annotation, "caption"))
        _once(at, annotation, "id", known)
    return CaptionedImages(names, sentences, [split] * len(names), list(found), left_out)


# -------------------------------------------------------------------------------------------------------- on the way
def _add(sentences: list[str], sentence: str) -> int:
    """Append a sentence that has a word; return how many were left out: 0 or 1."""
    if not tokenise(sentence):
        return 1
    sentences.append(sentence.strip())
    return 0


def _lines(who: str, path: Path) -> list[tuple[int, str]]:
    """Return the lines of a file that are not blank, with their numbers from 1."""
    if not path.is_file():
        raise FileNotFoundError(f"{who}: there is no file {path}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        number = problem.object[: problem.start].count(b"\n") + 1
        raise ValueError(f"{who}: {path}, line {number}: wanted text in UTF-8, got {problem.reason}") from None
    return [(k, line.rstrip("\r")) for k, line in enumerate(text.split("\n"), 1) if line.strip()]


def _sentence(where: str, record: Any) -> str:
    """Return the tokens of one of Karpathy's sentences, joined, or its raw text."""
    if isinstance(record, dict) and "tokens" not in record:
        return get_text(where, record, "raw")
    tokens = get(where, record, "tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"{where}: tokens must be a list of strings, got {tokens!r}")
    return " ".join(tokens)


def _once(where: str, record: dict[str, Any], key: str, known: set[Any]) -> None:
    """Note a record's id, if it has one; ValueError if it is no number or text, or was there before."""
    if key not in record:
        return
    if not isinstance(record[key], (int, str)) or record[key] in known:
        raise ValueError(f"{where}: {key} must be a number of its own, got {record[key]!r}")
    known.add(record[key])
