"""Product masks in parquet, in miniature."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import results, segkit
from miniatures import TRAIN, VALIDATION, png, product_rows, write_products

datasets = pytest.importorskip("datasets", reason="pip install 'segkit[datasets]'")

from segkit.configs import compose  # noqa: E402
from segkit.datasets.product_masks import BACKGROUND, ProductMasks, normalise  # noqa: E402
from segkit.evaluate import evaluate  # noqa: E402
from segkit.train import train  # noqa: E402


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("products")
    write_products(root)
    return root


def write_parquet(folder: Path, train: dict[str, list[Any]], validation: dict[str, list[Any]]) -> None:
    folder.mkdir()
    for split, rows in (("train", train), ("validation", validation)):
        datasets.Dataset.from_dict(rows).to_parquet(folder / f"{split}.parquet")


CLASSES = ["coffee_table", "floor_lamp", "sofa"]


def test_categories_are_normalised_sorted_and_in_both(products: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logger="segkit"):
        assert ProductMasks.find_classes(products) == CLASSES
    assert "2 categories are not in both training and validation and are left out: mirror, rug" in caplog.text
    assert ProductMasks.find_classes(products, background="class") == ["background", *CLASSES]
    assert normalise("  Bed & Bath ") == "bed_bath"


def test_samples_have_their_category_and_no_background(products: Path) -> None:
    data = ProductMasks("test", CLASSES, products)
    assert data.names == ["test/000000-sofa", "test/000001-coffee_table", "test/000002-floor_lamp"]
    mask = data[0]["mask"].numpy()
    assert set(np.unique(mask)) == {2, 255}
    assert (mask == 2).sum() == 600
    assert data.shape(0) == (48, 64)
    whole = ProductMasks("test", ["background", *CLASSES], products, background="class")
    assert set(np.unique(whole[0]["mask"].numpy())) == {0, 3}


def test_crops_are_the_box(products: Path) -> None:
    data = ProductMasks("test", CLASSES, products, crop=True)
    assert data.shape(1) == data[1]["mask"].shape == (20, 30)
    assert set(np.unique(data[1]["mask"].numpy())) == {0}
    assert ProductMasks("test", CLASSES, products, crop=True, margin=0.1).shape(1) == (24, 36)


def test_training_is_held_out_by_seed(products: Path) -> None:
    train, val = (ProductMasks(split, CLASSES, products, holdout=0.3) for split in ("train", "val"))
    assert len(train) + len(val) == 9  # without the rug
    assert not set(train.names) & set(val.names)


def test_what_datasets_saves_itself(products: Path, tmp_path: Path) -> None:
    whole = datasets.DatasetDict(
        {
            "train": datasets.Dataset.from_dict(product_rows(TRAIN)),
            "validation": datasets.Dataset.from_dict(product_rows(VALIDATION)),
        }
    )
    whole.save_to_disk(tmp_path / "saved")
    assert len(ProductMasks("test", CLASSES, tmp_path / "saved")) == 3


def without_boxes(folder: Path) -> Path:
    rows = product_rows(["sofa", "lamp", "rug"] * 5)
    del rows["bbox"]
    write_parquet(folder, rows, rows)
    return folder


def test_what_is_wrong_is_said(products: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no validation files; expected train"):
        ProductMasks("train", CLASSES, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"dataset\.root=.*nowhere: there is no such folder"):
        ProductMasks("train", CLASSES, tmp_path / "nowhere")
    (tmp_path / "broken").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "broken" / f"{split}.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"dataset\.root=.*broken cannot be loaded: "):
        ProductMasks("train", CLASSES, tmp_path / "broken")
    write_parquet(tmp_path / "other", {"image": [1], "label": [2]}, {"image": [1], "label": [2]})
    with pytest.raises(ValueError, match=r"lacks the columns mask, category in train; it has image, label"):
        ProductMasks("train", CLASSES, tmp_path / "other")
    with pytest.raises(ValueError, match=r"dataset\.crop=true needs the column bbox, .*; the set has image, mask, cat"):
        ProductMasks("train", CLASSES, without_boxes(tmp_path / "whole"), crop=True)
    assert ProductMasks("test", CLASSES, tmp_path / "whole")[0]["mask"].shape == (48, 64)
    with pytest.raises(ValueError, match=r"no train sample of .* has one of these categories"):
        ProductMasks("train", ["chair", "bench"], products)
    with pytest.raises(ValueError, match=r"dataset.background=class and dataset.classes=.* disagree"):
        ProductMasks("train", CLASSES, products, background="class")
    with pytest.raises(ValueError, match=r"dataset.classes has 1 names; expected 2 to 255 categories"):
        ProductMasks("train", ["sofa"], products)
    rows = product_rows(["sofa", "lamp"])
    write_parquet(tmp_path / "apart", rows, product_rows(["rug"]))
    with pytest.raises(ValueError, match=r"no category is in both training \(lamp, sofa, …\) and validation \(rug"):
        ProductMasks.find_classes(tmp_path / "apart")


def test_a_sample_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    rows = product_rows(["sofa", "lamp", "rug", "bed"])
    rows["bbox"][0], rows["bbox"][1] = [100, 100, 5, 5], None
    rows["image"][2] = {"bytes": None, "path": __file__}  # an untrusted set must not choose which file is opened
    rows["mask"][3] = png(np.ones((48, 64), np.uint8))
    write_parquet(tmp_path / "set", rows, rows)
    data = ProductMasks("test", ["bed", "lamp", "rug", "sofa"], tmp_path / "set", crop=True)
    with pytest.raises(ValueError, match=r"test/000000-sofa: its bbox \[100, 100, 5, 5\] lies outside its picture"):
        data[0]
    with pytest.raises(ValueError, match=r"test/000001-lamp: its bbox is None; expected \[x, y, width, height\]"):
        data[1]
    with pytest.raises(ValueError, match=r"test/000002-rug: its image is not in the set .*expected the bytes"):
        data[2]
    with pytest.raises(ValueError, match=r"mask test/000003-bed has no value above .*: its values are 1"):
        data[3]


def test_categories_may_be_numbers_with_names(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict(product_rows([1, 0]))
    rows = rows.cast_column("category", datasets.ClassLabel(names=["Floor Lamp", "Sofa"]))
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):  # which stands in for validation
        rows.to_parquet(tmp_path / "set" / f"{split}.parquet")
    assert ProductMasks.find_classes(tmp_path / "set") == ["floor_lamp", "sofa"]


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    rows, other = product_rows(["sofa", "lamp"]), product_rows(["sofa", "lamp"])
    other["bbox"][0][2] -= 1
    for name, content in (("a", rows), ("b", rows), ("c", other)):
        write_parquet(tmp_path / name, content, content)
    found = [ProductMasks("test", ["lamp", "sofa"], tmp_path / name).fingerprint() for name in "abc"]
    assert found[0] == found[1] != found[2]


def test_a_run_from_the_command_line_finds_its_classes(products: Path, tmp_path: Path) -> None:
    words = [
        f"dataset.root={products}",
        "model.net.width=16",
        "model.net.heads=2",
        "model.net.depth=1",
        "dataset.size=32",
        "dataset.batch_size=2",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "hydra.run.dir=run",
    ]
    done = segkit("experiment=product_masks_vit", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = results(tmp_path / "run")["metrics"]
    assert "test/iou_micro" in metrics
    assert any(f"test/iou/{name}" in metrics for name in CLASSES)
    stored = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["segkit"]
    assert stored["classes"] == CLASSES
    assert stored["normalisation"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["data_fingerprint"]
    for data in ([], ["dataset=product_masks", f"dataset.root={products}"]):  # the run knows the classes
        words = [f"run={tmp_path}/run", f"output_dir={tmp_path}/scored{len(data)}", *data]
        assert evaluate(compose(*words, config="evaluate"))["test/iou"] == pytest.approx(metrics["test/iou"])


def test_background_as_a_class_from_the_command_line_and_a_moved_set(products: Path, tmp_path: Path) -> None:
    shutil.copytree(products, tmp_path / "here")
    words = [
        "dataset=product_masks",
        "dataset.root=here",
        "dataset.background=class",
        "loss=ce",
        "model.net.widths=[4,8]",
        "dataset.size=32",
        "dataset.batch_size=2",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "hydra.run.dir=run",
    ]
    done = segkit(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"test/iou/{BACKGROUND}" in results(tmp_path / "run")["metrics"]
    shutil.move(tmp_path / "here", tmp_path / "there")
    train(compose(f"resume={tmp_path}/run", f"+dataset.root={tmp_path}/there", "trainer.max_epochs=2"))
    assert results(tmp_path / "run")["epochs"] == 2
    words = [f"run={tmp_path}/run", f"dataset.root={tmp_path}/there", f"output_dir={tmp_path}/scored"]
    scored = evaluate(compose(*words, config="evaluate"))
    assert scored["test/iou"] == pytest.approx(results(tmp_path / "run")["metrics"]["test/iou"])
