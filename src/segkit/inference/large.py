"""Large picture files: read, predicted and written a band of rows at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.datasets.findings import DataError, gather_findings
from segkit.datasets.reading import picture_size
from segkit.datasets.rows import open_rows
from segkit.geometry.objects import remove_small
from segkit.inference.outputs import Outputs, Page, sum_confidence
from segkit.inference.predictor import Predictor
from segkit.models.presence import gives_masks
from segkit.pictures import overlays
from segkit.runs.together import Ensemble
from segkit.tasks.tiles import Rows

ROWS = 1024  # of an overlay that are drawn at once


def is_large(predictor: Predictor, path: Path) -> bool:
    """Whether a picture file is cut into tiles, by its header; False if that cannot be read, which reading explains."""
    if predictor.how.tiles is None:
        return False
    with suppress(DataError):
        return predictor.how.tiles_of(picture_size(path)) is not None
    return False


def write_large(predictor: Predictor, path: Path, outputs: Outputs, page: Page) -> None:
    """Predict a picture file that `is_large`, write all that is wanted of it, and fill in its row of the table. Its
    pixels are only held as class numbers, unless its format must be decoded whole."""
    with gather_findings():
        picture = open_rows(path)
        label, presence, confidence = predict_rows(predictor, picture, outputs, page)
        if label is not None:
            found = label

            def draw() -> NDArray[np.uint8]:
                return draw_large(picture, found, outputs.colors)

            outputs.write_label(label, draw, page)
    page.row |= outputs.describe(picture.shape, label, presence, confidence)


def predict_rows(
    predictor: Predictor, picture: Rows, outputs: Outputs, page: Page
) -> tuple[NDArray[np.uint8] | None, float | None, float | None]:
    """Class numbers (H, W), presence and confidence; probabilities are written if they are wanted."""
    task, tiles = predictor.task, predictor.how.tiles_of(picture.shape)
    label, presence, top, confidence = None, None, 0, 0.0
    with write_levels(predictor, picture.shape, outputs, page) as write:
        for band in predictor.bands(picture):
            presence = band.presence
            if band.probabilities is None:
                continue
            label = np.empty(picture.shape, np.uint8) if label is None else label
            found = task.label(band.probabilities[None], 0)[0].cpu().numpy()  # small objects may cross bands
            label[top : top + len(found)] = found
            top += len(found)
            probabilities = band.probabilities.cpu().numpy()
            confidence += sum_confidence(probabilities, found)
            write([*probabilities] + ([] if band.spread is None else [band.spread.cpu().numpy()]))
    if label is not None and tiles is not None and len(predictor.classes) == 1:
        remove_small(label, task.smallest * tiles.magnify(picture.shape))
    if presence is not None and (label is None or presence <= predictor.present_above):
        return label, presence, presence if presence > predictor.present_above else 1 - presence
    return label, presence, None if label is None else confidence / label.size


@contextmanager
def write_levels(
    predictor: Predictor, shape: tuple[int, int], outputs: Outputs, page: Page
) -> Iterator[Callable[[Sequence[NDArray[np.float32]]], None]]:
    """Writes rows of maps into TIFFs, one for each class and one for the spread, if probabilities are wanted. They are
    moved into place at the end, and removed on a failure."""
    wanted, classes, names = outputs.settings["probabilities"], len(predictor.classes), list[Path]()
    if wanted and gives_masks(predictor.task.net):
        names = [page.path("probabilities", ".tif" if classes == 1 else f"/{one}.tif") for one in range(classes)]
        names += [page.path("spread", ".tif")] if isinstance(predictor.task.net, Ensemble) else []
    parts = [name.with_name(f".{name.name}.part") for name in names]
    files = list[Any]()

    def write(maps: Sequence[NDArray[np.float32]]) -> None:
        for file, values in zip(files, maps, strict=False):
            file.write((values if wanted == "float" else np.round(values * 65535).astype("<u2")).tobytes())

    try:
        for name, part in zip(names, parts, strict=True):
            name.parent.mkdir(parents=True, exist_ok=True)
            files.append(open_levels(part, shape, "<f4" if wanted == "float" else "<u2"))
        yield write
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


def open_levels(path: Path, shape: tuple[int, int], kind: str) -> Any:
    """A TIFF of numbers of a `kind`, open where its pixels begin, which are still to be written."""
    import tifffile  # not for those who have no large pictures

    how: dict[str, Any] = {"shape": shape, "dtype": np.dtype(kind), "byteorder": "<", "photometric": "minisblack"}
    place = tifffile.imwrite(path, returnoffset=True, **how)
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
