"""Predict goes on where it was stopped, and says so when something else lies in its output."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import disc, segkit

from segkit.configs.composing import compose
from segkit.inference import predicting
from segkit.inference.journal import NAME, Journal
from segkit.predict import predict


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(5):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), disc((30, 40), number)[0])
    return tmp_path / "photos"


def predicted(photos: Path, run: Path, *words: str) -> list[dict[str, Any]]:
    output = photos.parent / "out"
    return predict(compose(f"run={run}", f"input={photos}", f"output={output}", *words, config="predict"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pictures that are written, as they are."""
    names: list[str] = []
    write = predicting.write_picture

    def noted(item: Any, outputs: Any) -> Any:
        names.append(item.key.name)
        return write(item, outputs)

    monkeypatch.setattr(predicting, "write_picture", noted)
    return names


def test_what_is_done_is_not_done_again(photos: Path, tiny_run: Path, made: list[str]) -> None:
    first = predicted(photos, tiny_run)
    out = photos.parent / "out"
    table = (out / "predictions.csv").read_bytes()
    made.clear()
    assert predicted(photos, tiny_run, "accelerator=cpu") == first
    assert made == []
    assert (out / "predictions.csv").read_bytes() == table
    (out / "masks" / "3.png").unlink()
    cv2.imwrite(str(photos / "1.png"), disc((30, 44), 9)[0])
    cv2.imwrite(str(photos / "00.png"), disc((30, 40), 8)[0])
    rows = predicted(photos, tiny_run)
    assert sorted(made) == ["00", "1", "3"]
    assert [Path(row["name"]).stem for row in rows] == ["0", "00", "1", "2", "3", "4"]
    assert [row["width"] for row in rows] == [40, 40, 44, 40, 40, 40]
    lines = (out / "predictions.csv").read_text().splitlines()[1:]
    assert [Path(line.partition(",")[0]).stem for line in lines] == ["0", "00", "1", "2", "3", "4"]


def test_a_kill_loses_little(photos: Path, tiny_run: Path, made: list[str]) -> None:
    rows = predicted(photos, tiny_run)
    journal = photos.parent / "out" / NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:4]) + lines[4][:30])  # the fourth picture's line is cut
    made.clear()
    again = predicted(photos, tiny_run)
    assert sorted(made) == ["3", "4"]
    assert [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in rows]


def test_the_table_grows_with_the_pictures(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out", {"checkpoint": "x"})
    journal.begin()
    table = tmp_path / "out" / "predictions.csv"
    journal.add("/b", {"name": "b", "error": "broken"})
    journal.add("/a", {"name": "a", "area": 3}, name="a", stamp=[], files=[])
    assert table.read_text() == "name,error,area\nb,broken,\na,,3\n"
    journal.add("/c", {"name": "c", "area": 4}, name="c", stamp=[], files=[])
    assert table.read_text().endswith("a,,3\nc,,4\n")
    journal.write_table(["/a", "/c"])
    assert table.read_text() == "name,area\na,3\nc,4\n"
    again = Journal(tmp_path / "out", {"checkpoint": "x"})
    assert again.names == {"/a": "a", "/c": "c"}  # what failed is tried again


def test_another_run_or_other_settings_are_refused(photos: Path, tiny_run: Path) -> None:
    predicted(photos, tiny_run)
    out = photos.parent / "out"
    with pytest.raises(ValueError, match=r"predictions made with threshold=null, and now it is 0\.3\. Choose another"):
        predicted(photos, tiny_run, "threshold=0.3")
    other = shutil.copytree(tiny_run, photos.parent / "other")
    shutil.copy(other / "checkpoints" / "last.ckpt", other / "checkpoints" / "best.ckpt")
    with pytest.raises(ValueError, match=r"out holds predictions by another run.* overwrite=true"):
        predicted(photos, other)
    (photos / "4.png").unlink()
    assert len(predicted(photos, other, "overwrite=true", "overlays=false")) == 4
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["0.png", "1.png", "2.png", "3.png"]
    assert not list((out / "overlays").iterdir())
    (out / NAME).unlink()
    with pytest.raises(ValueError, match="without a record of what made them"):
        predicted(photos, tiny_run)


def test_a_journal_removes_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    (tmp_path / "out").mkdir()
    line = {"source": "/a", "row": {}, "name": "a", "stamp": [], "files": ["../mine.txt", "masks/a.png"]}
    lines = [{"made_by": {}}, line]
    (tmp_path / "out" / NAME).write_text("".join(json.dumps(one) + "\n" for one in lines))
    Journal(tmp_path / "out", {"checkpoint": "x"}, overwrite=True).begin()
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize("content", ["", "nonsense\n", "[]\n", '{"made_by": 3}\n', '{"made_by": {}}\n[1]\n'])
def test_a_damaged_journal_is_no_record(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(ValueError, match="holds predictions without a record"):
        Journal(tmp_path, {"checkpoint": "x"})


def test_ctrl_c_leaves_what_was_done(photos: Path, tiny_run: Path) -> None:
    pictures = photos.parent / "many"
    pictures.mkdir()
    for number in range(400):
        os.link(photos / f"{number % 5}.png", pictures / f"{number:03}.png")
    (pictures / "000.png").unlink()
    (pictures / "000.png").write_bytes(b"broken")
    words = (f"run={tiny_run}", "input=many", "output=out", "accelerator=cpu")
    done = segkit(*words, cwd=photos.parent, module="predict", ctrl_c_after="000.png")
    assert done.returncode == 130
    assert "are done; the same command goes on with the others" in done.stderr
    assert "Traceback" not in done.stderr
    lines = (photos.parent / "out" / "predictions.csv").read_text().splitlines()
    again = segkit(*words, cwd=photos.parent, module="predict")
    assert "399 of 400 pictures predicted" in again.stdout
    if len(lines) < 390:  # stopped in time
        assert " of them before" in again.stdout


def test_a_full_disk_ends_it_with_what_was_done(photos: Path, tiny_run: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    cv2.imwrite(str(photos / "5.png"), noise)
    words = (f"run={tiny_run}", "input=photos", "output=out", "accelerator=cpu", "probabilities=true")
    done = segkit(*words, cwd=photos.parent, module="predict", longest_file=30_000)
    assert done.returncode == 1
    said, _, _ = done.stderr.partition("Exception ignored in atexit callback")  # of coverage, which has no room either
    assert "Free some space, then start the command again." in said
    assert "Traceback" not in said
    assert sorted(path.name for path in (photos.parent / "out" / "masks").iterdir())[:5] == [
        f"{n}.png" for n in range(5)
    ]
    again = segkit(*words, cwd=photos.parent, module="predict")
    assert again.returncode == 0, again.stderr
    assert "6 of 6 pictures predicted, 5 of them before" in again.stdout
