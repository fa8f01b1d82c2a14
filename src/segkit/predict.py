"""`python -m segkit.predict run=outputs/… input=photos/ output=masks/`: masks, overlays and a CSV from a checkpoint."""

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from segkit import console
from segkit.configs.command import command
from segkit.configs.errors import explain
from segkit.configs.settings import check_settings
from segkit.console import format_count
from segkit.files.writing import DISK_FULL


def predict(cfg: DictConfig) -> list[dict[str, Any]]:
    """Masks (`masks/`), overlays (`overlays/`) and `predictions.csv` of every picture below `cfg.input`; returns the
    rows of that file.

    A picture that cannot be read is named, has its error in the CSV, and the command ends non-zero after the rest.
    """
    settings = check_settings(cfg, "predict")
    from rich.progress import track

    from segkit.files.tables import write_rows
    from segkit.hardware import computing
    from segkit.inference.folders import find_pictures, list_outputs, predict_one
    from segkit.inference.predictor import Predictor
    from segkit.pictures import overlays

    output = Path(settings["output"])
    files = find_pictures(Path(settings["input"]), output)
    chosen = {key: settings[key] for key in ("accelerator", "threshold", "gate", "tta")}
    predictor = Predictor.load(settings["run"], settings["trust"], **chosen)
    classes, color = predictor.classes, settings["color"]
    known = predictor.task.facts.get("colors")
    colors = (
        overlays.class_colors(len(classes), known, classes) if color is None else overlays.parse_colors(color, classes)
    )
    rows: list[dict[str, Any]] = []
    output.mkdir(parents=True, exist_ok=True)
    write_rows(output / "predictions.csv", rows)  # says whose folder it is, whatever comes
    try:
        with computing(predictor.task.device, predictor.precision):  # for all, so that weights are cast once
            for source, name in track(files.items(), "predicting", disable=not sys.stdout.isatty()):
                try:
                    rows.append(predict_one(predictor, source, output, name, colors, settings))
                except Exception as error:  # whatever is wrong with one picture, the others are done
                    if isinstance(error, OSError) and error.errno in DISK_FULL:
                        raise
                    console.say(f"{source}: {explain(error)}", stderr=True)
                    rows.append({"name": str(source), "error": explain(error)})
    finally:
        write_rows(output / "predictions.csv", rows)  # also of what was done before an interruption
    bad = [row for row in rows if "error" in row]
    threshold = predictor.task.threshold  # may be the command line's, or a calibration's
    above = f" (a pixel is {classes[0]} above {threshold:g})" if len(classes) == 1 and threshold != 0.5 else ""
    done = f"{len(rows) - len(bad)} of {format_count(len(rows), 'picture')} predicted{above}"
    console.say(f"{done}; in {output}: {', '.join(list_outputs(output))}")
    if any("present" in row for row in rows):
        found = sum(row.get("present", 0) for row in rows)
        console.say(f"{classes[0]} in {found} of them (probability above {predictor.present_above:g})")
    if bad:
        raise ValueError(
            f"{format_count(len(bad), 'picture')} could not be read: {', '.join(row['name'] for row in bad[:5])}"
        )
    return rows


main = command("predict", predict)
if __name__ == "__main__":
    main()
