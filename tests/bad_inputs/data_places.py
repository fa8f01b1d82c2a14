"""Partners, links, layouts and splits of a data set."""

import os
import shutil
import socket
import unicodedata
from pathlib import Path

import numpy as np

from bad_inputs.cases import Case
from bad_inputs.data_names import add, renamed
from bad_inputs.files import CHECK, READ, Maker, cut_and_closed, encoded, shaded
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


PAIRS_FILES = (
    ("without_a_column", "image,note\nimages/p00.png,x\n", ("header is image, note, without a column mask",)),
    ("doubled", "images/p00.png,masks/p00.png\n" * 2, ("lines 1 and 2 name the same picture", "Remove one")),
    ("leading_out", "images/p00.png,../../etc/passwd\n", ("line 1: the mask ../../etc/passwd is outside of data",)),
    ("of_missing_files", "images/p00.png,masks/none.png\n", ("line 1: the mask masks/none.png is not in data",)),
    ("of_an_odd_split", "image,mask,split\nimages/p00.png,masks/p00.png,third\n", ("expected train, val or test",)),
    ("of_a_long_name", f"images/{'x' * 5000}.png,masks/p00.png\n", ("line 1: the image images/xxx", "is not in data")),
    ("of_many_cells", "ab," * 2_000_001, ("has more than 2000000 cells",)),
    ("of_a_long_line", "ab " * 50_000, ("line 1 has more than 100000 letters",)),
    ("of_many_lines", "a.png b.png\n" * 500_001, ("has more than 500000 lines",)),
    ("empty", "", ("data/pairs.csv is empty; expected the columns image and mask",)),
    ("not_text", "\0\1", ("data/pairs.csv",)),
)
NFC, NFD = (unicodedata.normalize(form, "grün.png") for form in ("NFC", "NFD"))
ALL = (
    "5 findings in the data set:",
    "images/p00.png has no mask",
    "images/p01.png cannot be read",
    "p02.png is 32×40",
    "p03.png has no value above dataset.threshold",
    "images/p04.png have the same name",
)
PH2 = ("dataset=ph2", *CHECK[1:])
LINKED = "links that lead back to themselves"

