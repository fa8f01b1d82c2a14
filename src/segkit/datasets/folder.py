"""Any pictures and masks in folders: masks of one class, class indices or colours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from torch.utils.data import Dataset

from segkit.configs.places import find_root
from segkit.datasets.common import Split, check_split, read_sample, select_split
from segkit.datasets.findings import gather_findings, report_faults
from segkit.datasets.grouping import groups_of
from segkit.datasets.layout import check_pair_folders, find_no_pictures, find_split_folders
from segkit.datasets.listing import Pair, find_pictures, match_pairs
from segkit.datasets.masks import MaskValues
from segkit.datasets.reading import picture_size
from segkit.datasets.source import Color, Sample


class Folder(Dataset[Sample]):
    """Pairs of pictures and masks of the same name, from one of these layouts below `root`:

    - `{train,val,test}/{images,masks}` (`valid` for `val`): the splits as they are.
    - `train` and one of `val`, `valid` and `test`. With protocol `honest`, the latter is scored once, as test,
      and the share `holdout` of train, chosen by `split_seed`, is val. With `published` it is both val and
      test: the scores are optimistic, but only they compare with published work that had no third split.
    - `images` and `masks`: divided by `fractions` and `split_seed`.

    Splits depend on the sorted names and on `split_seed` alone. For `threshold`, `colors` and `ignore_values`
    see `MaskValues`. `mask_suffix`: the end of masks' names that images' names lack, such as `_mask`. `group`: a
    regular expression that finds a picture's photograph, patient or video in its path below `root` (see
    `groups_of`); pictures of one group stay together when a folder is split, and the report does not treat them as
    independent. `palette`: the colours in which the classes are drawn. `download`: how to get the data, for the
    message that it is missing. `follow_links`: follow links out of `root`, too; only for a root that the user has
    named.

    Raises FileNotFoundError and ValueError, saying what to do, if files are missing or do not match.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split,
        classes: Sequence[str] = ("foreground",),
        *,
        threshold: float = 127,
        colors: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None = None,
        ignore_values: Sequence[int] = (),
        mask_suffix: str = "",
        group: str | None = None,
        resize_masks: bool = False,
        protocol: Literal["honest", "published"] = "honest",
        holdout: float = 0.1,
        fractions: Sequence[float] = (0.7, 0.15, 0.15),
        split_seed: int = 0,
        palette: Sequence[Sequence[int]] | None = None,
        download: str = "",
        follow_links: bool = False,
    ) -> None:
        check_split(split)
        if protocol not in ("honest", "published"):
            raise ValueError(f"dataset.protocol={protocol}; expected honest or published.")
        if not 0 < holdout < 1:
            raise ValueError(f"dataset.holdout={holdout:g}; expected the share of train that becomes val, in (0, 1).")
        self.root = find_root(root, download)
        self._values = MaskValues(classes, threshold, colors, ignore_values)
        self.classes = tuple(classes)
        self.colors = display_colors(self.classes, colors, palette)
        self._suffix, self._group = mask_suffix, group
        self._resize_masks, self._follow_links = resize_masks, follow_links
        self.shared = 0  # number of pictures of which this split is a share, if a folder is split
        with gather_findings():
            self.files = self._files(split, protocol, holdout, fractions, split_seed, download)
        self.names = self._names(self.files)
        self.groups = groups_of(self.names, group)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        return read_sample(self.files[index], self.names[index], self._values, self._resize_masks)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a sample, from the header of its image."""
        return picture_size(self.files[index].image)

    def _names(self, pairs: Sequence[Pair]) -> list[str]:
        return [pair.image.relative_to(self.root).as_posix() for pair in pairs]

    def _part(self, pairs: Sequence[Pair], split: Split, fractions: Sequence[float], seed: int) -> list[Pair]:
        return select_split(pairs, split, fractions, seed, groups_of(self._names(pairs), self._group))

    def _files(
        self, split: Split, protocol: str, holdout: float, fractions: Sequence[float], split_seed: int, download: str
    ) -> list[Pair]:
        """The pairs of a split."""
        folders = find_split_folders(self.root, download)
        held_out = [name for name in ("val", "test") if name in folders]
        if not folders:
            pairs = self._pairs(self.root)
            self.shared = len(pairs)
            return self._part(pairs, split, fractions, split_seed)
        if "train" not in folders or len(held_out) == 2:
            return self._pairs(self._existing(folders, split))
        if not held_out:
            raise FileNotFoundError(
                f"{self.root} has a train folder and nothing to score on; expected val (or valid) or test "
                "beside it.\n"
                "To have train split, move its images and masks folders up into dataset.root."
            )
        if split == "test" or (split == "val" and protocol == "published"):
            return self._pairs(folders[held_out[0]])
        kept = 0.0 if protocol == "published" else holdout
        return self._part(self._pairs(folders["train"]), split, (1 - kept, kept, 0.0), split_seed)

    def _existing(self, folders: dict[str, Path], split: str) -> Path:
        if split not in folders:
            raise FileNotFoundError(
                f"{self.root} has no {split} folder, only "
                f"{', '.join(path.name for path in folders.values())}.\n"
                "Add it, or choose a split that exists."
            )
        return folders[split]

    def _pairs(self, folder: Path) -> list[Pair]:
        check_pair_folders(folder)
        images = find_pictures(folder / "images", self.root, follow_links=self._follow_links)
        masks = find_pictures(folder / "masks", self.root, self._suffix, follow_links=self._follow_links)
        if not (images and masks):
            empty = [name for name, found in (("images", images), ("masks", masks)) if not found]
            report_faults(find_no_pictures(folder, empty))
            return []
        return match_pairs(images, masks, folder)


def display_colors(
    classes: Sequence[str],
    colors: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None,
    palette: Sequence[Sequence[int]] | None,
) -> tuple[Color, ...] | None:
    """The colour in which to draw each class: the palette's, else that of the mask files, else None."""
    if palette is None and colors is None:
        return None
    if palette is None:
        shown = [colors[name] for name in classes] if isinstance(colors, Mapping) else list(colors or ())
        palette = shown[-len(classes) :]  # for one class, the first of two colours is the background's
    if len(palette) != len(classes) or any(len(color) != 3 for color in palette):
        raise ValueError(
            f"dataset.palette has {len(palette)} colours; expected an [r, g, b] for each of the {len(classes)} classes."
        )
    return tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
