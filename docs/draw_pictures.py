"""Makes the two pictures of the README from data that segkit draws: `make pictures`, about three minutes on one core.

`docs/img/sheet.png` is the sheet of a run, `docs/img/report.png` the upper part of the report of a small grid, as
Chromium shows it (`make chromium` installs it).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

IMG = Path(__file__).parent / "img"
RUN = "dataset.size=160 dataset.counts=[160,20,20] dataset.empty_fraction=0 model.net.widths=[8,16,32,64]"
GRID = "-m loss=dice,bce,focal seed=0,1,2 dataset.size=64 dataset.counts=[96,20,60] model.net.widths=[8,16,32]"
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
        segkit("train", *GRID.split(), "dataset=synthetic_lesions", "trainer.max_epochs=16", "name=grid", cwd=work)
        page = next(work.glob("outputs/grid/**/report.html"))
        page.write_text(page.read_text().replace("<details open", "<details"))  # what can be unfolded is folded
        photograph(page, work / "report.png", 1200, 1100)
        save_small(work / "report.png", IMG / "report.png")


if __name__ == "__main__":
    main()
