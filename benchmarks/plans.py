"""What a plan is worth: the same command with `recipe=auto`, with and without weights, and with `recipe=none`.

python benchmarks/plans.py ../shared/data outputs/plans --sets deepcrack crack --minutes 4 --seeds 0 1 2

Runs are trained one after the other on `--cores` cores, each in its own process; finished ones are left alone. The
score is the IoU of the test split, pooled over all pixels (of several classes their mean), of masks that `Predictor`
gives for whole pictures, counted here and not by segkit's metrics. `--words` adds settings to every command.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from segkit.configs.composing import compose, to_plain
from segkit.datasets.source import Source
from segkit.inference.predictor import Predictor
from segkit.runs.build import build_data

SETS = {
    "deepcrack": ["dataset=deepcrack", "dataset.root={data}/deepcrack"],
    "crack": ["dataset=crack", "dataset.root={data}/crack"],
    "ph2": ["dataset=ph2", "dataset.root={data}/PH2Dataset"],
    "camvid": ["dataset=camvid", "dataset.root={data}/camvid"],
    "chasedb1": [
        "dataset=folder",
        "dataset.root={data}/chasedb1",
        "dataset.image_pattern=*.jpg",
        "dataset.mask_pattern=*_1stHO.png",
        "dataset.classes=[vessel]",
        r"dataset.groups='(Image_\d+)'",
    ],
    "lesions": ["dataset=synthetic_lesions", "dataset.picture_size=128"],
    "shapes": ["dataset=synthetic_shapes", "dataset.picture_size=128"],
}
RECIPES = {
    "auto": ["recipe=auto"],
    "scratch": ["recipe=auto", "weights=none"],
    "none": ["recipe=none"],
}
IGNORED = 255


Counts = NDArray[np.float64]


def load_sources(data: Path, name: str) -> Mapping[str, Source]:
    """The splits of a set, as its files are."""
    words = [word.format(data=data.absolute()) for word in SETS[name]]
    return build_data(to_plain(compose(*words, "run_dir=unused")), follow_links=True).sources


def count_pixels(found: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], classes: int) -> tuple[Counts, Counts]:
    """The pixels in which each class is said and true, and said or true, over (label, truth) masks."""
    both, either = np.zeros(max(classes, 2)), np.zeros(max(classes, 2))
    for label, truth in found:
        for value in range(len(both)):
            said, true = (label == value)[truth != IGNORED], (truth == value)[truth != IGNORED]
            both[value] += (said & true).sum()
            either[value] += (said | true).sum()
    return both, either


def mean_iou(both: Counts, either: Counts, classes: int) -> float:
    """The mean over the classes that occur of their IoU; of one class, the foreground's."""
    of_classes = (either > 0) & (np.arange(len(either)) >= (1 if classes == 1 else 0))
    return float((both[of_classes] / either[of_classes]).mean())


def score(run: Path) -> float:
    """The mean over the classes of their IoU, pooled over the labelled pixels of the test pictures."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    source = build_data(config, follow_links=True).sources["test"]
    predictor = Predictor.load(run, accelerator="cpu")

    def found() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        for index in range(len(source)):
            sample = source[index]
            label = predictor(np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy())).label
            assert label is not None
            yield label, sample["mask"].numpy()

    return mean_iou(*count_pixels(found(), len(predictor.classes)), len(predictor.classes))


def train(words: list[str], run: Path, cores: int) -> None:
    """Train in a process of its own, on the first cores that this one may use."""
    environment = os.environ | {"OMP_NUM_THREADS": str(cores)}
    some = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    command = ["taskset", "-c", some, sys.executable, "-m", "segkit.train", *words, f"hydra.run.dir={run}"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--words", nargs="*", default=[])
    given = parser.parse_args()
    for name in given.sets:
        for recipe in given.recipes:
            scores = []
            for seed in given.seeds:
                run = (given.output / f"{name}-{recipe}-{given.minutes:g}m-{given.cores}c-{seed}").absolute()
                words = [word.format(data=given.data.absolute()) for word in SETS[name]]
                words += [*RECIPES[recipe], f"budget={given.minutes * 60:g}s", f"seed={seed}", *given.words]
                if not (run / "scored.json").exists():
                    started = time.perf_counter()
                    train(words, run, given.cores)
                    seconds = time.perf_counter() - started
                    (run / "scored.json").write_text(json.dumps({"iou": score(run), "seconds": round(seconds, 1)}))
                scores.append(json.loads((run / "scored.json").read_text())["iou"])
            spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
            print(f"{name:10} recipe={recipe:5} {statistics.mean(scores):.3f}{spread}", flush=True)


if __name__ == "__main__":
    main()
