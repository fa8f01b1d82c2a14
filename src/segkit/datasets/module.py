"""From data sets to batches: sizes, crops, augmentation, order, and which process gets what."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import cv2
import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from segkit import IGNORE_INDEX, hardware
from segkit.datasets import cache
from segkit.datasets.augment import MOST_IN_BATCH, MOST_PIXELS, Augment, Photometric, Pixels
from segkit.datasets.findings import DataError, tell
from segkit.datasets.order import Key, OrderedBatches, ShuffledBatches
from segkit.datasets.source import Source, extras_of
from segkit.geometry.windows import Crops, corners
from segkit.tasks.contract import Batch

log = logging.getLogger("segkit")

Mode = Literal["resize", "crop", "native", "five", "grid"]  # how a picture becomes what the network sees
CROPS_A_PICTURE = 4096
ROWS = ("mask", "index", "where", "label", "photometric")  # of a sample in crops: what has a row a crop


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
    them: image, a list of K (3, h, w), mask (K, h, w), index (K,), label (K,), their corners `where` (K, 2), and for
    scoring the `whole` mask (H, W) as it is, and `picture`, its index. An index is -1 where the sample only fills up a
    process's last batch: metrics leave it out.
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
        sample: dict[str, Any] = {**self.source[index]}
        image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
        seed = sample_seed(self.seed, epoch, index)
        if self.mode == "crop":
            image, mask = random_crop(image, mask, self.size, seed)
        elif self.mode == "resize":
            image, mask = resize_image(image, self.size), resize_mask(mask, self.size)
        if self.augment is not None:
            image, mask = self.augment(image, mask, seed)
            if (drawn := self.augment.drawn(seed)) is not None:
                sample = sample | {"photometric": drawn}
        sample = sample | {
            "image": torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
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
        crops = {
            "image": [image[:, rows, columns] for rows, columns in windows],  # copied once, into the batch
            "mask": torch.stack([mask[window] for window in windows]),
            "index": index * CROPS_A_PICTURE + numbers if index >= 0 else torch.full_like(numbers, -1),
            "where": torch.tensor(where),
            "name": sample["name"],
        }
        if "photometric" in sample:  # a picture's crops look alike
            crops["photometric"] = sample["photometric"].expand(len(where), -1)
        return crops | ({"whole": mask, "picture": index} if self.scored else {})


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Samples to a batch, its pictures with the channels last; the windows of several pictures become one batch."""
    crops = "where" in samples[0]
    images = [image for sample in samples for image in (sample["image"] if crops else [sample["image"]])]
    image = torch.stack([one.permute(1, 2, 0) for one in images]).permute(0, 3, 1, 2)
    rows = [key for key in ROWS if crops and key in samples[0]]
    rest = [{key: value for key, value in sample.items() if key not in ("image", *rows)} for sample in samples]
    joined = {key: torch.cat([sample[key] for sample in samples]) for key in rows}
    batch: dict[str, Any] = default_collate(rest)
    return cast(Batch, batch | joined | {"image": image})


class Batches(Dataset[Batch]):
    """The batches of an evaluation's loader, all of them in every process, each counted."""

    def __init__(self, loader: DataLoader[dict[str, Any]]) -> None:
        self.data: Any = loader.dataset
        self.batches = cast(OrderedBatches, loader.batch_sampler).batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return collate([self.data[0, index, True] for index in self.batches[number]])


