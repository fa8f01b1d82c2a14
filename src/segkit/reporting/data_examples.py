"""Small pictures of what a check has found: duplicates beside each other, masks over their pictures, places of
classes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.console import printable
from segkit.datasets.checking.checkup import Checkup
from segkit.datasets.checking.problems import (
    EMPTY_MASK,
    EXCHANGED,
    FULL_MASK,
    SINGLE_CLASS,
    SPECKS,
    TWINS,
    TWO_MASKS,
    Problem,
    speck_limit,
)
from segkit.datasets.checking.survey import Record
from segkit.datasets.findings import DataError, collect_findings
from segkit.pictures.embedding import to_data_uri
from segkit.pictures.overlays import Pixels, overlay
from segkit.pictures.sheets import MISSED, heatmap

TILE = 200  # longest side of a picture
MOST = 6  # examples of each kind
OVERLAID = (TWO_MASKS, EMPTY_MASK, FULL_MASK, SINGLE_CLASS, SPECKS)


@dataclass(frozen=True)
class Tile:
    """A small picture as a data URI, with its size and what it shows."""

    source: str
    width: int
    height: int
    text: str


class Examples:
    """Draws examples of problems; reads only the few files that it shows."""

    def __init__(self, checkup: Checkup, colors: Pixels) -> None:
        self.checkup, self.colors = checkup, colors
        self.records: dict[str, Record] = {}
        for record in checkup.survey.records:
            self.records |= {record.image: record, record.mask: record}
        self.numbers = {
            (split, name): number
            for split, source in checkup.data.sources.items()
            for number, name in enumerate(source.names)
        }

    def of(self, problems: Sequence[Problem]) -> list[list[Tile]]:
        """The first problems of one kind, a list of tiles each; empty where there is nothing to show."""
        found = []
        for problem in problems[:MOST]:
            try:
                with collect_findings():
                    tiles = list(self._draw(problem))
            except (DataError, OSError):  # gone or damaged since
                continue
            if tiles:
                found.append(tiles)
        return found

    def _draw(self, problem: Problem) -> Iterator[Tile]:
        one, other = self.records.get(problem.file), self.records.get(problem.other)
        kind = problem.finding.kind
        if one is None or (other is None and kind in (*TWINS, EXCHANGED, TWO_MASKS)):
            return
        if kind in TWINS and other is not None:
            yield from (make_tile(self._read(record)[0], self._title(record)) for record in (one, other))
        elif kind == EXCHANGED and other is not None:
            for record, its_other in ((one, other), (other, one)):
                image, mask = self._read(record)
                strange = cv2.resize(self._read(its_other)[1], mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
                yield make_tile(self._laid(image, mask), f"{self._title(record)}, its own mask")
                yield make_tile(self._laid(image, np.asarray(strange, np.uint8)), "the other's mask")
        elif kind in OVERLAID:
            for record in (one, other) if kind == TWO_MASKS and other is not None else (one,):
                image, mask = self._read(record)
                yield make_tile(image, self._title(record))
                laid, text = self._laid(image, mask), "with its mask"
                if kind == SPECKS:
                    laid, text = ring_specks(laid, mask, self.checkup.survey.objects.values()), f"{text}, specks ringed"
                yield make_tile(laid, text)

    def _read(self, record: Record) -> tuple[Pixels, Pixels]:
        sample = self.checkup.data.sources[record.split][self.numbers[record.split, record.name]]
        return np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy()), sample["mask"].numpy()

    def _laid(self, image: Pixels, mask: Pixels) -> Pixels:
        return overlay(*shrink(image, mask), self.colors, outlined=True)

    def _title(self, record: Record) -> str:
        return printable(f"{record.split}: {record.name}")


def ring_specks(laid: Pixels, mask: Pixels, values: Iterable[int]) -> Pixels:
    """Red rings around the specks of a mask, on its picture at whatever size."""
    ringed, scale = laid.copy(), laid.shape[0] / mask.shape[0]
    for value in values:
        _, _, stats, centres = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
        for number in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] <= speck_limit(mask.shape)) + 1:
            x, y = (centres[number] + 0.5) * scale
            cv2.circle(ringed, (round(x), round(y)), 7, MISSED, 2, cv2.LINE_AA)
    return ringed


def shrink(image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
    """Both at the size of a tile, if they are larger."""
    scale = TILE / max(mask.shape)
    if scale >= 1:
        return image, mask
    size = max(round(mask.shape[1] * scale), 1), max(round(mask.shape[0] * scale), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def make_tile(picture: Pixels, text: str) -> Tile:
    small, _ = shrink(picture, np.zeros(picture.shape[:2], np.uint8))
    scale = TILE / max(small.shape[:2])
    width, height = (max(round(side * scale), 1) for side in (small.shape[1], small.shape[0]))
    return Tile(to_data_uri(small), width, height, text)


def draw_places(shares: NDArray[np.float64]) -> str:
    """A map of where a class is, (N, N) of shares, as a data URI; the largest share is yellow."""
    small = heatmap((shares / max(float(shares.max()), 1e-9)).astype(np.float32))
    return to_data_uri(np.repeat(np.repeat(small, 6, 0), 6, 1), ".png")
