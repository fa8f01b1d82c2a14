"""Everything that `input=` names, predicted into a folder."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from segkit import console
from segkit.configs.errors import explain
from segkit.configs.inputs import Input
from segkit.console import format_count
from segkit.files.writing import DISK_FULL, write_text
from segkit.formats import coco
from segkit.hardware import computing
from segkit.inference.decoding import read_groups
from segkit.inference.journal import TABLE, Journal, stamp_of
from segkit.inference.outputs import POLYGONS, Outputs, Page, Row
from segkit.inference.pipeline import Item, Room, run
from segkit.inference.predictor import Predictor

CHOSEN = ("accelerator", "threshold", "gate", "tta")  # settings of the predictor


def predict_inputs(inputs: Sequence[Input], journal: Journal, settings: Mapping[str, Any]) -> list[Row]:
    """Predict all inputs that the journal does not have yet; returns the rows of all pictures and videos.

    One that cannot be read is named, has its error in the table, and a ValueError names them after the rest."""
    predictor = Predictor.load(settings["run"], settings["trust"], **{key: settings[key] for key in CHOSEN})
    outputs = Outputs.of(predictor, journal.folder, settings)
    journal.begin()
    left = [one for one in inputs if not journal.is_done(one.key)]
    try:
        with (
            computing(predictor.task.device, predictor.precision),  # for all, so that weights are cast once
            console.show_progress("predicting", len(left)) as advance,
        ):
            for is_picture, some in groupby(left, lambda one: one.kind == "picture"):
                if is_picture:
                    predict_pictures(list(some), predictor, outputs, journal, advance)
    except KeyboardInterrupt:
        done = sum(journal.is_done(one.key) for one in inputs)
        console.say(f"\n{done} of {len(inputs)} are done; the same command goes on with the others.", stderr=True)
        raise
    finally:
        finish(inputs, journal, outputs)
    rows = [line["row"] for line in journal.lines_of([one.key for one in inputs if one.kind != "stream"])]
    summarise(rows, len(inputs) - len(left), predictor, journal)
    if bad := [row for row in rows if "error" in row]:
        names = ", ".join(row["name"] for row in bad[:5])
        raise ValueError(f"{format_count(len(bad), 'picture')} could not be read: {names}")
    return rows


def predict_pictures(
    inputs: Sequence[Input], predictor: Predictor, outputs: Outputs, journal: Journal, advance: Any
) -> None:
    room = Room()
    by_name = {one.name: one for one in inputs}

    def note(page: Page) -> None:
        one = by_name[page.name]
        if "error" in page.row:
            console.say(f"{one.source}: {page.row['error']}", stderr=True)
            journal.add(one.key, page.row)
        else:
            more = {} if page.objects is None else {"picture": one.below, "objects": page.objects}
            journal.add(one.key, page.row, name=one.name, stamp=stamp_of(one.source), files=page.files, **more)
        advance()

    groups = read_groups(inputs, len(predictor.classes), room)
    run(groups, predictor, lambda item: write_picture(item, outputs), note, room)


def write_picture(item: Item, outputs: Outputs) -> Page:
    """Write what is wanted of a picture; if that fails, its row has the error. A full disk ends everything."""
    one: Input = item.key
    page, started = Page(outputs.folder, one.name, {"name": one.source}), time.perf_counter()
    try:
        outputs.write(*item.result(), page)
    except Exception as error:  # whatever is wrong with one picture, the others are done
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        return Page(outputs.folder, one.name, {"name": one.source, "error": explain(error)})
    page.row["seconds"] = round(item.seconds + time.perf_counter() - started, 4)
    return page


def finish(inputs: Iterable[Input], journal: Journal, outputs: Outputs) -> None:
    """Write the files about all pictures, in the order of the inputs."""
    there = [one for one in inputs if one.key in journal.entries]
    journal.write_table([one.key for one in there])
    if outputs.settings["polygons"] == "coco":
        pictures = (
            (line["picture"], (line["row"]["height"], line["row"]["width"]), line["objects"])
            for line in journal.lines_of([one.key for one in there])
            if "objects" in line
        )
        write_text(journal.folder / POLYGONS, json.dumps(coco.assemble(pictures, outputs.objects)) + "\n")


def summarise(rows: Sequence[Row], before: int, predictor: Predictor, journal: Journal) -> None:
    """Say how many were predicted, and what lies where."""
    good = [row for row in rows if "error" not in row]
    threshold = predictor.task.threshold  # may be the command line's, or a calibration's
    name = predictor.classes[0]
    above = f" (a pixel is {name} above {threshold:g})" if len(predictor.classes) == 1 and threshold != 0.5 else ""
    earlier = f", {before} of them before" if before else ""
    written = {name.partition("/")[0] for entry in journal.entries.values() for name in entry.files}
    there = [*sorted(written), *(name for name in (POLYGONS, TABLE) if (journal.folder / name).exists())]
    done = f"{len(good)} of {format_count(len(rows), 'picture')} predicted{above}{earlier}"
    console.say(f"{done}; in {journal.folder}: {', '.join(there)}")
    if any("present" in row for row in good):
        found = sum(row.get("present", 0) for row in good)
        console.say(f"{name} in {found} of them (probability above {predictor.present_above:g})")
