"""Odd files in a folder: links, pipes, scales, names that look alike, contents that splits share."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from folders import MASK, SPLITS, error_of, fill, read_all, write

from segkit.datasets.common import check_disjoint, fingerprint
from segkit.datasets.folder import Folder


def test_links_stay_inside_of_the_root(three: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = write(tmp_path_factory.mktemp("outside") / "secret.png", np.zeros((6, 8, 3)))
    link = three / "test/images/p07.png"
    link.unlink()
    link.symlink_to(three / "train/images/p00.png")
    assert Folder(three, "test", ["crack"])[0]["image"].max() == 0
    link.unlink()
    link.symlink_to(outside)
    text = error_of(ValueError, three, "test")
    assert f"{link} is a link to {outside}, outside of dataset.root" in text
    link.unlink()
    link.symlink_to(three / "gone.png")
    assert "which does not exist" in error_of(ValueError, three, "test")
    link.unlink()
    (three / "test/images/loop").symlink_to(three / "test/images")
    assert "link to a folder above itself" in error_of(ValueError, three, "test")


def test_links_out_of_a_root_of_ones_own_are_followed(three: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (three / "test/images").rename(elsewhere / "images")
    (three / "test/images").symlink_to(elsewhere / "images")
    text = error_of(ValueError, three, "test")
    assert f"{three / 'test/images'} is a link to {elsewhere / 'images'}, outside of dataset.root" in text
    assert "followed only if your own command line names the root: say dataset.root=…" in text
    data = Folder(three, "test", ["crack"], follow_links=True)
    assert data.names[0] == "test/images/p07.png"
    read_all(data)


def test_a_ring_of_links_is_told(three: Path) -> None:
    for one, other in (("p07", "ring"), ("ring", "p07")):
        (three / f"test/images/{one}.png").unlink(missing_ok=True)
        (three / f"test/images/{one}.png").symlink_to(three / f"test/images/{other}.png")
    text = error_of(ValueError, three, "test", follow_links=True)
    assert "2 links that lead back to themselves:" in text
    assert f"{three / 'test/images/ring.png'} is a link that leads back to itself." in text


def test_a_pipe_called_like_a_picture_is_told(three: Path) -> None:
    os.mkfifo(three / "test/images/pipe.png")
    text = error_of(ValueError, three, "test")
    assert text.startswith(
        f"{three / 'test/images/pipe.png'} is not a regular file.\nIt is a pipe, a socket or a device"
    )


@pytest.mark.parametrize(
    ("image", "mask", "fits"),
    [
        ((449, 800), (375, 667), True),  # 374.6 of 800 ÷ 667, but 668.1 of 449 ÷ 375
        ((375, 667), (449, 800), True),
        ((449, 800), (374, 668), True),
        ((449, 800), (380, 667), False),
        ((449, 800), (375, 660), False),
        ((6, 8), (12, 16), True),
        ((6, 8), (6, 10), False),
    ],
)
def test_a_scale_is_judged_from_both_sides(
    tmp_path: Path, image: tuple[int, int], mask: tuple[int, int], fits: bool
) -> None:
    write(tmp_path / "test/images/a.png", np.zeros((*image, 3)))
    write(tmp_path / "test/masks/a.png", np.zeros(mask))
    if fits:
        assert Folder(tmp_path, "test", resize_masks=True)[0]["mask"].shape == image
        return
    text = error_of(ValueError, tmp_path, "test", resize_masks=True)
    assert f"a.png is {mask[1]}×{mask[0]} but its image " in text
    assert "differ in shape, not only in scale, so dataset.resize_masks=true does not help" in text


def test_names_that_look_alike(tmp_path: Path) -> None:
    fill(tmp_path, 6)
    write(tmp_path / "images" / unicodedata.normalize("NFC", "grün.png"), np.zeros((6, 8, 3)))
    write(tmp_path / "masks" / unicodedata.normalize("NFD", "grün.png"), MASK)  # as macOS writes it
    assert len(Folder(tmp_path, "train", fractions=[1, 0, 0])) == 7
    write(tmp_path / "images" / unicodedata.normalize("NFD", "grün.png"), np.zeros((6, 8, 3)))
    assert "have the same name" in error_of(ValueError, tmp_path)
    (tmp_path / "images" / unicodedata.normalize("NFD", "grün.png")).unlink()
    (tmp_path / "images/p03.png").rename(tmp_path / "images/P03.png")
    text = error_of(ValueError, tmp_path)
    assert f"{tmp_path / 'images/P03.png'} and {tmp_path / 'masks/p03.png'} differ in upper and lower case." in text


def test_tables_in_the_place_of_masks_are_named(tmp_path: Path) -> None:
    fill(tmp_path, 6)
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_suffix(".csv"))
    text = error_of(ValueError, tmp_path)
    assert "its masks folder holds no pictures but p00.csv, p01.csv, p02.csv, p03.csv, p04.csv, …; expected" in text


def test_a_root_may_be_a_link(three: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("links") / "root"
    root.symlink_to(three)
    assert len(Folder(root, "test", ["crack"])) == 3


def test_fingerprints_tell_contents(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path, text in zip(paths, ("x", "y", "x"), strict=True):
        path.write_text(text)
    first, second, third = fingerprint(paths)
    assert first == third != second
    # printf x | b2sum -l 128
    assert first == "442a44457137672b3218c1007dc8f76a"
    paths[2].write_text("changed")
    assert fingerprint(paths)[2] != first


def test_splits_that_share_a_picture(three: Path) -> None:
    (three / "test/images/p09.png").write_bytes((three / "train/images/p02.png").read_bytes())
    with pytest.raises(ValueError) as error:
        check_disjoint(*(Folder(three, split, ["crack"]).files for split in SPLITS))
    text = str(error.value)
    assert text.startswith("train and test share a picture: ")
    assert f"{three / 'train/images/p02.png'} and {three / 'test/images/p09.png'} have the same content" in text
    (three / "test/images/p09.png").write_bytes((three / "valid/images/p05.png").read_bytes())
    with pytest.raises(ValueError, match=r"^val and test share a picture"):
        check_disjoint(*(Folder(three, split, ["crack"]).files for split in SPLITS))


def test_empty_files_are_no_pictures_that_splits_share(three: Path) -> None:
    for path in ("train/images/p02.png", "test/images/p09.png"):
        (three / path).write_bytes(b"")
    check_disjoint(*(Folder(three, split, ["crack"]).files for split in SPLITS))
