"""Places to write in: too long, odd, in the way, or the wrong ones."""

from pathlib import Path

from bad_inputs.cases import Case
from bad_inputs.files import CHECK
from bad_inputs.makers import TINY, both, data, run

PREDICT = ("run=run", "input=data/images", "accelerator=cpu")
ELSEWHERE = tuple(word for word in TINY if not word.startswith("hydra.run.dir"))


def file_in_the_way(folder: Path) -> None:
    (folder / "out").write_text("mine")


def other_files(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("mine")


CASES = (
    Case(
        "repair_into_the_data_set",
        "check",
        (*CHECK[:-1], "output=data/clean", "fix=true"),
        ("output=data/clean lies in dataset.root=data", "Name a folder elsewhere"),
        data,
    ),
    Case(
        "repair_among_other_files",
        "check",
        (*CHECK[:-1], "output=out", "fix=true"),
        ("output=out: the folder is not empty", "Name a new one"),
        both(data, other_files),
    ),
    Case(
        "predict_into_its_input",
        "predict",
        (*PREDICT, "output=data/images"),
        ("same folder", "Choose another output="),
        run,
    ),
    Case(
        "predict_into_its_input_by_another_name",
        "predict",
        (*PREDICT, "output=data/../data/images/"),
        ("same folder", "Choose another output="),
        run,
    ),
    Case("predict_into_the_run", "predict", (*PREDICT, "output=run"), ("output=run", "Choose a new folder"), run),
    Case(
        "predict_among_other_files",
        "predict",
        (*PREDICT, "output=out"),
        ("output=out", "Choose a new folder"),
        both(run, other_files),
    ),
    Case(
        "predict_into_a_trailing_slash",
        "predict",
        (*PREDICT, "output=out///"),
        ("12 of 12 pictures predicted",),
        run,
        0,
    ),
    Case(
        "predict_into_odd_letters",
        "predict",
        (*PREDICT, "output='out [b] ünd'"),
        ("12 of 12 pictures predicted",),
        run,
        0,
    ),
    Case(
        "predict_below_its_input",
        "predict",
        (*PREDICT, "output=data/images/out"),
        ("12 of 12 pictures predicted",),
        run,
        0,
    ),
    Case(
        "predict_of_nothing",
        "predict",
        ("run=run", "input=nowhere", "output=out"),
        ("input=nowhere", "Give a picture"),
        run,
    ),
    Case(
        "predict_color_unknown",
        "predict",
        (*PREDICT, "output=out", "color=mauvish"),
        ("color=mauvish", "expected a name such as red"),
        run,
    ),
    Case(
        "predict_color_too_many",
        "predict",
        (*PREDICT, "output=out", "color=[red,blue]"),
        ("color=", "expected a color for each"),
        run,
    ),
    Case(
        "predict_color_out_of_range",
        "predict",
        (*PREDICT, "output=out", "color=[0,0,256]"),
        ("color=", "from 0 to 255"),
        run,
    ),
    Case(
        "evaluate_into_a_run",
        "evaluate",
        ("run=run", "hydra.run.dir=run", "accelerator=cpu"),
        ("is a run folder", "Choose another"),
        run,
    ),
    Case(
        "train_into_another_run", "train", (*TINY, "seed=5"), ("another config", "differs in", "delete that one"), run
    ),
    Case(
        "train_odd_folder",
        "train",
        (*ELSEWHERE, "hydra.run.dir='out [/b] ünd'"),
        ("Run folder:", "[/b] ünd"),
        data,
        0,
        20,
    ),
    Case("resume_elsewhere", "train", ("resume=run", "hydra.run.dir=out"), ("goes on in that folder",), run),
    Case("resume_a_folder_without_a_run", "train", ("resume=data",), ("no run there", "Give a run folder"), data),
)
