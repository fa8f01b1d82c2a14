"""From data sets to batches: sizes, crops, augmentation, order, and which process gets what."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import DataLoader, Dataset, default_collate

from segkit import IGNORE_INDEX
from segkit.augment import Augment, Pixels
from segkit.datasets.crops import Crops, corners, label_of

Mode = Literal["resize", "crop", "native", "five", "grid"]  # how a picture becomes what the network sees
CROPS_A_PICTURE = 4096
Key = tuple[int, int, bool]  # (epoch, index, counted): a sample, and whether it is more than filling


class Source(Protocol):
    """What every data set is: a plain torch data set of one split, with pictures at their own size.

    An item is {"image": (3, H, W) uint8 RGB, "mask": (H, W) uint8 in 0..C-1 or 255 = ignored, "name": str}.
    """

    classes: tuple[str, ...]
    names: list[str]

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a picture, without decoding it where that can be had."""
        ...


def resize_image(image: Pixels, size: tuple[int, int]) -> Pixels:
    """image (H, W, 3) to `size` = (height, width): area when it shrinks, linear when it grows."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(np.uint8)


def resize_mask(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """mask (H, W) to `size` = (height, width) by the nearest pixel, so that no class is invented."""
    if mask.shape == size:
        return mask
    # plain INTER_NEAREST samples a pixel's corner and shifts the mask by half a pixel; the exact one its centre
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)


def random_crop(image: Pixels, mask: Pixels, size: tuple[int, int], seed: int) -> tuple[Pixels, Pixels]:
    """A window of `size` = (height, width). Where the picture is smaller, black pixels that are ignored fill it up."""
    down, right = max(size[0] - image.shape[0], 0), max(size[1] - image.shape[1], 0)
    if down or right:
        image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT).astype(np.uint8)
        mask = cv2.copyMakeBorder(mask, 0, down, 0, right, cv2.BORDER_CONSTANT, value=IGNORE_INDEX).astype(np.uint8)
    rng = np.random.default_rng(seed)
    top = int(rng.integers(image.shape[0] - size[0] + 1))
    left = int(rng.integers(image.shape[1] - size[1] + 1))
    window = slice(top, top + size[0]), slice(left, left + size[1])
    return image[window], mask[window]


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """A 32-bit seed for one sample of one epoch."""
    return int(np.random.SeedSequence([seed, epoch, index]).generate_state(1)[0])


class Prepared(Dataset[dict[str, Any]]):
    """A source's samples as the network gets them, addressed by (epoch, index, counted).

    mode: "resize" to `size`, a random "crop" of it, "native" as they are, or the windows of it that "five" or "grid"
    take (see `crops`). presence: the share of a sample's area from which on it shows the class (`label` 1; below, its
    mask is emptied); None for no labels.

    A sample is image (3, H, W), mask (H, W), index, name, and label with `presence`. Of windows it is a picture's K of
    them: image (K, 3, h, w), mask (K, h, w), index (K,), label (K,), their corners `where` (K, 2), and for scoring the
    `whole` mask (H, W) as it is, and `picture`, its index. An index is -1 where the sample only fills up a process's
    last batch: metrics leave it out.
    """

    def __init__(
        self,
        source: Source,
        mode: Mode,
        size: tuple[int, int],
        seed: int,
        augment: Augment | None = None,
        presence: float | None = None,
        scored: bool = False,
    ) -> None:
        self.source, self.mode, self.size, self.seed = source, mode, size, seed
        self.augment, self.presence, self.scored = augment, presence, scored

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index, counted = key
        sample = self.source[index]
        image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
        seed = sample_seed(self.seed, epoch, index)
        if self.mode == "crop":
            image, mask = random_crop(image, mask, self.size, seed)
        elif self.mode == "resize":
            image, mask = resize_image(image, self.size), resize_mask(mask, self.size)
        if self.augment is not None:
            image, mask = self.augment(np.ascontiguousarray(image), np.ascontiguousarray(mask), seed)
        sample = sample | {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "index": index if counted else -1,
        }
        if self.mode in ("five", "grid"):
            sample = self._windows(sample)
        if self.presence is not None:
            sample["label"], sample["mask"] = label_of(sample["mask"], self.presence)
        return sample

    def _windows(self, sample: dict[str, Any]) -> dict[str, Any]:
        image, mask, index = sample["image"], sample["mask"], sample["index"]
        where = corners(tuple(mask.shape), self.size, self.mode, sample["name"])  # type: ignore[arg-type]
        if len(where) > CROPS_A_PICTURE:
            raise ValueError(f"dataset.crops={self.mode}: {sample['name']} gives {len(where)} crops of {self.size}.")
        tall, wide = self.size
        windows = [(slice(top, top + tall), slice(left, left + wide)) for top, left in where]
        numbers = torch.arange(len(where))
        return {
            "image": torch.stack([image[:, rows, columns] for rows, columns in windows]),
            "mask": torch.stack([mask[window] for window in windows]),
            "index": index * CROPS_A_PICTURE + numbers if index >= 0 else torch.full_like(numbers, -1),
            "where": torch.tensor(where),
            "name": sample["name"],
        } | ({"whole": mask, "picture": index} if self.scored else {})


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Samples to a batch; the windows of several pictures become one batch of windows."""
    if "where" not in samples[0]:
        return default_collate(samples)  # type: ignore[no-any-return]
    rows = ("image", "mask", "index", "where", "label")
    batch: dict[str, Any] = default_collate(
        [{key: value for key, value in sample.items() if key not in rows} for sample in samples]
    )
    return batch | {key: torch.cat([sample[key] for sample in samples]) for key in rows if key in samples[0]}


