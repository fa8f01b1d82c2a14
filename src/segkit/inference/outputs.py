"""What is written for a picture: its mask, overlay, probabilities, polygons and its row of the table."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.files.writing import write_text
from segkit.formats import coco, geojson
from segkit.formats.model import NO_OBJECT, Json
from segkit.formats.outlines import outline_classes
from segkit.inference.measuring import Measuring
from segkit.inference.predictor import Prediction, Predictor
from segkit.pictures import overlays

Row = dict[str, Any]
POLYGONS = "polygons.json"  # COCO's file for all pictures


class Page:
    """What is written for one picture: its `files`, all called `name` with a suffix in folders of the output, its `row`
    of the table, its objects for COCO's file of all pictures, and its rows of the table of what was `measured`."""

    def __init__(self, folder: Path, name: str, row: Row) -> None:
        self.folder, self.name, self.row = folder, name, row
        self.files: list[str] = []  # below the folder
        self.objects: list[Json] | None = None
        self.measured: list[Row] | None = None

    def path(self, kind: str, suffix: str) -> Path:
        """Where a file of this picture goes, in the folder of its kind; it is noted as written."""
        self.files.append(f"{kind}/{self.name}{suffix}")
        return self.folder / self.files[-1]


class Outputs:
    """Writes what the `settings` of predict ask for: see conf/predict.yaml. colors: (C, 3) of the classes. frames: of a
    video, whose masks are written only if they are asked for, and whose overlays are not single files.
    """

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str],
        present_above: float,
        settings: Mapping[str, Any],
        colors: NDArray[np.uint8],
        measuring: Measuring | None = None,
        frames: bool = False,
    ) -> None:
        self.folder, self.classes, self.present_above = folder, classes, present_above
        self.settings, self.colors, self.measuring = settings, colors, measuring
        self.masks: str = settings["masks"] or ("none" if frames else "numbers")
        self.overlays = settings["overlays"] and not frames

    @classmethod
    def of(cls, predictor: Predictor, folder: Path, settings: Mapping[str, Any]) -> "Outputs":
        """For the classes of a predictor, in the colours that the settings or else its data set give them."""
        classes, color = predictor.classes, settings["color"]
        known = predictor.task.facts.get("colors")
        colors = (
            overlays.class_colors(len(classes), known, classes)
            if color is None
            else overlays.parse_colors(color, classes)
        )
        how = settings["measure"]
        measuring = Measuring(predictor.task, how, settings["measure_class"], settings["scale"]) if how else None
        return cls(folder, classes, predictor.present_above, settings, colors, measuring)

    def of_frames(self) -> "Outputs":
        """The same for the frames of a video."""
        given = self.folder, self.classes, self.present_above, self.settings, self.colors, self.measuring
        return Outputs(*given, frames=True)

    def write(self, image: NDArray[np.uint8], prediction: Prediction, page: Page) -> None:
        """Write all that is wanted of a picture (H, W, 3), and fill in its row of the table."""
        label, settings = prediction.label, self.settings
        measured = None if self.measuring is None else self.measuring(image, prediction)
        if label is not None:

            def draw() -> NDArray[np.uint8]:
                drawn = self.draw_overlay(image, label)
                return drawn if measured is None else measured.draw(drawn)

            self.write_label(label, draw, page)
        if settings["probabilities"] and prediction.probabilities is not None:
            save_probabilities(prediction.probabilities, page, settings["probabilities"] == "float")
            if prediction.spread is not None:
                save_probabilities(prediction.spread[None], page, settings["probabilities"] == "float", "spread")
        confidence = find_confidence(prediction, self.present_above)
        page.row |= self.describe((image.shape[0], image.shape[1]), label, prediction.presence, confidence)
        if self.measuring is not None and measured is not None:
            page.measured = measured.rows
            page.row |= measured.summary
            save_text(page.path("measurements", ".json"), self.measuring.format(measured, page.row["name"]))

    def write_label(self, label: NDArray[np.uint8], draw: Callable[[], NDArray[np.uint8]], page: Page) -> None:
        """Write what is wanted of class numbers; `draw` gives the overlay."""
        if self.masks != "none":
            overlays.save(page.path("masks", ".png"), self.draw_mask(label))
            page.row["mask"] = page.files[-1]
        if self.overlays:
            overlays.save(page.path("overlays", ".jpg"), draw())
        if self.settings["polygons"] is not None:
            self.write_polygons(label, page)

    def draw_mask(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A mask as its file has it: 0 and 255 for one class, numbers for several, or colours."""
        if self.masks == "colors":
            return overlays.paint(label, self.colors)[0]
        return label * 255 if len(self.classes) == 1 else label

    def draw_overlay(self, image: NDArray[np.uint8], label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return overlays.overlay(image, label, self.colors, outlined=True)

    def write_polygons(self, label: NDArray[np.uint8], page: Page) -> None:
        outlines = outline_classes(label, self.classes)
        if self.settings["polygons"] == "coco":
            page.objects = coco.describe(outlines, label.shape, self.objects)
        else:
            text = json.dumps(geojson.write(outlines), ensure_ascii=False) + "\n"
            save_text(page.path("polygons", ".geojson"), text)

    @property
    def objects(self) -> list[str]:
        """The classes that have objects."""
        return [name for name in self.classes if name.casefold() not in NO_OBJECT]

    def describe(
        self,
        shape: tuple[int, int],
        label: NDArray[np.uint8] | None,
        presence: float | None,
        confidence: float | None,
    ) -> Row:
        """Size, presence, areas and confidence."""
        row: Row = {"width": shape[1], "height": shape[0]}
        if presence is not None:
            row |= {"present": int(presence > self.present_above), "probability": round(presence, 6)}
        if label is not None:
            first = 1 if len(self.classes) == 1 else 0
            for number, title in enumerate(self.classes, first):
                area = int(np.count_nonzero(label == number))
                row |= {f"area/{title}": area, f"share/{title}": round(area / label.size, 6)}
        return row if confidence is None else row | {"confidence": round(confidence, 6)}


def save_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def find_confidence(prediction: Prediction, present_above: float) -> float | None:
    """The mean probability of what was said of each pixel; of a picture that shows nothing, by a network that detects
    presence, the probability of that. None without any probabilities."""
    label, presence, probabilities, _ = prediction
    if presence is not None and (label is None or presence <= present_above):
        return presence if presence > present_above else 1 - presence
    if label is None or probabilities is None:
        return None
    return sum_confidence(probabilities, label) / int(label.size)


def sum_confidence(probabilities: NDArray[np.float32], label: NDArray[np.uint8]) -> float:
    """The sum over pixels of the probability of what was said of each: (C, H, W) and class numbers (H, W)."""
    if len(probabilities) > 1:
        return float(probabilities.max(0).sum(dtype=np.float64))
    said, outside = probabilities[0], label == 0
    right = float(said.sum(where=~outside, dtype=np.float64)) - float(said.sum(where=outside, dtype=np.float64))
    return right + int(np.count_nonzero(outside))


def save_probabilities(
    probabilities: NDArray[np.float32], page: Page, as_float: bool, kind: str = "probabilities"
) -> None:
    """Write probabilities (C, H, W), as they are in a TIFF or times 65535 in a PNG of 16 bits; for several classes a
    folder with one file per class, by number."""
    suffix = ".tif" if as_float else ".png"
    for number, level in enumerate(probabilities):
        path = page.path(kind, suffix if len(probabilities) == 1 else f"/{number}{suffix}")
        overlays.save(path, level if as_float else np.round(level * 65535).astype(np.uint16))
