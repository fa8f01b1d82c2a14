"""Makes the pictures of the documentation from data that segkit draws: `make pictures`, about five minutes on one core.

`docs/img/sheet.png` is the sheet of a run, `docs/img/report.png` the upper part of the report of a small grid, as
Chromium shows it (`make chromium` installs it), and `docs/img/own_class.png` the way from an outline to a prediction.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segkit.datasets.synthetic import Synthetic
from segkit.formats.outlines import find_outlines

IMG = Path(__file__).parent / "img"
RUN = "dataset.size=160 dataset.counts=[160,20,20] dataset.empty_fraction=0 model.net.widths=[8,16,32,64]"
GRID = "-m loss=dice,bce_dice,focal seed=0,1,2 dataset.size=64 dataset.counts=[96,20,60] model.net.widths=[8,16,32]"
SIDE, PHOTOS = 256, 80  # of the pictures that are annotated: pixels, number
YELLOW, GAP = (255, 220, 0), 8
LARGEST = 300_000  # bytes of a picture


def segkit(verb: str, *words: str, cwd: Path) -> None:
    subprocess.run([sys.executable, "-m", f"segkit.{verb}", *words], cwd=cwd, check=True)


def photograph(page: Path, path: Path, width: int, height: int) -> None:
    """What headless Chromium shows of a page."""
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000"]
        options += [f"--screenshot={path}", f"--window-size={width},{height}", f"--user-data-dir={profile}"]
        subprocess.run(["chromium", *options, page.as_uri()], check=True, capture_output=True, timeout=300)


def save_small(source: Path, target: Path) -> None:
    """A PNG of 256 colours, chosen so that rare ones stay what they are: the red of a few missed pixels."""
    picture = Image.open(source).convert("RGB")
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)
    if target.stat().st_size > LARGEST:
        sys.exit(f"{target}: {target.stat().st_size} bytes; at most {LARGEST} are allowed.")


def draw_own_class(work: Path) -> None:
    """The page about drawing masks, followed with drawn lesions: an annotation, its mask, and a prediction."""
    for folder in ("photos", "new"):
        (work / folder).mkdir()
    source = Synthetic("train", ["lesion"], "lesions", SIDE, (PHOTOS, 1, 1), empty_fraction=0)
    entries = {}
    for number, name in enumerate(f"{number:03d}.png" for number in range(PHOTOS)):
        sample = source[number]
        Image.fromarray(sample["image"].permute(1, 2, 0).numpy()).save(work / "photos" / name)
        outlines = find_outlines(sample["mask"].numpy() > 0, "lesion", tolerance=1.5)
        regions = [
            {
                "shape_attributes": {"name": "polygon", "all_points_x": x.tolist(), "all_points_y": y.tolist()},
                "region_attributes": {"class": "lesion"},
            }
            for x, y in (one.polygon.outer.T for one in outlines)
        ]
        entries[name] = {"filename": name, "regions": regions}
    (work / "via_project.json").write_text(json.dumps({"_via_img_metadata": entries}))
    sample = Synthetic("test", ["lesion"], "lesions", SIDE, (1, 1, 1), empty_fraction=0)[0]
    Image.fromarray(sample["image"].permute(1, 2, 0).numpy()).save(work / "new" / "a.png")
    segkit("annotations", "input=via_project.json", "images=photos", "output=my_data", cwd=work)
    words = ("experiment=own_class", "dataset.root=my_data", "dataset.classes=[lesion]", "budget=null")
    segkit("train", *words, "dataset.size=128", "trainer.max_epochs=30", "hydra.run.dir=own", cwd=work)
    segkit("predict", "run=own", "input=new", "output=predicted", cwd=work)
    photo = np.array(Image.open(work / "photos" / "000.png"))
    for region in entries["000.png"]["regions"]:
        xs, ys = (region["shape_attributes"][f"all_points_{axis}"] for axis in "xy")
        line = np.round(np.stack([xs, ys], axis=1)).astype(np.int32)
        cv2.polylines(photo, [line], True, YELLOW, 1, cv2.LINE_AA)
        for x, y in line.tolist():
            cv2.circle(photo, (x, y), 2, YELLOW, -1, cv2.LINE_AA)
    mask = np.array(Image.open(work / "my_data" / "masks" / "000.png").convert("RGB"))
    predicted = np.array(Image.open(next((work / "predicted" / "overlays").iterdir())).convert("RGB"))
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    Image.fromarray(np.hstack([photo, gap, mask, gap, predicted])).save(work / "own_class.png")
    save_small(work / "own_class.png", IMG / "own_class.png")


def main() -> None:
    if shutil.which("chromium") is None:
        sys.exit("the picture of the report needs Chromium: make chromium")
    IMG.mkdir(exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        segkit("train", *RUN.split(), "trainer.max_epochs=8", "hydra.run.dir=run", cwd=work)
        segkit("evaluate", "run=run", "pictures=3", "hydra.run.dir=scored", cwd=work)
        save_small(work / "scored" / "pictures" / "test.png", IMG / "sheet.png")
        draw_own_class(work)
        segkit("train", *GRID.split(), "dataset=synthetic_lesions", "trainer.max_epochs=16", "name=grid", cwd=work)
        page = next(work.glob("outputs/grid/**/report.html"))
        page.write_text(page.read_text().replace("<details open", "<details"))  # what can be unfolded is folded
        photograph(page, work / "report.png", 1200, 1100)
        save_small(work / "report.png", IMG / "report.png")


if __name__ == "__main__":
    main()
