"""Scores of a split as rows and tables, one row per picture or sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segkit.datasets.module import DataModule
from segkit.datasets.samples import CROPS_A_PICTURE
from segkit.datasets.source import extras_of
from segkit.evaluation.sheets import presence_figure
from segkit.files.tables import write_rows
from segkit.pictures import charts, overlays
from segkit.tasks.contract import Task
from segkit.tasks.scores import Scores


def write_scores(task: Task, data: DataModule, split: str, folder: Path) -> None:
    """Write per_image.csv for the split that was scored last, confusion.csv for several classes, presence.csv if
    presence was scored, and the pictures of both."""
    scores, names = task.scores("test"), data.sources[split].names
    groups = extras_of(data.sources[split]).groups
    write_rows(folder / "per_image.csv", with_groups(image_rows(scores, names), groups))
    if (confusion := scores.confusion) is not None:
        counts = zip(task.classes, confusion.tolist(), strict=True)
        rows = [{"truth": name, **dict(zip(task.classes, row, strict=True))} for name, row in counts]
        write_rows(folder / "confusion.csv", rows)
        figure = charts.draw_confusion(confusion.numpy(), task.classes)
        overlays.save(folder / "pictures" / f"confusion_{split}.png", figure)
    if scores.presence is not None:
        write_rows(folder / "presence.csv", with_groups(presence_rows(scores, names), groups))
        figure = presence_figure(scores.presence, task.classes[0])
        overlays.save(folder / "pictures" / f"presence_{split}.png", figure)


def image_rows(scores: Scores, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row per picture: its scores and, if presence was scored, whether the class is there and its probability (the
    highest of a picture's crops)."""
    rows = {int(row["index"] or 0): dict[str, Any](row) for row in scores.per_image()}
    for answer in presence_rows(scores, names):
        row = rows.setdefault(answer["index"], {"index": answer["index"], "label": 0, "probability": 0.0})
        for key in ("label", "probability"):
            row[key] = max(row.get(key, 0), answer[key])
    return [{"name": names[index], **row} for index, row in sorted(rows.items())]


def presence_rows(scores: Scores, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row per sample scored for presence: a picture, or a crop with its number in the picture."""

    if scores.presence is None:
        return []
    answers = scores.presence.answers()
    found = zip(*(values.tolist() for values in answers), strict=True)
    each = CROPS_A_PICTURE if scores.of_crops else 1
    return [
        {
            "name": names[sample // each],
            "index": sample // each,
            "crop": sample % each,
            "label": label,
            "probability": probability,
        }
        for sample, label, probability in found
    ]


def with_groups(rows: list[dict[str, Any]], groups: Sequence[str]) -> list[dict[str, Any]]:
    """Add each picture's group (photograph, patient, video) after its name, if known."""
    if not groups:
        return rows
    return [{"name": row["name"], "group": groups[row["index"]]} | row for row in rows]
