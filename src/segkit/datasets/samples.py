"""One sample as the network gets it: resized, cropped or cut into windows, augmented, labelled."""

from typing import Any, Literal, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from segkit import IGNORE_INDEX
from segkit.datasets.augment import Augment, Pixels
from segkit.datasets.order import Key
from segkit.datasets.source import Sample, Source
from segkit.geometry.resizing import resize_image, scaled
from segkit.geometry.windows import Crops, corners

Mode = Literal["resize", "crop", "native", "five", "grid"]  # how a picture becomes the network's input
CROPS_A_PICTURE = 4096
ROWS = ("mask", "index", "where", "label", "photometric")  # entries with one row per crop


def resize_mask(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize mask (H, W) to `size` = (height, width) by the nearest pixel, so that no class is invented."""
    if mask.shape == size:
        return mask
    # plain INTER_NEAREST samples a pixel's corner, which shifts the mask by half a pixel; EXACT samples its centre
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)


class Scaled:
    """A data set whose pictures and masks are resized by a factor."""

    def __init__(self, source: Source, scale: float) -> None:
        self.source, self.scale = source, scale
        self.classes, self.names = source.classes, source.names

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        sample = self.source[index]
        image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
        size = scaled((mask.shape[0], mask.shape[1]), self.scale)
        image, mask = resize_image(image, size), resize_mask(mask, size)
        changed = {"image": torch.from_numpy(image).permute(2, 0, 1), "mask": torch.from_numpy(mask)}
        return cast(Sample, {**sample, **changed})

    def shape(self, index: int) -> tuple[int, int]:
        return scaled(self.source.shape(index), self.scale)


def random_crop(
    image: Pixels, mask: Pixels, size: tuple[int, int], seed: int, foreground: float = 0.0
) -> tuple[Pixels, Pixels]:
    """A random window of `size` = (height, width). A smaller picture is padded with black pixels that are ignored.

    foreground: the probability that the window must show a class other than the first value, each of those in the
    picture as likely, around one of its pixels. Source: Isensee et al., nnU-Net, Nature Methods 2021.
    """
    down, right = max(size[0] - image.shape[0], 0), max(size[1] - image.shape[1], 0)
    if down or right:
        image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT).astype(np.uint8)
        mask = cv2.copyMakeBorder(mask, 0, down, 0, right, cv2.BORDER_CONSTANT, value=IGNORE_INDEX).astype(np.uint8)
    rng = np.random.default_rng(seed)
    ends = [(0, image.shape[0] - size[0]), (0, image.shape[1] - size[1])]
    if foreground and rng.random() < foreground and (pixel := draw_foreground(mask, rng)) is not None:
        ends = [(max(at - edge + 1, 0), min(at, end)) for at, edge, (_, end) in zip(pixel, size, ends, strict=True)]
    top, left = (int(rng.integers(least, most + 1)) for least, most in ends)
    window = slice(top, top + size[0]), slice(left, left + size[1])
    return image[window], mask[window]


def draw_foreground(mask: Pixels, rng: np.random.Generator) -> tuple[int, int] | None:
    """A random pixel (row, column) of a random class in the mask, without value 0 and ignored pixels; None if there is
    none."""
    shown = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:IGNORE_INDEX]) + 1
    if not len(shown):
        return None
    places = np.flatnonzero(mask == rng.choice(shown))
    row, column = divmod(int(rng.choice(places)), mask.shape[1])
    return row, column


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """A 32-bit seed for one sample of one epoch."""
    return int(np.random.SeedSequence([seed, epoch, index]).generate_state(1)[0])


class PreparedDataset(Dataset[dict[str, Any]]):
    """A source's samples as the network gets them, addressed by (epoch, index, counted).

    mode: "resize" to `size`, a random "crop" of that size, "native" as they are, or the windows of that size that
    "five" or "grid" take (see `crops`). presence: the smallest share of a sample's area that counts as showing the
    class (`label` 1; below it the mask is emptied); None for no labels. foreground: see `random_crop`.

    A sample is image (3, H, W), mask (H, W), index, name, and label with `presence`. With windows, it holds the K
    windows of a picture: image, a list of K (3, h, w), mask (K, h, w), index (K,), label (K,), their corners `where`
    (K, 2), and for scoring the unchanged `whole` mask (H, W) and `picture`, its index. An index is -1 if the sample
    only pads a process's last batch: metrics leave it out.
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
        foreground: float = 0.0,
    ) -> None:
        self.source, self.mode, self.size, self.seed = source, mode, size, seed
        self.augment, self.presence, self.scored, self.foreground = augment, presence, scored, foreground

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index, counted = key
        sample: dict[str, Any] = {**self.source[index]}
        image, mask = sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()
        seed = sample_seed(self.seed, epoch, index)
        if self.mode == "crop":
            image, mask = random_crop(image, mask, self.size, seed, self.foreground)
        elif self.mode == "resize":
            image, mask = resize_image(image, self.size), resize_mask(mask, self.size)
        if self.augment is not None:
            image, mask = self.augment(image, mask, seed)
            if (drawn := self.augment.draw(seed)) is not None:
                sample = sample | {"photometric": drawn}
        sample = sample | {
            "image": torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "index": index if counted else -1,
        }
        if self.mode in ("five", "grid"):
            sample = self._windows(sample)
        if self.presence is not None:
            sample["label"], sample["mask"] = label_presence(sample["mask"], self.presence)
        return sample

    def _windows(self, sample: dict[str, Any]) -> dict[str, Any]:
        image, mask, index = sample["image"], sample["mask"], sample["index"]
        where = window_corners(tuple(mask.shape), self.size, cast(Crops, self.mode), sample["name"])
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


def window_corners(shape: tuple[int, ...], size: tuple[int, int], mode: Crops, name: str) -> list[tuple[int, int]]:
    """The windows of a picture (see `corners`); ValueError if it is too small, or so large that they are too many."""
    where = corners((shape[0], shape[1]), size, mode, name)
    if len(where) > CROPS_A_PICTURE:
        raise ValueError(
            f"dataset.crops={mode}: {name} gives {len(where)} crops of {size}. Choose a larger dataset.size."
        )
    return where


def label_presence(mask: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Whether a mask (…, H, W) shows the class on at least `share` of its area, and the mask, emptied if not.

    The label is 0 or 1, int64 (…). Ignored pixels stay ignored.
    """
    # NumPy compares bytes, and OpenCV counts them, many times faster than torch
    values = mask.numpy().reshape(-1, *mask.shape[-2:])
    shown = (values == 1).view(np.uint8)
    present = np.array([cv2.countNonZero(one) / one.size >= share for one in shown])
    if not present.all():
        values = values.copy()
        for index in np.flatnonzero(~present):
            values[index] = (values[index] == IGNORE_INDEX) * np.uint8(IGNORE_INDEX)
    return torch.from_numpy(present.astype(np.int64)).view(mask.shape[:-2]), torch.from_numpy(values).view(mask.shape)
