"""Twins: each kind by a case made by hand, and what looks alike without being one."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segkit.datasets.checking import alignment, sieve
from segkit.datasets.checking.duplicates import Duplicates, find_duplicates
from segkit.datasets.reading import read_picture

Picture = NDArray[np.uint8]


def draw(seed: int, height: int = 160, width: int = 200) -> Picture:
    """Blots of several sizes, as unlike each other as photographs of different places."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for side, strength in ((4, 30), (12, 25), (40, 20)):
        coarse = rng.normal(0, strength, (side, side, 3)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(total + 120, 0, 255), np.uint8)


def save(path: Path, picture: NDArray[np.generic], quality: int = 95) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path


@pytest.fixture
def others(tmp_path: Path) -> list[Path]:
    return [save(tmp_path / f"others/{seed}.png", draw(seed)) for seed in range(1, 6)]


def kinds(found: Duplicates) -> dict[tuple[str, str], str]:
    return {(twin.first.name, twin.second.name): twin.kind for twin in found.twins}


def twins_of(
    tmp_path: Path, copy: NDArray[np.generic], name: str = "b.png", quality: int = 95
) -> dict[tuple[str, str], str]:
    """Of a drawn picture and what was made of it."""
    return kinds(find_duplicates([save(tmp_path / "a.png", draw(0)), save(tmp_path / name, copy, quality)]))


def brighten(picture: NDArray[np.generic], factor: float) -> Picture:
    return np.asarray(np.clip(np.multiply(picture, factor), 0, 255), np.uint8)


