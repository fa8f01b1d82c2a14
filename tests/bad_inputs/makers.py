"""Files that rows need: a small data set and a finished run, made once and copied into a row's folder."""

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from conftest import segkit, write_pair

# A run on `data` that takes a second: to be followed by what is wrong with it.
TINY = ("dataset=folder", "dataset.root=data", "dataset.size=32", "dataset.batch_size=4", "model.net.widths=[4,8]",
        "trainer.max_epochs=1", "trainer.accelerator=cpu", "callbacks.pictures=null", "hydra.run.dir=run")


@cache
def made() -> Path:
    """A folder of this session with `data/` and `run/`."""
    holder = tempfile.TemporaryDirectory(prefix="segkit-bad-inputs-")
    KEPT.append(holder)
    folder = Path(holder.name)
    for number in range(12):
        write_pair(folder / "data" / "images", folder / "data" / "masks", f"p{number:02}", number, size=(32, 32))
    done = segkit(*TINY, cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder


KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed at the end of the session


def data(folder: Path) -> None:
    """`data/images` and `data/masks`: twelve pictures of 32×32, p00.png to p11.png, masks of 0 and 255."""
    shutil.copytree(made() / "data", folder / "data")


def run(folder: Path) -> None:
    """`data/`, and `run/`: a finished run of one epoch on it, of a network with the widths [4, 8].

    The run's config names the session's own copy of the pictures as dataset.root; they are there to be read only.
    """
    data(folder)
    shutil.copytree(made() / "run", folder / "run")


def both(*makers: Callable[[Path], object]) -> Callable[[Path], None]:
    """One after the other, such as `both(data, cut_a_picture)`."""

    def make(folder: Path) -> None:
        for maker in makers:
            maker(folder)

    return make
