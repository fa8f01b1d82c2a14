"""`python -m segkit.predict run=outputs/… input=photos/ output=masks/`: masks, overlays and a CSV from a checkpoint."""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segkit.configs import command, explain, to_plain

if TYPE_CHECKING:
    from segkit.inference import Sight
    from segkit.tasks import SegmentationTask


def predict(cfg: DictConfig) -> None:
    """Masks (`masks/`), overlays (`overlays/`) and `predictions.csv` of every picture below `cfg.input`.

    A picture that cannot be read is named, has its error in the CSV, and the command ends non-zero after the rest.
    """
    from rich.progress import track

    from segkit import gate, inference, pictures, records, runs

    settings = to_plain(cfg)
    output = Path(settings["output"])
    files = find_pictures(Path(settings["input"]), output)
    check_output(output)
    task = runs.load(settings["run"], settings["trust"])
    task.to(inference.device(settings["accelerator"]))
    threshold = gate.set_number(task, settings["gate"])
    how = inference.sight(task.facts["config"])
    colors = pictures.class_colors(len(task.classes), task.facts.get("colors"))
    precision = runs.precision(task.facts["config"] | {"trainer": {"accelerator": settings["accelerator"]}})
    rows: list[dict[str, Any]] = []
    output.mkdir(parents=True, exist_ok=True)
    try:
        with inference.computing(task, precision):
            for source, name in track(files.items(), "predicting", disable=not sys.stdout.isatty()):
                try:
                    rows.append(predict_one(task, source, output, name, how, colors, settings["overlays"], threshold))
                except Exception as error:  # whatever is wrong with one picture, the others are done
                    if isinstance(error, OSError) and error.errno in records.DISK_FULL:
                        raise
                    print(f"{source}: {explain(error)}", file=sys.stderr)
                    rows.append({"name": str(source), "error": explain(error)})
    finally:
        records.write_rows(output / "predictions.csv", rows)  # also of what was done before an interruption
    bad = [row for row in rows if "error" in row]
    print(f"{len(rows) - len(bad)} of {len(rows)} pictures predicted; in {output}: {', '.join(written(output))}")
    if any("present" in row for row in rows):
        found = sum(row.get("present", 0) for row in rows)
        print(f"{task.classes[0]} in {found} of them (probability above {threshold:g})")
    if bad:
        raise ValueError(f"{len(bad)} pictures could not be read: {', '.join(row['name'] for row in bad[:5])}")


def predict_one(
    task: "SegmentationTask",
    source: Path,
    output: Path,
    name: str,
    how: "Sight",
    colors: Any,
    overlays: bool,
    threshold: float,
) -> dict[str, Any]:
    """Write one picture's mask (0 and 255, or class numbers) and overlay; returns its row of the CSV.

    threshold: the probability above which the class counts as present, for networks that say so.
    """
    import numpy as np

    from segkit import inference, pictures
    from segkit.datasets.reading import read_picture

    started = time.perf_counter()
    image = read_picture(source)
    label, presence = inference.predict(task, image, how)
    row: dict[str, Any] = {"name": str(source)}
    row |= {"mask": f"masks/{name}.png"} if label is not None else {}
    row |= {"width": image.shape[1], "height": image.shape[0]}
    if presence is not None:
        row |= {"present": int(presence > threshold), "probability": round(presence, 6)}
    if label is not None:
        binary = len(task.classes) == 1
        pictures.save(output / "masks" / f"{name}.png", label * 255 if binary else label)
        if overlays:
            pictures.save(output / "overlays" / f"{name}.jpg", pictures.overlay(image, label, colors))
        for number, title in enumerate(task.classes, start=1 if binary else 0):
            area = int(np.count_nonzero(label == number))
            row |= {f"area/{title}": area, f"share/{title}": round(area / label.size, 6)}
    return row | {"seconds": round(time.perf_counter() - started, 4)}


def written(output: Path) -> list[str]:
    return [name for name in ("masks", "overlays", "predictions.csv") if (output / name).exists()]


def find_pictures(source: Path, output: Path) -> dict[Path, str]:
    """Every picture file of a folder (and below), or one file, with the name its results get: its own without the
    extension, or with it where two would collide. What lies in `output` is left out."""
    from segkit.datasets.reading import EXTENSIONS

    if source.is_file():
        return {source: source.stem}
    if not source.is_dir():
        raise FileNotFoundError(f"input={source}: no such file or folder. Give a picture, or a folder of pictures.")
    inside = output.resolve()
    if inside == source.resolve():
        raise ValueError(f"input and output are the same folder, {source}. Choose another output=.")
    files = sorted(
        path for path in source.rglob("*")
        if path.is_file() and path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
        and inside not in path.resolve().parents
    )  # fmt: skip
    if not files:
        raise FileNotFoundError(f"input={source}: no pictures there (looked for {', '.join(sorted(EXTENSIONS))}).")
    stems = Counter(path.relative_to(source).with_suffix("") for path in files)
    relative = {path: path.relative_to(source) for path in files}
    names: dict[Path, str] = {}
    for path, name in relative.items():
        unique = (name.with_suffix("") if stems[name.with_suffix("")] == 1 else name).as_posix()
        while unique in names.values():
            unique += "_"
        names[path] = unique
    return names


def check_output(output: Path) -> None:
    """Refuse a folder with other things in it, such as the masks that a model is trained on."""
    if output.is_dir() and any(output.iterdir()) and not (output / "predictions.csv").exists():
        raise ValueError(
            f"output={output} holds files that are no predictions of segkit. Choose a new folder; masks/, overlays/ "
            "and predictions.csv are made in it."
        )


main = command("predict", predict)

if __name__ == "__main__":
    main()
