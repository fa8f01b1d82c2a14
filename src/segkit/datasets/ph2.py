"""PH²: 200 dermoscopic pictures of lesions with their masks (Mendonça et al., EMBC 2013)."""

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import Dataset

from segkit.configs.places import find_root
from segkit.datasets.common import Split, check_split, read_sample, select_split
from segkit.datasets.findings import gather_findings
from segkit.datasets.listing import Pair, find_pictures, match_pairs
from segkit.datasets.masks import MaskValues
from segkit.datasets.reading import picture_size
from segkit.datasets.source import Sample


class PH2(Dataset[Sample]):
    """PH² as distributed:
    `PH2 Dataset images/IMD002/{IMD002_Dermoscopic_Image/IMD002.bmp, IMD002_lesion/IMD002_lesion.bmp}`.

    `root` is the folder `PH2 Dataset images` or the one above it. The set has no splits of its own:
    `fractions`, by default the published 100/50/50, and `split_seed` make them. A mask pixel above
    `threshold` is lesion. If a converted copy, such as a `.jpg`, lies beside a `.bmp`, the `.bmp` is read.
    `follow_links`: as in `Folder`.

    Raises FileNotFoundError and ValueError, saying what to do, if files are missing or do not match.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split,
        classes: Sequence[str] = ("lesion",),
        *,
        threshold: float = 127,
        resize_masks: bool = False,
        fractions: Sequence[float] = (0.5, 0.25, 0.25),
        split_seed: int = 0,
        download: str = "",
        follow_links: bool = False,
    ) -> None:
        check_split(split)
        self.root = find_root(root, download)
        self.mask_values = MaskValues(classes, threshold)
        self.classes = tuple(classes)
        if len(self.classes) != 1:
            raise ValueError(f"dataset.classes is {list(classes)}; expected one name: PH2's masks show one class.")
        self._resize_masks, self._follow_links = resize_masks, follow_links
        with gather_findings():
            self.files = select_split(self._pairs(download), split, fractions, split_seed)
        self.names = [pair.image.relative_to(self.root).as_posix() for pair in self.files]
        self.groups = [pair.image.stem for pair in self.files]  # the case

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        return read_sample(self.files[index], self.names[index], self.mask_values, self._resize_masks)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a sample, from the header of its image."""
        return picture_size(self.files[index].image)

    def _pairs(self, download: str) -> list[Pair]:
        inner = self.root / "PH2 Dataset images"
        folder = inner if inner.is_dir() else self.root
        cases = sorted(path.name for path in folder.iterdir() if path.name.startswith("IMD") and path.is_dir())
        if not cases:
            found = ", ".join(sorted(path.name for path in self.root.iterdir())[:8]) or "nothing"
            raise FileNotFoundError(
                f"dataset.root={self.root} holds {found}; expected `PH2 Dataset images` with a folder for "
                "each case (IMD002, IMD003, …) in it, or these folders.\n"
                f"{download}"
            )
        images = {case: path for case in cases for path in self._pictures(folder, case, "Dermoscopic_Image", "")}
        masks = {case: path for case in cases for path in self._pictures(folder, case, "lesion", "_lesion")}
        return match_pairs(images, masks, folder)

    def _pictures(self, folder: Path, case: str, kind: str, suffix: str) -> list[Path]:
        """A case's picture of one kind, if there is one."""
        place = folder / case / f"{case}_{kind}"
        if not place.is_dir():
            return []
        found = find_pictures(place, self.root, suffix, follow_links=self._follow_links, preferred=".bmp")
        return [path for key, path in found.items() if key == case]
