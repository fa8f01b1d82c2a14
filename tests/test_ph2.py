"""PH² in its real layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.datasets.common import Split, check_disjoint
from segkit.datasets.ph2 import PH2

DATA = Path(__file__).parents[2] / "shared" / "data" / "PH2Dataset"
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def case_files(root: Path, number: int) -> tuple[Path, Path]:
    name = f"IMD{number:03}"
    folder = root / "PH2 Dataset images" / name
    return folder / f"{name}_Dermoscopic_Image/{name}.bmp", folder / f"{name}_lesion/{name}_lesion.bmp"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve cases, one mask of 1 bit and one in RGB, with the folders and tables beside them."""
    for number in range(1, 13):
        image, mask = case_files(tmp_path, number)
        image.parent.mkdir(parents=True)
        mask.parent.mkdir()
        Image.fromarray(np.full((6, 8, 3), number, np.uint8)).save(image)
        lesion = np.zeros((6, 8), bool)
        lesion[2:4, 1 : 1 + number % 6 + 1] = True
        drawn: Any = lesion if number == 1 else lesion.astype(np.uint8) * 255
        Image.fromarray(np.dstack([drawn] * 3) if number == 2 else drawn).save(mask)
        extra = image.parents[1] / f"IMD{number:03}_roi"
        extra.mkdir()
        (extra / f"IMD{number:03}_R1_Label1.bmp").write_bytes(b"not read")
    (tmp_path / "PH2_dataset.txt").write_text("a table")
    return tmp_path


def every(root: Path, **settings: Any) -> PH2:
    return PH2(root, "train", fractions=[1, 0, 0], **settings)


def test_samples(root: Path) -> None:
    data = every(root)
    assert data.classes == ("lesion",)
    assert len(data) == 12
    assert data.names[0] == "PH2 Dataset images/IMD001/IMD001_Dermoscopic_Image/IMD001.bmp"
    assert data.groups[:2] == ["IMD001", "IMD002"]
    for index in range(12):
        sample = data[index]
        assert sample["image"].unique().tolist() == [index + 1]
        assert sample["mask"].sum() == 2 * ((index + 1) % 6 + 1)
        assert sample["mask"].max() == 1
        assert data.shape(index) == (6, 8)


def test_the_root_may_be_the_inner_folder(root: Path) -> None:
    inner = every(root / "PH2 Dataset images")
    assert inner.names[0] == "IMD001/IMD001_Dermoscopic_Image/IMD001.bmp"
    assert [pair.image.name for pair in inner.files] == [pair.image.name for pair in every(root).files]


def test_the_split_is_half_a_quarter_a_quarter(root: Path) -> None:
    data = [PH2(root, split) for split in SPLITS]
    assert [len(part) for part in data] == [6, 3, 3]
    check_disjoint(*(source.files for source in data))
    assert PH2(root, "test", split_seed=1).names != data[2].names


def test_a_missing_root_and_another_layout(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; expected the folder(.|\n)*Ask for it"):
        PH2(root / "nowhere", "train", download="Ask for it.")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds nothing; expected `PH2 Dataset images`(.|\n)*Ask for it"):
        PH2(tmp_path / "empty", "train", download="Ask for it.")


def test_missing_partners_are_named(root: Path) -> None:
    case_files(root, 3)[1].unlink()
    case_files(root, 5)[0].unlink()
    with pytest.raises(ValueError) as error:
        every(root)
    text = str(error.value)
    assert "1 image without a mask:" in text
    assert "IMD003.bmp has no mask." in text
    assert "1 mask without an image:" in text
    assert "IMD005_lesion.bmp has no image." in text


def test_sizes_that_differ(root: Path) -> None:
    Image.fromarray(np.zeros((6, 7), np.uint8)).save(case_files(root, 4)[1])
    with pytest.raises(ValueError, match=r"IMD004_lesion\.bmp is 7×6 but its image .*IMD004\.bmp is 8×6\.\n"):
        every(root)[3]
    Image.fromarray(np.full((12, 16), 255, np.uint8)).save(case_files(root, 4)[1])
    assert every(root, resize_masks=True)[3]["mask"].shape == (6, 8)


def test_it_has_one_class(root: Path) -> None:
    with pytest.raises(ValueError, match=r"\['skin', 'lesion'\]; expected one name"):
        every(root, classes=["skin", "lesion"])


@pytest.mark.real_data
def test_real_ph2() -> None:
    if not DATA.is_dir():
        pytest.skip("no data in ../shared/data/PH2Dataset")
    data = [PH2(DATA, split) for split in SPLITS]
    assert [len(part) for part in data] == [100, 50, 50]
    check_disjoint(*(source.files for source in data))
    lesion = 0.0
    for part in data:
        for index in range(len(part)):
            sample = part[index]
            assert sample["mask"].shape == sample["image"].shape[1:] == (192, 256)
            assert set(sample["mask"].unique().tolist()) <= {0, 1}
            lesion += sample["mask"].float().mean().item() / 200
    assert 0.3 < lesion < 0.35
