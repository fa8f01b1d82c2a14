"""What the tests share: a quiet machine, tiny runs, and data in the real layouts."""

import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"  # the tests run two at a time on two cores
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="segkit-tests-")  # not the person's own; removed at the end

import json
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from folders import fill
from helpers import quicken
from helpers import segkit as segkit  # for the tests: `from conftest import segkit`
from omegaconf import DictConfig

if TYPE_CHECKING:
    from torch import Tensor  # slow to import, and the process that shares out the tests does without

quicken()

TINY_WITH_ANY_LOGGER = [
    "dataset.size=32",
    "dataset.counts=[12,5,5]",
    "dataset.batch_size=4",
    "model.net.widths=[4,8]",
    "trainer.max_epochs=2",
    "callbacks.pictures.every_n_epochs=1",
    "callbacks.pictures.count=2",
]
TINY = [*TINY_WITH_ANY_LOGGER, "logger.tensorboard.log_graph=false"]  # tracing takes a tenth of a tiny run
TINY_NET = ["model.net.widths=[4,8]", "trainer.max_epochs=1", "trainer.accelerator=cpu"]


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def weights(run: Path, name: str = "last") -> dict[str, "Tensor"]:
    import torch

    found: dict[str, Tensor] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    return found


@cache
def composed(*words: str) -> DictConfig:
    """A config as `compose` gives it, which takes a tenth of a second; to be read or copied, not changed."""
    from segkit.configs.composing import compose

    return compose(*words, "run_dir=x")


def disc(size: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) of a bright disc on noise, and its mask (H, W) of 0 and 1."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 120, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, np.uint8)
    centre = (
        int(rng.integers(size[1] // 4, 3 * size[1] // 4)),
        int(rng.integers(size[0] // 4, 3 * size[0] // 4)),
    )
    cv2.circle(mask, centre, min(size) // 5, 1, -1)
    image[mask == 1] += 120
    return image, mask


def read_picture(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    pixels = cv2.imread(str(path), flags)
    assert pixels is not None, path
    return pixels


def write_pair(
    images: Path,
    masks: Path,
    stem: str,
    seed: int,
    size: tuple[int, int] = (40, 48),
    scale: int = 255,
    suffix: str = ".png",
) -> None:
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    image, mask = disc(size, seed)
    cv2.imwrite(str(images / f"{stem}{suffix}"), image)
    cv2.imwrite(str(masks / f"{stem}{suffix}"), mask * scale)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of files that start commands or trainings are slow; `make test fast=1` leaves them out."""
    for item in items:
        known = vars(getattr(item, "module", None))
        if known.get("segkit") is segkit or "train" in known:
            item.add_marker("slow")
    items.sort(key=lambda item: item.name.startswith("test_bad_input["))  # quick ones last: no process waits at the end


def pytest_sessionfinish() -> None:
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures with binary masks, in one images/masks pair."""
    root = tmp_path / "my_data"
    for number in range(10):
        write_pair(root / "images", root / "masks", f"p{number}", number)
    return root


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on tiny drawn pictures."""
    from segkit.configs.composing import compose
    from segkit.train import train

    run = tmp_path_factory.mktemp("runs") / "tiny"
    train(compose(*TINY, "logger.tensorboard.log_graph=true", f"run_dir={run}"))
    return run


@pytest.fixture
def three(tmp_path: Path) -> Path:
    for split, count, start in (("train", 5, 0), ("valid", 2, 5), ("test", 3, 7)):
        fill(tmp_path / split, count, start)
    return tmp_path


@pytest.fixture
def one(tmp_path: Path) -> Path:
    fill(tmp_path, 20)
    return tmp_path
