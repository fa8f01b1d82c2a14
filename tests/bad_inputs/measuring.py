"""Measurements that cannot be made: scales, markers, classes, and scores of centre lines."""

from pathlib import Path

import cv2
import numpy as np
from conftest import segkit

from bad_inputs.cases import Case
from bad_inputs.makers import TINY, both, data, run
from bad_inputs.settings import told

XYZ = ("run=x", "input=x", "output=y")
PREDICT = ("run=run", "input=data/images/p00.png", "output=out", "accelerator=cpu", "threshold=0.01")
PRESENCE = ("model=vgg_classifier", "loss=presence", "dataset.presence_threshold=0.001", "monitor=val/presence_f1")


def presence_run(folder: Path) -> None:
    """`data/`, and `run/`: one that says whether the class is there, and paints nothing."""
    data(folder)
    done = segkit(*(word for word in TINY if "widths" not in word), *PRESENCE, cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr)


def one_pixel(folder: Path) -> None:
    cv2.imwrite(str(folder / "one.png"), np.full((1, 1, 3), 200, np.uint8))


CASES = (
    told("measure_word", *XYZ, "measure=crack", says=("measure=crack: expected cracks or objects",), verb="predict"),
    told("scale_zero", *XYZ, "measure=cracks", "scale=0", says=("scale=0: expected millimetres for a pixel",),
         verb="predict"),
    told("scale_negative", *XYZ, "measure=cracks", "scale=-0.1", says=("scale=-0.1: expected", "above 0"),
         verb="predict"),
    told("scale_word", *XYZ, "measure=cracks", "scale=0.1mm", says=("scale=0.1mm: expected", "marker:30"),
         verb="predict"),
    told("marker_of_no_size", *XYZ, "measure=cracks", "scale=marker:0", says=("scale=marker:0: expected", "marker:30"),
         verb="predict"),
    told("marker_alone", *XYZ, "measure=cracks", "scale=marker", says=("scale=marker: expected", "marker:30"),
         verb="predict"),
    told("scale_of_nothing", *XYZ, "scale=0.1", says=("scale would change nothing without measure=cracks",),
         verb="predict"),
    told("class_of_nothing", *XYZ, "measure_class=crack", says=("measure_class would change nothing", "measure="),
         verb="predict"),
    told("tolerance_negative", "model.cliou=-1", says=("model.cliou=-1: expected a tolerance in pixels",)),
    told("tolerance_word", "run=x", "cliou=four", says=("cliou=four: expected a tolerance in pixels",),
         verb="evaluate"),
    told("monitor_of_centre_lines_not_asked_for", "monitor=val/cliou",
         says=("monitor=val/cliou is computed if you ask for it: add model.cliou=4",)),
    Case("measure_class_unknown", "predict", (*PREDICT, "measure=cracks", "measure_class=rust"),
         ("measure_class=rust: this run's classes are foreground",), run),
    Case("measure_without_masks", "predict", (*PREDICT[:-1], "measure=cracks"),
         ("measure=cracks measures masks, and this run gives none",), presence_run),
    Case("marker_not_in_the_picture", "predict", (*PREDICT, "measure=cracks", "scale=marker:30"),
         ("1 of 1 picture predicted", "no marker was found in 1 of them"), run, 0),
    Case("measure_one_pixel", "predict", (*PREDICT[:1], "input=one.png", *PREDICT[2:], "measure=cracks"),
         ("1 of 1 picture predicted",), both(run, one_pixel), 0),
)
