"""How a network sees a picture of any size: resized, as it is, in crops, or in tiles if it is large."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit.geometry.resizing import resize_image, scaled
from segkit.geometry.windows import corners, is_covered_by_five, stitch
from segkit.models.presence import Detection, find_gated, gives_masks, probability
from segkit.tasks.segmenter import NOT_FINITE, Segments, is_finite
from segkit.tasks.tiles import Held, Tiles, see_tiles

AT_ONCE = 16  # crops of one picture, or pictures of a list
SHARED = 32  # pixels that neighbouring tiles share for the network, or a quarter of a tile if that is less
STRIDE = 32  # of a network that does not say its own
SIDE = 768  # of a tile on a CPU: from 512 on a pixel takes as long, from 1024 on longer, as features leave the caches
LARGEST_SIDE, SMALLEST_SIDE = 2048, 256  # of a tile on a GPU
PROBED = 256  # side of the picture whose memory is measured
FAR = 16  # times the pixels of a tile from which on pictures are cut, if nothing is known of the training pictures


class InputMode(NamedTuple):
    """How the network sees pictures, as in the run's evaluation: "resize" to `size`, "native", or in crops of
    `size`; all but the first resized by `scale` before. Large ones in `tiles`, if there are any."""

    mode: Literal["resize", "native", "five", "grid"]
    size: tuple[int, int]
    scale: float = 1.0
    tiles: Tiles | None = None

    def tiles_of(self, shape: tuple[int, int]) -> Tiles | None:
        """The tiles that a picture of `shape` is cut into; None if it is not."""
        return self.tiles if self.tiles is not None and self.tiles.cut(shape) else None


def find_input_mode(config: Mapping[str, Any]) -> InputMode:
    """How the network of a run's config sees pictures."""
    dataset = config["dataset"]
    size = dataset["size"]
    size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    scale = float(dataset.get("scale", 1.0))
    if dataset.get("crops", "none") != "none":
        return InputMode(dataset["crops"], size, scale)
    return InputMode(dataset["eval"], size, scale)


