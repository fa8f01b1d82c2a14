"""From data sets to batches: sizes, order, seeds, and the share of each process."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from segkit.configs.composing import compose, to_plain
from segkit.configs.settings import check_settings
from segkit.datasets import order
from segkit.datasets.augment import Augment
from segkit.datasets.module import DataModule
from segkit.datasets.order import OrderedBatches, ShuffledBatches
from segkit.datasets.samples import PreparedDataset, random_crop, resize_mask
from segkit.datasets.source import Sample
from segkit.runs.build import build_data
from segkit.runs.making import make


class Ramp:
    """Pictures of increasing size whose pixels tell their origin."""

    classes: tuple[str, ...] = ("thing",)

    def __init__(self, count: int = 7) -> None:
        self.names = [f"ramp{i}" for i in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def shape(self, index: int) -> tuple[int, int]:
        return (8, 10) if index % 2 else (6, 12)

    def __getitem__(self, index: int) -> Sample:
        height, width = self.shape(index)
        ramp = torch.arange(height * width, dtype=torch.uint8).view(height, width)
        return {"image": ramp.expand(3, -1, -1), "mask": (ramp > 40).to(torch.uint8), "name": self.names[index]}


def strong() -> Augment:
    from segkit.configs.composing import to_plain

    augment: Augment = make(to_plain(compose("augment=light").augment))
    return augment


def keys(batches: Any) -> list[int]:
    return [index for batch in batches for _, index, counted in batch if counted]


def test_an_epoch_of_several_passes_sees_every_sample_as_often_each_time_anew() -> None:
    batches = ShuffledBatches(5, 4, seed=0, passes=4)
    batches.set_epoch(2)
    seen = [key for batch in batches for key in batch]
    assert [len(batch) for batch in batches] == [4] * 5
    assert sorted(seen) == [(epoch, index, True) for epoch in range(8, 12) for index in range(5)]
    once = ShuffledBatches(5, 5, seed=0)
    once.set_epoch(9)
    assert [key for batch in once for key in batch] == seen[5:10]
    with pytest.raises(ValueError, match=r"dataset\.passes=0: expected a whole number, 1 or more"):
        check_settings(compose("dataset.passes=0", "run_dir=x"), "train")


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first, second, other = (
        ShuffledBatches(20, 4, seed=0),
        ShuffledBatches(20, 4, seed=0),
        ShuffledBatches(20, 4, seed=1),
    )
    first.set_epoch(3)
    second.set_epoch(3)
    assert list(first) == list(second)
    assert sorted(keys(first)) == list(range(20))
    other.set_epoch(3)
    assert keys(first) != keys(other)
    second.set_epoch(4)
    assert keys(first) != keys(second)


def test_last_incomplete_batch_is_dropped_unless_it_is_the_only_one() -> None:
    assert [len(batch) for batch in ShuffledBatches(11, 4, 0)] == [4, 4]
    assert [len(batch) for batch in ShuffledBatches(3, 4, 0)] == [3]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_pictures_without_a_rest(monkeypatch: pytest.MonkeyPatch, world: int) -> None:
    shuffled, ordered = [], []
    shapes = [(4, 4)] * 5 + [(4, 6)] * 6
    for rank in range(world):
        monkeypatch.setattr(order, "_process", lambda rank=rank: (rank, world))
        shuffled.append(list(ShuffledBatches(13, 2, 0)))
        ordered.append(list(OrderedBatches(shapes, 2)))
    assert len({len(batches) for batches in shuffled}) == 1  # or the processes would wait for each other forever
    assert len({len(batches) for batches in ordered}) == 1
    seen = [index for batches in shuffled for index in keys(batches)]
    assert len(seen) == len(set(seen))
    assert sorted(index for batches in ordered for index in keys(batches)) == list(range(11))


def test_batches_of_large_pictures_are_small() -> None:
    batches = list(OrderedBatches([(1000, 2000)] * 3 + [(3000, 4000)] * 2, 8))
    assert [len(batch) for batch in batches] == [2, 1, 1, 1]


def test_native_batches_have_one_shape_each_and_every_picture_once() -> None:
    data = DataModule({"val": Ramp()}, size=16, eval="native", batch_size=2, workers=0)
    batches = list(data.val_dataloader())
    assert {tuple(batch["image"].shape[1:]) for batch in batches} == {(3, 6, 12), (3, 8, 10)}
    assert sorted(name for batch in batches for name in batch["name"]) == Ramp().names
    assert all(batch["image"].dtype == batch["mask"].dtype == torch.uint8 for batch in batches)


def test_resized_batches() -> None:
    data = DataModule({"val": Ramp(), "train": Ramp()}, size=[4, 20], batch_size=4, workers=0)
    for batch in (*data.val_dataloader(), *data.train_dataloader()):
        assert batch["image"].shape[1:] == (3, 4, 20)
        assert batch["mask"].shape[1:] == (4, 20)


def test_a_mask_resized_by_nearest_is_not_shifted() -> None:
    # 8 columns, right half 1, to 4: two columns of each
    mask = np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 2, axis=0).astype(np.uint8)
    assert resize_mask(mask, (2, 4)).tolist() == [[0, 0, 1, 1]] * 2
    # 3 columns to 1: the middle one
    assert resize_mask(np.array([[0, 1, 0]], np.uint8), (1, 1)).tolist() == [[1]]


def test_random_crop_is_a_window_of_both_and_fills_with_ignored_pixels() -> None:
    image = np.arange(6 * 5, dtype=np.uint8).reshape(6, 5)
    mask = image + 100
    crop, crop_mask = random_crop(np.dstack([image] * 3), mask, (4, 3), seed=1)
    assert crop.shape == (4, 3, 3)
    np.testing.assert_array_equal(crop[..., 0] + 100, crop_mask)
    padded, padded_mask = random_crop(np.dstack([image] * 3), mask, (8, 7), seed=1)
    np.testing.assert_array_equal(padded[:6, :5, 0], image)
    assert (padded_mask[6:] == 255).all()
    assert (padded_mask[:, 5:] == 255).all()
    assert (padded[6:] == 0).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_depends_on_seed_epoch_and_index_whatever_the_workers(workers: int) -> None:
    batches = [[(epoch, index, True) for index in range(6)] for epoch in range(2)]

    def epochs(count: int) -> list[torch.Tensor]:
        data = PreparedDataset(Ramp(), "resize", (16, 16), 5, strong())
        loader = DataLoader(data, batch_sampler=batches, num_workers=count)
        return [batch["image"] for batch in loader]

    expected, got = epochs(0), epochs(workers)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert not torch.equal(got[0], got[1])  # another epoch, another picture


@pytest.mark.parametrize("choice", ["none", "mirror", "flips", "light", "light_device", "slices"])
def test_every_augmentation_keeps_sizes_that_are_not_square(choice: str) -> None:
    from segkit.configs.composing import to_plain

    augment = make(to_plain(compose(f"augment={choice}").augment))
    data = DataModule({"train": Ramp()}, size=[16, 24], batch_size=7, workers=0, augment=augment)
    for _ in range(3):
        batch = next(iter(data.train_dataloader()))
        assert batch["image"].shape == (7, 3, 16, 24)
        assert batch["mask"].shape == (7, 16, 24)


def test_class_shares_count_labelled_training_pixels() -> None:
    class Two(Ramp):
        def __getitem__(self, index: int) -> Sample:
            mask = torch.tensor([[0, 0, 0, 1], [1, 255, 255, 0]], dtype=torch.uint8)
            return {"image": torch.zeros(3, 2, 4, dtype=torch.uint8), "mask": mask, "name": ""}

    data = DataModule({"train": Two()}, size=8)
    assert data.class_shares().tolist() == pytest.approx([4 / 6, 2 / 6])


def test_windows_show_foreground_as_often_as_they_must() -> None:
    image, mask = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.uint8)
    mask[3, 50], mask[30:, :20], mask[0, 0] = 2, 1, 255
    image[..., 0] = np.arange(60)
    for share in (0.0, 0.5, 1.0):
        drawn = [random_crop(image, mask, (8, 8), seed, share)[1] for seed in range(400)]
        assert all(one.shape == (8, 8) for one in drawn)
        shown = [{1, 2} & set(np.unique(one).tolist()) for one in drawn]
        found = np.mean([bool(one) for one in shown])
        chance = np.mean([bool({1, 2} & set(np.unique(random_crop(image, mask, (8, 8), s)[1]))) for s in range(400)])
        assert found == pytest.approx(share + (1 - share) * chance, abs=0.08)
    rare = np.mean([2 in one for one in shown])
    assert rare == pytest.approx(0.5, abs=0.08)  # each class as likely, whatever its area
    cut, _ = random_crop(image, mask, (8, 8), 5, 1.0)
    again, _ = random_crop(image, mask, (8, 8), 5, 1.0)
    assert (cut == again).all()
    assert random_crop(image, 0 * mask, (8, 8), 1, 1.0)[1].shape == (8, 8)  # nothing to show


@pytest.mark.parametrize("cache", ["off", "ram"])
def test_pictures_are_scaled_before_they_are_cropped(folder: Path, cache: Literal["off", "ram"]) -> None:
    config = to_plain(compose("dataset=folder", f"dataset.root={folder}", "run_dir=x"))
    sources = build_data(config).sources
    how: Any = {"size": 16, "train": "crop", "eval": "native", "scale": 0.5, "cache": cache, "settings": {}}
    data = DataModule(sources, workers=0, **how)
    height, width = sources["val"].shape(0)
    batch = next(iter(data.val_dataloader()))
    assert batch["mask"].shape[1:] == (round(height / 2), round(width / 2))
    assert batch["image"].shape[2:] == batch["mask"].shape[1:]
    sample = sources["val"][0]
    expected = resize_mask(sample["mask"].numpy(), (round(height / 2), round(width / 2)))
    assert (batch["mask"][0].numpy() == expected).all()
    assert next(iter(data.train_dataloader()))["mask"].shape[1:] == (16, 16)
    with pytest.raises(ValueError, match=r"dataset\.scale=0: expected a factor above 0"):
        DataModule(sources, size=16, scale=0)
