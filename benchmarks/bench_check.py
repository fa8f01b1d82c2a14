"""Twins and exchanged masks: how many of those made on purpose are found, and how many untouched files are accused.

Copies are made of 5 % of the pictures for each kind of twin, in a temporary folder; the files themselves stay as they
are. Thresholds were chosen on CrackForest and drawn pictures, and those of masks on PH², too. After a first look at
CamVid and DeepCrack two rules became stricter: no place may differ (someone walks past a standing camera), by an amount
chosen on CrackForest again, and a crop lies inside the whole. What is seen to reach beyond it by more than 0.5 % of a
side (three times what crops of CrackForest and drawn pictures reach) is an overlap, which accuses nobody: DeepCrack has
crops of one photograph.
Other sets, numbers of seeds, and the time of another number of pictures:

python benchmarks/bench_check.py ../shared/data/crack --seeds 3
python benchmarks/bench_check.py --pictures 500
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.datasets.checking.checks import check_data, check_meaning
from segkit.datasets.checking.checkup import check_dataset, check_sample
from segkit.datasets.checking.duplicates import find_duplicates
from segkit.datasets.checking.pairing import find_exchanged
from segkit.datasets.common import SPLITS
from segkit.datasets.folder import Folder
from segkit.datasets.masks import MaskValues
from segkit.datasets.module import DataModule
from segkit.datasets.reading import read_picture

DATA = Path(os.environ.get("SEGKIT_BENCH_DATA", Path(__file__).resolve().parents[2] / "shared/data"))
CAMVID = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
SETS = {"deepcrack": MaskValues(["crack"]), "camvid": MaskValues(CAMVID, ignore_values=[11])}
SEEDS, SHARE = 3, 0.05
PICTURES, SIDE = 10_000, 448  # for the clock
WANTED = 240 / PICTURES  # seconds a pair, on two cores
Picture = NDArray[np.uint8]
Damage = Callable[[Picture, np.random.Generator], Picture]


def brighter(picture: Picture, rng: np.random.Generator) -> Picture:
    factor = rng.uniform(1.1, 1.4) if rng.random() < 0.5 else rng.uniform(0.6, 0.9)
    return np.asarray(np.clip(picture * factor, 0, 255), np.uint8)


def turned(picture: Picture, rng: np.random.Generator) -> Picture:
    symmetry = int(rng.integers(1, 8))
    quarters = np.rot90(picture, symmetry % 4)
    return np.ascontiguousarray(quarters[:, ::-1] if symmetry >= 4 else quarters)


def cropped(picture: Picture, rng: np.random.Generator) -> Picture:
    """To 80 % of each side, anywhere; one in two is brought back to its size."""
    height, width = picture.shape[:2]
    high, wide = round(0.8 * height), round(0.8 * width)
    top, left = rng.integers(0, height - high + 1), rng.integers(0, width - wide + 1)
    part = picture[top : top + high, left : left + wide]
    return part if rng.random() < 0.5 else np.asarray(cv2.resize(part, (width, height)), np.uint8)


KINDS: dict[str, tuple[float, Damage | None]] = {
    "copied": (0.95, None),
    "re-encoded": (0.95, lambda picture, rng: picture),
    "mirrored or turned": (0.95, turned),
    "brighter or darker": (0.9, brighter),
    "cropped to 80 %": (0.9, cropped),
}
MOST = 0.01  # accused of what was left alone


def measure() -> list[dict[str, Any]]:
    results = []
    for name, values in SETS.items():
        if (DATA / name).is_dir():
            results += measure_twins(DATA / name, SEEDS) + measure_masks(DATA / name, values, SEEDS)
        else:
            print(f"{name} is skipped: there is no {DATA / name} (SEGKIT_BENCH_DATA names another folder)")
    return [*results, *measure_time(PICTURES)]


def measure_twins(root: Path, seeds: int) -> list[dict[str, Any]]:
    files = pictures(root)
    found: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    accused, untouched = 0, 0
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            copies = {copy: (kind, path) for kind, path, copy in make_copies(files, Path(folder), seed)}
            twins = find_duplicates([*files, *copies]).twins
        pairs = {frozenset(twin[:2]) for twin in twins}
        for copy, (kind, path) in copies.items():
            found[kind].append(frozenset((copy, path)) in pairs)
        originals = {path for _, path in copies.values()}
        accused_pairs = {frozenset(twin[:2]) for twin in twins if twin.kind != "overlapping"}
        suspects = set[Path]().union(*accused_pairs) - originals - set(copies)
        accused += len(suspects)
        untouched += len(files) - len(originals)
        for twin in twins:
            if twin.kind != "overlapping" and suspects & set(twin[:2]):
                print(f"  seed {seed}: {twin.kind} {twin.score:.2f}: {twin.first.name} and {twin.second.name}")
    rows = [
        row(f"{root.name}: twins found, {kind}", sum(some) / len(some), KINDS[kind][0], "higher", f"of {len(some)}")
        for kind, some in found.items()
    ]
    share = row(f"{root.name}: untouched pictures called twins", accused / untouched, MOST, "lower", f"of {untouched}")
    return [*rows, share]


def pictures(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.parent.name == "images")


def measure_masks(root: Path, values: MaskValues, seeds: int) -> list[dict[str, Any]]:
    """Masks are exchanged between pictures of the same size: of others it is told by the size."""
    files = pictures(root)
    masks = {path.stem: path for path in root.rglob("*") if path.parent.name == "masks"}
    samples = [(read_picture(path), values.read(masks[path.stem])) for path in files]
    found, accused, exchanged, untouched = 0, 0, 0, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(files))[: max(round(SHARE * len(files)), 2)].tolist()
        partners = dict(pairs_of_one_size(order, samples))
        given = [(picture, samples[partners.get(at, at)][1]) for at, (picture, _) in enumerate(samples)]
        suspects = {number for one in find_exchanged(given, len(values.classes)) for number in one[:2]}
        found += len(suspects & set(partners))
        accused += len(suspects - set(partners))
        exchanged += len(partners)
        untouched += len(files) - len(partners)
    return [
        row(f"{root.name}: exchanged masks found", found / exchanged, 0.8, "higher", f"of {exchanged}"),
        row(f"{root.name}: masks left alone called exchanged", accused / untouched, MOST, "lower", f"of {untouched}"),
    ]


def pairs_of_one_size(order: list[int], samples: list[tuple[Picture, Picture]]) -> Iterator[tuple[int, int]]:
    waiting: dict[tuple[int, ...], int] = {}
    for number in order:
        other = waiting.pop(samples[number][1].shape, None)
        if other is None:
            waiting[samples[number][1].shape] = number
        else:
            yield from ((number, other), (other, number))


def make_copies(files: list[Path], folder: Path, seed: int) -> Iterator[tuple[str, Path, Path]]:
    """(kind, picture, copy); no picture gets two copies."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(files))
    count = max(round(SHARE * len(files)), 1)
    for turn, (kind, (_, damage)) in enumerate(KINDS.items()):
        for number in order[turn * count : (turn + 1) * count]:
            path = files[number]
            copy = folder / f"{kind.partition(' ')[0]}_{path.stem}.jpg"
            if damage is None:
                copy.write_bytes(path.read_bytes())
            else:
                quality = int(rng.integers(60, 91)) if kind == "re-encoded" else 90
                damaged = cv2.cvtColor(damage(read_picture(path), rng), cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(copy), damaged, [cv2.IMWRITE_JPEG_QUALITY, quality])
            yield kind, path, copy


