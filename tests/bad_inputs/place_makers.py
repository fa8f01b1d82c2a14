"""Folders of data sets in which something is odd."""

import os
import shutil
import socket
from pathlib import Path

import numpy as np

from bad_inputs.cases import Case
from bad_inputs.files import CHECK, Maker, cut_and_closed, encoded, shaded
from bad_inputs.makers import TINY, both, data, run

DIAGONAL = np.eye(32, dtype=np.uint8) * 255


def moved(old: str, new: str) -> Maker:
    def make(folder: Path) -> None:
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / new)

    return both(data, make)


def removed(*names: str) -> Maker:
    def make(folder: Path) -> None:
        for name in names:
            (folder / "data" / name).unlink()

    return both(data, make)


def linked(name: str, target: str) -> Maker:
    """A link in place of what is there; `target` is relative to the link, or absolute."""

    def make(folder: Path) -> None:
        (folder / "data" / name).unlink(missing_ok=True)
        (folder / "data" / name).symlink_to(target)

    return both(data, make)


def elsewhere(name: str) -> Maker:
    """A file or folder of `data` moved out of it, and a link in its place."""

    def make(folder: Path) -> None:
        (folder / "data" / name).rename(folder / "elsewhere")
        (folder / "data" / name).symlink_to(folder / "elsewhere")

    return both(data, make)


def pipe(name: str) -> Maker:
    return both(data, lambda folder: os.mkfifo(folder / name))


def listening(folder: Path) -> None:
    data(folder)
    here = Path.cwd()
    os.chdir(folder / "data/images")  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind("socket.png")
    finally:
        os.chdir(here)


def splits(*names: str, images: str = "images") -> Maker:
    """Folders of splits with six pictures each, all different."""

    def make(folder: Path) -> None:
        for at, name in enumerate(names):
            for kind in (images, "masks"):
                (folder / "data" / name / kind).mkdir(parents=True)
            for number in range(6 * at, 6 * at + 6):
                (folder / "data" / name / images / f"{number}.png").write_bytes(encoded(shaded(number)))
                (folder / "data" / name / "masks" / f"{number}.png").write_bytes(
                    encoded(np.eye(32, dtype=np.uint8) * 255)
                )

    return make


def copied(old: str, new: str) -> Maker:
    def make(folder: Path) -> None:
        (folder / "data" / new).write_bytes((folder / "data" / old).read_bytes())

    return make


def ph2(cases: int = 8, converted: bool = False, broken: str = "") -> Maker:
    """PH² as it comes; with a `.jpg` beside each `.bmp`, or without one file of a case."""

    def make(folder: Path) -> None:
        for number in range(1, cases + 1):
            case = f"IMD{number:03}"
            place = folder / "data/PH2 Dataset images" / case
            for kind, name in (("Dermoscopic_Image", case), ("lesion", f"{case}_lesion")):
                (place / f"{case}_{kind}").mkdir(parents=True)
                pixels = shaded(number) if kind != "lesion" else DIAGONAL
                for ending, kept in (("bmp", True), ("jpg", converted)):
                    if kept and not (number == 1 and kind == broken):
                        content = encoded(pixels, "BMP" if ending == "bmp" else "JPEG")
                        (place / f"{case}_{kind}" / f"{name}.{ending}").write_bytes(content)

    return make


def many_faults(folder: Path) -> None:
    data(folder)
    (folder / "data/masks/p00.png").unlink()
    (folder / "data/images/p01.png").write_bytes(b"no picture")
    (folder / "data/masks/p02.png").write_bytes(encoded(np.zeros((40, 32), np.uint8)))
    (folder / "data/masks/p03.png").write_bytes(encoded(np.full((32, 32), 3, np.uint8)))
    (folder / "data/images/p04.jpg").write_bytes(encoded(shaded(4), "JPEG"))


def told(name: str, says: tuple[str, ...], make: Maker | None = None, ends: int = 1) -> Case:
    return Case(name, "check", CHECK, says, make, ends)


def in_training(name: str, says: tuple[str, ...], make: Maker, ends: int = 1) -> Case:
    return Case(f"{name}_in_training", "train", TINY, says, make, ends)


def renamed_masks(name: str) -> Maker:
    """Every mask renamed: `*` stands for its name without the extension."""

    def make(folder: Path) -> None:
        for path in sorted((folder / "data/masks").iterdir()):
            path.rename(path.with_name(name.replace("*", path.stem)))

    return both(data, make)


def ring(folder: Path) -> None:
    """Two links to each other."""
    data(folder)
    (folder / "data/images/p00.png").unlink()
    (folder / "data/images/p00.png").symlink_to("p99.png")
    (folder / "data/images/p99.png").symlink_to("p00.png")


def folder_called_picture(folder: Path) -> None:
    data(folder)
    for kind in ("images", "masks"):
        (folder / "data" / kind / "sub.png").mkdir()
        (folder / "data" / kind / "p00.png").rename(folder / "data" / kind / "sub.png/p00.png")


def empty_folders(folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / "data" / name).mkdir(parents=True)


def multiplying(folder: Path) -> None:
    """Two links to the next folder in each of thirty: a billion ways to the last."""
    data(folder)
    for number in range(30):
        (folder / f"data/images/d{number}").mkdir()
        for name in ("a", "b") if number < 29 else ():
            (folder / f"data/images/d{number}/{name}").symlink_to(f"../d{number + 1}")


def deep(folder: Path) -> None:
    (folder / "data/images" / "/".join("d" * 150)).mkdir(parents=True)


def of_two_lines(folder: Path) -> None:
    """Folders whose names would look like a line to be typed."""
    for name in ("a\n  rm -rf ~", "b\x1b[31m"):
        shutil.copytree(folder / "data/images", folder / "data" / f"{name} images")
    shutil.rmtree(folder / "data/images")


def odd_input(folder: Path) -> None:
    """A run, and a folder of one picture, one JPEG that was cut and closed, a pipe, a ring of links and a text."""
    run(folder)
    (folder / "in").mkdir()
    (folder / "in/good.png").write_bytes(encoded(shaded(1)))
    (folder / "in/cut.jpg").write_bytes(cut_and_closed(encoded(shaded(2), "JPEG", quality=95)))
    (folder / "in/text.png").write_bytes(b"no picture")
    os.mkfifo(folder / "in/pipe.png")
    (folder / "in/ring.png").symlink_to("ring.png")


def linked_run(folder: Path) -> None:
    """A run whose own config names a data set with a link out of it."""
    run(folder)
    (folder / "data/images").rename(folder / "elsewhere")
    (folder / "data/images").symlink_to(folder / "elsewhere")


def table(text: str) -> Maker:
    def make(folder: Path) -> None:
        (folder / "data/pairs.csv").write_text(text)

    return make
