"""What `input=` names: files, folders, patterns and lists, each once, with names for their results that differ."""

import io
import os
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import segkit

from segkit.configs import inputs
from segkit.configs.inputs import Found, find_inputs, hide_password, kind_of, name_all
from segkit.configs.places import check_input
from segkit.files.tables import read_rows


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("photos/a.png", "photos/a.jpg", "photos/in ü/b.png", "c.png", "out/masks/a.png", "photos/.hidden.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(name, np.zeros((9, 9, 3), np.uint8))
    Path("photos/clip.mp4").touch()
    return tmp_path


def names(*given: str, known: dict[str, str] | None = None) -> dict[str, str]:
    return {one.source: one.name for one in find_inputs(list(given), Path("out"), known or {})}


def test_folders_patterns_and_files_are_found_in_their_order(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = {"photos/a.jpg": "a.jpg", "photos/a.png": "a.png", "photos/in ü/b.png": "in ü/b"}
    assert names("photos") == both
    assert "photos: 1 video left out; name them, as in 'input=photos/*.mp4'" in capsys.readouterr().err
    assert list(names("c.png", "photos/", "./c.png").items()) == [("c.png", "c"), *both.items()]
    assert names("photos/*.png") == {"photos/a.png": "a"}
    assert names("photos/**/*.png") == {"photos/a.png": "a", "photos/in ü/b.png": "in ü/b"}
    assert names("*/masks/*.png", "c.png") == {"c.png": "c"}  # what lies in the output is no input
    assert names(str(photos / "c.png")) == {str(photos / "c.png"): "c"}


def test_a_name_with_an_asterisk_may_be_a_files(photos: Path) -> None:
    cv2.imwrite("photos/[1].png", np.zeros((9, 9, 3), np.uint8))
    assert names("photos/[1].png") == {"photos/[1].png": "[1]"}


def test_results_of_equal_names_do_not_meet() -> None:
    def named(*sources: str) -> list[str]:
        found = [Found(source, PurePosixPath(Path(source).name)) for source in sources]
        ways = name_all(found, {})
        return [ways[source] for source in sources]

    assert named("/x/a.png", "/y/a.png") == ["x/a", "y/a"]
    assert named("/x/a.png", "/y/A.png", "/y/b.png") == ["x/a", "y/A", "b"]  # one file on some systems
    assert named("/x/1/a.png", "/y/1/a.png") == ["x/1/a", "y/1/a"]
    assert named("/x/a.jpg", "/x/a.png", "/x/a.jpg.tif") == ["x/a", "a.png", "a.jpg"]
    assert named("/x/...png") == ["...png"]
    assert len({name.casefold() for name in named("/a.png", "/x/a.png", "/a.PNG", "/b/x/a.png", "/x/x/a.png")}) == 5


def test_names_of_before_are_kept(photos: Path) -> None:
    known = {str(photos / "photos" / "a.jpg"): "a"}
    assert names("photos", known=known) == {"photos/a.png": "a.png", "photos/a.jpg": "a", "photos/in ü/b.png": "in ü/b"}


def test_no_pictures(photos: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"input=out, photos/\*.bmp: no pictures there \(looked for .apng"):
        names("out", "photos/*.bmp")


def test_addresses_keep_their_password_to_themselves() -> None:
    assert hide_password("rtsp://me:secret@cam.local:554/live?token=x") == "rtsp://cam.local:554/live"
    assert hide_password("photos/a?b@c.png") == "photos/a?b@c.png"
    (one,) = find_inputs("rtsp://me:secret@cam.local:554/live?token=x", Path("out"), {})
    assert (one.name, one.kind, "secret" in one.key + one.shown) == ("cam_local_live", "stream", False)
    assert [kind_of(name) for name in ("camera:0", "a.MP4", "a.png", "https://x/y.m3u8")] == [
        "stream",
        "video",
        "picture",
        "stream",
    ]


def test_standard_input(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.BytesIO(os.fsencode("c.png\r\n\nphotos/in ü/b.png\nmissing.png\nphotos\n"))
    monkeypatch.setattr(inputs, "sys", SimpleNamespace(stdin=SimpleNamespace(buffer=lines)))
    assert list(names("-")) == ["c.png", "photos/in ü/b.png", "missing.png", "photos/a.jpg", "photos/a.png"]


def test_a_missing_file_is_told_at_once(photos: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"input=d\.png: no such file or folder"):
        check_input(["c.png", "d.png"], Path("out2"))
    check_input(["c.png", "photos", "photos/*.png", "-"], Path("out2"))


def test_names_on_standard_input_are_predicted_in_order(photos: Path, tiny_run: Path) -> None:
    words = (f"run={tiny_run}", "input=-", "output=found", "accelerator=cpu")
    done = segkit(*words, cwd=photos, module="predict", alone=True, input="photos/in ü/b.png\nnone.png\nc.png\n")
    assert done.returncode == 1
    assert "none.png cannot be read (No such file or directory)" in done.stderr
    assert "2 of 3 pictures predicted; in found: masks, overlays, predictions.csv" in done.stdout
    rows = read_rows(photos / "found" / "predictions.csv")
    assert [row["name"] for row in rows] == ["photos/in ü/b.png", "none.png", "c.png"]
