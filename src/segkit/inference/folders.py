"""Pictures in, masks out."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit import console
from segkit.datasets.findings import gather_findings
from segkit.datasets.scan import read_whole
from segkit.files.reading import PICTURE_SUFFIXES
from segkit.inference.predictor import Predictor
from segkit.pictures import overlays


def predict_one(
    predictor: Predictor, source: Path, output: Path, name: str, colors: Any, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write one picture's mask (0 and 255, or class numbers), its overlay and, if the `settings` ask for them, its
    probabilities; returns its row of the CSV."""
    started = time.perf_counter()
    with gather_findings():
        image = read_whole(source)
    label, presence, probabilities, _ = predictor(image)
    row: dict[str, Any] = {"name": str(source)}
    row |= {"mask": f"masks/{name}.png"} if label is not None else {}
    row |= {"width": image.shape[1], "height": image.shape[0]}
    if presence is not None:
        row |= {"present": int(presence > predictor.present_above), "probability": round(presence, 6)}
    if label is not None:
        binary = len(predictor.classes) == 1
        overlays.save(output / "masks" / f"{name}.png", label * 255 if binary else label)
        if settings["overlays"]:
            overlays.save(output / "overlays" / f"{name}.jpg", overlays.overlay(image, label, colors, outlined=True))
        if settings["probabilities"] and probabilities is not None:
            save_probabilities(probabilities, output / "probabilities" / name)
        for number, title in enumerate(predictor.classes, start=1 if binary else 0):
            area = int(np.count_nonzero(label == number))
            row |= {f"area/{title}": area, f"share/{title}": round(area / label.size, 6)}
    return row | {"seconds": round(time.perf_counter() - started, 4)}


def save_probabilities(probabilities: NDArray[np.float32], path: Path) -> None:
    """Write `path`.png, probability · 65535 in 16 bits; for several classes a folder with one file per class, by
    number."""
    levels = np.round(probabilities * 65535).astype(np.uint16)
    for number, level in enumerate(levels):
        file = path.with_name(f"{path.name}.png") if len(levels) == 1 else path / f"{number}.png"
        overlays.save(file, level)


def list_outputs(output: Path) -> list[str]:
    return [name for name in ("masks", "overlays", "probabilities", "predictions.csv") if (output / name).exists()]


def find_pictures(source: Path, output: Path) -> dict[Path, str]:
    """Every picture file in and below a folder, or one file, with the name for its results: its own without the
    extension, or with it if two would collide. Files in `output` are left out; anything else (a pipe, a socket, a
    device) is named and left out."""

    if source.is_file():
        return {source: source.stem}
    inside = output.resolve()
    named = [
        path for path in sorted(source.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "."
    ]
    files = [path for path in named if path.is_file() and inside not in path.resolve().parents]
    for path in named:
        if not (path.is_file() or path.is_dir()):
            what = "a pipe, a socket or a device" if path.exists() else "a link that leads nowhere"
            console.say(f"{path} is left out: it is {what}", stderr=True)
    if not files:
        raise FileNotFoundError(
            f"input={source}: no pictures there (looked for {', '.join(sorted(PICTURE_SUFFIXES))})."
        )
    stems = Counter(path.relative_to(source).with_suffix("") for path in files)
    relative = {path: path.relative_to(source) for path in files}
    names: dict[Path, str] = {}
    for path, name in relative.items():
        unique = (name.with_suffix("") if stems[name.with_suffix("")] == 1 else name).as_posix()
        while unique in names.values():
            unique += "_"
        names[path] = unique
    return names
