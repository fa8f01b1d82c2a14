"""Pictures drawn by code, so that everything runs without a file: cracks, lesions and simple shapes."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from segkit.datasets.common import SPLITS, Split
from segkit.datasets.drawn.cracks import draw_cracks
from segkit.datasets.drawn.spots import draw_lesions, draw_shapes
from segkit.datasets.drawn.surfaces import Pixels, Rng
from segkit.datasets.source import Sample


class Kind(NamedTuple):
    """A kind of drawing: its function (rng, size, empty) -> (picture, mask), and the names of what it draws."""

    draw: Callable[[Rng, int, bool], tuple[Pixels, Pixels]]
    classes: tuple[str, ...]


KINDS = {
    "cracks": Kind(draw_cracks, ("crack",)),
    "lesions": Kind(draw_lesions, ("lesion",)),
    "shapes": Kind(draw_shapes, ("background", "disc", "square", "triangle", "border")),
}
KEPT_BYTES = 2**29


class Synthetic(Dataset[Sample]):
    """One split of a data set that is drawn on demand; an item depends on (split_seed, split, index) alone.

    picture_size: side of the square pictures in pixels; the scenes are the same at every size.
    counts: number of pictures in train, val and test. Raising one keeps the existing pictures.
    classes: names for what the kind draws: one for cracks or lesions, five for shapes.
    empty_fraction: probability, in [0, 1], that a picture shows only the surface (its mask is all 0).

    Once drawn, pictures are kept in memory (4 bytes per pixel) if the whole split needs no more than 512 MB. Each
    process, and so each loader worker, draws and keeps its own. Raises ValueError for settings that do not match.
    """

    def __init__(
        self,
        split: Split,
        classes: Sequence[str],
        kind: Literal["cracks", "lesions", "shapes"] = "cracks",
        picture_size: int = 128,
        counts: Sequence[int] = (400, 100, 100),
        split_seed: int = 0,
        empty_fraction: float = 0.1,
    ) -> None:
        check_settings(split, classes, kind, picture_size, counts, empty_fraction)
        self.classes = tuple(classes)
        self.seed = (split_seed, SPLITS.index(split))
        self.draw = KINDS[kind].draw
        self.picture_size = picture_size
        self.empty_fraction = empty_fraction
        count = counts[SPLITS.index(split)]
        self.names = [f"{kind}-{split}-{index:05d}" for index in range(count)]
        self.keeps = count * picture_size**2 * 4 <= KEPT_BYTES
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """What the pictures depend on, besides their names."""
        return f"{self.names[:1]} {self.seed} {self.picture_size} {self.empty_fraction}"

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a picture, the same for all."""
        return self.picture_size, self.picture_size

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        index %= len(self)
        image, mask = self.kept[index] if index in self.kept else self._draw(index)
        if self.keeps:
            self.kept[index] = image, mask
        return {"image": image.clone(), "mask": mask.clone(), "name": name}

    def _draw(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((*self.seed, index))
        empty = bool(rng.random() < self.empty_fraction)
        image, mask = self.draw(rng, self.picture_size, empty)
        # A view: resizing and augmentation turn it back to (H, W, 3), which then costs no copy.
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)


def check_settings(
    split: str,
    classes: Sequence[str],
    kind: str,
    picture_size: int,
    counts: Sequence[int],
    empty_fraction: float,
) -> None:
    """ValueError, with the setting and what to write instead, for anything that cannot be drawn."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; a drawn data set has the splits {', '.join(SPLITS)}.")
    if kind not in KINDS:
        raise ValueError(f"dataset.kind is {kind!r}; it can draw {', '.join(KINDS)}.")
    drawn = KINDS[kind].classes
    if isinstance(classes, str) or len(classes) != len(drawn):
        raise ValueError(
            f"dataset.kind={kind} draws {len(drawn)} class{'es' * (len(drawn) > 1)}, but dataset.classes is "
            f"{classes if isinstance(classes, str) else list(classes)}. "
            f"Write dataset.classes=[{','.join(drawn)}] (choose any names, but keep their number and order), "
            "or change dataset.kind."
        )
    if not isinstance(picture_size, int) or picture_size < 16:
        raise ValueError(
            f"dataset.picture_size is {picture_size}; drawn pictures are square, 16 pixels or more: write "
            "one number, such as dataset.picture_size=128 (they are resized to dataset.size)."
        )
    if len(counts) != len(SPLITS) or min(counts) < 0:
        raise ValueError(
            f"dataset.counts is {list(counts)}; write three numbers of pictures, train, val and test, "
            "such as dataset.counts=[400,100,100]."
        )
    if not 0 <= empty_fraction <= 1:
        raise ValueError(f"dataset.empty_fraction is {empty_fraction}; it is a probability, 0 to 1.")
