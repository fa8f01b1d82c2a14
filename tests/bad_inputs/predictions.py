"""Inputs of predict: odd pictures, videos that are none, lists with mistakes, and outputs that are another's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bad_inputs.cases import Case
from bad_inputs.files import RGB, cut, encoded, png, turned
from bad_inputs.makers import both, run

PREDICT = ("run=run", "input=in", "output=out", "accelerator=cpu")
DEEP = (257 * RGB[..., 0].astype(np.uint16))
READABLE = {
    "one.png": encoded(RGB[:1, :1]),
    "sixteen.png": encoded(DEEP),
    "cmyk.jpg": encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "rgba.png": encoded(Image.fromarray(RGB).convert("RGBA")),
    "turned.jpg": encoded(RGB[:20], "JPEG", exif=turned(6)),
    "a name with ä.png": encoded(RGB),
    "same.png": encoded(RGB),
    "same.jpg": encoded(RGB, "JPEG"),
}
UNREADABLE = {
    "cut.jpg": cut(encoded(RGB, "JPEG")),
    "empty.png": b"",
    "huge.png": png(40_000, 30_000),
    "text.png": b"no picture",
}


def written(contents: dict[str, bytes]) -> Callable[[Path], None]:
    """Files in `in/`."""

    def make(folder: Path) -> None:
        (folder / "in").mkdir()
        for name, content in contents.items():
            (folder / "in" / name).write_bytes(content)

    return make


def table_of_ones_own(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "predictions.csv").write_text("mine\n")


def journal_of_another(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / ".predictions.jsonl").write_text('{"made_by": {"checkpoint": "x"}}\n')


def wrong(name: str, *words: str, says: tuple[str, ...]) -> Case:
    made = both(run, written(READABLE))
    return Case(name, "predict", ("run=run", "output=out", "accelerator=cpu", *words), says, made)


CASES = (
    Case("odd_pictures", "predict", PREDICT, ("8 of 8 pictures predicted",), both(run, written(READABLE)), 0),
    Case("bad_pictures", "predict", PREDICT,
         ("8 of 12 pictures predicted", "in/cut.jpg", "in/empty.png is empty (0 bytes)", "in/text.png cannot be read",
          "in/huge.png has far more pixels; at most 512 million", "4 pictures could not be read"),
         both(run, written(READABLE | UNREADABLE))),
    Case("empty_folder", "predict", PREDICT, ("input=in: no pictures there",), both(run, written({}))),
    Case("only_videos", "predict", PREDICT, ("1 video left out; name them", "input=in: no pictures there"),
         both(run, written({"a.mp4": b""}))),
    Case("video_of_text", "predict", ("run=run", "input=in/a.mp4", "output=out", "accelerator=cpu"),
         ("in/a.mp4 cannot be read as a video", "1 input could not be read"),
         both(run, written({"a.mp4": b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/x.ts\n"}))),
    wrong("list_with_a_missing_file", "input=[in,nowhere.png]", says=("input=nowhere.png: no such file or folder",)),
    wrong("empty_list", "input=[]", says=("input=[]: expected", "a list of these")),
    wrong("pattern_without_files", "input='in/*.bmp'", says=("input=in/*.bmp: no pictures there",)),
    wrong("masks_word", "input=in", "masks=color", says=("masks=color: expected numbers, colors or none",)),
    wrong("polygons_word", "input=in", "polygons=svg", says=("polygons=svg: expected coco or geojson",)),
    wrong("gate_without_gate", "input=in", "gate=recall:0.9", says=("gate=recall:0.9", "nothing to gate")),
    wrong("overwrite_word", "input=in", "overwrite=maybe", says=("overwrite=maybe: expected true or false",)),
    Case("table_of_ones_own", "predict", PREDICT,
         ("output=out holds predictions without a record of what made them", "overwrite=true"),
         both(run, written(READABLE), table_of_ones_own)),
    Case("journal_of_another", "predict", PREDICT, ("output=out holds predictions by another run", "overwrite=true"),
         both(run, written(READABLE), journal_of_another)),
)
