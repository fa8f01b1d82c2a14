"""What a plan is measured against: Ultralytics' semantic segmentation, as its command line trains it.

taskset -c 0 python benchmarks/peer_yolo.py ../shared/data chasedb1 ../peers/bin/yolo outputs/yolo --minutes 4

The command `yolo` of an environment of its own runs as a separate process: the smallest network from scratch, its own
defaults but for pictures of 256 pixels, and its own limit of time. Masks of the test pictures, at their own size, are
scored as in plans.py.
"""

import argparse
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from plans import SETS, count_pixels, load_sources, mean_iou

from segkit.datasets.source import Source

SIDE, BATCH = 256, 8


def write_pictures(source: Source, folder: Path, split: str) -> None:
    """Pictures and masks of class numbers as PNGs, in the folders that Ultralytics expects."""
    for kind in ("images", "masks"):
        (folder / kind / split).mkdir(parents=True)
    for index in range(len(source)):
        sample = source[index]
        image = cv2.cvtColor(sample["image"].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / "images" / split / f"{index:05}.png"), image)
        cv2.imwrite(str(folder / "masks" / split / f"{index:05}.png"), sample["mask"].numpy())


def describe(folder: Path, classes: list[str]) -> Path:
    """The file that tells Ultralytics of the data."""
    path = folder / "data.yaml"
    names = dict(enumerate(classes))
    places = {split: f"images/{split}" for split in ("train", "val", "test")}
    path.write_text(yaml.safe_dump({"path": str(folder), "masks_dir": "masks", "names": names} | places))
    return path


def call(yolo: Path, *words: str, log: Path) -> None:
    """The command line, without plots and without anything that it would fetch or send."""
    environment = os.environ | {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(log.parent)}
    with log.open("a") as file:
        command = [str(yolo), "semantic", *words, "device=cpu", f"imgsz={SIDE}", "plots=False", "exist_ok=True"]
        subprocess.run(command, env=environment, check=True, stdout=file, stderr=file, cwd=log.parent)


def score(folder: Path, results: Path, source: Source, classes: int) -> float:
    """Pooled IoU of the masks that Ultralytics wrote."""

    def found() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        for index in range(len(source)):
            mask = cv2.imread(str(results / f"{index:05}.png"), cv2.IMREAD_UNCHANGED)
            if mask is None:
                raise FileNotFoundError(results / f"{index:05}.png")
            yield mask.astype(np.uint8), source[index]["mask"].numpy()

    return mean_iou(*count_pixels(found(), classes), classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("name", choices=list(SETS))
    parser.add_argument("yolo", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sources = load_sources(given.data, given.name)
    classes = list(sources["train"].classes)
    folder = (given.output / given.name).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    for split, source in sources.items():
        write_pictures(source, folder / "data", split)
    data = describe(folder / "data", ["background", *classes] if len(classes) == 1 else classes)
    common = [f"data={data}", f"project={folder}", "workers=0"]
    started = time.perf_counter()
    train = ["train", "model=yolo26n-sem.yaml", "pretrained=False", f"batch={BATCH}", "name=run", f"seed={given.seed}"]
    call(given.yolo, *train, f"time={given.minutes / 60}", *common, log=folder / "log.txt")
    seconds = time.perf_counter() - started
    best = folder / "run" / "weights" / "best.pt"
    call(
        given.yolo, "val", f"model={best}", "split=test", "save_json=True", "name=test", *common, log=folder / "log.txt"
    )
    found = score(folder, folder / "test" / "results", sources["test"], len(classes))
    print(f"{given.name:10} yolo      {found:.3f} ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
