"""Everything that `input=` names, predicted into a folder."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from segkit import console
from segkit.configs.errors import explain
from segkit.configs.inputs import Input
from segkit.console import format_count
from segkit.files.tables import write_rows
from segkit.files.writing import DISK_FULL, write_text
from segkit.formats import coco
from segkit.hardware import computing
from segkit.inference.decoding import read_groups
from segkit.inference.gating import GateWatch
from segkit.inference.journal import TABLE, Journal, stamp_of
from segkit.inference.large import is_large, write_large
from segkit.inference.outputs import POLYGONS, Outputs, Page, Row
from segkit.inference.pipeline import Item, Room, run
from segkit.inference.predictor import Predictor

CHOSEN = ("accelerator", "threshold", "gate", "tta", "tile", "overlap")  # settings of the predictor


def predict_inputs(
    inputs: Sequence[Input],
    journal: Journal,
    settings: Mapping[str, Any],
    predict_video: Callable[[Input, Predictor, Outputs, Journal], None],
) -> list[Row]:
    """Predict all inputs that the journal does not have yet; returns the rows of all pictures and frames.

    One that cannot be read is named, has its error in the table, and a ValueError names them after the rest.
    predict_video: from `segkit.inference.frames`, which needs PyAV; not called for pictures.
    """
    if again := [
        one for one in inputs if one.kind == "stream" and one.key in journal.entries and not journal.overwrite
    ]:
        raise ValueError(f"output={journal.folder} has what {again[0].shown} showed before. Choose another folder.")
    predictor = Predictor.load(settings["run"], settings["trust"], **{key: settings[key] for key in CHOSEN})
    outputs = Outputs.of(predictor, journal.folder, settings)
    if predictor.how.tiles is not None:
        console.say(predictor.how.tiles.describe())
    journal.begin()
    left = [one for one in inputs if one.kind == "stream" or not journal.is_done(one.key)]
    watch = GateWatch(predictor)
    try:
        with (
            computing(predictor.task.device, predictor.precision),  # for all, so that weights are cast once
            console.show_progress("predicting", len(left)) as advance,
            watch,
        ):
            for kind, some in groupby(left, lambda one: find_kind(one, predictor, outputs)):
                if kind == "picture":
                    predict_pictures(list(some), predictor, outputs, journal, advance)
                    continue
                for one in some:
                    if kind == "large":
                        write = partial(write_large, predictor, Path(one.source), outputs)
                        note_page(write_page(one, outputs, write), one, journal)
                    else:
                        predict_video(one, predictor, outputs.of_frames(), journal)
                    advance()
    except KeyboardInterrupt:
        done = sum(journal.is_done(one.key) for one in inputs)
        if any(one.kind != "stream" for one in inputs):
            console.say(f"\n{done} of {len(inputs)} are done; the same command goes on with the others.", stderr=True)
        raise
    finally:
        finish(inputs, journal, outputs)
        with computing(predictor.task.device, predictor.precision):
            saved = watch.describe()
        if saved:
            console.say(saved)
    return summarise(inputs, len(inputs) - len(left), predictor, journal)


def predict_pictures(
    inputs: Sequence[Input], predictor: Predictor, outputs: Outputs, journal: Journal, advance: Callable[[], object]
) -> None:
    room = Room()
    by_name = {one.name: one for one in inputs}

    def note(page: Page) -> None:
        note_page(page, by_name[page.name], journal)
        advance()

    groups = read_groups(inputs, len(predictor.classes), room)
    run(groups, predictor, lambda item: write_picture(item, outputs), note, room)


def find_kind(one: Input, predictor: Predictor, outputs: Outputs) -> str:
    """What an input is: `large` for a picture that is predicted a band at a time. What is measured is held whole."""
    if one.kind == "picture" and outputs.measuring is None and is_large(predictor, Path(one.source)):
        return "large"
    return one.kind


def note_page(page: Page, one: Input, journal: Journal) -> None:
    """Note in the journal what was written for a picture, and say what went wrong."""
    if "error" in page.row:
        console.say(f"{one.source}: {page.row['error']}", stderr=True)
        journal.add(one.key, page.row)
    else:
        more: Row = {} if page.objects is None else {"picture": one.below, "objects": page.objects}
        more |= {} if page.measured is None else {"measured": page.measured}
        journal.add(one.key, page.row, name=one.name, stamp=stamp_of(one.source), files=page.files, **more)


def write_picture(item: Item, outputs: Outputs) -> Page:
    return write_page(item.key, outputs, lambda page: outputs.write(*item.result(), page), item.seconds)


def write_page(one: Input, outputs: Outputs, write: Callable[[Page], None], seconds: float = 0.0) -> Page:
    """Write what is wanted of a picture; if that fails, its row has the error. A full disk ends everything. seconds: of
    work that was done before."""
    page, started = Page(outputs.folder, one.name, {"name": one.source}), time.perf_counter()
    try:
        write(page)
    except Exception as error:  # whatever is wrong with one picture, the others are done
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        return Page(outputs.folder, one.name, {"name": one.source, "error": explain(error)})
    page.row["seconds"] = round(seconds + time.perf_counter() - started, 4)
    return page


def finish(inputs: Iterable[Input], journal: Journal, outputs: Outputs) -> None:
    """Write the files about all pictures: those of the inputs in their order, then others that were there before."""
    now = [one.key for one in inputs if one.key in journal.entries]
    keys = list(dict.fromkeys([*now, *journal.names]))
    journal.write_table(keys)
    if outputs.settings["polygons"] == "coco":
        pictures = (
            (line["picture"], (line["row"]["height"], line["row"]["width"]), line["objects"])
            for line in journal.lines_of(keys)
            if "objects" in line
        )
        write_text(journal.folder / POLYGONS, json.dumps(coco.assemble(pictures, outputs.objects)) + "\n")
    if outputs.measuring is not None:
        lines = (line for line in journal.lines_of(keys) if "measured" in line)
        rows = [place_of(line["row"]) | row for line in lines for row in line["measured"]]
        write_rows(journal.folder / f"{outputs.measuring.how}.csv", rows)


def place_of(row: Row) -> Row:
    """What tells a picture or a frame of a video in a table."""
    return {key: row[key] for key in ("name", "frame") if key in row}


def summarise(inputs: Sequence[Input], before: int, predictor: Predictor, journal: Journal) -> list[Row]:
    """Say how much was predicted, and what lies where; returns the rows of the inputs. ValueError if some could not be
    read."""
    rows = [line["row"] for line in journal.lines_of([one.key for one in inputs]) if line["row"]]
    good, bad = [row for row in rows if "error" not in row], [row for row in rows if "error" in row]
    pictures = sum(one.kind == "picture" for one in inputs)
    said = []
    if pictures:
        said.append(f"{sum('frame' not in row for row in good)} of {format_count(pictures, 'picture')}")
    if pictures < len(inputs):
        videos = format_count(
            len(inputs) - pictures, "video" if all(one.kind != "stream" for one in inputs) else "stream"
        )
        said.append(f"{format_count(sum('frame' in row for row in good), 'frame')} of {videos}")
    threshold, name = predictor.task.threshold, predictor.classes[0]  # may be the command line's, or a calibration's
    above = f" (a pixel is {name} above {threshold:g})" if len(predictor.classes) == 1 and threshold != 0.5 else ""
    earlier = f", {before} of them before" if before else ""
    written = {file.partition("/")[0] for entry in journal.entries.values() for file in entry.files}
    tables = (POLYGONS, "cracks.csv", "objects.csv", TABLE)
    there = [*sorted(written), *(file for file in tables if (journal.folder / file).exists())]
    console.say(f"{' and '.join(said)} predicted{above}{earlier}; in {journal.folder}: {', '.join(there)}")
    if any("present" in row for row in good):
        found = sum(row.get("present", 0) for row in good)
        console.say(f"{name} in {found} of them (probability above {predictor.present_above:g})")
    if unscaled := [row for row in good if row.get("scale") == ""]:
        console.say(f"no marker was found in {len(unscaled)} of them, whose lengths are in pixels")
    if bad:
        what = format_count(len(bad), "picture" if pictures == len(inputs) else "input")
        raise ValueError(f"{what} could not be read: {', '.join(row['name'] for row in bad[:5])}")
    return rows