class DataModule(LightningDataModule):
    """The three splits of a data set as batches of pictures of one size.

    size: an edge length, or (height, width). train: "resize" every training picture to it, or "crop" a random window
    of it. eval: "resize", or "native" for whole pictures at their own size, batched by equal shape, never padded.
    crops: "five" or "grid" windows of `size` out of every picture instead, in training and evaluation; a batch then has
    those of `batch_size` pictures. presence_threshold: see `Prepared`. workers: processes that load, or "auto" (see
    `workers_for`). cache: where file-backed pictures are kept decoded, and resized if they are (see `cache.choose`);
    not without `settings`, plain containers of all that samples depend on beside their files.
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
        cache: cache.Where = "auto",
        augment: Augment | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("cache", cache, ("auto", "ram", "disk", "off")),
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
        self.sources, self.batch_size, self.seed, self.augment = sources, batch_size, seed, augment
        if augment is not None:
            augment.most = min(MOST_PIXELS, MOST_IN_BATCH // batch_size)
        self.workers = workers_for(hardware.cores()) if workers == "auto" else int(workers)
        self.presence, self.cache, self.settings = presence_threshold, cache, settings
        self.kept: dict[str, Source] = {}
        self.train_mode: Mode = train if crops == "none" else crops
        self.eval_mode: Mode = eval if crops == "none" else crops

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        data = Prepared(self.decoded("train"), self.train_mode, self.size, self.seed, self.augment, self.presence)
        return self._loader(data, ShuffledBatches(len(data), self.batch_size, self.seed))

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test's batches, each an item of a plain data set: Lightning warns of batch samplers of one's own here."""
        loader = self.eval_dataloader("test")
        return DataLoader(
            Batches(loader),
            batch_size=None,
            worker_init_fn=one_thread,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )

    def eval_dataloader(self, split: str) -> DataLoader[dict[str, Any]]:
        """Every picture of a split once, without random crop or augmentation."""
        kept_otherwise = self._mode(split) == "resize" and self.eval_mode != "resize"  # as training sees them
        source = self.sources[split] if kept_otherwise else self.decoded(split)
        data = Prepared(source, self.eval_mode, self.size, self.seed, presence=self.presence, scored=True)
        shapes = [self.size] * len(source) if self.eval_mode == "resize" else shapes_of(source)
        return self._loader(data, OrderedBatches(shapes, self.batch_size))

    def _loader(self, data: Prepared, batches: ShuffledBatches | OrderedBatches) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            data,
            batch_sampler=batches,
            collate_fn=collate,
            worker_init_fn=one_thread,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """What augmentation leaves to the device."""
        if isinstance(batch, dict) and "photometric" in batch:
            photometric = cast(Augment, self.augment).on_device  # which drew it
            batch["image"] = cast(Photometric, photometric)(batch["image"], batch.pop("photometric"))
        return batch

    def decoded(self, split: str) -> Source:
        """A split's data set; one from files, its pictures decoded once where `cache` says so."""
        if split not in self.kept:
            self.kept[split] = self._decoded(split)
        return self.kept[split]

    def _decoded(self, split: str) -> Source:
        source = self.sources[split]
        if self.place == "off" or not extras_of(source).files:
            return source

        def prepare(sample: Mapping[str, Any]) -> tuple[Pixels, Pixels]:
            image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
            if self._mode(split) == "resize":
                return resize_image(image, self.size), resize_mask(mask, self.size)
            return image, mask

        if self.place == "ram":
            return cache.in_memory(source, self._shapes(split), prepare)
        try:
            return cache.on_disk(source, self._shapes(split), prepare, self._content(split))
        except cache.CannotWriteError as error:
            if self.cache != "auto":
                raise
            log.warning("pictures are decoded every time: %s", error)
            return source

    @cached_property
    def place(self) -> cache.Where:
        """Where decoded pictures are kept, those of all splits in one place."""
        splits = [split for split, source in self.sources.items() if extras_of(source).files]
        if self.cache == "off" or self.settings is None or not splits:
            return "off"
        sizes = {split: cache.starts(self._shapes(split))[-1] for split in splits}
        paths = {split: cache.path_of(self.sources[split], self._content(split)) for split in splits}
        missing = sum(size for split, size in sizes.items() if not cache.is_there(paths[split], size))
        return cache.choose(sum(sizes.values()), missing, self.cache)

    def _content(self, split: str) -> Any:
        """What decoded samples depend on beside the files."""
        return [self.settings, self.size if self._mode(split) == "resize" else None]

    def _mode(self, split: str) -> Mode:
        return self.train_mode if split == "train" else self.eval_mode

    def _shapes(self, split: str) -> list[tuple[int, int]]:
        """(H, W) of a split's pictures, resized if the network sees them so."""
        source = self.sources[split]
        return [self.size] * len(source) if self._mode(split) == "resize" else shapes_of(source)

    def label_shares(self) -> Tensor:
        """Share of the training samples (crops, where there are any) without and with the class: (2,)."""
        data = Prepared(self.decoded("train"), self.train_mode, self.size, self.seed, presence=self.presence)
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


def shapes_of(source: Source) -> list[tuple[int, int]]:
    """(H, W) of every picture; of one whose header cannot be read, which is told, (1, 1)."""
    shapes = []
    for index in range(len(source)):
        try:
            shapes.append(source.shape(index))
        except DataError as error:
            tell(*error.findings)
            shapes.append((1, 1))
    return shapes


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


def workers_for(cores: int) -> int:
    """How many processes load: with a GPU up to four, else one, as the network takes the cores; of two cores none."""
    if cores <= 2:
        return 0
    return min(4, cores - 1) if torch.accelerator.is_available() else 1


def one_thread(worker: int) -> None:
    """Loaders that each take all cores slow each other and the training down."""
    cv2.setNumThreads(0)


def label_of(mask: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Whether a mask (…, H, W) shows the class on at least `share` of its area, and the mask, emptied where not.

    The label is 0 or 1, int64 (…). Ignored pixels stay ignored.
    """
    # NumPy compares bytes, and OpenCV counts them, many times as fast as torch
    values = mask.numpy().reshape(-1, *mask.shape[-2:])
    shown = (values == 1).view(np.uint8)
    present = np.array([cv2.countNonZero(one) / one.size >= share for one in shown])
    if not present.all():
        values = values.copy()
        for index in np.flatnonzero(~present):
            values[index] = (values[index] == IGNORE_INDEX) * np.uint8(IGNORE_INDEX)
    return torch.from_numpy(present.astype(np.int64)).view(mask.shape[:-2]), torch.from_numpy(values).view(mask.shape)
