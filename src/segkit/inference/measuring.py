"""Cracks and objects of predicted masks: rows of a table, centre lines, and what is drawn on an overlay."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.geometry.cracks import Crack, measure_cracks
from segkit.geometry.markers import SLANTED, find_markers
from segkit.geometry.objects import Blob, measure_objects
from segkit.inference.predictor import Prediction
from segkit.models.presence import gives_masks
from segkit.pictures.measured import Line, Mark, draw_measured
from segkit.tasks.segmenter import Segments

MARKER = "marker:"


class Scale(NamedTuple):
    """Millimetres for a pixel, or None if lengths stay in pixels; and what there is to say about it."""

    factor: float | None
    note: str = ""

    @property
    def unit(self) -> str:
        return "px" if self.factor is None else "mm"


class Measured(NamedTuple):
    """What was measured in a picture. rows: of cracks.csv or objects.csv. lines: of each row's crack, as in the JSON.
    summary: for the picture's row of predictions.csv. drawn: lines and marks for the overlay."""

    rows: list[dict[str, Any]]
    lines: list[list[dict[str, Any]]]
    summary: dict[str, Any]
    drawn: tuple[list[Line], list[Mark], str]

    def draw(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return draw_measured(picture, *self.drawn)


class Measuring:
    """Measures predictions of a run. how: cracks or objects. wanted: names of the classes, or None for the only one
    besides a background; objects are then of all. scale: millimetres for a pixel, "marker:<its side in millimetres>",
    or None for pixels. ValueError for a class that the run does not know, and for a run without masks."""

    def __init__(
        self, task: Segments, how: str, wanted: str | Sequence[str] | None = None, scale: float | str | None = None
    ) -> None:
        if not gives_masks(task.net):
            raise ValueError(f"measure={how} measures masks, and this run gives none: leave it out.")
        self.task, self.how, self.scale = task, how, scale
        self.numbers = find_numbers(task.classes, how, wanted)

    def __call__(self, image: NDArray[np.uint8], prediction: Prediction) -> Measured:
        """What a picture (H, W, 3) RGB shows."""
        scale = find_scale(image, self.scale)
        found: list[tuple[str, Crack | Blob]] = []
        summary: dict[str, Any] = {"unit": scale.unit}
        for number in self.numbers:
            title = self.task.classes[number]
            things = self._measure(prediction, number)
            summary |= {f"{key}/{title}": value for key, value in summarise(things, image.shape[:2], scale).items()}
            found += [(title, thing) for thing in things]
        if self.scale is not None:
            summary |= {"scale": "" if scale.factor is None else float(f"{scale.factor:.6g}"), "scale_note": scale.note}
        rows = [
            {"number": at, "class": title, "unit": scale.unit} | describe(thing, scale)
            for at, (title, thing) in enumerate(found, 1)
        ]
        lines = [describe_lines(thing, scale) for _, thing in found]
        return Measured(rows, lines, summary, prepare_drawing([thing for _, thing in found], scale))

    def _measure(self, prediction: Prediction, number: int) -> Sequence[Crack | Blob]:
        label, probabilities = prediction.label, prediction.probabilities
        if label is None or probabilities is None:
            return ()
        if len(self.task.classes) == 1:
            probability, mask, threshold = probabilities[0], label > 0, self.task.threshold
        else:  # against the most probable of the others, so that the border is at ½
            rest = np.delete(probabilities, number, 0).max(0)
            own = probabilities[number]
            probability, mask, threshold = own / np.maximum(own + rest, 1e-12), label == number, 0.5
        if self.how == "objects":
            return measure_objects(probabilities[number], mask)
        return sorted(measure_cracks(probability, mask, threshold), key=lambda crack: -crack.length)

    def format(self, measured: Measured, source: str) -> str:
        """A picture's JSON: the summary, and each thing with its centre lines."""
        entries = [
            row | ({"lines": lines} if self.how == "cracks" else {})
            for row, lines in zip(measured.rows, measured.lines, strict=True)
        ]
        return json.dumps({"name": source, "summary": measured.summary, self.how: entries}) + "\n"


def find_numbers(classes: Sequence[str], how: str, wanted: str | Sequence[str] | None) -> list[int]:
    """The numbers of the classes to measure."""
    names = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if unknown := [name for name in names if name not in classes]:
        raise ValueError(f"measure_class={unknown[0]}: this run's classes are {', '.join(classes)}.")
    if names:
        return [classes.index(name) for name in names]
    shown = [number for number, name in enumerate(classes) if len(classes) == 1 or name.lower() != "background"]
    if how == "cracks" and len(shown) > 1:
        raise ValueError(
            f"measure=cracks: this run tells {', '.join(classes)} apart. Say which are cracks: "
            f"measure_class={classes[shown[0]]}, or a list of several."
        )
    return shown


def find_scale(image: NDArray[np.uint8], scale: float | str | None) -> Scale:
    """The scale of a picture as the setting says, or by the marker in it."""
    if not isinstance(scale, str):
        return Scale(scale)
    seen = find_markers(image)
    if seen is None:
        return Scale(None, "no marker found")
    slanted = seen.distortion > SLANTED
    note = f"the marker is seen at a slant: its sides differ by {seen.distortion - 1:.0%}" if slanted else ""
    return Scale(float(scale.removeprefix(MARKER)) / seen.side, note)


def describe(thing: Crack | Blob, scale: Scale) -> dict[str, Any]:
    """A crack or an object as a row: lengths and areas in the scale's unit, places in pixels."""
    factor = scale.factor or 1.0
    row: dict[str, Any]
    if isinstance(thing, Blob):
        row = {"area": thing.area * factor**2, "diameter": thing.diameter * factor}
        row |= dict(zip(("x", "y"), thing.centroid, strict=True))
    else:
        row = {"length": thing.length * factor}
        for key, estimate in (("width_mean", thing.width), ("width_max", thing.widest)):
            row |= {f"{key}{end}": one * factor for end, one in zip(("", "_low", "_high"), estimate, strict=True)}
        row |= dict(zip(("width_max_x", "width_max_y"), thing.widest_at, strict=True))
        row |= {"orientation": thing.orientation, "branches": len(thing.lines), "branch_points": thing.branch_points}
        row |= {"area": thing.area * factor**2}
    row |= dict(zip(("box_left", "box_top", "box_width", "box_height"), thing.box, strict=True))
    return {key: shorten(value) for key, value in (row | {"confidence": thing.confidence}).items()}


def shorten(value: float) -> float:
    """A number with the digits that say something."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def describe_lines(thing: Crack | Blob, scale: Scale) -> list[dict[str, Any]]:
    """The centre lines of a crack for JSON: points in pixels, and widths at them, None where there is none."""
    if isinstance(thing, Blob):
        return []
    factor = scale.factor or 1.0
    return [
        {
            "points": np.round(line.points, 2).tolist(),
            "widths": [None if np.isnan(width) else shorten(width * factor) for width in line.widths.tolist()],
        }
        for line in thing.lines
    ]


def summarise(things: Sequence[Crack | Blob], shape: Sequence[int], scale: Scale) -> Mapping[str, Any]:
    """Of one class in a picture: how many, and their sums, means and largest."""
    factor = scale.factor or 1.0
    cracks = [thing for thing in things if isinstance(thing, Crack)]
    blobs = [thing for thing in things if isinstance(thing, Blob)]
    found: dict[str, Any] = {"count": len(things)}
    if blobs:
        found |= {"diameter_mean": float(np.mean([blob.diameter for blob in blobs])) * factor}
    if cracks:
        lengths = np.array([crack.length for crack in cracks])
        widest = max(cracks, key=lambda crack: crack.widest.value).widest
        found |= {"length": float(lengths.sum()) * factor}
        found |= {"length_density": float(lengths.sum()) / (shape[0] * shape[1] * factor)}
        found |= {"width_mean": float(np.average([crack.width.value for crack in cracks], weights=lengths)) * factor}
        found |= {f"width_max{end}": one * factor for end, one in zip(("", "_low", "_high"), widest, strict=True)}
    return {key: shorten(value) for key, value in found.items()}


def prepare_drawing(things: Sequence[Crack | Blob], scale: Scale) -> tuple[list[Line], list[Mark], str]:
    factor = scale.factor or 1.0
    lines: list[Line] = []
    marks: list[Mark] = []
    for number, thing in enumerate(things, 1):
        if isinstance(thing, Blob):
            marks.append(Mark(thing.centroid, f"{number}: {thing.diameter * factor:.3g} {scale.unit}"))
        else:
            lines += [Line(line.points, line.widths * factor) for line in thing.lines]
            marks.append(Mark(thing.widest_at, f"{number}: {thing.widest.value * factor:.3g}", thing.widest_ends))
    return lines, marks, scale.unit
