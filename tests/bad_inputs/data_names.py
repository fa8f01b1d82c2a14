"""Odd names of pictures, and files that lie about in a data set."""

import os
import shutil
from pathlib import Path

from bad_inputs.cases import Case
from bad_inputs.files import CHECK, READ, Maker
from bad_inputs.makers import both, data

NAMES = {  # of an image and its mask, read as any other
    "spaces": "a picture of mine",
    "leading_dash": "-rf",
    "newline": "two\nlines",
    "quotes": 'it\'s "quoted"',
    "shell": "$(id);`id`",
    "hash_and_percent": "#1 100%",
    "brackets": "[b]*?",
    "markup": "[bold red]x[b]",
    "dots": "a.b.c",
    "emoji": "🩻",
    "right_to_left": "שלום",
    "device_of_windows": "CON",
    "braces": "{0} ${oc.env:HOME}",
    "backslash": "a\\b",
    "equals": "a=b,c",
    "long": "x" * 240,
    "trailing_space": "p ",
    "not_utf8": os.fsdecode(b"p\xff\xfe"),
}
STRAY = {  # files that are no pictures of the data set, beside those that are
    "hidden_copies_of_macos": "images/._p01.png",
    "ds_store": "masks/.DS_Store",
    "thumbs_db": "images/Thumbs.db",
    "desktop_ini": "masks/desktop.ini",
    "notes": "images/notes.txt",
    "folder_of_macos": "images/__MACOSX/p01.png",
    "folder_of_a_nas": "masks/@eaDir/p01.png",
    "annotations_beside_masks": "masks/p00.json",
    "table_in_the_root": "labels.csv",
}


def add(name: str, content: bytes = b"no picture") -> Maker:
    def make(folder: Path) -> None:
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return both(data, make)


def renamed(image: str, mask: str) -> Maker:
    """p00's image and mask under other names."""

    def make(folder: Path) -> None:
        (folder / "data/images/p00.png").rename(folder / "data/images" / image)
        (folder / "data/masks/p00.png").rename(folder / "data/masks" / mask)

    return both(data, make)


def damaged(name: str) -> Maker:
    """p00's image and mask under another name, the mask damaged."""

    def make(folder: Path) -> None:
        renamed(f"{name}.png", f"{name}.png")(folder)
        (folder / f"data/masks/{name}.png").write_bytes(b"no picture")

    return make


def put_beside(folder: Path) -> None:
    """Masks beside their pictures, as `p00_mask.png`, and a further one of p00."""
    for path in sorted((folder / "data/masks").iterdir()):
        path.rename(folder / "data/images" / f"{path.stem}_mask.png")
    (folder / "data/masks").rmdir()
    shutil.copy(folder / "data/images/p00_mask.png", folder / "data/images/p00_mask_1.png")


CASES = (
    *(
        Case(f"damaged_name_{kind}", "check", CHECK, (says, "cannot be read", "seen/check.html"), damaged(NAMES[kind]))
        for kind, says in {"not_utf8": r"masks/p\udcff\udcfe.png", "long": "xxxx.png", "newline": r"two\nlines"}.items()
    ),
    Case(
        "name_of_255_bytes_in_a_copy",
        "check",
        (*CHECK, "fix=true"),
        ("0 repairs: seen/repairs.csv",),
        renamed(f"{'x' * 251}.png", f"{'x' * 251}.png"),
        ends=0,
    ),
    *(
        Case(f"name_{kind}", "check", CHECK, (READ,), renamed(f"{name}.png", f"{name}.png"), ends=0)
        for kind, name in NAMES.items()
    ),
    *(Case(f"stray_{kind}", "check", CHECK, (READ,), add(name), ends=0) for kind, name in STRAY.items()),
    Case(
        "further_mask",
        "check",
        CHECK,
        ("further masks of the same pictures", "p00_mask_1.png", "dataset.mask_pattern='*_mask.png'"),
        both(data, put_beside),
    ),
)
