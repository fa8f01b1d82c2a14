"""Masks of new pictures from a checkpoint alone; and what a checkpoint from a stranger may not do."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import disc, segkit

from segkit import inference, runs
from segkit.configs import compose
from segkit.predict import predict


def predicted(run: Path, source: Path, output: Path, *overrides: str) -> list[dict[str, str]]:
    predict(compose(f"run={run}", f"input={source}", f"output={output}", *overrides, config="predict"))
    with (output / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_masks_overlays_and_areas_of_pictures_of_any_size(tmp_path, tiny_run):
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    cv2.imwrite(str(photos / "a.png"), disc((50, 70), 0)[0])
    cv2.imwrite(str(photos / "a.jpg"), disc((33, 17), 1)[0])
    cv2.imwrite(str(photos / "more" / "b.tif"), (disc((20, 90), 2)[0].astype(np.uint16) * 257))
    checkpoint = tmp_path / "alone.ckpt"
    shutil.copy(tiny_run / "checkpoints" / "best.ckpt", checkpoint)
    rows = predicted(checkpoint, photos, tmp_path / "out")
    assert [(row["mask"], row["height"], row["width"]) for row in rows] == [
        ("masks/a.jpg.png", "33", "17"), ("masks/a.png.png", "50", "70"), ("masks/more/b.png", "20", "90")
    ]  # fmt: skip
    for row in rows:
        mask = cv2.imread(str(tmp_path / "out" / row["mask"]), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (int(row["height"]), int(row["width"]))
        assert set(np.unique(mask)) <= {0, 255}
        assert int(row["area/crack"]) == np.count_nonzero(mask)
        assert float(row["share/crack"]) == pytest.approx(np.mean(mask == 255), abs=1e-6)
        assert float(row["seconds"]) > 0
    assert cv2.imread(str(tmp_path / "out" / "overlays" / "more" / "b.jpg")).shape == (20, 90, 3)


def test_a_bad_picture_is_named_and_the_rest_is_done(tmp_path, tiny_run):
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


def test_prediction_is_what_evaluation_scored(tiny_run):
    """At the run's own size, labels are those of a plain forward pass with its threshold."""
    task = runs.load(str(tiny_run))
    image = disc((32, 32), 3)[0]
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = (task(batch).sigmoid() > 0.5)[0, 0].numpy()
    np.testing.assert_array_equal(
        inference.predict(task, image, inference.Sight("resize", (32, 32))).label.astype(bool), expected
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["input=nowhere"], "input=nowhere: no such file or folder"),
        (["input=."], "input=.: no pictures there"),
        (["accelerator=tpu", "input=p.png"], "accelerator=tpu: expected auto, cpu or gpu"),
    ],
)
def test_errors(tmp_path, tiny_run, words, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "p.png" in words[-1]:
        cv2.imwrite("p.png", disc((8, 8), 0)[0])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        predict(compose(f"run={tiny_run}", "output=out", *words, config="predict"))


def altered(tiny_run: Path, tmp_path: Path, **net) -> Path:
    """A copy of the run's checkpoint whose config asks for another network."""
    checkpoint = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["segkit"]["config"]["model"]["net"] |= net
    torch.save(checkpoint, tmp_path / "altered.ckpt")
    return tmp_path / "altered.ckpt"


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ({"_target_": "os.system", "command": "touch pwned"}, r"asks for 'os\.system'.*trust=\[os\]"),
        ({"widths": {"_target_": "os.system", "command": "touch pwned"}}, r"asks for 'os\.system'"),
        ({"_target_": "segkit.configs.hashlib"}, "is not a Module"),
        ({"_target_": "torch.nn.functional.relu"}, "is not a Module"),
        ({"_target_": "segkit.models.unet.torch.hub.load"}, "cannot be imported|is not a Module"),
        ({"out_channels": "${oc.env:HOME}"}, "values, not expressions"),
    ],
)
def test_a_checkpoint_may_only_name_networks(tmp_path, tiny_run, monkeypatch, net, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        runs.load(str(altered(tiny_run, tmp_path, **net)))
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_is_not_unpacked(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "pwned",)

    torch.save({"segkit": Evil(), "state_dict": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="not a segkit checkpoint, or is damaged"):
        runs.load(str(tmp_path / "evil.ckpt"))
    assert not (tmp_path / "pwned").exists()


def test_a_damaged_checkpoint_is_named(tmp_path, tiny_run):
    whole = (tiny_run / "checkpoints" / "best.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.ckpt is not a segkit checkpoint, or is damaged"):
        runs.load(str(tmp_path / "half.ckpt"))


def test_a_checkpoint_without_its_config_is_named(tmp_path):
    torch.save({"segkit": {"config": {"loss": {}, "seed": 0}}, "state_dict": {}}, tmp_path / "bare.ckpt")
    with pytest.raises(ValueError, match=r"bare\.ckpt is not a segkit checkpoint.*its config lacks dataset, model"):
        runs.load(str(tmp_path / "bare.ckpt"))
