"""Windows of pictures: where they lie, what they are called, and the whole picture out of them."""

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import five_crop

from segkit.datasets.module import DataModule
from segkit.datasets.samples import CROPS_A_PICTURE, label_presence
from segkit.datasets.source import Sample
from segkit.geometry.windows import corners, is_covered_by_five, stitch
from segkit.models.presence import Detection
from segkit.tasks.scores import Scores


class Lines:
    """Pictures of 20×24 whose pixels count up; the mask is one column, of the first picture alone."""

    classes: tuple[str, ...] = ("line",)

    def __init__(self, count: int = 3) -> None:
        self.names = [f"line{i}" for i in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def shape(self, index: int) -> tuple[int, int]:
        return 20, 24

    def __getitem__(self, index: int) -> Sample:
        image = torch.arange(20 * 24, dtype=torch.int64).view(1, 20, 24).expand(3, -1, -1).remainder(251).byte()
        mask = torch.zeros(20, 24, dtype=torch.uint8)
        mask[:, 2] = index == 0
        return {"image": image, "mask": mask, "name": self.names[index]}


def crops(**more: Any) -> DataModule:
    settings: dict[str, Any] = {"size": [12, 16], "crops": "five", "batch_size": 2, "workers": 0} | more
    return DataModule({split: Lines() for split in ("train", "val", "test")}, **settings)


@pytest.mark.parametrize("shape", [(448, 448), (20, 24), (21, 27), (12, 16)])
def test_five_crops_are_torchvisions(shape: tuple[int, int]) -> None:
    picture = torch.arange(shape[0] * shape[1]).view(1, *shape)
    expected = five_crop(picture, [12, 16])
    where = corners(shape, (12, 16), "five")
    for (top, left), crop in zip(where, expected, strict=True):
        assert torch.equal(picture[:, top : top + 12, left : left + 16], crop)


def test_a_grid_covers_with_as_few_as_can_be() -> None:
    assert corners((24, 48), (12, 16), "grid") == [(top, left) for top in (0, 12) for left in (0, 16, 32)]
    assert corners((25, 16), (12, 16), "grid") == [(0, 0), (6, 0), (13, 0)]
    assert corners((12, 16), (12, 16), "grid") == [(0, 0)]


def test_crops_larger_than_the_picture() -> None:
    with pytest.raises(ValueError, match=r"windows of 12×30, but picture line\d is only 20×24\. Choose .* at most 20"):
        next(iter(crops(size=[12, 30]).train_dataloader()))


def test_a_crop_below_the_threshold_is_clean_and_emptied() -> None:
    mask = torch.zeros(3, 10, 10, dtype=torch.uint8)
    mask[0, 0, :2] = 1  # 2 %
    mask[1, 0, 0] = 1  # 1 %
    mask[1, 1, 1] = 255
    label, kept = label_presence(mask, 0.02)
    assert label.tolist() == [1, 0, 0]
    assert torch.equal(kept[0], mask[0])
    assert kept[1].sum() == 255


def test_the_whole_out_of_its_crops() -> None:
    logits = torch.stack([torch.full((1, 2, 2), value) for value in (1.0, 2.0, 3.0)])
    where = torch.tensor([[0, 0], [0, 1], [1, 1]])
    joined, covered = stitch(logits, where, (3, 4), torch.tensor([True, True, False]))
    nothing = -1e4
    expected = [[1, 1.5, 2, nothing], [1, 1.5, 2, nothing], [nothing] * 4]
    assert joined[0].tolist() == expected
    assert covered.int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 0]]


def test_a_batch_of_pictures_is_a_batch_of_crops() -> None:
    batch = next(iter(crops(presence_threshold=0.01).train_dataloader()))
    assert batch["image"].shape == (10, 3, 12, 16)
    assert batch["mask"].shape == (10, 12, 16)
    assert batch["label"].shape == batch["index"].shape == (10,)
    assert len(set(batch["index"].tolist())) == 10
    batch = next(iter(crops(presence_threshold=0.01).test_dataloader()))
    assert batch["label"].tolist() == [1, 0, 1, 0, 0] + [0] * 5  # the column is in the two crops at the left
    assert batch["index"].tolist() == [*range(5), *range(CROPS_A_PICTURE, CROPS_A_PICTURE + 5)]
    assert batch["whole"].shape == (2, 20, 24)
    assert "label" not in next(iter(crops().test_dataloader()))


def test_each_pixel_counts_once_in_the_whole_and_overlaps_twice_in_the_crops() -> None:
    scores = Scores(("line",), 0.5, 1.0)
    for batch in crops().eval_dataloader("test"):
        logits = torch.where(batch["mask"] == 1, 5.0, -5.0)[:, None]
        scores.update(Detection(None, logits, None), batch)
    rows: list[dict[str, Any]] = scores.per_image()
    assert [row["tp"] for row in rows] == [20, 0, 0]
    assert is_covered_by_five((20, 24), (12, 16))
    assert not is_covered_by_five((25, 24), (12, 16))
    assert sum(row[key] for row in rows for key in ("tp", "fp", "fn", "tn")) == 3 * 20 * 24
    samples: list[dict[str, Any]] = scores.per_sample()
    assert sum(row["tp"] for row in samples) == 24  # 12 in each of two crops that overlap
    assert scores.compute()["iou"] == scores.compute()["iou_crops"] == 1


@pytest.mark.parametrize("batch_size", [1, 2])
def test_scores_of_crops_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    def compute(size: int) -> dict[str, float]:
        scores = Scores(("line",), 0.5, 1.0)
        scores.gate = 0.5
        for batch in crops(batch_size=size, presence_threshold=0.01).eval_dataloader("test"):
            noise = [np.random.default_rng(index).normal(size=(1, 12, 16)) for index in batch["index"].tolist()]
            logits = torch.tensor(np.stack(noise), dtype=torch.float32)
            scores.update(Detection(logits.mean((1, 2, 3)) * 9, logits, None), batch)
        return scores.compute()

    assert compute(batch_size) == compute(3)
    assert {"iou", "iou_ungated", "iou_crops", "iou_crops_ungated", "presence_f1"} <= compute(3).keys()


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 2])
def test_a_presence_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(ValueError, match=rf"presence_threshold={threshold}: expected a share .* between 0 and 1"):
        crops(presence_threshold=threshold)


def test_presence_is_of_one_class() -> None:
    sources = {"train": Lines()}
    sources["train"].classes = ("ground", "line")
    with pytest.raises(ValueError, match="names 2"):
        DataModule(sources, size=8, presence_threshold=0.1)
    with pytest.raises(ValueError, match=r"dataset\.crops=six: expected none, five or grid"):
        crops(crops="six")
