"""Any pictures with masks in folders: one class, class indices or colours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from torch.utils.data import Dataset

from segkit.datasets.common import (
    Color,
    Pair,
    Sample,
    Split,
    check_split,
    existing_root,
    matched,
    part,
    pictures,
    read_sample,
)
from segkit.datasets.masks import MaskValues
from segkit.datasets.reading import EXTENSIONS, picture_size


class Folder(Dataset[Sample]):
    """Pairs of pictures and masks of the same name, from one of these layouts below `root`:

    - `{train,val,test}/{images,masks}` (`valid` for `val`): the splits as they are.
    - `train` and one of `val`, `valid` and `test`. With protocol `honest` that one is scored once, as test,
      and the share `holdout` of train, chosen by `split_seed`, is val. With `published` it is both val and
      test: scores of works that had no third part compare to nothing else, and they are optimistic.
    - `images` and `masks`: shared out by `fractions` and `split_seed`.

    Splits depend on the sorted names and on `split_seed` alone. For `threshold`, `colors` and `ignore_values`
    see `MaskValues`; `mask_suffix` is what masks' names have at their end and images' do not, such as
    `_mask`. `palette`: colours to show the classes in. `download`: how to get the data, for the message that
    it is missing.

    Raises FileNotFoundError and ValueError, saying what to do, for what is missing or does not fit together.
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
        resize_masks: bool = False,
        protocol: Literal["honest", "published"] = "honest",
        holdout: float = 0.1,
        fractions: Sequence[float] = (0.7, 0.15, 0.15),
        split_seed: int = 0,
        palette: Sequence[Sequence[int]] | None = None,
        download: str = "",
    ) -> None:
        check_split(split)
        if protocol not in ("honest", "published"):
            raise ValueError(f"dataset.protocol={protocol}; expected honest or published.")
        if not 0 < holdout < 1:
            raise ValueError(f"dataset.holdout={holdout:g}; expected the share of train that becomes val, in (0, 1).")
        self.root = existing_root(root, download)
        self._values = MaskValues(classes, threshold, colors, ignore_values)
        self.classes = tuple(classes)
        self.colors = display_colors(self.classes, colors, palette)
        self._suffix = mask_suffix
        self._resize_masks = resize_masks
        folders = self._split_folders(download)
        held_out = [name for name in ("val", "test") if name in folders]
        self.shared = 0  # pictures of one pair of folders, of which this split has a share
        if not folders:
            pairs = self._pairs(self.root)
            self.files, self.shared = part(pairs, split, fractions, split_seed), len(pairs)
        elif "train" not in folders or len(held_out) == 2:
            self.files = self._pairs(self._existing(folders, split))
        elif not held_out:
            raise FileNotFoundError(
                f"{self.root} has a train folder and nothing to score on; expected val (or valid) or test "
                "beside it.\n"
                "To have it split, move its images and masks folders up into dataset.root."
            )
        elif split == "test" or (split == "val" and protocol == "published"):
            self.files = self._pairs(folders[held_out[0]])
        else:
            kept = 0.0 if protocol == "published" else holdout
            self.files = part(self._pairs(folders["train"]), split, (1 - kept, kept, 0.0), split_seed)
        self.names = [pair.image.relative_to(self.root).as_posix() for pair in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        return read_sample(self.files[index], self.names[index], self._values, self._resize_masks)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a sample, from the header of its image."""
        return picture_size(self.files[index].image)

    def _split_folders(self, download: str) -> dict[str, Path]:
        """The folders of the splits that are there; none where `images` and `masks` are."""
        here = {name: self.root / name for name in ("train", "val", "valid", "test") if (self.root / name).is_dir()}
        if "val" in here and "valid" in here:
            raise ValueError(f"{self.root} has both a val and a valid folder; expected one of them. Remove the other.")
        if "valid" in here:
            here["val"] = here.pop("valid")
        if here and (self.root / "images").is_dir():
            raise ValueError(
                f"{self.root} has an images folder and those of splits ({', '.join(sorted(here))}); "
                "expected either.\n"
                "Remove one of them, or set dataset.root to a folder with one layout."
            )
        if not here and not (self.root / "images").is_dir():
            found = ", ".join(sorted(path.name for path in self.root.iterdir())[:8]) or "nothing"
            raise FileNotFoundError(
                f"dataset.root={self.root} holds {found}; expected train, val (or valid) and test, each "
                "with images and masks in it, or one pair of images and masks.\n"
                f"{download or 'Set dataset.root to their folder.'}"
            )
        return here

    def _existing(self, folders: dict[str, Path], split: str) -> Path:
        if split not in folders:
            raise FileNotFoundError(
                f"{self.root} has no {split} folder, only "
                f"{', '.join(path.name for path in folders.values())}.\n"
                "Add it, or ask for a split that is there."
            )
        return folders[split]

    def _pairs(self, folder: Path) -> list[Pair]:
        for name in ("images", "masks"):
            if not (folder / name).is_dir():
                raise FileNotFoundError(f"{folder} has no {name} folder; expected images and masks in it. Add it.")
        images = pictures(folder / "images", self.root)
        pairs = matched(images, pictures(folder / "masks", self.root, self._suffix), folder)
        if not pairs:
            raise ValueError(
                f"{folder}: its images and masks folders hold no pictures; expected files ending in "
                f"{' '.join(sorted(EXTENSIONS))}.\n"
                "Add some, or convert those that are there."
            )
        return pairs


def display_colors(
    classes: Sequence[str],
    colors: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None,
    palette: Sequence[Sequence[int]] | None,
) -> tuple[Color, ...] | None:
    """The colour to show each class in: the palette's, else that of the mask files, else None."""
    if palette is None and colors is None:
        return None
    if palette is None:
        shown = [colors[name] for name in classes] if isinstance(colors, Mapping) else list(colors or ())
        palette = shown[-len(classes) :]  # of one class, the first of the two colours is the background's
    if len(palette) != len(classes) or any(len(color) != 3 for color in palette):
        raise ValueError(
            f"dataset.palette has {len(palette)} colours; expected an [r, g, b] for each of the {len(classes)} classes."
        )
    return tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