def choose_tiles(
    task: Segments, how: InputMode, tile: int | Literal["auto"] | None, overlap: int | None = None
) -> Tiles | None:
    """The tiles for a run's network that sees pictures as in `how`. overlap: what neighbours share, in pixels of the
    picture; None for SHARED. tile: their longer side in pixels of the picture; None for no tiles; auto, which also
    decides what pictures are large:

    - a run that resizes whole pictures: a tile shows as much as a typical training picture did, at the same size, and
      pictures are cut that have more than twice the pixels of the largest of them. If nothing is known of them (runs of
      older releases), tiles are not resized, and pictures of more than 16 tiles are cut.
    - a run whose network sees pixels at a fixed scale: as large as `choose_side` says, or for networks that have only
      seen windows of one size, as large as those; pictures are cut if one pass would be larger.
    """
    if tile is None:
        return None
    stride, most, fixed = find_stride(task.net), 0, True
    if how.mode == "resize":
        typical = (task.facts.get("pictures") or {}).get("typical")
        size, scale = how.size, (1.0, 1.0)
        if tile != "auto":
            scale = (max(size) / tile,) * 2
        elif typical is None:
            most = FAR * math.prod(size)
        else:
            scale = size[0] / typical[0], size[1] / typical[1]
            most = 2 * int(task.facts["pictures"]["largest"])
    else:
        scale = (how.scale, how.scale)
        fixed = how.mode != "native" or find_gated(task.net) is not None or not gives_masks(task.net)
        side = how.size if fixed else (choose_side(task),) * 2
        size = side if tile == "auto" else (math.ceil(tile * how.scale),) * 2
        if tile == "auto":
            most = round(math.prod(size) * (FAR if how.mode != "native" else 1) / how.scale**2)
    if overlap is None:
        shared = round_up(min(SHARED, max(min(size) // 4, 1)), stride)
        if tile == "auto" or how.mode == "resize":
            size = max(size[0], 2 * shared), max(size[1], 2 * shared)
    else:
        shared = round_up(max(math.ceil(overlap * min(scale)), 1), stride)
    tall, wide = (round_up(side, stride) for side in size)
    if min(tall, wide) < 2 * shared:
        given = f"tile={tile}" + ("" if overlap is None else f" overlap={overlap}")
        raise ValueError(
            f"{given}: tiles of {round(tall / scale[0])}×{round(wide / scale[1])} pixels that share "
            f"{math.ceil(shared / min(scale))} with their neighbours; expected at most half of a tile. Choose a larger "
            f"tile, {math.ceil(2 * shared / min(scale))} at least, or a smaller overlap."
        )
    return Tiles((tall, wide), shared, stride, scale, most, not fixed)


def round_up(length: int, stride: int) -> int:
    return -(-length // stride) * stride


def find_stride(net: nn.Module) -> int:
    """The step in which a network pools: its own `stride` or `patch`, or that of the network inside it."""
    found = [getattr(module, name, None) for module in (net, *net.children()) for name in ("stride", "patch")]
    return next((step for step in found if isinstance(step, int)), STRIDE)


def choose_side(task: Segments) -> int:
    """The side of a tile that is seen at once; on a GPU, what half of its free memory holds."""
    if task.device.type != "cuda":
        return SIDE
    image = torch.zeros(1, 3, PROBED, PROBED, dtype=torch.uint8, device=task.device)
    task.detect(image)
    torch.cuda.reset_peak_memory_stats(task.device)
    before = torch.cuda.memory_allocated(task.device)
    task.detect(image)
    needed = max(torch.cuda.max_memory_allocated(task.device) - before, 1) / PROBED**2
    side = int((torch.cuda.mem_get_info(task.device)[0] / 2 / needed) ** 0.5)
    return min(max(side, SMALLEST_SIDE), LARGEST_SIDE)


class Seen(NamedTuple):
    """What a network finds in a picture (H, W): the probability that the class is there, pixel probabilities (C, H, W)
    and their spread (H, W), None for what it does not say; and how many pixels of the picture there are for one that it
    sees."""

    presence: float | None
    probabilities: Tensor | None
    spread: Tensor | None
    scale: float


class Prepared(NamedTuple):
    """A picture as the network sees it (3, h, w) uint8, the size that it has itself, and whether it is cut into
    crops."""

    pixels: Tensor
    size: tuple[int, int]
    crops: bool

    @property
    def batch(self) -> tuple[object, ...]:
        """Equal for pictures that can be seen in one batch."""
        return (id(self),) if self.crops else tuple(self.pixels.shape)


@torch.no_grad()
def see(task: Segments, images: Sequence[NDArray[np.uint8]], how: InputMode) -> list[Seen]:
    """What a task's network finds in images (H, W, 3) uint8 RGB, which it sees as in `how`, those of one size in one
    batch."""
    found = dict[int, Seen]()
    prepared = dict[int, Prepared]()
    for number, image in enumerate(images):
        shape = (image.shape[0], image.shape[1])
        if (tiles := how.tiles_of(shape)) is not None:
            found[number] = see_large(task, image, tiles)
        else:
            prepared[number] = prepare(image, how)
    for batch in dict.fromkeys(one.batch for one in prepared.values()):
        numbers = [number for number, one in prepared.items() if one.batch == batch]
        first = prepared[numbers[0]]
        if first.crops:
            out = detect_in_crops(task, first.pixels, how)
        else:
            out = task.detect(torch.stack([prepared[number].pixels for number in numbers]).to(task.device))
        if not is_finite(out):
            raise ValueError(NOT_FINITE)
        for row, number in enumerate(numbers):
            part = Detection(*(None if value is None else value[row : row + 1] for value in out))
            found[number] = see_one(task, prepared[number], part)
    return [found[number] for number in range(len(images))]


def see_one(task: Segments, picture: Prepared, out: Detection) -> Seen:
    """The network's output for one picture, at its own size."""
    presence = None if out.presence is None else float(probability(out.presence)[0])
    probabilities = None if out.masks is None else in_size(task.activated(out.masks), picture.size)[0]
    spread = None if out.spread is None else in_size(out.spread, picture.size)[0, 0]
    scale = math.prod(picture.size) / math.prod(picture.pixels.shape[1:])
    return Seen(presence, probabilities, spread, scale)


def see_large(task: Segments, image: NDArray[np.uint8], tiles: Tiles) -> Seen:
    """`see` for a picture that is cut into tiles."""
    height, width = image.shape[:2]
    probabilities: Tensor | None = None
    spread: Tensor | None = None
    presence, top = None, 0
    for band in see_tiles(task, Held(image), tiles):
        presence = band.presence
        if band.probabilities is None:
            continue
        if probabilities is None:
            probabilities = torch.empty(len(task.classes), height, width)
            spread = None if band.spread is None else torch.empty(height, width)
        bottom = top + band.probabilities.shape[1]
        probabilities[:, top:bottom] = band.probabilities
        if spread is not None and band.spread is not None:
            spread[top:bottom] = band.spread
        top = bottom
    return Seen(presence, probabilities, spread, tiles.magnify((height, width)))


def prepare(image: NDArray[np.uint8], how: InputMode) -> Prepared:
    height, width = image.shape[:2]
    pixels = resize_image(image, how.size if how.mode == "resize" else scaled((height, width), how.scale))
    fits = pixels.shape[0] >= how.size[0] and pixels.shape[1] >= how.size[1]  # else it is seen as it is
    picture = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return Prepared(picture, (height, width), how.mode in ("five", "grid") and fits)


def in_size(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, h, w) interpolated linearly to a (height, width)."""
    if tuple(values.shape[2:]) == size:
        return values
    return F.interpolate(values, size, mode="bilinear", align_corners=False)


def detect_in_crops(task: Segments, picture: Tensor, how: InputMode) -> Detection:
    """The network's output for `picture` (3, H, W) as a whole, from its crops: their presence is that of the likeliest,
    their masks are stitched together."""
    shape, size = (picture.shape[1], picture.shape[2]), how.size
    where = corners(shape, size, "five" if how.mode == "five" and is_covered_by_five(shape, size) else "grid")
    crops = [picture[:, top : top + size[0], left : left + size[1]] for top, left in where]
    outs = [
        task.detect(torch.stack(crops[start : start + AT_ONCE]).to(task.device))
        for start in range(0, len(crops), AT_ONCE)
    ]
    presence, masks, decoded, spread = (
        None if parts[0] is None else torch.cat(parts) for parts in zip(*outs, strict=True)
    )
    counted = torch.ones(len(where)) if decoded is None else decoded

    def whole(maps: Tensor | None) -> Tensor | None:
        return None if maps is None else stitch(maps, torch.tensor(where), shape, counted)[0][None]

    return Detection(None if presence is None else presence.max()[None], whole(masks), None, whole(spread))
