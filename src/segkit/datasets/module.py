"""From data sets to batches: sizes, crops, augmentation, order, and the share of each process."""

import contextlib
import logging
import statistics
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import cv2
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from segkit import hardware
from segkit.datasets import cache
from segkit.datasets.augment import MOST_IN_BATCH, MOST_PIXELS, Augment, Photometric, Pixels
from segkit.datasets.findings import DataError, report_faults
from segkit.datasets.order import OrderedBatches, ShuffledBatches
from segkit.datasets.samples import ROWS, Mode, PreparedDataset, Scaled, resize_mask
from segkit.datasets.source import Source, extras_of
from segkit.geometry.resizing import resize_image, scaled
from segkit.geometry.windows import Crops
from segkit.tasks.contract import Batch

log = logging.getLogger("segkit")


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Join samples to a batch, its pictures channels-last in memory; windows of several pictures become one batch."""
    crops = "where" in samples[0]
    images = [image for sample in samples for image in (sample["image"] if crops else [sample["image"]])]
    image = torch.stack([one.permute(1, 2, 0) for one in images]).permute(0, 3, 1, 2)
    rows = [key for key in ROWS if crops and key in samples[0]]
    rest = [{key: value for key, value in sample.items() if key not in ("image", *rows)} for sample in samples]
    joined = {key: torch.cat([sample[key] for sample in samples]) for key in rows}
    batch: dict[str, Any] = default_collate(rest)
    return cast(Batch, batch | joined | {"image": image})


class Batches(Dataset[Batch]):
    """The batches of an evaluation loader, all of them in every process, each counted."""

    def __init__(self, loader: DataLoader[dict[str, Any]]) -> None:
        self.data: Any = loader.dataset
        self.batches = cast(OrderedBatches, loader.batch_sampler).batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return collate([self.data[0, index, True] for index in self.batches[number]])


MOST_SCALE = 8  # by which pictures may grow
MEASURED = 200  # training pictures


class DataModule(LightningDataModule):
    """The three splits of a data set as batches of pictures of one size.

    size: an edge length, or (height, width). train: "resize" every training picture to it, or "crop" a random window
    of that size. eval: "resize", or "native" for whole pictures at their own size, batched by equal shape, never
    padded. crops: instead, cut every picture into "five" windows of `size` or a "grid" of them, in training and
    evaluation; a batch then holds the windows of `batch_size` pictures. presence_threshold: see `PreparedDataset`.
    passes: how often an epoch goes over the training pictures, each time in another order and augmented anew.
    scale: by which pictures are resized before they are cropped, and with eval: "native". foreground: the share of
    cropped windows that must show a class (see `random_crop`).
    workers: number of loader processes, or "auto" (see `choose_workers`). cache: where decoded (and, if so set,
    resized) pictures of file-backed data sets are kept (see `cache.choose_place`). It needs `settings`, plain
    containers with all that samples depend on besides their files.
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
        passes: int = 1,
        scale: float = 1.0,
        foreground: float = 0.0,
        workers: int | Literal["auto"] = "auto",
        cache: cache.Place = "auto",
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
            check_presence_threshold(presence_threshold, sources)
        if batch_size < 1:
            raise ValueError(f"dataset.batch_size={batch_size}: expected 1 or more.")
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        if min(self.size) < 1:
            raise ValueError(f"dataset.size={size}: expected an edge length of 1 or more, or [height, width].")
        for split, source in sources.items():
            if len(source) == 0:
                raise ValueError(f"The {split} split is empty. Check dataset.root and dataset.fractions.")
        self.sources, self.batch_size, self.seed, self.augment = sources, batch_size, seed, augment
        self.passes, self.scale, self.foreground = passes, float(scale), float(foreground)
        if not 0 < self.scale <= MOST_SCALE:
            raise ValueError(f"dataset.scale={scale}: expected a factor above 0 and at most {MOST_SCALE}.")
        if not 0 <= self.foreground <= 1:
            raise ValueError(f"dataset.foreground={foreground}: expected a share from 0 to 1.")
        if augment is not None:
            augment.most = min(MOST_PIXELS, MOST_IN_BATCH // batch_size)
        self.workers = choose_workers(hardware.cores()) if workers == "auto" else int(workers)
        self.presence, self.cache, self.settings = presence_threshold, cache, settings
        self.kept: dict[str, Source] = {}
        self.train_mode: Mode = train if crops == "none" else crops
        self.eval_mode: Mode = eval if crops == "none" else crops

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        data = PreparedDataset(
            self.decode("train"),
            self.train_mode,
            self.size,
            self.seed,
            self.augment,
            self.presence,
            foreground=self.foreground,
        )
        return self._loader(data, ShuffledBatches(len(data), self.batch_size, self.seed, self.passes))

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test's batches, each an item of a plain data set: Lightning warns about custom batch samplers here."""
        loader = self.eval_dataloader("test")
        return DataLoader(
            Batches(loader),
            batch_size=None,
            worker_init_fn=use_one_thread,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )

    def eval_dataloader(self, split: str, most: int | None = None) -> DataLoader[dict[str, Any]]:
        """Every picture of a split once, or at most so many of them, spread evenly; without random crops or
        augmentation."""
        source = self._eval_source(split)
        data = PreparedDataset(source, self.eval_mode, self.size, self.seed, presence=self.presence, scored=True)
        shapes = self.eval_shapes(split)
        taken = None if most is None else spread_evenly(len(shapes), most)
        return self._loader(data, OrderedBatches(shapes, self.batch_size, taken))

    def eval_shapes(self, split: str) -> list[tuple[int, int]]:
        """(H, W) of the samples of `eval_dataloader`."""
        source = self._eval_source(split)
        return [self.size] * len(source) if self.eval_mode == "resize" else read_shapes(source)

    def _eval_source(self, split: str) -> Source:
        kept_otherwise = self._mode(split) == "resize" and self.eval_mode != "resize"  # as training sees them
        return self._scaled(split) if kept_otherwise else self.decode(split)

    def _loader(self, data: PreparedDataset, batches: ShuffledBatches | OrderedBatches) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            data,
            batch_sampler=batches,
            collate_fn=collate,
            worker_init_fn=use_one_thread,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Apply the part of augmentation that runs on the device."""
        if isinstance(batch, dict) and "photometric" in batch:
            photometric = cast(Augment, self.augment).on_device  # which drew it
            batch["image"] = cast(Photometric, photometric)(batch["image"], batch.pop("photometric"))
        return batch

    def decode(self, split: str) -> Source:
        """A split's data set; if file-backed, with its pictures decoded once where `cache` says so."""
        if split not in self.kept:
            self.kept[split] = self._decode(split)
        return self.kept[split]

    def _scaled(self, split: str) -> Source:
        """A split's data set, its pictures scaled unless they are resized to `size` later."""
        source = self.sources[split]
        return source if self.scale == 1 or self._mode(split) == "resize" else Scaled(source, self.scale)

    def _decode(self, split: str) -> Source:
        source = self.sources[split]
        if self.place == "off" or not extras_of(source).files:
            return self._scaled(split)

        def prepare(sample: Mapping[str, Any]) -> tuple[Pixels, Pixels]:
            image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
            size = self.size if self._mode(split) == "resize" else scaled(image.shape[:2], self.scale)
            return resize_image(image, size), resize_mask(mask, size)

        if self.place == "ram":
            return cache.decode_in_memory(source, self._shapes(split), prepare)
        try:
            return cache.decode_on_disk(source, self._shapes(split), prepare, self._content(split))
        except cache.CannotWriteError as error:
            if self.cache != "auto":
                raise
            log.warning("pictures are decoded every time: %s", error)
            return self._scaled(split)

    @cached_property
    def place(self) -> cache.Place:
        """Where the decoded pictures of all splits are kept."""
        splits = [split for split, source in self.sources.items() if extras_of(source).files]
        if self.cache == "off" or self.settings is None or not splits:
            return "off"
        sizes = {split: cache.compute_offsets(self._shapes(split))[-1] for split in splits}
        paths = {split: cache.path_of(self.sources[split], self._content(split)) for split in splits}
        missing = sum(size for split, size in sizes.items() if not cache.is_complete(paths[split], size))
        return cache.choose_place(sum(sizes.values()), missing, self.cache)

    def _content(self, split: str) -> Any:
        """What decoded samples depend on besides the files."""
        shaped = self.size if self._mode(split) == "resize" else None if self.scale == 1 else self.scale
        return [self.settings, shaped]

    def _mode(self, split: str) -> Mode:
        return self.train_mode if split == "train" else self.eval_mode

    def _shapes(self, split: str) -> list[tuple[int, int]]:
        """(H, W) of a split's pictures, after resizing if there is any."""
        source = self.sources[split]
        if self._mode(split) == "resize":
            return [self.size] * len(source)
        return [scaled(shape, self.scale) for shape in read_shapes(source)]

    def describe_sizes(self) -> dict[str, Any] | None:
        """The `typical` (height, width) of the training pictures before any resizing, a median, and how many pixels the
        `largest` has; of `MEASURED` of them, spread evenly, and None if no header can be read."""
        source, shapes = self.sources["train"], []
        for index in spread_evenly(len(source), MEASURED):
            with contextlib.suppress(DataError):  # the check reports it with all others
                shapes.append(source.shape(index))
        if not shapes:
            return None
        typical = [round(statistics.median(sides)) for sides in zip(*shapes, strict=True)]
        return {"typical": typical, "largest": max(height * width for height, width in shapes)}

    def label_shares(self) -> Tensor:
        """Shares of the training samples (or crops, if there are any) without and with the class: (2,)."""
        data = PreparedDataset(self.decode("train"), self.train_mode, self.size, self.seed, presence=self.presence)
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


def spread_evenly(length: int, count: int) -> list[int]:
    """At most `count` positions, spread evenly over a list, each once."""
    count = min(count, length)
    return [round(at * (length - 1) / max(count - 1, 1)) for at in range(count)]


def read_shapes(source: Source) -> list[tuple[int, int]]:
    """(H, W) of every picture; (1, 1) for one whose header cannot be read, which is reported."""
    shapes = []
    for index in range(len(source)):
        try:
            shapes.append(source.shape(index))
        except DataError as error:
            report_faults(*error.findings)
            shapes.append((1, 1))
    return shapes


def check_presence_threshold(threshold: float, sources: Mapping[str, Source]) -> None:
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


def choose_workers(cores: int) -> int:
    """How many processes load: up to four with a GPU, else one, as the network needs the cores; none on two cores."""
    if cores <= 2:
        return 0
    return min(4, cores - 1) if torch.accelerator.is_available() else 1


def use_one_thread(worker: int) -> None:
    """Keep OpenCV to one thread: loaders that each use all cores slow down each other and the training."""
    cv2.setNumThreads(0)