def _process() -> tuple[int, int]:
    """(rank, world size) of this process."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class ShuffledBatches:
    """Batches in a random order that depends on (seed, epoch) alone, so that a resumed run sees the same ones.

    The last incomplete batch is dropped, unless it is the only one: batch norm over a few samples is noise.
    """

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        self.length, self.batch_size, self.seed, self.epoch = length, batch_size, seed, 0
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return max(self.length // _process()[1] // self.batch_size, 1)

    def __iter__(self) -> Iterator[list[Key]]:
        rank, world = _process()
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length).tolist()
        mine = order[rank : self.length // world * world : world]
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield [(self.epoch, index, True) for index in mine[start : start + self.batch_size]]


class OrderedBatches:
    """Every sample once, in order, in batches of equal shape, dealt out to the processes batch by batch.

    Where they do not divide evenly, a copy of the last batch fills up, marked as not counted.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], batch_size: int) -> None:
        groups: dict[tuple[int, int], list[int]] = {}
        for index, shape in enumerate(shapes):
            groups.setdefault(shape, []).append(index)
        self.batches = [
            group[start : start + batch_size] for group in groups.values() for start in range(0, len(group), batch_size)
        ]

    def __len__(self) -> int:
        return -(-len(self.batches) // _process()[1])

    def __iter__(self) -> Iterator[list[Key]]:
        rank, world = _process()
        for number in range(rank, len(self) * world, world):
            counted = number < len(self.batches)
            yield [(0, index, counted) for index in self.batches[number if counted else -1]]


class DataModule(LightningDataModule):
    """The three splits of a data set as batches of pictures of one size.

    size: an edge length, or (height, width). train: "resize" every training picture to it, or "crop" a random window
    of it. eval: "resize", or "native" for whole pictures at their own size, batched by equal shape, never padded.
    crops: "five" or "grid" windows of `size` out of every picture instead, in training and evaluation; a batch then has
    those of `batch_size` pictures. presence_threshold: see `Prepared`. workers: processes that load; "auto" leaves a
    machine of up to two cores to the training.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        size: int | Sequence[int],
        train: Literal["resize", "crop"] = "resize",
        eval: Literal["resize", "native"] = "resize",
        crops: Crops = "none",
        presence_threshold: float | None = None,
        batch_size: int = 8,
        workers: int | Literal["auto"] = "auto",
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("train", train, ("resize", "crop")),
            ("eval", eval, ("resize", "native")),
            ("crops", crops, ("none", "five", "grid")),
        ):
            if value not in known:
                raise ValueError(f"dataset.{key}={value}: expected {', '.join(known[:-1])} or {known[-1]}.")
        if presence_threshold is not None:
            check_presence(presence_threshold, sources)
        if batch_size < 1:
            raise ValueError(f"dataset.batch_size={batch_size}: expected 1 or more.")
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        if min(self.size) < 1:
            raise ValueError(f"dataset.size={size}: expected an edge length of 1 or more, or [height, width].")
        for split, source in sources.items():
            if len(source) == 0:
                raise ValueError(f"The {split} split is empty. Check dataset.root and dataset.fractions.")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.sources, self.batch_size, self.seed, self.augment = sources, batch_size, seed, augment
        self.workers = (min(4, cores - 1) if cores > 2 else 0) if workers == "auto" else int(workers)
        self.presence = presence_threshold
        self.train_mode: Mode = train if crops == "none" else crops
        self.eval_mode: Mode = eval if crops == "none" else crops

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        data = Prepared(self.sources["train"], self.train_mode, self.size, self.seed, self.augment, self.presence)
        return self._loader(data, ShuffledBatches(len(data), self.batch_size, self.seed))

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> DataLoader[dict[str, Any]]:
        """Every picture of a split once, without random crop or augmentation."""
        source = self.sources[split]
        data = Prepared(source, self.eval_mode, self.size, self.seed, presence=self.presence, scored=True)
        shapes = [self.size if self.eval_mode == "resize" else source.shape(i) for i in range(len(source))]
        return self._loader(data, OrderedBatches(shapes, self.batch_size))

    def _loader(self, data: Prepared, batches: ShuffledBatches | OrderedBatches) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            data,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def label_shares(self) -> Tensor:
        """Share of the training samples (crops, where there are any) without and with the class: (2,)."""
        data = Prepared(self.sources["train"], self.train_mode, self.size, self.seed, presence=self.presence)
        labels = torch.cat([data[(0, index, True)]["label"].view(-1) for index in range(len(data))])
        return labels.bincount(minlength=2).double() / len(labels)

    def class_shares(self) -> Tensor:
        """Share of each value among the labelled training pixels: (2,) for one class (background first), else (C,)."""
        source = self.sources["train"]
        counts = torch.zeros(256, dtype=torch.int64)
        for index in range(len(source)):
            counts += torch.bincount(source[index]["mask"].flatten(), minlength=256)
        kept = counts[: max(len(source.classes), 2)].double()
        return kept / kept.sum()


def check_presence(threshold: float, sources: Mapping[str, Source]) -> None:
    """ValueError unless a share of the area can say whether a sample shows the class."""
    if not 0 < threshold < 1:
        raise ValueError(
            f"dataset.presence_threshold={threshold}: expected a share of the area between 0 and 1, both excluded, "
            "such as 0.001."
        )
    classes = next(iter(sources.values())).classes
    if len(classes) > 1:
        raise ValueError(
            f"dataset.presence_threshold={threshold} says whether the one class is present; dataset.classes names "
            f"{len(classes)}. Set it to null."
        )
