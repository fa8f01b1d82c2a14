"""Any pictures and masks in folders: masks of one class, class indices or colours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from torch.utils.data import Dataset

from segkit.configs.places import find_root
from segkit.datasets.common import Split, check_split, read_sample, select_split
from segkit.datasets.findings import gather_findings
from segkit.datasets.grouping import check_several, groups_of
from segkit.datasets.layouts.choosing import Given
from segkit.datasets.layouts.layout import read_layout
from segkit.datasets.listing import Pair
from segkit.datasets.masks import MaskValues
from segkit.datasets.reading import picture_size
from segkit.datasets.source import Color, Sample
from segkit.datasets.splitting import pick_named
from segkit.datasets.strata import read_strata


class Folder(Dataset[Sample]):
    """Pictures with their masks, from folders below `root` whose names say what they are (see `layout`):

    - Folders of three splits, such as `{train,val,test}/{images,masks}`: the splits as they are.
    - Folders of train and one of val and test. With protocol `honest`, the latter is scored once, as test,
      and the share `holdout` of train, chosen by `split_seed`, is val. With `published` it is both val and
      test: the scores are optimistic, but only they compare with published work that had no third split.
    - No splits, such as `images` and `masks`: divided by `fractions` and `split_seed`.

    Splits depend on the sorted names and on `split_seed` alone. What the names leave open, these say: `images` and
    `masks`, folders below `root`, in which `{split}` stands for the name of a split and `*` for any name;
    `image_pattern` and `mask_pattern`, patterns of files' names in which one `*` is what a picture and its mask share;
    `pairs`, a file with a line for each picture and its mask (see `pairs_file`). `mask_suffix`: the end of masks' names
    that images' names lack, such as `_mask`. `ignore_masks`: a folder, or a pattern of names, of masks of the field of
    view: what is black in them is ignored. `only_masked`: leave out pictures without a mask.

    For `threshold`, `colors` and `ignore_values` see `MaskValues`. `groups`: a regular expression that finds a
    picture's photograph, patient or video in its path below `root`, or a level of folders (see `groups_of`), in place
    of the groups in `pairs`; pictures of one group stay together when a folder is split, and the report does not treat
    them as independent. `stratify`: when a folder is split, exchange groups until classes have similar shares in all
    splits (see `strata.balance`), for which all masks are read. `split_file`: which picture is in which split (see
    `pick_named`), whatever folders they lie in. `palette`: the colours in which the classes are drawn. `download`: how
    to get the data, for the message that it is missing. `follow_links`: follow links out of `root`, too; only for a
    root that the user has named.

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
        images: str | None = None,
        masks: str | None = None,
        image_pattern: str | None = None,
        mask_pattern: str | None = None,
        pairs: str | None = None,
        ignore_masks: str | None = None,
        mask_suffix: str = "",
        only_masked: bool = False,
        groups: str | None = None,
        stratify: bool = False,
        split_file: str | Path | None = None,
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
        self.mask_values = MaskValues(classes, threshold, colors, ignore_values)
        self.classes = tuple(classes)
        self.colors = display_colors(self.classes, colors, palette)
        self._grouping, self._stratify, self._resize_masks = groups, stratify, resize_masks
        self._split_file = Path(split_file).expanduser() if split_file is not None else None
        self.shared = 0  # number of pictures of which this split is a share, if a folder is split
        given = Given(images, masks, pairs, image_pattern, mask_pattern, mask_suffix, ignore_masks, only_masked)
        with gather_findings():
            self._layout = read_layout(self.root, given, follow_links, download)
            self.files = self._files(split, protocol, holdout, fractions, split_seed)
            fields = self._layout.find_fields()
        self.reading = self._layout.reading
        self.names = [self._name(pair) for pair in self.files]
        self.groups = self._groups(self.files)
        self.ignore_files = [fields[pair.image] for pair in self.files] if fields else []

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        field = self.ignore_files[index] if self.ignore_files else None
        return read_sample(self.files[index], self.names[index], self.mask_values, self._resize_masks, field)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a sample, from the header of its image."""
        return picture_size(self.files[index].image)

    def _name(self, pair: Pair) -> str:
        return pair.image.relative_to(self.root).as_posix()

    def _groups(self, pairs: Sequence[Pair]) -> list[str]:
        """The group of each picture, by the pattern or else by the file of pairs."""
        if self._grouping is None and self._layout.groups:
            return [self._layout.groups[pair.image] for pair in pairs]
        return groups_of([self._name(pair) for pair in pairs], self._grouping)

    def _files(
        self, split: Split, protocol: str, holdout: float, fractions: Sequence[float], split_seed: int
    ) -> list[Pair]:
        """The pairs of a split."""
        if self._split_file is not None:
            pairs = [pair for list_pairs in self._layout.splits.values() for pair in list_pairs()]
            return [pairs[at] for at in pick_named([self._name(pair) for pair in pairs], split, self._split_file)]
        part, is_share = self._layout.find_part(split, protocol)
        pairs = self._layout.splits[part]()
        if not is_share:
            return pairs
        if part == "":
            self.shared = len(pairs)
        else:
            kept = 0.0 if protocol == "published" else holdout
            fractions = (1 - kept, kept, 0.0)
        groups = self._groups(pairs)
        check_several([self._name(pair) for pair in pairs], groups, self._grouping)
        strata = read_strata([pair.mask for pair in pairs], self.mask_values) if self._stratify else ()
        return select_split(pairs, split, fractions, split_seed, groups, strata)


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
