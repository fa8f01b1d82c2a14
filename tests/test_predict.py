"""Masks of new pictures from a checkpoint alone; and what a checkpoint from a stranger may not do."""

import csv
import shutil
import warnings
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import pytest
import torch
from conftest import TINY, disc, read_picture, segkit

from segkit.configs.composing import compose, to_plain
from segkit.inference import predictor
from segkit.predict import predict
from segkit.runs.build import build_data
from segkit.runs.loading import load
from segkit.tasks.seeing import InputMode


def predicted(run: Path, source: Path, output: Path, *overrides: str) -> list[dict[str, str]]:
    predict(compose(f"run={run}", f"input={source}", f"output={output}", *overrides, config="predict"))
    with (output / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_masks_overlays_and_areas_of_pictures_of_any_size(tmp_path: Path, tiny_run: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    cv2.imwrite(str(photos / "a.png"), disc((50, 70), 0)[0])
    cv2.imwrite(str(photos / "a.jpg"), disc((33, 17), 1)[0])
    cv2.imwrite(str(photos / "more" / "b.tif"), (disc((20, 90), 2)[0].astype(np.uint16) * 257))
    checkpoint = tmp_path / "alone.ckpt"
    shutil.copy(tiny_run / "checkpoints" / "best.ckpt", checkpoint)
    rows = predicted(checkpoint, photos, tmp_path / "out")
    assert [(row["mask"], row["height"], row["width"]) for row in rows] == [
        ("masks/a.jpg.png", "33", "17"),
        ("masks/a.png.png", "50", "70"),
        ("masks/more/b.png", "20", "90"),
    ]
    for row in rows:
        mask = read_picture(tmp_path / "out" / row["mask"], cv2.IMREAD_UNCHANGED)
        assert mask.shape == (int(row["height"]), int(row["width"]))
        assert set(np.unique(mask)) <= {0, 255}
        assert int(row["area/crack"]) == np.count_nonzero(mask)
        assert float(row["share/crack"]) == pytest.approx(np.mean(mask == 255), abs=1e-6)
        assert float(row["seconds"]) > 0
    assert read_picture(tmp_path / "out" / "overlays" / "more" / "b.jpg").shape == (20, 90, 3)


def test_probabilities_are_written_in_16_bits(tmp_path: Path, tiny_run: Path) -> None:
    image, _ = disc((40, 52), 3)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), image)
    words = [f"run={tiny_run}", f"input={tmp_path}/photos", f"output={tmp_path}/out", "probabilities=true"]
    predict(compose(*words, config="predict"))
    found = read_picture(tmp_path / "out" / "probabilities" / "a.png", cv2.IMREAD_UNCHANGED)
    assert (found.dtype, found.shape) == (np.dtype(np.uint16), (40, 52))
    mask = read_picture(tmp_path / "out" / "masks" / "a.png", cv2.IMREAD_UNCHANGED)
    sure = np.abs(found / 65535 - 0.5) > 1e-4  # rounding may cross the threshold
    assert ((mask == 255) == (found / 65535 > 0.5))[sure].all()
    assert found.std() > 0


def test_lightnings_own_predict_gives_what_the_network_says(tiny_run: Path) -> None:
    task = load(str(tiny_run))
    data = build_data(task.facts["config"] | {"dataset": to_plain(compose(*TINY).dataset), "augment": None})
    trainer = lightning.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*custom batch sampler")
        batches: Any = trainer.predict(task, datamodule=data)
    assert sum(len(batch["name"]) for batch in batches) == 5
    for batch in batches:
        assert batch["probabilities"].shape == (len(batch["name"]), 1, 32, 32)
        assert torch.equal(batch["mask"], (batch["probabilities"][:, 0] > 0.5).to(torch.uint8))
    pictures: Any = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    batches = trainer.predict(task, torch.utils.data.DataLoader(pictures, 2))
    (alone,) = batches
    assert alone.keys() == {"probabilities", "mask"}


def test_rows_are_returned_and_overlays_take_a_colour(
    tmp_path: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40, 3), np.uint8))
    words = [f"run={tiny_run}", f"input={tmp_path}/a.png", f"output={tmp_path}/out"]
    (row,) = predict(compose(*words, "color=[0,0,255]", config="predict"))
    assert "above" not in capsys.readouterr().out
    more = ("color=[0,0,255]", "threshold=0.3", "overwrite=true")
    (stored,) = predicted(tiny_run, tmp_path / "a.png", tmp_path / "out", *more)
    assert "1 of 1 picture predicted (a pixel is crack above 0.3); in" in capsys.readouterr().out
    assert row.keys() == stored.keys()
    assert (row["name"], row["width"], row["mask"]) == (stored["name"], 40, "masks/a.png")
    with pytest.raises(ValueError, match="color=mauvish: expected a name such as red"):
        predict(compose(*words, "color=mauvish", "overwrite=true", config="predict"))


