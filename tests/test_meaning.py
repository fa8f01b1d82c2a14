"""What mask files hold, and the settings that are proposed for them."""

import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.configs.composing import compose, to_plain
from segkit.datasets.findings import DataError, Finding, format_findings
from segkit.datasets.folder import Folder
from segkit.datasets.masks import MaskValues
from segkit.datasets.meaning import MaskMeaning, describe_masks
from segkit.datasets.remedies import settings_for_colors, settings_for_unknown, settings_for_values

DATA = Path(__file__).parents[2] / "shared" / "data"
BITS = np.zeros((24, 32), np.uint8)
BITS[4:16, 6:20] = 1
STEPS = BITS + np.roll(BITS, 8, 1)  # 0, 1 and 2, each an area
SOFT = np.asarray(Image.fromarray(BITS * 255).resize((96, 72), Image.Resampling.BILINEAR))
RED, WHITE, SKY = (255, 0, 0), (255, 255, 255), (128, 128, 128)


def colored(numbers: Any, *colors: Sequence[int]) -> Any:
    return np.array(colors, np.uint8)[numbers]


def palette(numbers: Any, *colors: Sequence[int]) -> Image.Image:
    image = Image.fromarray(numbers, "P")
    image.putpalette([value for color in colors for value in color])
    return image


def meaning(
    folder: Path, *masks: Any, classes: Sequence[str] = ("crack",), end: str = "png", **more: Any
) -> MaskMeaning:
    files = []
    for number, mask in enumerate(masks):
        files.append(folder / f"{number}.{end}")
        image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        image.save(files[-1])
    return describe_masks(files, MaskValues(classes, **more))