WAYS: dict[str, tuple[str, Callable[[Picture], NDArray[np.generic]]]] = {
    "left to right": ("mirrored", lambda picture: picture[:, ::-1]),
    "upside down": ("mirrored", lambda picture: picture[::-1]),
    "a quarter, mirrored": ("mirrored", lambda picture: picture.swapaxes(0, 1)),
    "a quarter": ("turned", lambda picture: np.rot90(picture)),
    "a half": ("turned", lambda picture: np.rot90(picture, 2)),
    "three quarters": ("turned", lambda picture: np.rot90(picture, 3)),
    "40 % brighter": ("brighter or darker", lambda picture: brighten(picture, 1.4)),
    "40 % darker": ("brighter or darker", lambda picture: brighten(picture, 0.6)),
    "another curve": ("brighter or darker", lambda picture: brighten(255 * (picture / 255.0) ** 1.5, 1)),
    "top left": ("cropped", lambda picture: picture[:128, :160]),
    "bottom right": ("cropped", lambda picture: picture[32:, 40:]),
    "somewhere, and enlarged": ("cropped", lambda picture: cv2.resize(picture[11:139, 23:183], (200, 160))),
    "half its size": ("re-encoded", lambda picture: cv2.resize(picture, (100, 80), interpolation=cv2.INTER_AREA)),
    "grey": ("re-encoded", lambda picture: cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_copy_is_a_twin_of_its_kind(tmp_path: Path, others: list[Path], way: str) -> None:
    kind, change = WAYS[way]
    files = [save(tmp_path / "a.png", draw(0)), save(tmp_path / "b.png", change(draw(0))), *others]
    assert kinds(find_duplicates(files)) == {("a.png", "b.png"): kind}


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_a_re_encoded_copy(tmp_path: Path, quality: int) -> None:
    assert twins_of(tmp_path, draw(0), "b.jpg", quality) == {("a.png", "b.jpg"): "re-encoded"}


def test_the_same_bytes_and_the_same_pixels(tmp_path: Path) -> None:
    first = save(tmp_path / "a.png", draw(0))
    copy = tmp_path / "b.png"
    copy.write_bytes(first.read_bytes())
    found = find_duplicates([first, copy, save(tmp_path / "c.bmp", draw(0))])
    assert kinds(found) == {("a.png", "b.png"): "same bytes", ("a.png", "c.bmp"): "same pixels"}
    assert [twin.score for twin in found.twins] == [1, 1]


def test_16_bits(tmp_path: Path) -> None:
    assert twins_of(tmp_path, draw(0).astype(np.uint16) * 257) == {("a.png", "b.png"): "same pixels"}
    dim = draw(0).astype(np.uint16) * 154  # 0.6 · 257
    assert twins_of(tmp_path, dim, "c.png") == {("a.png", "c.png"): "brighter or darker"}


def test_exposures_of_one_piece_are_all_found(tmp_path: Path, others: list[Path]) -> None:
    rng = np.random.default_rng(0)
    exposures = [
        brighten(draw(0), factor) + rng.integers(0, 5, draw(0).shape, dtype=np.uint8) for factor in (0.5, 0.7, 0.9)
    ]
    files = [save(tmp_path / f"piece/{number}.png", one) for number, one in enumerate(exposures)]
    assert set(kinds(find_duplicates([*files, *others]))) == {
        ("0.png", "1.png"),
        ("0.png", "2.png"),
        ("1.png", "2.png"),
    }


def test_other_pictures_are_no_twins(others: list[Path]) -> None:
    assert find_duplicates(others) == Duplicates((), {})


def test_a_frame_in_which_something_moved_is_no_twin(tmp_path: Path) -> None:
    frame = draw(0)
    frame[60:90, 30:50] = draw(9)[60:90, 30:50]
    assert twins_of(tmp_path, frame) == {}


def test_crops_of_one_photograph_that_overlap_are_no_twins(tmp_path: Path) -> None:
    photo = draw(0, 200, 240)
    files = [save(tmp_path / f"{left}.png", photo[20:180, left : left + 200]) for left in (0, 40)]
    assert find_duplicates(files).twins == ()


def test_a_crop_is_of_the_picture_that_it_fits_best_and_overlaps_with_others_that_hold_it(tmp_path: Path) -> None:
    """Of two crops of one photograph that overlap, too: either may be in another split."""
    photo = draw(0, 200, 240)
    save(tmp_path / "a.png", photo[20:180, :200])
    save(tmp_path / "b.png", photo[20:180, 24:224])
    save(tmp_path / "c.png", photo[40:168, 30:190])
    assert kinds(find_duplicates(tmp_path.iterdir())) == {
        ("a.png", "c.png"): "cropped",
        ("b.png", "c.png"): "overlapping",
    }


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_pictures_are_twins_of_identical_ones_alone(tmp_path: Path, level: int) -> None:
    rng = np.random.default_rng(0)
    blank = np.full((64, 64, 3), level, np.uint8)
    files = [save(tmp_path / f"{name}.png", blank) for name in "ab"]
    for number in range(3):  # a camera's noise
        noise = rng.normal(0, 1, blank.shape)
        files.append(save(tmp_path / f"{number}.png", np.clip(blank + noise, 0, 255).astype(np.uint8)))
    assert kinds(find_duplicates(files)) == {("a.png", "b.png"): "same bytes"}


def test_one_spot_on_an_even_ground_is_too_little_to_accuse(tmp_path: Path) -> None:
    for number in range(4):
        ground = np.full((128, 128, 3), 120 + number, np.uint8)
        save(tmp_path / f"{number}.png", cv2.circle(ground, (64, 64), 8, (20, 20, 20), -1))
    assert find_duplicates(tmp_path.iterdir()).twins == ()


def test_tiny_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        save(tmp_path / f"{number}.png", rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    (tmp_path / "6.png").write_bytes((tmp_path / "3.png").read_bytes())
    save(tmp_path / "7.png", rng.integers(0, 256, (1, 1, 3), dtype=np.uint8))
    save(tmp_path / "8.png", rng.integers(0, 256, (1, 300, 3), dtype=np.uint8))
    assert kinds(find_duplicates(tmp_path.iterdir())) == {("3.png", "6.png"): "same bytes"}


def test_one_picture_and_none(tmp_path: Path) -> None:
    assert find_duplicates([]) == Duplicates((), {})
    assert find_duplicates([save(tmp_path / "a.png", draw(0))] * 2) == Duplicates((), {})


def test_files_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    files = [save(tmp_path / name, draw(0)) for name in ("a.png", "b.bmp")]
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    found = find_duplicates([*files, tmp_path / "empty.png", tmp_path / "text.png", tmp_path / "none.png"])
    assert kinds(found) == {("a.png", "b.bmp"): "same pixels"}
    reasons = {path.name: str(reason) for path, reason in found.unreadable.items()}
    assert set(reasons) == {"empty.png", "text.png", "none.png"}
    assert "is empty (0 bytes)" in reasons["empty.png"]
    assert "neither Pillow nor OpenCV knows the format" in reasons["text.png"]
    assert "No such file" in reasons["none.png"]


def test_the_order_of_files_does_not_matter(tmp_path: Path, others: list[Path]) -> None:
    files = [
        *others,
        *(save(tmp_path / f"{number}.png", change(draw(0))) for number, (_, change) in enumerate(WAYS.values())),
    ]
    found = find_duplicates(files)
    assert len(found.twins) >= len(WAYS) - 1
    assert find_duplicates(reversed(files)) == found == find_duplicates(files)


def test_a_reader_of_ones_own_gets_each_file_once(tmp_path: Path, others: list[Path]) -> None:
    read: list[Path] = []

    def reader(path: Path, data: bytes) -> Picture:
        read.append(path)
        return read_picture(path, data)[:, ::-1]

    assert find_duplicates(others, reader).twins == ()
    assert sorted(read) == others


def test_descriptors_by_hand() -> None:
    """One cosine down the picture: all of its length lies in that wave, and a turned picture has it across."""
    down = np.cos(np.pi * 2 * (np.arange(sieve.FINE) + 0.5) / sieve.FINE)
    wave = np.repeat(down[:, None], sieve.FINE, 1).astype(np.float32)[None]
    described = np.append(0, sieve.describe(wave)).reshape(sieve.WAVES, sieve.WAVES)
    assert described[2, 0] == pytest.approx(1, abs=1e-3)
    across = np.append(0, sieve.describe(sieve.turned(wave, 1))).reshape(sieve.WAVES, sieve.WAVES)
    assert abs(across[0, 2]) == pytest.approx(1, abs=1e-3)


def test_blocks_propose_what_one_product_does(monkeypatch: pytest.MonkeyPatch) -> None:
    textures = np.random.default_rng(0).normal(size=(30, sieve.FINE, sieve.FINE)).astype(np.float32)
    textures[7], textures[21] = textures[3], sieve.turned(textures[12], 5)
    whole = sieve.same_size(textures, 0.05, 3)
    monkeypatch.setattr(sieve, "ROWS", 7)
    monkeypatch.setattr(sieve, "COLUMNS", 4)
    in_blocks = sieve.same_size(textures, 0.05, 3)
    assert [one[1:] for one in in_blocks] == [one[1:] for one in whole]
    assert {one[1:3] for one in whole[:2]} <= {(3, 7), (7, 3), (12, 21), (21, 12)}


def test_a_window_is_found_where_it_was_cut() -> None:
    whole = cv2.resize(cv2.cvtColor(draw(0), cv2.COLOR_BGR2GRAY).astype(np.float32), (96, 96))
    part = cv2.resize(whole[10:87, 14:91], (96, 96))  # 77 pixels of 96
    fit = alignment.fit_window(np.asarray(part), np.asarray(whole), sieve.Window(0.1, 0.1, 0.78, 0.78), 0.5)
    assert fit is not None
    assert fit.window == pytest.approx((10 / 96, 14 / 96, 77 / 96, 77 / 96), abs=0.01)
    assert fit.agreement > 0.95
