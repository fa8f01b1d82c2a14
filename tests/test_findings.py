"""Faults of a data set's files: in one list, from both train and check, and none silent."""

import io
import logging
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import TINY_NET, write_pair
from PIL import Image

from segkit.check import check
from segkit.configs.composing import compose, to_plain
from segkit.datasets.findings import DataError, Finding, Kind, format_findings
from segkit.datasets.folder import Folder
from segkit.datasets.listing import Pair
from segkit.datasets.module import DataModule
from segkit.datasets.scan import read_all
from segkit.runs.build import build, build_data


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three splits of six pictures, and a cache for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    root = tmp_path / "data"
    for split, start in (("train", 0), ("val", 6), ("test", 12)):
        for number in range(start, start + 6):
            write_pair(root / split / "images", root / split / "masks", f"p{number:02}", number)
    return root


def damage(root: Path) -> None:
    """One fault of each kind, in all splits."""
    (root / "train/masks/p00.png").unlink()
    (root / "train/masks/p01.png").write_bytes(b"no picture")
    cv2.imwrite(str(root / "train/masks/p02.png"), np.zeros((40, 60), np.uint8))
    whole = (root / "val/images/p06.png").read_bytes()
    (root / "val/images/p06.png").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(root / "val/masks/p07.png"), np.full((40, 48), 7, np.uint8))
    cv2.imwrite(str(root / "test/images/p12.jpg"), np.zeros((40, 48, 3), np.uint8))
    (root / "test/images/p13.png").unlink()
    (root / "test/images/p14.png").write_bytes((root / "train/images/p03.png").read_bytes())


FAULTS = (
    "8 findings in the data set:",
    "1 image without a mask:\n  {root}/train/images/p00.png has no mask.\nAdd the missing files",
    "2 files that cannot be read:\n  {root}/train/masks/p01.png cannot be read (",
    "{root}/val/images/p06.png cannot be read (",
    "mask {root}/train/masks/p02.png is 60×40 but its image {root}/train/images/p02.png is 48×40.",
    "mask {root}/val/masks/p07.png has no value above dataset.threshold=127: its values are 7.",
    "{root}/test/images/p12.jpg and {root}/test/images/p12.png have the same name.",
    "{root}/test/masks/p13.png has no image.",
    "train and test share a picture: {root}/train/images/p03.png and {root}/test/images/p14.png have the same content.",
)


@pytest.mark.parametrize("cache", ["disk", "ram", "off"])
@pytest.mark.parametrize("verb", ["train", "check"])
def test_all_findings_come_at_once(root: Path, verb: str, cache: str) -> None:
    damage(root)
    words = ["dataset=folder", f"dataset.root={root}", "dataset.size=32", f"dataset.cache={cache}"]
    if verb == "train":
        words += [*TINY_NET, f"run_dir={root.parent}/run"]
    else:
        words += [f"output={root.parent}/seen"]
    run = {"train": lambda cfg: build(to_plain(cfg)), "check": check}[verb]
    with pytest.raises(DataError) as error:
        run(compose(*words, config=verb))
    for text in FAULTS:
        assert text.format(root=root) in str(error.value)
    if verb == "check":
        assert (root.parent / "seen/findings.csv").read_text().count("\nerror,") == 8
        assert not (root.parent / "seen/augmented.png").exists()
    assert not list((root.parent / "xdg").rglob("*.cache"))[
        1:
    ]  # only test, whose own pairs are complete, could be cached


def test_masks_are_checked_before_their_pixels_are_counted(root: Path) -> None:
    damage(root)
    words = ["dataset=folder", f"dataset.root={root}", "dataset.size=32", "loss.pos_weight=auto", "loss=bce"]
    with pytest.raises(DataError, match="8 findings in the data set:"):
        build(to_plain(compose(*words, *TINY_NET, f"run_dir={root.parent}/run")))


def test_a_wrong_setting_is_told_before_files_are_decoded(root: Path) -> None:
    (root / "val/images/p06.png").write_bytes(b"no picture")
    words = ["dataset=folder", f"dataset.root={root}", "dataset.size=32", "loss=ce"]
    with pytest.raises(ValueError, match="loss=ce and dataset=folder"):
        build(to_plain(compose(*words, *TINY_NET, f"run_dir={root.parent}/run")))