ONE_CLASS = {
    "0 and 1": (BITS, "0 and 1", "dataset.threshold=0"),
    "0 and 255": (BITS * 255, "0 and 255", ""),
    "0 and 90": (BITS * 90, "0 and 90", "dataset.threshold=0"),
    "16 bits of 0 and 1": (BITS.astype(np.uint16), "0 and 1 of 16 bits", "dataset.threshold=0"),
    "16 bits of 0 and 65535": (BITS.astype(np.uint16) * 65535, "0 and 65535 of 16 bits", ""),
    "soft edges": (SOFT, "0 to 255 with soft edges", ""),
    "faint soft edges": (SOFT // 3, "0 to 85 with soft edges", "dataset.threshold=42"),
    "three channels": (colored(BITS, (0, 0, 0), WHITE), "0 and 255 in three channels", ""),
    "opaque": (colored(BITS, (0, 0, 0, 255), (255, 255, 255, 255)), "0 and 255 in three channels", ""),
    "numbers": (STEPS, "numbers of classes", "'dataset.classes=[background,class1,class2]'"),
    "a number and 255": (
        np.where(STEPS == 2, 255, STEPS).astype(np.uint8),
        "numbers of classes",
        "dataset.threshold=0 'dataset.ignore_values=[255]'",
    ),
    "shades": (
        STEPS * 127,
        "several shades",
        "'dataset.classes=[background,class1,class2]' "
        "'dataset.colors={background: [0, 0, 0], class1: [127, 127, 127], class2: [254, 254, 254]}'",
    ),
    "two colours": (
        colored(BITS, (0, 0, 0), RED),
        "colours",
        "'dataset.colors={background: [0, 0, 0], crack: [255, 0, 0]}'",
    ),
    "colours with alpha": (
        colored(BITS, (0, 0, 0, 255), (*RED, 255)),
        "colours",
        "'dataset.colors={background: [0, 0, 0], crack: [255, 0, 0]}'",
    ),
    "three colours": (
        colored(STEPS, (0, 0, 0), RED, WHITE),
        "colours",
        "'dataset.classes=[background,class1,class2]' "
        "'dataset.colors={background: [0, 0, 0], class1: [255, 0, 0], class2: [255, 255, 255]}'",
    ),
    "palette of greys": (palette(BITS, (0, 0, 0), WHITE), "0 and 255", ""),
    "palette in colour": (
        palette(BITS, (0, 0, 0), (128, 0, 0)),
        "numbers 0, 1 of a palette in colour",
        "'dataset.colors={background: [0, 0, 0], crack: [128, 0, 0]}'",
    ),
    "palette with the colour of what does not count": (
        palette(STEPS, (0, 0, 0), (128, 0, 0), (224, 224, 192)),
        "numbers 0, 1, 2 of a palette in colour",
        "'dataset.colors={background: [0, 0, 0], crack: [128, 0, 0], ignore: [224, 224, 192]}'",
    ),
}


@pytest.mark.parametrize("name", ONE_CLASS)
def test_masks_of_one_class(name: str, tmp_path: Path) -> None:
    mask, kind, settings = ONE_CLASS[name]
    found = meaning(tmp_path, mask, mask)
    assert found.kinds == {kind: 2}
    assert found.settings == settings
    assert found.fits == (settings == "")
    assert settings in found.remedy
    assert (found.remedy == "") == (settings == "")


@pytest.mark.parametrize("name", [name for name, (_, _, settings) in ONE_CLASS.items() if settings])
def test_what_is_proposed_fits(name: str, tmp_path: Path) -> None:
    mask, _, settings = ONE_CLASS[name]
    chosen = to_plain(compose("dataset=folder", "dataset.root=x", "dataset.classes=[crack]", *shlex.split(settings)))
    keys = ("classes", "threshold", "colors", "ignore_values")
    again = meaning(tmp_path, mask, mask, **{key: chosen["dataset"][key] for key in keys})
    assert (again.fits, again.settings) == (True, "")


def test_jpeg_masks_are_black_and_white_or_have_to_be_exported_again(tmp_path: Path) -> None:
    found = meaning(tmp_path, BITS * 255, end="jpg")
    assert (found.kinds, found.fits) == ({"black and white, compressed with loss": 1}, True)
    found = meaning(tmp_path, colored(BITS, (0, 0, 0), RED), end="jpg")
    assert found.kinds == {"colours, compressed with loss": 1}
    assert "export them again as PNG" in found.remedy
    found = meaning(tmp_path, BITS * 255, end="jpg", classes=["background", "crack"])
    assert found.settings == ""
    assert "export the masks again as PNG" in found.remedy


def test_masks_of_several_classes(tmp_path: Path) -> None:
    three = ["background", "a", "b"]
    assert meaning(tmp_path, STEPS, classes=three).fits
    assert meaning(tmp_path, np.where(STEPS == 2, 255, STEPS).astype(np.uint8), classes=three).fits
    assert meaning(tmp_path, palette(STEPS, (0, 0, 0), RED, WHITE), classes=three).fits
    found = meaning(tmp_path, BITS * 255, classes=three)
    assert (found.fits, found.misread, found.settings) == (False, True, "'dataset.classes=[a]'")
    found = meaning(tmp_path, STEPS * 2, classes=three)
    assert "'dataset.ignore_values=[4]' (these pixels are ignored)" in found.remedy
    assert "'dataset.classes=[background,a,b,class3,class4]' (they are named)" in found.remedy
    found = meaning(tmp_path, STEPS, classes=["a", "b"])
    assert "'dataset.classes=[background,a,b]' (they are named)" in found.remedy
    found = meaning(tmp_path, STEPS + 1, classes=["background", "a", "b"])  # 1 to 3: no name of them is that of 3
    assert found.settings == "'dataset.classes=[class0,background,a,b]' (no mask holds 0: the names begin at 1)"
    assert "ignore" not in found.remedy
    found = meaning(tmp_path, STEPS + 1, classes=["a", "b", "c"])
    assert found.settings.startswith("'dataset.classes=[background,a,b,c]' (no mask holds 0")
    found = meaning(tmp_path, colored(STEPS, (0, 0, 0), RED, SKY), classes=three)
    assert found.settings == "'dataset.colors={background: [0, 0, 0], a: [255, 0, 0], b: [128, 128, 128]}'"
    known = {"background": (0, 0, 0), "a": RED, "b": SKY}
    found = meaning(tmp_path, colored(STEPS, (0, 0, 0), RED, WHITE), classes=three, colors=known)
    assert found.settings.endswith("b: [128, 128, 128], ignore: [255, 255, 255]}'")


def test_of_two_values_without_0_the_lower_is_background(tmp_path: Path) -> None:
    assert meaning(tmp_path, BITS + 1).settings == "dataset.threshold=1"
    assert meaning(tmp_path, BITS * 2).settings == "dataset.threshold=0"


def test_values_of_all_masks_count(tmp_path: Path) -> None:
    found = meaning(tmp_path, BITS, BITS * 3, BITS * 2)
    assert found.settings == "'dataset.classes=[background,class1,class2,class3]'"
    assert [*found.values] == [0, 1, 2, 3]
    found = meaning(tmp_path, BITS * 0, BITS, BITS)
    assert found.sentence == "3 masks: 2 hold 0 and 1, 1 holds 0 alone"


def test_a_sample_is_spread_over_all_and_bad_files_are_counted(tmp_path: Path) -> None:
    files = [tmp_path / f"{number:03}.png" for number in range(200)]
    for number, path in enumerate(files):
        Image.fromarray(BITS * (255 if number < 100 else 1)).save(path)
    found = describe_masks(files, MaskValues(["crack"]), 10)
    assert (found.masks, found.read, found.kinds) == (200, 10, {"0 and 255": 5, "0 and 1": 5})
    assert found.sentence.startswith("10 of 200 masks read: ")
    files[0].write_bytes(b"no picture")
    transparent = np.dstack([BITS * 0 + 255] * 3 + [BITS * 255])
    Image.fromarray(transparent).save(files[1])
    found = describe_masks(files[:3], MaskValues(["crack"]))
    assert found.kinds == {"nothing that can be read": 1, "an alpha channel alone": 1, "0 and 255": 1}
    assert describe_masks([], MaskValues(["crack"])) == MaskMeaning(0, 0, {}, (), True)


def test_errors_of_all_files_give_one_line(tmp_path: Path) -> None:
    findings: list[Finding] = []
    for number in (1, 2, 3):
        file = io.BytesIO()
        Image.fromarray(BITS * number).save(file, "PNG")
        with pytest.raises(DataError) as error:
            MaskValues(["crack"]).read(Path(f"{number}.png"), file.getvalue())
        findings += error.value.findings
    text = format_findings(findings)
    assert text.count("If that is meant, type") == 1
    assert "'dataset.classes=[background,class1,class2,class3]'" in text


def test_what_cannot_be_proposed() -> None:
    assert settings_for_values([0, 1000, 2000], ["crack"]) == ""
    assert settings_for_values([0, 0.5], ["crack"]) == "dataset.threshold=0"
    assert settings_for_values([0, 1], ["a", "b"]) == ""
    assert settings_for_colors([(1, 2, 3)], ["crack"]) == ""
    assert settings_for_colors([(1, 2, number) for number in range(50)], ["crack"]) == ""
    assert settings_for_unknown([RED, WHITE], ["crack"], {"background": (0, 0, 0), "crack": SKY}) == ""
    more = settings_for_unknown([RED, WHITE], ["a", "b"], {"a": (0, 0, 0), "b": SKY})
    assert more.startswith("'dataset.classes=[a,b,class2,class3]' 'dataset.colors={a: [0, 0, 0], ")


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["crack", "deepcrack"])
def test_real_jpeg_masks(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is missing")
    data = Folder(DATA / name, "train", ["crack"])
    found = describe_masks([pair.mask for pair in data.files], data.mask_values)
    assert found.fits
    assert set(found.kinds) <= {"black and white, compressed with loss", "shades of grey, compressed with loss"}


@pytest.mark.real_data
def test_real_camvid() -> None:
    if not (DATA / "camvid").is_dir():
        pytest.skip(f"{DATA / 'camvid'} is missing")
    data = Folder(DATA / "camvid", "train", ["foreground"])
    found = describe_masks([pair.mask for pair in data.files], data.mask_values, 16)
    assert found.settings == f"'dataset.classes=[background,{','.join(f'class{number}' for number in range(1, 12))}]'"


def test_no_setting_is_proposed_for_one_odd_mask(tmp_path: Path) -> None:
    for number in range(9):
        Image.fromarray(np.eye(8, dtype=np.uint8) * np.uint8(255 if number else 1)).save(tmp_path / f"{number}.png")
    found = describe_masks(sorted(tmp_path.iterdir()), MaskValues(["a"]))
    assert not found.fits
    assert (found.settings, "0.png" in found.fact) == ("", True)
