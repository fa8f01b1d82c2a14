"""Large picture files: read, predicted and written a band of rows at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.datasets.findings import gather_findings
from segkit.datasets.reading import picture_size
from segkit.datasets.rows import open_rows
from segkit.geometry.objects import remove_small
from segkit.inference.predictor import Predictor
from segkit.pictures import overlays
from segkit.tasks.tiles import Rows

ROWS = 1024  # of an overlay that are drawn at once


class Found(NamedTuple):
    """What was found in a large picture: the picture itself, its class numbers (H, W), and the probability that the
    class is there; None for what a run does not predict."""

    picture: Rows
    label: NDArray[np.uint8] | None
    presence: float | None


def is_large(predictor: Predictor, path: Path) -> bool:
    """Whether a picture file is cut into tiles, by its header."""
    return predictor.how.tiles is not None and predictor.how.tiles_of(picture_size(path)) is not None


def predict_large(predictor: Predictor, path: Path, probabilities: Path | None = None) -> Found:
    """Predict a picture file that `is_large`; its pixels are only held as class numbers. probabilities: where they are
    written, without a suffix: a TIFF of 16 bits, probability · 65535; for several classes a folder with one each."""
    with gather_findings():
        picture = open_rows(path)
        task, tiles = predictor.task, predictor.how.tiles_of(picture.shape)
        label, presence, top = None, None, 0
        with write_levels(probabilities, len(predictor.classes), picture.shape) as files:
            for band in predictor.bands(picture):
                presence = band.presence
                if band.probabilities is None:
                    continue
                label = np.empty(picture.shape, np.uint8) if label is None else label
                found = (
                    task.label(band.probabilities[None, : len(task.classes)], 0)[0].cpu().numpy()
                )  # small objects may cross bands
                label[top : top + len(found)] = found
                top += len(found)
                for file, values in zip(files, band.probabilities, strict=False):
                    file.write(np.round(values.cpu().numpy() * 65535).astype(np.uint16).tobytes())
    if label is not None and tiles is not None and len(predictor.classes) == 1:
        remove_small(label, task.smallest * tiles.magnify(picture.shape))
    return Found(picture, label, presence)


@contextmanager
def write_levels(path: Path | None, classes: int, shape: tuple[int, int]) -> Iterator[list[Any]]:
    """Files for the levels of each class, 16 bits and row by row; moved into place at the end, removed on a failure."""
    if path is None:
        yield []
        return
    names = [path.with_name(f"{path.name}.tif")] if classes == 1 else [path / f"{one}.tif" for one in range(classes)]
    parts = [name.with_name(f".{name.name}.part") for name in names]
    files = list[Any]()
    try:
        names[0].parent.mkdir(parents=True, exist_ok=True)
        for part in parts:
            files.append(open_levels(part, shape))
        yield files
        for file, part, name in zip(files, parts, names, strict=True):
            file.close()
            part.replace(name)
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(names[0])) from error
    finally:
        for file in files:
            file.close()
        for part in parts:
            part.unlink(missing_ok=True)


def open_levels(path: Path, shape: tuple[int, int]) -> Any:
    """A TIFF of 16 bits, open where its pixels begin, which are still to be written."""
    import tifffile  # not for those who have no large pictures

    place = tifffile.imwrite(
        path, shape=shape, dtype=np.dtype("<u2"), byteorder="<", photometric="minisblack", returnoffset=True
    )
    file = path.open("r+b")
    file.seek(place[0] if place else 0)
    return file


def draw_large(picture: Rows, label: NDArray[np.uint8], colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The overlay of a large picture, (H, W, 3), with outlines: as `overlays.overlay` draws it, a band at a time."""
    height, width = picture.shape
    drawn = np.empty((height, width, 3), np.uint8)
    line = overlays.line_width(picture.shape)
    for top in range(0, height, ROWS):
        bottom = min(top + ROWS, height)
        first, last = max(top - 2 * line, 0), min(bottom + 2 * line, height)  # lines of objects nearby
        part = overlays.overlay(picture.read(first, last), label[first:last], colors, outlined=True, width=line)
        drawn[top:bottom] = part[top - first : bottom - first]
    return drawn