def test_long_lists_are_cut_and_values_are_put_together() -> None:
    few = Kind("odd file", "odd files", "Or repair them.", lambda values: f"ignore={[*map(int, values)]}")
    text = format_findings([Finding(few, f"{number:02} is odd.", (number % 3,)) for number in range(30)])
    assert text.startswith("30 findings in the data set:\n30 odd files:\n  00 is odd.\n")
    assert text.endswith("  19 is odd.\n  … and 10 more\nIf that is meant, type ignore=[0, 1, 2]. Or repair them.")
    assert (
        format_findings([Finding(few, "a.png is odd.", (4.0,))])
        == "a.png is odd.\nIf that is meant, type ignore=[4]. Or repair them."
    )
    worker: Any = "the text that came from a worker"
    assert str(DataError(worker)) == worker


def jpeg(seed: int, **options: object) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = cv2.resize(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8), (96, 96))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def cut(whole: bytes) -> bytes:
    """The first half of a JPEG, with the end marker of a complete one."""
    start = whole.index(b"\xff\xda")
    return whole[: start + (len(whole) - start) // 2] + b"\xff\xd9"


def shifted(whole: bytes) -> bytes:
    """A JPEG with a piece of its data repeated in the middle, as after a faulty copy."""
    middle = whole.index(b"\xff\xda") + (len(whole) - whole.index(b"\xff\xda")) // 2
    return whole[:middle] + whole[middle - 40 : middle] + whole[middle:]


@pytest.fixture
def jpegs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    root = tmp_path / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(6):
        (root / f"images/{number}.jpg").write_bytes(jpeg(number))
        Image.fromarray(np.eye(96, dtype=np.uint8) * 255).save(root / f"masks/{number}.png")
    return root


def checked(root: Path, *words: str) -> None:
    check(
        compose(
            "dataset=folder",
            f"dataset.root={root}",
            "dataset.size=32",
            f"output={root.parent}/seen",
            *words,
            config="check",
        )
    )


@pytest.mark.parametrize("cache", ["disk", "off"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_jpeg_that_was_cut_and_closed_is_a_fault(
    jpegs: Path, options: dict[str, Any], cache: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (jpegs / "images/3.jpg").write_bytes(cut(jpeg(3, **options)))
    with pytest.raises(DataError) as error:
        checked(jpegs, f"dataset.cache={cache}")
    text = str(error.value)
    assert text.startswith(f"{jpegs}/images/3.jpg ")
    assert "ends too early, although it has the end marker" in text or "cannot be read (image file is truncated" in text
    assert "Copy " in text
    assert "Corrupt JPEG data" not in capfd.readouterr().err  # the decoder's own message names no file


def test_a_damaged_jpeg_is_told_each_time(jpegs: Path, caplog: pytest.LogCaptureFixture) -> None:
    (jpegs / "images/2.jpg").write_bytes(shifted(jpeg(2)))
    for _ in range(2):  # decoded, then found decoded
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="segkit"):
            checked(jpegs, "dataset.cache=disk")
        assert f"{jpegs}/images/2.jpg (Corrupt JPEG data: " in caplog.text
        assert "They are used as they are: look at them" in caplog.text


def test_what_others_write_to_standard_error_comes_through(jpegs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = Folder(jpegs, "train", fractions=[1, 0, 0])
    read_all(lambda index: os.write(2, b"something else\n"), data)
    assert capfd.readouterr().err == "something else\n" * 6


def test_links_are_followed_for_ones_own_command_alone(root: Path, tmp_path: Path) -> None:
    (root / "train/images").rename(tmp_path / "elsewhere")
    (root / "train/images").symlink_to(tmp_path / "elsewhere")
    config = to_plain(compose("dataset=folder", f"dataset.root={root}", "dataset.size=32", "run_dir=x"))
    assert len(build_data(config, follow_links=True).sources["train"]) == 6
    config["dataset"]["follow_links"] = True  # as a stored config could say
    with pytest.raises(DataError, match=r"images is a link to .*elsewhere, outside of dataset\.root"):
        build_data(config)


def test_every_pair_is_read_on_several_threads_and_errors_of_another_kind_end_it(root: Path) -> None:
    data = DataModule({"train": Folder(root, "train")}, size=32, settings={})

    def broken(index: int) -> None:
        raise RuntimeError("not about the data")

    with pytest.raises(RuntimeError, match="not about the data"):
        read_all(broken, data.sources["train"])
    source = data.sources["train"]
    assert isinstance(source, Folder)
    assert all(isinstance(pair, Pair) for pair in source.files)
