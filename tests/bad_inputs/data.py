"""Picture and mask files that are damaged, odd, or mean something else than they seem to."""

from pathlib import Path

import numpy as np
from PIL import Image

from bad_inputs.cases import Case
from bad_inputs.files import (
    BITS,
    CHECK,
    COLORS,
    MASK,
    READ,
    RGB,
    Maker,
    cut,
    cut_and_closed,
    doubled,
    encoded,
    every_image,
    every_mask,
    image,
    mask,
    palette,
    png,
    shaded,
    turned,
)
from bad_inputs.makers import TINY, both, data

AGAIN = "Copy it again, or remove it"
CLASSES = (*CHECK, "dataset.classes=[background,object]")
THREE = (*CHECK, "dataset.classes=[background,a,b]")
JPEG = encoded(RGB, "JPEG", quality=95)
STEPS = np.repeat(np.array([0, 128, 255], np.uint8), (10, 10, 12))[None].repeat(32, 0)

UNREADABLE = {  # of images, and of masks
    "truncated_png": ("p00.png", cut(encoded(RGB))),
    "truncated_jpg": ("p00.jpg", cut(JPEG)),
    "truncated_tif": ("p00.tif", cut(encoded(RGB, "TIFF"))),
    "truncated_bmp": ("p00.bmp", cut(encoded(RGB, "BMP"))),
    "truncated_gif": ("p00.gif", cut(encoded(RGB, "GIF"))),
    "truncated_webp": ("p00.webp", cut(encoded(RGB, "WEBP"))),
    "header_alone": ("p00.png", encoded(RGB)[:33]),
    "signature_alone": ("p00.png", encoded(RGB)[:8]),
    "text": ("p00.png", b"this is no picture"),
    "html": ("p00.jpg", b"<!doctype html><title>404 Not Found</title>"),
    "pdf": ("p00.png", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj"),
    "zip": ("p00.jpg", b"PK\x03\x04" + bytes(60)),
    "zeros": ("p00.png", bytes(4096)),
    "lfs_pointer": ("p00.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
    "svg": ("p00.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='32' height='32'/>"),
    "width_of_zero": ("p00.png", png(0, 32)),
    "flipped_bits_png": ("p00.png", encoded(RGB)[:200] + bytes(20) + encoded(RGB)[220:]),
}
TOO_LARGE = {
    "claims_60000_by_60000": ("p00.png", png(60000, 60000)),
    "claims_1.2_gigapixels": ("p00.png", png(40000, 30000)),
    "claims_600_megapixels": ("p00.png", png(30000, 20000)),
}
READ_AS_MEANT = {
    "16_bit": ("p00.png", encoded(RGB[..., 0].astype(np.uint16) * 257)),
    "16_bit_tif": ("p00.tif", encoded(RGB[..., 0].astype(np.uint16) * 257, "TIFF")),
    "cmyk_jpg": ("p00.jpg", encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG")),
    "rgba": ("p00.png", encoded(np.dstack([RGB, RGB[..., 0]]))),
    "grey_with_alpha": ("p00.png", encoded(np.dstack([RGB[..., 0]] * 2), mode="LA")),
    "palette": ("p00.gif", encoded(palette(BITS, 9, 9, 9, 200, 0, 0), "GIF")),
    "1_bit": ("p00.bmp", encoded(BITS.astype(bool), "BMP")),
    "2_bit": ("p00.png", png(32, 32, 2, rows=(b"\0" + bytes(8)) * 32)),
    "jpeg_called_png": ("p00.png", JPEG),
    "png_called_jpg": ("p00.jpg", encoded(RGB)),
    "upper_case_suffix": ("p00.PNG", encoded(RGB)),
    "upper_case_jpeg": ("p00.JPEG", JPEG),
    "trailing_bytes_png": ("p00.png", encoded(RGB) + b"garbage" * 9),
    "trailing_bytes_jpg": ("p00.jpg", JPEG + b"garbage" * 9),
    "progressive_jpg": ("p00.jpg", encoded(RGB, "JPEG", progressive=True)),
    "lzw_tif": ("p00.tif", encoded(RGB, "TIFF", compression="tiff_lzw")),
    "jpeg_2000": ("p00.jp2", encoded(RGB, "JPEG2000")),
    "avif": ("p00.avif", encoded(RGB, "AVIF")),
    "ppm": ("p00.ppm", encoded(RGB, "PPM")),
    "text_ppm": ("p00.pgm", b"P2 32 32 255\n" + b"7 " * 1024),
    "pcx": ("p00.pcx", encoded(RGB, "PCX")),
    "tga": ("p00.tga", encoded(RGB, "TGA")),
    "apng_of_one_frame": ("p00.apng", encoded(RGB)),
    "webp_lossy": ("p00.webp", encoded(RGB, "WEBP", quality=50)),
}
MASKS_AS_MEANT = {
    "1_bit": (CHECK, "p00.png", encoded(BITS.astype(bool))),
    "1_bit_classes": (CLASSES, "p00.png", encoded(BITS.astype(bool))),
    "2_bit_classes": (THREE, "p00.png", png(32, 32, 2, rows=(b"\0" + b"\x1a" * 8) * 32)),
    "4_bit_classes": (THREE, "p00.png", png(32, 32, 4, rows=(b"\0" + b"\x12" * 16) * 32)),
    "16_bit": (CHECK, "p00.png", encoded(MASK.astype(np.uint16) * 257)),
    "16_bit_indices": (CLASSES, "p00.png", encoded(BITS.astype(np.uint16))),
    "float_indices": (CLASSES, "p00.tif", encoded(BITS.astype(np.float32), "TIFF")),
    "32_bit_indices": (CLASSES, "p00.tif", encoded(BITS.astype(np.int32), "TIFF")),
    "palette_grey": (CHECK, "p00.png", encoded(palette(BITS, 0, 0, 0, 255, 255, 255))),
    "palette_indices": (CLASSES, "p00.png", encoded(palette(BITS, 0, 0, 0, 128, 0, 0))),
    "palette_with_transparency": (CLASSES, "p00.png", encoded(palette(BITS, 0, 0, 0, 128, 0, 0), transparency=0)),
    "palette_shorter_than_its_indices": (THREE, "p00.gif", encoded(palette(BITS * 2, 0, 0, 0), "GIF")),
    "rgb_in_grey": (CHECK, "p00.png", encoded(np.dstack([MASK] * 3))),
    "rgba_opaque": (CHECK, "p00.png", encoded(np.dstack([MASK] * 3 + [MASK * 0 + 255]))),
    "grey_with_alpha": (CHECK, "p00.png", encoded(np.dstack([MASK, MASK * 0 + 255]), mode="LA")),
    "jpeg_of_one_class": (CHECK, "p00.jpg", encoded(MASK, "JPEG")),
    "webp_lossy_of_one_class": (CHECK, "p00.webp", encoded(np.dstack([MASK] * 3), "WEBP", quality=60)),
    "webp_exact_indices": (CLASSES, "p00.webp", encoded(np.dstack([BITS] * 3), "WEBP", lossless=True)),
    "gif": (CLASSES, "p00.gif", encoded(BITS, "GIF")),
    "bmp": (CHECK, "p00.BMP", encoded(MASK, "BMP")),
    "tif": (CHECK, "p00.TIF", encoded(MASK, "TIFF")),
    "inverted": (CHECK, "p00.png", encoded(255 - MASK)),
    "ignored": (CLASSES, "p00.png", encoded(np.where(MASK, 255, 0).astype(np.uint8))),
    "full": (CHECK, "p00.png", encoded(MASK * 0 + 255)),
    "empty": (CHECK, "p00.png", encoded(MASK * 0)),
}
MASKS_TOLD = {  # words, file, what is said
    "0_and_1": (CHECK, "p00.png", encoded(BITS), ("no value above dataset.threshold=127", "dataset.threshold=0")),
    "16_bit_of_0_and_1": (CHECK, "p00.png", encoded(BITS.astype(np.uint16)), ("p00.png", "dataset.threshold=0")),
    "16_bit_index_of_1000": (CLASSES, "p00.png", encoded(BITS.astype(np.uint16) * 1000), ("has the values 1000",)),
    "float_share": (CHECK, "p00.tif", encoded(BITS / np.float32(2), "TIFF"), ("its values are 0, 0.5",)),
    "float_nan": (CHECK, "p00.tif", encoded(MASK * np.float32("nan"), "TIFF"), ("nan", "Expected finite values")),
    "float_infinite": (CHECK, "p00.tif", encoded(MASK + np.float32("inf"), "TIFF"), ("inf", "Expected finite values")),
    "float_negative": (CHECK, "p00.tif", encoded(-MASK.astype(np.float32), "TIFF"), ("-255", "of 0 or more")),
    "float_nan_indices": (CLASSES, "p00.tif", encoded(BITS * np.float32("nan"), "TIFF"), ("has the values nan",)),
    "float_between_classes": (CLASSES, "p00.tif", encoded(BITS / np.float32(2), "TIFF"), ("has the values 0.5",)),
    "int_negative": (CLASSES, "p00.tif", encoded(-BITS.astype(np.int32), "TIFF"), ("has the values -1",)),
    "value_that_is_no_class": (
        CLASSES,
        "p00.png",
        encoded(BITS * 7),
        ("has the values 7", "'dataset.ignore_values=[7]'"),
    ),
    "one_class_too_few": (CLASSES, "p00.png", encoded(BITS * 2), ("'dataset.classes=[background,object,class2]'",)),
    "jpeg_of_classes": (CLASSES, "p00.jpg", encoded(BITS * 90, "JPEG"), ("compressed with loss", "as PNG")),
    "webp_lossy_of_classes": (CLASSES, "p00.webp", encoded(COLORS, "WEBP"), ("compressed with loss",)),
    "alpha_alone": (CHECK, "p00.png", encoded(np.dstack([MASK * 0 + 255] * 3 + [MASK])), ("only in its alpha",)),
    "colours_of_one_class": (CHECK, "p00.png", encoded(COLORS), ("holds colours", "dataset.classes", "dataset.colors")),
    "two_colours": (
        CHECK,
        "p00.png",
        encoded(COLORS * np.array([1, 0, 0], np.uint8)),
        ("'dataset.colors={background: [0, 0, 0], foreground: [255, 0, 0]}'",),
    ),
    "jpeg_colours": (CHECK, "p00.jpg", encoded(COLORS, "JPEG"), ("p00.jpg holds colours", "export them again as PNG")),
    "palette_colours": (
        CHECK,
        "p00.png",
        encoded(palette(BITS, 0, 0, 0, 128, 0, 0)),
        ("'dataset.colors={background: [0, 0, 0], foreground: [128, 0, 0]}'",),
    ),
    "cmyk_colours": (CHECK, "p00.tif", encoded(np.dstack([COLORS, MASK]), "TIFF", mode="CMYK"), ("holds colours",)),
    "colours_as_indices": (CLASSES, "p00.png", encoded(COLORS), ("holds colours", "dataset.colors")),
    "unknown_colour": ((*CLASSES, "dataset.colors=[[0,0,0],[0,255,0]]"), "p00.png", encoded(COLORS), ("[255, 0, 0]",)),
    "other_scale": (CHECK, "p00.png", encoded(np.zeros((64, 64), np.uint8)), ("is 64×64", "dataset.resize_masks=true")),
    "other_shape": (
        (*CHECK, "dataset.resize_masks=true"),
        "p00.png",
        encoded(np.zeros((64, 50), np.uint8)),
        ("is 50×64", "differ in shape"),
    ),
    "as_a_table": (CHECK, "p00.csv", b"x,y\n1,2\n", ("p00.png has no mask", "Add the missing files")),
}


def rows() -> list[Case]:
    """The rows of the tables above."""
    found = []
    for name, (file, content) in UNREADABLE.items():
        found += [
            Case(f"image_{name}", "check", CHECK, (f"images/{file} cannot be read", AGAIN), image(file, content)),
            Case(f"mask_{name}", "check", CHECK, (f"masks/{file} cannot be read", AGAIN), mask(file, content)),
        ]
    for name, (file, content) in TOO_LARGE.items():
        found += [
            Case(f"image_{name}", "check", CHECK, (f"images/{file} has", "Cut it into tiles"), image(file, content)),
            Case(f"mask_{name}", "check", CHECK, (f"masks/{file} has", "Cut it into tiles"), mask(file, content)),
        ]
    for name, (file, content) in READ_AS_MEANT.items():
        found.append(Case(f"image_{name}", "check", CHECK, (READ,), image(file, content), ends=0))
    for name, (words, file, content) in MASKS_AS_MEANT.items():
        make = mask(file, content) if words == CHECK else both(every_mask(encoded(BITS)), only(file, content))
        found.append(Case(f"mask_{name}", "check", words, (READ,), make, ends=0))
    for name, (words, file, content, says) in MASKS_TOLD.items():
        classes = "dataset.classes=[background,object]" in words
        make = both(every_mask(encoded(BITS)), only(file, content)) if classes else mask(file, content)
        found.append(Case(f"mask_{name}", "check", words, says, make))
    return found


def only(file: str, content: bytes) -> Maker:
    """The mask of p00 replaced in a data set that is there."""

    def make(folder: Path) -> None:
        (folder / "data/masks/p00.png").unlink()
        (folder / "data/masks" / file).write_bytes(content)

    return make


def oriented(orientation: int, shape: tuple[int, int]) -> Maker:
    """Pictures with an EXIF orientation and masks of their unturned shape without."""
    pictures = every_image(lambda number: encoded(shaded(number, shape), "JPEG", exif=turned(orientation)), "jpg")
    return both(pictures, masks_of(shape))


def masks_of(shape: tuple[int, int]) -> Maker:
    """Every mask replaced by one of this shape: its left half is foreground, of a single pixel every other mask."""

    def make(folder: Path) -> None:
        for number, path in enumerate(sorted((folder / "data/masks").iterdir())):
            pixels = np.zeros(shape, np.uint8)
            pixels[:, : (shape[1] + number % 2) // 2] = 255
            path.write_bytes(encoded(pixels))

    return make


EXIF = ("(orientation", "read as viewers show them, the masks as they are", "remove the tag", READ)
RESIZED = (*CHECK, "dataset.resize_masks=true")
CASES = (
    *rows(),
    Case("nothing_wrong", "check", CHECK, (READ, "nothing that training would refuse"), data, ends=0),
    Case("image_empty_file", "check", CHECK, ("images/p00.png is empty (0 bytes)", AGAIN), image("p00.png", b"")),
    Case("mask_empty_file", "check", CHECK, ("masks/p00.png is empty (0 bytes)", AGAIN), mask("p00.png", b"")),
    Case(
        "image_float_nan",
        "check",
        CHECK,
        ("values of type float32", "Convert it to PNG"),
        image("p00.tif", encoded(RGB[..., 0] * np.float32("nan"), "TIFF")),
    ),
    Case(
        "image_of_16_megapixels",
        "check",
        CHECK,
        ("masks/p00.png is 32×32 but its image", "8000×2000"),
        image("p00.png", png(8000, 2000, rows=bytes(8001 * 2000))),
    ),
    Case(
        "image_cut_and_closed",
        "check",
        CHECK,
        ("p00.jpg ends too early", "Copy them again"),
        image("p00.jpg", cut_and_closed(JPEG)),
    ),
    Case(
        "image_cut_and_closed_in_training",
        "train",
        TINY,
        ("p00.jpg ends too early", "Copy them again"),
        image("p00.jpg", cut_and_closed(JPEG)),
    ),
    Case(
        "masks_in_colours",
        "check",
        (*THREE, "dataset.colors=[[0,0,0],[0,255,0],[255,0,0]]"),
        (READ,),
        every_mask(encoded(COLORS)),
        ends=0,
    ),
    Case(
        "mask_cut_and_closed",
        "check",
        CHECK,
        ("masks/p00.jpg ends too early", "Copy them again"),
        mask("p00.jpg", cut_and_closed(encoded(shaded(0)[..., 0] // 128 * 255, "JPEG"))),
    ),
    Case(
        "image_damaged_jpeg",
        "check",
        CHECK,
        ("p00.jpg (Corrupt JPEG data", "look at them", READ),
        image("p00.jpg", doubled(JPEG)),
        ends=0,
    ),
    Case(
        "mask_greys_that_may_be_classes",
        "check",
        CHECK,
        ("p00.png: 128, 255 is taken as foreground", READ),
        mask("p00.png", encoded(STEPS)),
        ends=0,
    ),
    Case(
        "masks_0_128_255_as_two_classes",
        "check",
        CLASSES,
        ("has the values 128", "dataset.ignore_values=[128]"),
        every_mask(encoded(STEPS)),
    ),
    Case(
        "masks_black_and_white_as_two_classes",
        "check",
        CLASSES,
        ("show only background and 255", "classes=[object]"),
        every_mask(encoded(MASK)),
    ),
    Case(
        "masks_0_and_1_with_threshold_0",
        "check",
        (*CHECK, "dataset.threshold=0"),
        (READ,),
        every_mask(encoded(BITS)),
        ends=0,
    ),
    Case(
        "image_of_several_pages",
        "check",
        CHECK,
        ("p00.tif has 2 pages", "Only the first is read", READ),
        image("p00.tif", encoded(RGB, "TIFF", save_all=True, append_images=[palette(BITS, 0, 0, 0)])),
        ends=0,
    ),
    Case(
        "image_animated",
        "check",
        CHECK,
        ("p00.gif has 2 pages or frames", READ),
        image("p00.gif", encoded(RGB, "GIF", save_all=True, append_images=[palette(BITS, 0, 0, 0)])),
        ends=0,
    ),
    Case(
        "mask_of_several_pages",
        "check",
        CHECK,
        ("masks/p00.tif has 3 pages", "separate pictures or classes", READ),
        mask(
            "p00.tif",
            encoded(
                MASK,
                "TIFF",
                save_all=True,
                append_images=[Image.fromarray(MASK)] * 2,
            ),
        ),
        ends=0,
    ),
    Case("exif_square", "check", CHECK, EXIF, oriented(6, (32, 32)), ends=0),
    Case("exif_upside_down", "check", CHECK, EXIF, oriented(3, (32, 40)), ends=0),
    Case("exif_mirrored", "check", CHECK, EXIF, oriented(2, (32, 40)), ends=0),
    Case("exif_on_its_side", "check", CHECK, ("lies on its side", "EXIF"), oriented(6, (32, 40))),
    Case("exif_on_its_side_resized", "check", RESIZED, ("lies on its side", "EXIF"), oriented(8, (32, 40))),
    Case("exif_out_of_range", "check", CHECK, (READ,), oriented(9, (32, 40)), ends=0),
    Case("masks_half_as_large", "check", RESIZED, (READ,), both(data, masks_of((16, 16))), ends=0),
    Case(
        "masks_off_by_rounding",
        "check",
        RESIZED,
        (READ,),
        both(every_image(lambda number: encoded(shaded(number, (449, 800)))), masks_of((375, 667))),
        ends=0,
    ),
    Case(
        "pictures_of_one_pixel",
        "check",
        CHECK,
        (READ,),
        both(every_image(lambda number: encoded(shaded(number, (1, 1)))), masks_of((1, 1))),
        ends=0,
    ),
    Case(
        "pictures_of_one_pixel_cropped",
        "check",
        (*CHECK, "dataset.train=crop", "dataset.eval=native"),
        (READ,),
        both(every_image(lambda number: encoded(shaded(number, (1, 1)))), masks_of((1, 1))),
        ends=0,
    ),
    Case(
        "pictures_smaller_than_a_window",
        "check",
        (*CHECK, "dataset.crops=grid"),
        ("takes windows of 32×32", "only 8×8"),
        both(every_image(lambda number: encoded(shaded(number, (8, 8)))), masks_of((8, 8))),
    ),
    Case(
        "pictures_of_20000_by_2",
        "check",
        CHECK,
        (READ,),
        both(every_image(lambda number: encoded(shaded(number, (2, 20000)))), masks_of((2, 20000))),
        ends=0,
    ),
    Case(
        "pictures_of_20000_by_2_native",
        "check",
        (*CHECK, "dataset.eval=native"),
        (READ,),
        both(every_image(lambda number: encoded(shaded(number, (2, 20000)))), masks_of((2, 20000))),
        ends=0,
    ),
    Case(
        "pictures_of_20000_by_2_in_windows",
        "check",
        (*CHECK, "dataset.crops=grid"),
        ("windows of 32×32", "only 2×20000"),
        both(every_image(lambda number: encoded(shaded(number, (2, 20000)))), masks_of((2, 20000))),
    ),
)