CASES = (
    in_training("all_findings", ALL, many_faults),
    told("all_findings", ALL, many_faults),
    told("name_composed_and_decomposed", (READ,), renamed(NFC, NFD), ends=0),
    told(
        "name_twice_composed_and_decomposed",
        ("have the same name", "Remove or rename"),
        both(renamed(NFC, NFC), copied(f"images/{NFC}", f"images/{NFD}")),
    ),
    told(
        "name_in_other_case",
        ("images/P00.png and data/masks/p00.png differ in upper and lower case", "Rename"),
        renamed("P00.png", "p00.png"),
    ),
    told("suffix_in_other_case", (READ,), renamed("p00.PNG", "p00.Png"), ends=0),
    told(
        "image_in_two_formats",
        ("p00.jpg and data/images/p00.png have the same name", "Remove or rename"),
        add("images/p00.jpg", encoded(shaded(0), "JPEG")),
    ),
    told(
        "mask_in_two_formats",
        ("p00.bmp and data/masks/p00.png have the same name", "Remove or rename"),
        add("masks/p00.bmp", encoded(shaded(0), "BMP")),
    ),
    told(
        "image_in_two_cases_of_suffix",
        ("p00.PNG and data/images/p00.png have the same name",),
        add("images/p00.PNG", encoded(shaded(0))),
    ),
    told("mask_missing", ("images/p03.png has no mask", "Add the missing files"), removed("masks/p03.png")),
    in_training(
        "masks_missing",
        ("2 images without a mask:", "images/p03.png has no mask", "images/p04.png has no mask"),
        removed("masks/p03.png", "masks/p04.png"),
    ),
    told("image_missing", ("masks/p03.png has no image", "Add the missing files"), removed("images/p03.png")),
    told(
        "image_in_an_unknown_format",
        ("masks/p03.png has no image",),
        moved("data/images/p03.png", "data/images/p03.heic"),
    ),
    told(
        "five_pictures",
        ("split is empty: 3 pictures", "Add pictures"),
        removed(*(f"{kind}/p{number:02}.png" for kind in ("images", "masks") for number in range(9))),
    ),
    told(
        "masks_with_an_ending",
        (READ, "paired by their number (p00_mask.png for p00.png)"),
        renamed_masks("*_mask.png"),
        ends=0,
    ),
    Case(
        "masks_with_another_ending",
        "check",
        (*CHECK, "dataset.mask_suffix=_gt"),
        ("The masks' names end in _mask", "dataset.mask_suffix=_mask"),
        renamed_masks("*_mask.png"),
    ),
    Case(
        "masks_with_an_ending_for_the_shell",
        "check",
        (*CHECK, "dataset.mask_suffix=_gt"),
        ("'dataset.mask_suffix='\"'\"'_$(touch x)'\"'\"''",),
        renamed_masks("*_$(touch x).png"),
    ),
    told(
        "folders_of_two_lines",
        ("can be read in 2 ways", r"in a\n  rm -rf ~ images", r"in b\x1b[31m images", "dataset.pairs=<a file"),
        both(data, of_two_lines),
    ),
    told(
        "masks_as_tables",
        ("masks folder holds no pictures but p00.csv", "convert those that are there"),
        renamed_masks("*.csv"),
    ),
    told(
        "folder_of_masks_called_labels",
        (READ, "12 pictures in images with masks in labels, paired by their names"),
        moved("data/masks", "data/labels"),
        ends=0,
    ),
    told(
        "folder_of_images_called_pictures",
        (READ, "12 pictures in pictures with masks in masks"),
        moved("data/images", "data/pictures"),
        ends=0,
    ),
    told(
        "folder_of_masks_is_a_file",
        ("has no masks folder", "expected train, val (or valid) and test", "12 in images"),
        both(moved("data/masks", "old"), lambda folder: (folder / "data/masks").touch()),
    ),
    told("folders_empty", ("images and masks folders hold no pictures",), empty_folders),
    told("root_empty", ("dataset.root=data holds nothing",), lambda folder: (folder / "data").mkdir()),
    told("root_missing", ("dataset.root=data does not exist",)),
    told("root_is_a_file", ("dataset.root=data is a file",), lambda folder: (folder / "data").touch()),
    Case(
        "root_is_the_folder_of_images",
        "check",
        (*CHECK, "dataset.root=data/images"),
        ("dataset.root=data/images holds p00.png",),
        data,
    ),
    Case(
        "root_of_odd_characters",
        "check",
        (*CHECK, "dataset.root='d a,t=a [ü] #1'"),
        (READ,),
        moved("data", "d a,t=a [ü] #1"),
        ends=0,
    ),
    told("picture_called_folder", (READ,), folder_called_picture, ends=0),
    told(
        "image_in_a_folder_and_its_mask_not",
        ("images/sub/p00.png has no mask", "masks/p00.png has no image"),
        moved("data/images/p00.png", "data/images/sub/p00.png"),
    ),
    told(
        "both_layouts",
        ("has an images folder and split folders (train)", "Remove one of them"),
        both(data, splits("train")),
    ),
    told("val_and_valid", ("has both a val and a valid folder",), splits("train", "val", "valid")),
    Case(
        "masks_of_two_kinds",
        "train",
        TINY,
        ("data can be read in 2 ways", "dataset.images=images dataset.masks=labels", "dataset.masks=gt"),
        both(
            moved("data/masks", "data/labels"),
            lambda folder: shutil.copytree(folder / "data/labels", folder / "data/gt"),
        ),
    ),
    told(
        "split_without_masks",
        ("6 test pictures have no masks", "dataset.images='{split}/images'"),
        both(splits("train", "val", "test"), lambda folder: shutil.rmtree(folder / "data/test/masks")),
    ),
    Case(
        "folder_of_masks_elsewhere",
        "check",
        (*CHECK, "dataset.masks=../secret"),
        ("dataset.masks=../secret leads out of dataset.root=data",),
        data,
    ),
    Case(
        "folder_of_images_misspelt",
        "check",
        (*CHECK, "dataset.images=imagse"),
        ("dataset.images=imagse: there are no such pictures", "12 in images"),
        data,
    ),
    Case(
        "pattern_without_a_star",
        "check",
        (*CHECK, "dataset.mask_pattern=mask.png"),
        ("dataset.mask_pattern=mask.png: expected a pattern of files' names in quotes, with one *",),
        data,
    ),
    Case(
        "pattern_of_many_stars",
        "check",
        (*CHECK, "dataset.mask_pattern='*a*a*a*.png'"),
        ("expected a pattern of files' names in quotes, with one *",),
        data,
    ),
    *(
        Case(f"pairs_{name}", "check", (*CHECK, "dataset.pairs=pairs.csv"), says, both(data, table(text)))
        for name, text, says in PAIRS_FILES
    ),
    Case(
        "pairs_missing",
        "train",
        (*TINY, "dataset.pairs=none.csv"),
        ("dataset.pairs=none.csv: there is no such file, neither below dataset.root=data nor here",),
        data,
    ),
    Case(
        "fields_of_view_missing",
        "check",
        (*CHECK, "dataset.ignore_masks=fov"),
        ("dataset.ignore_masks=fov: there are no such pictures",),
        data,
    ),
    told("train_alone", ("has a train folder and nothing to score on",), splits("train")),
    told(
        "split_without_images",
        ("6 test masks have no pictures", "dataset.images='{split}/images'"),
        both(splits("train", "val"), splits("test", images="pictures")),
    ),
    told(
        "splits_share_a_picture",
        ("train and test share a picture", "move both into one split"),
        both(splits("train", "val", "test"), copied("train/images/0.png", "test/images/12.png")),
    ),
    in_training(
        "splits_share_a_picture",
        ("train and test share a picture", "move both into one split"),
        both(splits("train", "val", "test"), copied("train/images/0.png", "test/images/12.png")),
    ),
    told(
        "split_of_the_same_pictures",
        ("6 pictures in two splits",),
        both(
            splits("train", "val", "test"),
            *(copied(f"train/images/{n}.png", f"test/images/{n + 12}.png") for n in range(6)),
        ),
    ),
    told(
        "same_picture_thrice",
        ("share a picture",),
        both(data, *(copied("images/p00.png", f"images/p{number:02}.png") for number in range(1, 12))),
    ),
    told("link_in_a_ring", ("2 " + LINKED, "images/p00.png is a link that leads back to itself"), ring),
    in_training("link_in_a_ring", ("2 " + LINKED, "Remove them"), ring),
    told("link_to_itself", ("p00.png is a link that leads back to itself",), linked("images/p00.png", "p00.png")),
    told("link_to_the_folder_above", ("images/loop is a link to a folder above itself",), linked("images/loop", "..")),
    told("links_that_multiply", ("1,000 links to the same", "Set dataset.root to the folder of"), multiplying),
    told("folder_too_deep", ("is 100 levels deep", "Move it up"), both(data, deep)),
    told(
        "link_to_nothing",
        ("p00.png is a link to gone.png, which does not exist",),
        linked("images/p00.png", "gone.png"),
    ),
    told("link_inside", (READ,), linked("masks/p00.png", "p01.png"), ends=0),
    told("link_out_of_a_root_of_ones_own", (READ,), elsewhere("images/p00.png"), ends=0),
    told("link_of_a_whole_folder", (READ,), elsewhere("images"), ends=0),
    told("link_to_a_text", ("images/p00.png cannot be read",), linked("images/p00.png", "/etc/passwd")),
    told("link_to_a_device", ("p00.png is not a regular file", "a device"), linked("images/p00.png", "/dev/zero")),
    told("pipe_called_picture", ("images/pipe.png is not a regular file", "a pipe"), pipe("data/images/pipe.png")),
    in_training("pipe_called_mask", ("masks/pipe.png is not a regular file", "a pipe"), pipe("data/masks/pipe.png")),
    told("socket_called_picture", ("images/socket.png is not a regular file", "a socket"), listening),
    Case(
        "ph2_with_jpegs_beside",
        "check",
        PH2,
        ("IMD001.jpg lies beside IMD001.bmp", "The .bmp is read"),
        ph2(converted=True),
        ends=0,
    ),
    Case("ph2_without_a_lesion", "check", PH2, ("IMD001.bmp has no mask",), ph2(broken="lesion")),
    Case("ph2_without_a_picture", "check", PH2, ("IMD001_lesion.bmp has no image",), ph2(broken="Dermoscopic_Image")),
    Case("ph2_in_another_layout", "check", PH2, ("expected `PH2 Dataset images`",), data),
    Case(
        "pets_without_files",
        "check",
        ("dataset=pets", *CHECK[1:]),
        ("no Oxford-IIIT Pet there", "dataset.download=true"),
        data,
    ),
    Case(
        "odd_files_in_input",
        "predict",
        ("run=run", "input=in", "output=out", "accelerator=cpu"),
        (
            "in/pipe.png is left out: it is a pipe",
            "in/ring.png is left out",
            "in/cut.jpg ends too early",
            "in/text.png cannot be read",
            "1 of 3 pictures predicted",
        ),
        odd_input,
    ),
    Case(
        "pipe_as_input",
        "predict",
        ("run=run", "input=in/pipe.png", "output=out", "accelerator=cpu"),
        ("input=in/pipe.png: is a pipe, a socket or a device",),
        odd_input,
    ),
    Case(
        "link_out_of_a_root_that_is_named",
        "evaluate",
        ("run=run", "dataset.root=data", "accelerator=cpu", "hydra.run.dir=out", "pictures=0"),
        ("scoring 2 of 12 pictures",),
        linked_run,
        ends=0,
    ),
)
