"""The detector's numbers with 95 % intervals, from finished runs that differ in their seed alone.

python benchmarks/intervals.py outputs/crack_detector_small/*/

Mean ± sd over the seeds, and the 2.5 and 97.5 % quantiles of 2,000 bootstrap samples of the pictures (all crops of one
together) and of the seeds. Presence is decided at 0.5, masks are as the folder has them: of folders that
`evaluate run=… gate=0` wrote they are ungated.
"""

import argparse
import csv
import statistics
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segkit.presence import PresenceMetrics

NAMES = ("presence_f1", "presence_f1/0", "presence_f1/1", "presence_ap", "iou", "iou_image")
SAMPLES = 2000
Table = dict[str, NDArray[np.float64]]


def read(folder: Path) -> tuple[Table, Table]:
    """Columns of presence.csv and of per_image.csv."""
    return columns(folder / "presence.csv", ("index", "label", "probability")), columns(
        folder / "per_image.csv", ("index", "tp", "fp", "fn", "iou")
    )


def columns(path: Path, names: tuple[str, ...]) -> Table:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def scores(crops: Table, images: Table, pictures: NDArray[np.int64]) -> dict[str, float]:
    """The metrics of a selection of pictures, in which one may occur more than once."""
    rows = np.concatenate([np.flatnonzero(crops["index"] == picture) for picture in pictures])
    metrics = PresenceMetrics()
    probability = torch.from_numpy(crops["probability"][rows]).clamp(1e-12, 1 - 1e-12)
    metrics.update(probability.logit(), torch.from_numpy(crops["label"][rows]).long(), torch.arange(len(rows)))
    presence = metrics.compute()
    tp, fp, fn, iou = (images[name][pictures] for name in ("tp", "fp", "fn", "iou"))
    found = {f"presence_{name}": value for name, value in presence.items()}
    return found | {"iou": float(tp.sum() / (tp + fp + fn).sum()), "iou_image": float(np.nanmean(iou))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, one a seed")
    runs = [read(folder) for folder in parser.parse_args().runs]
    for crops, images in runs:
        if not all(np.array_equal(crops[key], runs[0][0][key]) for key in ("index", "label")):
            parser.error("these runs were tested on different pictures")
        if not np.array_equal(images["index"], np.arange(len(images["index"]))):
            parser.error("per_image.csv has not a row for every picture")
    count = len(runs[0][1]["index"])
    everything = np.arange(count)
    found = [scores(*run, everything) for run in runs]
    rng = np.random.default_rng(0)
    resampled: list[dict[str, float]] = []
    for _ in range(SAMPLES):
        pictures = rng.integers(count, size=count)
        chosen = [scores(*runs[index], pictures) for index in rng.integers(len(runs), size=len(runs))]
        resampled.append({name: float(np.nanmean([one.get(name, np.nan) for one in chosen])) for name in NAMES})
    print(f"{len(runs)} seeds, {count} pictures\n\n| metric | mean ± sd | 95 % interval |\n| --- | --- | --- |")
    for name in NAMES:
        values = [one[name] for one in found]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        low, high = np.nanquantile([one[name] for one in resampled], [0.025, 0.975])
        print(f"| {name} | {statistics.mean(values):.3f}{spread} | {low:.3f} … {high:.3f} |")


if __name__ == "__main__":
    main()