def measure_time(count: int) -> list[dict[str, Any]]:
    """Drawn pairs, one picture in twenty a twin: the whole check, and what check=fast takes of a 5-minute training."""
    with tempfile.TemporaryDirectory() as folder:
        draw_pairs(Path(folder), count)
        sources = {split: Folder(folder, split) for split in SPLITS}
        data = DataModule(sources, size=256, workers=0)
        before, started, worked = peak(), time.perf_counter(), time.process_time()
        found = check_dataset(data)
        seconds, work, memory = time.perf_counter() - started, time.process_time() - worked, peak() - before
        kept = DataModule(sources, size=256, workers=0, cache="ram", settings={})
        check_data(kept)  # a training decodes them anyway
        started = time.perf_counter()
        check_meaning(kept)
        check_sample(kept).summary()
        fast = time.perf_counter() - started
    detail = f"{work:.1f} s of processors, {memory:.0f} MB of memory more, {len(found.problems)} findings"
    return [
        row(f"check of {count:,} pairs of {SIDE}², seconds", seconds, WANTED * count, "lower", detail),
        row(f"check=fast, share of a 5-minute training on {count:,} pairs", fast / 300, 0.03, "lower", f"{fast:.1f} s"),
    ]


def draw_pairs(root: Path, count: int) -> None:
    """Textures with a strip in each, and its mask."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for number in range(count):
        if number % 20 or not number:
            coarse = cv2.resize(
                rng.integers(60, 196, (9, 9, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
            )
            picture = np.clip(coarse + rng.normal(0, 12, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            cv2.polylines(mask, [rng.integers(0, SIDE, (5, 2)).astype(np.int32)], False, 255, int(rng.integers(2, 9)))
            picture[mask > 0] //= 2
        cv2.imwrite(f"{root}/images/{number:05}.jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90 - number % 20])
        cv2.imwrite(f"{root}/masks/{number:05}.png", mask)


def peak() -> float:
    """MB"""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row(name: str, ratio: float, target: float, better: str, detail: str) -> dict[str, Any]:
    return {"name": name, "ratio": round(ratio, 4), "target": target, "better": better, "detail": detail}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", nargs="*", type=Path, help="data sets with <split>/images and <split>/masks")
    parser.add_argument("--classes", type=int, default=1, help="of the masks; several are indices, one is above 127")
    parser.add_argument("--ignore", nargs="*", type=int, default=[], help="values of masks to ignore")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--pictures", type=int, default=0, help="take the time of so many drawn pairs as well")
    words = parser.parse_args()
    values = MaskValues([str(number) for number in range(words.classes)], ignore_values=words.ignore)
    results = []
    for root in words.roots:
        results += measure_twins(root, words.seeds) + measure_masks(root, values, words.seeds)
    results += measure_time(words.pictures) if words.pictures else []
    for entry in results:
        print(f"{entry['name']}: {entry['ratio']} (target {entry['target']}), {entry['detail']}", flush=True)


if __name__ == "__main__":
    main()
