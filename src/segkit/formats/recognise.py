"""Recognising an annotation file's format by its content, and reading it."""

from pathlib import Path
from typing import Any

from segkit.formats import coco, cvat, label_studio, labelme, supervisely, via, yolo
from segkit.formats.model import Annotations, FormatError
from segkit.formats.reading import find_files, read_json, read_xml

TITLES = {
    "coco": "COCO",
    "via": "VIA",
    "labelme": "LabelMe",
    "cvat": "CVAT",
    "label_studio": "Label Studio",
    "yolo": "YOLO",
    "supervisely": "Supervisely",
}
READ = tuple(TITLES)
LONGEST, SHOWN = 200, 40  # letters of a class's name
JOINERS = dict.fromkeys(map(ord, "\xa0\u200c\u200d"))  # which names in some scripts need
WRITTEN = ("coco", "labelme", "label_studio")


def read(path: Path, wanted: str = "auto", label: str | None = None) -> Annotations:
    """The annotations in a file or in a folder of files. wanted: the format, or `auto`; FormatError if the content has
    another one. label: the VIA attribute that holds the class."""
    found = _read_folder(path, wanted, label) if path.is_dir() else _read_file(path, wanted, label)
    if label is not None and found.format != "via":
        raise FormatError(
            f"label={label} names a region attribute of VIA, but {path} is a {TITLES[found.format]} file. Leave it out."
        )
    for name in dict.fromkeys([*found.declared, *(shape.label for one in found.pictures for shape in one.shapes)]):
        if len(name) > LONGEST or not name.translate(JOINERS).isprintable():
            what = f"{len(name)} letters" if len(name) > LONGEST else "a line break or other signs that do not show"
            raise FormatError(f"{path}: the name of the class {name[:SHOWN]!r} has {what}. Rename it in the tool.")
    return found


def _read_file(path: Path, wanted: str, label: str | None) -> Annotations:
    if path.suffix.lower() in (".txt", ".yaml", ".yml"):
        raise FormatError(f"{path}: for YOLO, give the folder that has the text files and data.yaml or classes.txt.")
    if path.suffix.lower() in (".zip", ".gz", ".tar", ".7z"):
        raise FormatError(f"{path} is an archive. Unpack it, and give the file or folder in it.")
    if _is_xml(path):
        root = read_xml(path)
        if not cvat.recognise(root):
            raise FormatError(
                f"{path} is XML from another tool: it begins with <{root.tag}>; CVAT's begins with <annotations>."
            )
        _check(path, "cvat", wanted)
        return cvat.read(path, root)
    document = read_json(path)
    kind = recognise_document(document)
    if kind is None:
        raise FormatError(f"{path} is not in a format of {', '.join(TITLES.values())}: it has {_summarise(document)}.")
    _check(path, kind, wanted)
    if kind == "coco":
        return coco.read(path, document)
    if kind == "via":
        return via.read(path, document, label)
    if kind == "label_studio":
        return label_studio.read(path, document)
    return labelme.read([path]) if kind == "labelme" else supervisely.read([path], path.parent, _meta(path.parent))


def _read_folder(folder: Path, wanted: str, label: str | None) -> Annotations:
    jsons = list(find_files(folder, (".json",)))
    meta = _meta(folder)
    single = [path for path in jsons if path != meta]
    texts = list(find_files(folder, (".txt",)))
    if not single and yolo.recognise(folder, texts):
        _check(folder, "yolo", wanted)
        return yolo.read(folder, texts)
    files = [*single, *find_files(folder, (".xml",))]
    if len(files) == 1:
        return _read_file(files[0], wanted, label)
    kind = recognise_document(read_json(single[0])) if single else None
    if kind not in ("labelme", "supervisely"):
        few = ", ".join(path.relative_to(folder).as_posix() for path in files[:8]) or "no annotation file"
        raise FormatError(
            f"input={folder} has {few}. Give one of the files, or a folder of LabelMe, Supervisely or YOLO."
        )
    _check(folder, kind, wanted)
    return labelme.read(single) if kind == "labelme" else supervisely.read(single, folder, meta)


def recognise_document(document: Any) -> str | None:
    """The format of a JSON document; None if it is none of those known."""
    modules = {"coco": coco, "labelme": labelme, "supervisely": supervisely, "label_studio": label_studio, "via": via}
    return next((name for name, module in modules.items() if module.recognise(document)), None)


def _check(path: Path, kind: str, wanted: str) -> None:
    if wanted not in ("auto", kind):
        raise FormatError(f"from={wanted}, but {path} is a {TITLES[kind]} file. Say from={kind}, or leave it out.")


def _meta(folder: Path) -> Path | None:
    """Supervisely's meta.json: in the project's folder, or above one of its data sets."""
    places = [folder, folder.parent, folder.parent.parent]
    return next((place / "meta.json" for place in places if (place / "meta.json").is_file()), None)


def _is_xml(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _summarise(document: Any) -> str:
    """What a JSON document holds, for a message."""
    if isinstance(document, dict):
        return f"names such as {', '.join(map(repr, list(document)[:6]))}" if document else "nothing in it"
    if isinstance(document, list) and document and isinstance(document[0], dict):
        keys = ", ".join(map(repr, list(document[0])[:6]))
        return f"a list of entries with {keys} (from Label Studio, export “JSON”, not “JSON-MIN”)"
    return f"a {type(document).__name__}"
