"""Large pictures through the commands: files in bands, the same answers as in one pass, and little memory."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from conftest import TINY, disc, read_picture, results, segkit
from numpy.typing import NDArray

from segkit.configs.composing import compose
from segkit.evaluate import evaluate
from segkit.inference.large import draw_large, write_large
from segkit.inference.outputs import Outputs, Page
from segkit.inference.pictures import as_rgb
from segkit.inference.predictor import Predictor
from segkit.pictures import overlays
from segkit.predict import predict
from segkit.tasks.tiles import Held
from segkit.train import train

SHAPE = (210, 333)


@pytest.fixture(scope="module")
def native_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was scored on whole pictures at their own size."""
    run = tmp_path_factory.mktemp("runs") / "native"
    train(
        compose(
            *TINY,
            "dataset.eval=native",
            "optimizer.lr=0.02",
            "trainer.max_epochs=6",
            "trainer.accelerator=cpu",
            f"run_dir={run}",
        )
    )
    return run


def scene(height: int, width: int) -> NDArray[np.uint8]:
    """Discs of the kind that the run was trained on, side by side."""
    rows = [
        np.concatenate([disc((32, 32), 50 * y + x)[0] for x in range(-(-width // 32))], 1)
        for y in range(height // 32 + 1)
    ]
    return np.concatenate(rows)[:height, :width].astype(np.uint8)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "wand ä 1.tif"
    tifffile.imwrite(path, scene(*SHAPE), photometric="rgb", compression="zlib", rowsperstrip=16)
    return path


def predicted(run: Path, source: Path, output: Path, *words: str) -> dict[str, Any]:
    settings = (f"run={run}", f"input='{source}'", f"output={output}", "accelerator=cpu", *words)
    (row,) = predict(compose(*settings, config="predict"))
    return row


def test_files_are_those_of_one_pass(native_run: Path, picture: Path, tmp_path: Path) -> None:
    """The network's field of view is 8 pixels, and 3/8 of the overlap are 12."""
    label, _, probabilities, _ = Predictor.load(native_run, accelerator="cpu")(picture)
    assert label is not None
    assert probabilities is not None
    row = predicted(native_run, picture, tmp_path, "tile=96", "probabilities=true")
    assert row["mask"] == "masks/wand ä 1.png"
    assert (row["height"], row["width"]) == SHAPE
    mask = read_picture(tmp_path / row["mask"], cv2.IMREAD_UNCHANGED)
    levels = tifffile.imread(tmp_path / "probabilities" / "wand ä 1.tif")
    assert levels.dtype == np.uint16
    np.testing.assert_allclose(levels / 65535, probabilities[0], atol=5e-3)  # bfloat16, where it is native
    sure = np.abs(probabilities[0] - 0.5) > 1e-2
    assert sure.mean() > 0.9
    np.testing.assert_array_equal((mask == 255)[sure], (label == 1)[sure])
    assert row["area/crack"] == np.count_nonzero(mask)
    said = np.where(mask == 255, probabilities[0], 1 - probabilities[0]).mean()
    assert row["confidence"] == pytest.approx(said, abs=2e-3)
    assert read_picture(tmp_path / "overlays" / "wand ä 1.jpg").shape == (*SHAPE, 3)
    assert [path.name for path in (tmp_path / "probabilities").iterdir()] == ["wand ä 1.tif"]


def test_an_overlay_in_bands_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segkit.inference.large.ROWS", 16)
    image, label = scene(70, 1700), np.zeros((70, 1700), np.uint8)
    label[20:33, 100:900] = label[48:50, 20:60] = 1
    colors = overlays.class_colors(1)
    expected = overlays.overlay(image, label, colors, outlined=True)
    np.testing.assert_array_equal(draw_large(Held(image), label, colors), expected)


def test_small_objects_are_removed_from_the_whole_not_from_its_bands(native_run: Path, tmp_path: Path) -> None:
    """A strip over several tiles is kept, although no tile shows as much of it."""
    predictor = Predictor.load(native_run, accelerator="cpu", tile=32)
    task = predictor.task
    task.decide_by(0.5, 150)

    class Bright(type(task.net)):  # type: ignore[misc]
        def forward(self, image: Any) -> Any:
            return 10 * image[:, :1]

    task.net.__class__ = Bright
    image = np.zeros((128, 64, 3), np.uint8)
    image[:, 30:32] = 255  # 256 pixels, of which a tile of 32 rows has 64
    image[5:15, 50:60] = 255  # 100 pixels
    cv2.imwrite(str(tmp_path / "a.png"), image)
    expected = (image[..., 0] > 127).astype(np.uint8)
    expected[:, 50:] = 0
    settings = {"masks": None, "overlays": True, "polygons": None, "probabilities": False}
    page = Page(tmp_path / "out", "a", {})
    outputs = Outputs(tmp_path / "out", ("crack",), 0.5, settings, overlays.class_colors(1))
    write_large(predictor, tmp_path / "a.png", outputs, page)
    assert page.files == ["masks/a.png", "overlays/a.jpg"]
    mask = read_picture(tmp_path / "out" / "masks" / "a.png", cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, 255 * expected)
    np.testing.assert_array_equal(predictor(image).label, expected)


def test_a_predictor_cuts_what_is_large(native_run: Path, picture: Path) -> None:
    predictor = Predictor.load(native_run, accelerator="cpu", tile=96)
    whole, sources = Predictor.load(native_run, accelerator="cpu"), [as_rgb(picture), scene(40, 40)]
    for one, source in zip(predictor(sources), sources, strict=True):
        expected = whole(source).probabilities
        assert one.probabilities is not None
        assert expected is not None
        np.testing.assert_allclose(one.probabilities, expected, atol=5e-3)


def test_a_full_disk_leaves_no_half_probabilities(native_run: Path, picture: Path, tmp_path: Path) -> None:
    words = (
        f"run={native_run}",
        f"input='{picture}'",
        "output=out",
        "tile=96",
        "probabilities=true",
        "accelerator=cpu",
    )
    done = segkit(*words, cwd=tmp_path, module="predict", longest_file=60_000)
    assert done.returncode == 1
    assert "probabilities" in done.stderr
    assert "File too large" in done.stderr
    assert not [*(tmp_path / "out").glob("probabilities/*")]


def test_a_truncated_large_picture_is_named_and_the_rest_is_done(
    native_run: Path, picture: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    data = picture.read_bytes()
    (photos / "cut.tif").write_bytes(data[: len(data) * 2 // 3])
    (photos / "good.tif").write_bytes(data)
    done = segkit(f"run={native_run}", "input=photos", "output=out", "tile=96", cwd=tmp_path, module="predict")
    assert done.returncode == 1
    assert "cut.tif" in done.stderr
    assert "larger pictures are predicted in tiles of 96×96 pixels" in done.stdout
    assert (tmp_path / "out" / "masks" / "good.png").exists()
    assert not (tmp_path / "out" / "masks" / "cut.png").exists()


def test_scores_in_tiles(native_run: Path, tmp_path: Path) -> None:
    """Pictures of the size of training are not cut, and the run was scored at their own size."""
    for name, words in (("plain", ()), ("auto", ("tile=auto",)), ("cut", ("tile=20", "overlap=8"))):
        settings = (f"run={native_run}", "accelerator=cpu", "precision=32-true", "pictures=2", *words)
        evaluate(compose(*settings, f"output_dir={tmp_path / name}", config="evaluate"))
    plain, auto, cut = (results(tmp_path / name) for name in ("plain", "auto", "cut"))
    for name in ("test/iou", "test/iou_image", "test/soft_dice"):
        assert auto["metrics"][name] == pytest.approx(plain["metrics"][name], abs=1e-6)
        assert cut["metrics"][name] == pytest.approx(plain["metrics"][name], abs=0.05)
    assert (cut["tile"], cut["overlap"]) == (20, 8)
    assert "tile" not in plain
    assert (tmp_path / "cut" / "pictures" / "test.png").is_file()
    with (tmp_path / "cut" / "per_image.csv").open() as file:
        assert len([*csv.DictReader(file)]) == 5


def test_the_checkpoint_knows_the_training_pictures(native_run: Path, tiny_run: Path) -> None:
    for run in (native_run, tiny_run):
        facts = Predictor.load(run, accelerator="cpu").task.facts
        assert facts["pictures"]["largest"] == facts["pictures"]["typical"][0] * facts["pictures"]["typical"][1]


def test_a_large_picture_takes_little_memory(native_run: Path, tmp_path: Path) -> None:
    """12 million pixels: with the picture, its probabilities and its features held whole it were 2 GB."""
    tifffile.imwrite(tmp_path / "large.tif", np.tile(scene(96, 128), (31, 32, 1)), photometric="rgb", rowsperstrip=64)
    tifffile.imwrite(tmp_path / "small.tif", scene(512, 512), photometric="rgb")
    words = (f"run={native_run}", "tile=512", "accelerator=cpu")
    peaks = [
        segkit(*words, f"input={name}.tif", f"output=out_{name}", cwd=tmp_path, module="predict").memory
        for name in ("small", "large")
    ]
    assert peaks[1] - peaks[0] < 3e8


def test_several_runs_in_tiles_see_the_light_of_the_whole(native_run: Path, tmp_path: Path) -> None:
    """Their mean and spread are those of one pass; the second run takes each picture's own light out."""
    other = tmp_path / "other"
    words = ("dataset.eval=native", "model.standardise=true", "seed=1", "trainer.accelerator=cpu")
    train(compose(*TINY, *words, f"run_dir={other}"))
    image = scene(150, 200)
    image[:, 100:] //= 2
    whole, cut = (Predictor.load([native_run, other], accelerator="cpu", tile=tile)(image) for tile in (None, 96))
    for one, expected in ((cut.probabilities, whole.probabilities), (cut.spread, whole.spread)):
        assert one is not None
        assert expected is not None
        np.testing.assert_allclose(one, expected, atol=5e-3)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    runs = f"run=[{native_run},{other}]"
    settings = (
        runs,
        f"input={tmp_path}/a.png",
        f"output={tmp_path}/out",
        "tile=96",
        "probabilities=float",
        "accelerator=cpu",
    )
    predict(compose(*settings, config="predict"))
    found = tifffile.imread(tmp_path / "out" / "spread" / "a.tif")
    assert found.dtype == np.float32
    assert whole.spread is not None
    np.testing.assert_allclose(found, whole.spread, atol=5e-3)