def test_the_home_folder_is_found_in_every_place(
    tmp_path: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    cv2.imwrite(str(tmp_path / "home" / "a.png"), np.zeros((40, 40, 3), np.uint8))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    words = (f"run={tiny_run}", "input=~/a.png", "output='~/out'")
    done = segkit(*words, cwd=tmp_path / "here", module="predict")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "home" / "out" / "masks" / "a.png").exists()
    assert list((tmp_path / "here").iterdir()) == []


def test_a_bad_picture_is_named_and_the_rest_is_done(tmp_path: Path, tiny_run: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    cv2.imwrite(str(photos / "good.png"), disc((30, 30), 0)[0])
    done = segkit(f"run={tiny_run}", "input=photos", "output=masks", cwd=tmp_path, module="predict")
    assert done.returncode == 1
    assert "broken.jpg" in done.stderr
    assert "Traceback" not in done.stderr
    assert "1 of 2 pictures predicted" in done.stdout
    assert (tmp_path / "masks" / "masks" / "good.png").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "photos"]


def test_prediction_is_what_evaluation_scored(tiny_run: Path) -> None:
    """At the run's own size, labels are those of a plain forward pass with its threshold."""
    task = load(str(tiny_run))
    image = disc((32, 32), 3)[0]
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = (task(batch).sigmoid() > 0.5)[0, 0].numpy()
    label = predictor.predict(task, [image], InputMode("resize", (32, 32)))[0].label
    assert label is not None
    np.testing.assert_array_equal(label.astype(bool), expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["input=nowhere"], "input=nowhere: no such file or folder"),
        (["input=."], "input=.: no pictures there"),
        (["accelerator=tpu", "input=p.png"], "accelerator=tpu: expected auto, cpu or gpu"),
    ],
)
def test_errors(
    tmp_path: Path, tiny_run: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "p.png" in words[-1]:
        cv2.imwrite("p.png", disc((8, 8), 0)[0])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        predict(compose(f"run={tiny_run}", "output=out", *words, config="predict"))


def altered(tiny_run: Path, tmp_path: Path, **net: Any) -> Path:
    """A copy of the run's checkpoint whose config asks for another network."""
    checkpoint = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["segkit"]["config"]["model"]["net"] |= net
    torch.save(checkpoint, tmp_path / "altered.ckpt")
    return tmp_path / "altered.ckpt"


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ({"_target_": "os.system", "command": "touch pwned"}, r"asks for 'os\.system'.*trust=\[os\]"),
        ({"widths": {"_target_": "os.system", "command": "touch pwned"}}, r"model\.net\.widths is .*expected a list"),
        ({"_target_": "segkit.configs.composing.hashlib"}, "is not a network that a stored config may build"),
        ({"_target_": "torch.nn.functional.relu"}, "is not a network that a stored config may build"),
        ({"_target_": "segkit.models.unet.torch.hub.load"}, "is not a network that a stored config may build"),
        ({"order": "${oc.env:HOME}"}, r"model\.net\.order: a stored config has values, not expressions"),
    ],
)
def test_a_checkpoint_may_only_name_networks(
    tmp_path: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, net: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        load(str(altered(tiny_run, tmp_path, **net)))
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_is_not_unpacked(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "pwned",)

    torch.save({"segkit": Evil(), "state_dict": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="not a segkit checkpoint, or is damaged"):
        load(str(tmp_path / "evil.ckpt"))
    assert not (tmp_path / "pwned").exists()


def test_a_damaged_checkpoint_is_named(tmp_path: Path, tiny_run: Path) -> None:
    whole = (tiny_run / "checkpoints" / "best.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.ckpt is not a segkit checkpoint, or is damaged"):
        load(str(tmp_path / "half.ckpt"))


def test_a_checkpoint_without_its_config_is_named(tmp_path: Path) -> None:
    torch.save({"segkit": {"config": {"loss": {}, "seed": 0}}, "state_dict": {}}, tmp_path / "bare.ckpt")
    with pytest.raises(ValueError, match=r"bare\.ckpt: it lacks threshold, normalisation"):
        load(str(tmp_path / "bare.ckpt"))
