"""What a data set looks like: sizes, classes, objects and places, from reading every picture with its mask once."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit import IGNORE_INDEX, console, hardware
from segkit.datasets.checking import pairing
from segkit.datasets.checking.thumbnails import Thumbnail, make_thumbnail
from segkit.datasets.common import SPLITS
from segkit.datasets.findings import DataError, Findings, collect_findings
from segkit.datasets.module import DataModule
from segkit.datasets.reading import describe_file
from segkit.datasets.scan import read_all
from segkit.datasets.source import Extras, Sample, Source, extras_of
from segkit.geometry.objects import Objects, find_objects

log = logging.getLogger("segkit")

PLACES = 16  # cells each way of the map that shows where a class is
SAMPLE, SAMPLE_PIXELS = 64, 100_000_000  # pictures of a split, and pixels of all, that a sample has at most


class Content(NamedTuple):
    """What is kept of a picture to be compared with others, about 25 KB: its thumbnail, picture and mask on the grid of
    `pairing`, and a hash of its mask."""

    thumbnail: Thumbnail
    features: NDArray[np.int8]
    shares: NDArray[np.uint8]
    mask: bytes


class Record(NamedTuple):
    """A picture and its mask. files: their paths, if any; kinds: what the files are, such as `8-bit RGB JPEG`.

    size: (height, width) of the picture; seen: the size at which its mask was measured. pixels: (C + 1,) pixels of each
    value of the mask (of one class: background, then the class), the ignored ones last. content: None in a sample.
    """

    split: str
    name: str
    group: str
    files: tuple[Path, ...]
    kinds: tuple[str, ...]
    size: tuple[int, int]
    seen: tuple[int, int]
    pixels: NDArray[np.int64]
    objects: Objects
    content: Content | None

    @property
    def image(self) -> str:
        return str(self.files[0]) if self.files else self.name

    @property
    def mask(self) -> str:
        return str(self.files[1]) if self.files else self.name

    @property
    def key(self) -> Path:
        """What its picture is known by."""
        return Path(self.image) if self.files else Path(self.split, self.name)


class Shares(NamedTuple):
    """A class in a split: its share of the labelled pixels, of the pictures, and each picture's share of pixels."""

    pixels: float
    pictures: float
    each: NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """A data set's pictures that could be read. counts: how many each split has; complete: whether all were tried.

    classes: their names; `values` are the numbers that they have in masks. network: the size to which training resizes
    pictures, if it does.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, int]
    records: tuple[Record, ...]
    complete: bool
    network: tuple[int, int] | None = None

    @property
    def values(self) -> Mapping[str, int]:
        first = 1 if len(self.classes) == 1 else 0
        return {name: first + number for number, name in enumerate(self.classes)}

    @property
    def objects(self) -> Mapping[str, int]:
        """The classes whose regions are objects: all but one that is called background."""
        return {name: value for name, value in self.values.items() if not is_background(name)}

    def of(self, split: str) -> list[Record]:
        return [record for record in self.records if record.split == split]

    def unique(self) -> list[Record]:
        """Every picture once, even if two splits have it."""
        return list({record.key: record for record in reversed(self.records)}.values())[::-1]

    def shares(self, name: str, split: str = "") -> Shares:
        """Of a class in a split, or in all."""
        records = self.of(split) if split else self.unique()
        shown = np.array([record.pixels[self.values[name]] for record in records], np.float64)
        known = np.array([record.pixels[:-1].sum() for record in records], np.float64)
        pixels = float(shown.sum() / max(known.sum(), 1))
        return Shares(pixels, float((shown > 0).mean()) if len(shown) else 0.0, shown / np.maximum(known, 1))

    def thickness(self, name: str = "", at_network: bool = False) -> NDArray[np.float64]:
        """(3,): thickness of a class's objects (of all) that 5, 50 and 95 % of their area stay below; empty without
        objects. at_network: in pixels of the network's input instead of the pictures' own."""
        thick, area = [], []
        for record in self.unique():
            chosen = record.objects.classes == self.values[name] if name else slice(None)
            target = self.network if at_network and self.network else record.size
            scale = (target[0] * target[1] / (record.seen[0] * record.seen[1])) ** 0.5
            thick.append(record.objects.thickness[chosen] * scale)
            area.append(record.objects.areas[chosen] * scale**2)
        return find_quantiles(np.concatenate([*thick, []]), np.concatenate([*area, []]))

    def places(self, name: str) -> NDArray[np.float64] | None:
        """(PLACES, PLACES): the share of pictures' pixels there that show a class; None in a sample."""
        contents = [record.content.shares for record in self.unique() if record.content]
        if not contents:
            return None
        at = list(self.values).index(name)
        total, known = np.zeros((pairing.GRID,) * 2), np.zeros((pairing.GRID,) * 2)
        for shares in contents:
            here = shares[..., at] != IGNORE_INDEX
            total += np.where(here, shares[..., at] / 254, 0)
            known += here
        step = pairing.GRID // PLACES
        total, known = (one.reshape(PLACES, step, PLACES, step).sum((1, 3)) for one in (total, known))
        return np.asarray(total / np.maximum(known, 1))

    def sizes(self) -> dict[tuple[int, int], int]:
        """How many pictures have each (height, width), the most frequent first."""
        found: dict[tuple[int, int], int] = {}
        for record in self.unique():
            found[record.size] = found.get(record.size, 0) + 1
        return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))

    def groups(self) -> int:
        """How many groups the pictures have; 0 without any."""
        return len({record.group for record in self.records} - {""})


def is_background(name: str) -> bool:
    return name.lower() == "background"


def find_quantiles(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values that 5, 50 and 95 % of the weight stay below."""
    if not weights.sum():
        return np.zeros(0)
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    return np.asarray(values[order][np.searchsorted(below, (0.05, 0.5, 0.95))])


def survey_all(data: DataModule, found: Findings, progress: bool = True, repair: bool = False) -> Survey:
    """Read every picture and its mask once; what cannot be read is added to `found`. progress: show a bar."""
    sources = data.sources
    total = sum(len(source) for _, source in distinct(sources))
    bar = console.show_progress("reading", total, progress)
    read: dict[str, list[Record]] = {}
    with bar as advance, collect_findings(repair) as here:
        for split, source in distinct(sources):
            try:
                read_split(split, source, advance, read.setdefault(split, []))
            except DataError as error:
                here.faults |= dict.fromkeys(error.findings)
    found.faults |= here.faults
    found.remarks |= here.remarks
    same = same_splits(sources)
    records = [one._replace(split=split) for split in sources for one in read[same[split]]]
    return make_survey(data, records, True)


def read_split(split: str, source: Source, advance: Callable[[], object], records: list[Record]) -> None:
    """Add the records of a split, in its order; DataError with all faults at the end."""
    extras = extras_of(source)
    found: dict[int, Record] = {}

    def one(index: int) -> None:
        try:
            found[index] = read_record(split, source, extras, index)
        finally:
            advance()

    try:
        read_all(one, source, hardware.cores())
    finally:
        records += [found[index] for index in sorted(found)]


def survey_sample(data: DataModule, splits: Sequence[str] = SPLITS, strict: bool = False) -> Survey:
    """Read some pictures of splits, evenly spread, decoded already where there is a cache. Faulty ones are left out, or
    the first is an error (`strict`)."""
    records, left = list[Record](), SAMPLE_PIXELS
    with collect_findings():  # reported by the checks themselves
        for split, source in data.sources.items():
            if split not in splits:
                continue
            decoded, extras = data.decode(split), extras_of(source)
            for index in np.linspace(0, len(source) - 1, min(SAMPLE, len(source))).round().astype(int).tolist():
                height, width = decoded.shape(index)
                if (left := left - height * width) < 0 and records and records[-1].split == split:
                    break
                try:
                    record = measure(split, source, extras, decoded[index], index)
                    records.append(record._replace(size=source.shape(index)))
                except DataError:
                    if strict:
                        raise
    return make_survey(data, records, len(records) == sum(map(len, data.sources.values())))


def make_survey(data: DataModule, records: Sequence[Record], complete: bool) -> Survey:
    classes = tuple(next(iter(data.sources.values())).classes)
    counts = {split: len(source) for split, source in data.sources.items()}
    return Survey(classes, counts, tuple(records), complete, data.size if data.train_mode == "resize" else None)


def same_splits(sources: Mapping[str, Source]) -> dict[str, str]:
    """For each split the first one that has the same pictures altogether."""
    found: dict[str, str] = {}
    for split, source in sources.items():
        files = extras_of(source).files
        twins = (other for other in found if files and extras_of(sources[other]).files == files)
        found[split] = next(twins, split)
    return found


def distinct(sources: Mapping[str, Source]) -> Iterator[tuple[str, Source]]:
    same = same_splits(sources)
    return ((split, source) for split, source in sources.items() if same[split] == split)


def read_record(split: str, source: Source, extras: Extras, index: int) -> Record:
    """A picture with all that others are compared with."""
    sample = source[index]
    record = measure(split, source, extras, sample, index)
    image, mask = np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy()), sample["mask"].numpy()
    digest = blake2b(np.ascontiguousarray(mask).data, digest_size=16).digest()
    shares = pairing.share_out(mask, len(source.classes))
    content = Content(make_thumbnail(image), pairing.describe(image), shares, digest)
    return record._replace(content=content, kinds=tuple(describe_file(path) for path in record.files))


def measure(split: str, source: Source, extras: Extras, sample: Sample, index: int) -> Record:
    """A picture's record without its content."""
    mask = sample["mask"].numpy()
    count = max(len(source.classes), 2)
    pixels = np.bincount(mask.ravel(), minlength=256)
    values = [1] if len(source.classes) == 1 else range(len(source.classes))
    objects = [value for value, name in zip(values, source.classes, strict=True) if not is_background(name)]
    return Record(
        split=split,
        name=source.names[index],
        group=extras.groups[index] if extras.groups else "",
        files=tuple(extras.files[index]) if extras.files else (),
        kinds=(),
        size=mask.shape,
        seen=mask.shape,
        pixels=np.append(pixels[:count], pixels[IGNORE_INDEX]),
        objects=find_objects(mask, [value for value in objects if pixels[value]]),
        content=None,
    )
