"""Pictures and masks from files, as arrays: any format that OpenCV or Pillow reads.

Orientation: pictures and masks are each turned as their own EXIF tag says, i.e. as viewers and annotation tools
show them. If a mask was drawn on the unturned pixels of a phone photo, the photo's tag must be removed.
Depth: pictures become 8 bits per channel (16-bit values are divided by 257, alpha is dropped); masks keep the
values of the file. Of an animation or a file of several pages, the first picture is read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segkit.datasets.findings import DataError, Finding, Kind, add_remark
from segkit.files.reading import first_line

P = ParamSpec("P")
T = TypeVar("T")
MAX_PIXELS = 512_000_000

# By default Pillow refuses pictures of more than 179 megapixels, such as some aerial ones.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

Values = NDArray[Any]  # of any type and depth
UNREADABLE = Kind(
    "file that cannot be read",
    "files that cannot be read",
    "Copy it again, or remove it (from training data together with its mask or image).",
)
TOO_LARGE = Kind(
    "picture that is too large",
    "pictures that are too large",
    "Cut it into tiles, or if it is not really so large, remove it: a small file may claim to be huge.",
)
OTHER_DEPTH = Kind(
    "picture of unsupported depth", "pictures of unsupported depth", "Expected 8 or 16 bits. Convert it to PNG first."
)
ALPHA = Kind(
    "mask drawn in its alpha channel",
    "masks drawn in their alpha channel",
    "Save the alpha channel as a grey mask: in Python, Image.open(path).getchannel('A').save(…).",
)
PAGES = Kind(
    "file of several pages",
    "files of several pages",
    "Only the first is read. If the others are separate pictures or classes, save them as separate files.",
)

# Formats that OpenCV reads as well as Pillow, and up to three times as fast.
_OPENCV_READS = {"JPEG", "MPO", "PNG", "BMP", "WEBP", "PPM"}
# Not IMREAD_COLOR_RGB, with which OpenCV 5.0 decodes 16-bit TIFF wrongly.
_BGR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def names_damaged_files(read: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path, P], T]:
    """A function that reads a file, with DataError that names the file for whatever a decoder raises: dozens of formats
    are read, and for damaged files some raise TypeError, RuntimeError, KeyError, …"""

    @wraps(read)
    def guarded(path: Path, /, *args: P.args, **more: P.kwargs) -> T:
        try:
            return read(path, *args, **more)
        except DataError:
            raise
        except MemoryError as error:
            raise _broken(path, "there is not enough memory for it") from error
        except cv2.error as error:
            raise _broken(path, "OpenCV cannot decode it") from error
        except Exception as error:
            raise _broken(path, first_line(error)) from error

    return guarded


@names_damaged_files
def picture_size(path: Path, data: bytes | None = None) -> tuple[int, int]:
    """(height, width) that `read_picture` will return; from the header alone if Pillow knows the format."""
    image = _open(path, path if data is None else BytesIO(data))
    if image is None:
        height, width = read_picture(path, data).shape[:2]
        return height, width
    with image:
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def read_picture(path: Path, data: bytes | None = None) -> NDArray[np.uint8]:
    """The picture as (H, W, 3) RGB, 0..255. data: the bytes, if they are not in a file; path then only names them.

    Raises DataError, naming the file, if it is empty, truncated or no picture, or has more than `MAX_PIXELS` pixels or
    values that are neither 8- nor 16-bit.
    """
    return read_oriented(path, data)[0]


@names_damaged_files
def read_oriented(path: Path, data: bytes | None = None) -> tuple[NDArray[np.uint8], int]:
    """The picture as from `read_picture`, and the EXIF orientation by which it was turned: 1 for none."""
    data = _contents(path) if data is None else data
    image = _open(path, BytesIO(data))
    if image is None:
        return to_8_bit(_rgb(_opencv_only(data, _BGR, path)), path), 1
    with image:
        _tell_of_pages(image, data, path)
        orientation = _orientation(image)
        if _opencv_reads(image, data):
            pixels = _opencv(data, _BGR)
            if pixels is not None:
                return turn(to_8_bit(_rgb(pixels), path), orientation), orientation
        _load(image, path)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            grey = to_8_bit(np.asarray(image), path)
            return turn(np.stack([grey] * 3, axis=-1), orientation), orientation
        return turn(np.array(image.convert("RGB")), orientation), orientation


@names_damaged_files
def orientation_of(path: Path) -> int:
    """The EXIF orientation of a file, 1..8, from its header."""
    image = _open(path, path)
    if image is None:
        return 1
    with image:
        return _orientation(image)


@names_damaged_files
def describe_file(path: Path) -> str:
    """What a picture file is, from its header: `8-bit RGB JPEG`; "" if Pillow does not know the format."""
    image = _open(path, path)
    if image is None:
        return ""
    with image:
        bits = 16 if image.mode.startswith("I;16") else {"1": 1, "I": 32, "F": 32}.get(image.mode, 8)
        if image.format == "PNG":
            with path.open("rb") as file:
                bits = file.read(25)[24]
        names = {"1": "grey", "L": "grey", "I": "grey", "F": "float", "P": "palette", "LA": "grey with alpha"}
        mode = "grey" if image.mode.startswith("I;16") else names.get(image.mode, image.mode)
        return f"{bits}-bit {mode} {image.format}"


@dataclass(frozen=True)
class MaskFile:
    """A mask as stored in its file: values (H, W) of any type, or colours (H, W, 3).

    `palette`, (N, 3) uint8, is the palette if the values are indices into one. Greys of 1, 2 or 4 bits keep their
    numbers in the file, 0..15, with a palette to 0..255. `lossy`: the file's values are not exact.
    """

    values: Values
    palette: NDArray[np.uint8] | None
    lossy: bool


@names_damaged_files
def read_mask_file(path: Path, data: bytes | None = None) -> MaskFile:
    """The values of a mask as they are in the file; `data` and errors as for `read_picture`."""
    data = _contents(path) if data is None else data
    image = _open(path, BytesIO(data))
    if image is None:
        values = _opencv_only(data, cv2.IMREAD_UNCHANGED, path)
        return MaskFile(values[..., 2::-1] if values.ndim == 3 else values, None, False)
    with image:
        _tell_of_pages(image, data, path)
        lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and data[12:16] == b"VP8 ")
        orientation = _orientation(image)
        if image.mode == "L" and image.format in ("JPEG", "PNG") and _opencv_reads(image, data):
            whole = _opencv(data, cv2.IMREAD_UNCHANGED)
            if whole is not None and whole.ndim == 2:
                values, palette = _without_scaling(whole, image, data)
                return MaskFile(turn(values, orientation), palette, lossy)
        _load(image, path)
        values, palette = _pillow_values(image, data, path)
        return MaskFile(turn(values, orientation), palette, lossy)


def _pillow_values(image: Image.Image, data: bytes, path: Path) -> tuple[Values, NDArray[np.uint8] | None]:
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8), np.array([[0] * 3, [255] * 3], np.uint8)
    if image.mode in ("P", "PA"):
        palette = np.zeros((256, 3), np.uint8)  # a file's palette may be shorter than its indices
        entries = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(entries)] = entries
        values = np.asarray(image)
        return (values[..., 0] if values.ndim == 3 else values), palette
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        return _without_scaling(np.asarray(image), image, data)
    if image.mode in ("LA", "RGBA"):
        values = np.asarray(image)
        values, alpha = values[..., :-1], values[..., -1]
        if alpha.min() < alpha.max() and (values == values[0, 0]).all():
            fact = f"mask {path} is drawn only in its alpha channel, which is not read: its colour is "
            raise DataError(Finding(ALPHA, f"{fact}{tuple(values[0, 0].tolist())} everywhere.", files=(path,)))
        return (values[..., 0] if image.mode == "LA" else values), None
    return np.asarray(image.convert("RGB")), None


def _without_scaling(values: Values, image: Image.Image, data: bytes) -> tuple[Values, NDArray[np.uint8] | None]:
    """Undo the stretching of 1-, 2- and 4-bit greys to 0..255: a class index must be the number in the file."""
    bits = 8
    if image.format == "PNG":
        bits = data[24]
    elif image.format == "TIFF":
        bits = image.tag_v2.get(258, (8,))[0]  # type: ignore[attr-defined]
    if image.mode != "L" or bits >= 8:
        return values, None
    step = 255 // (2**bits - 1)
    ramp = np.arange(0, 256, step, dtype=np.uint8)
    return values // step, np.stack([ramp] * 3, axis=-1)


def _contents(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _broken(path, error.strerror or error) from error
    if not data:
        raise DataError(Finding(UNREADABLE, f"{path} is empty (0 bytes).", files=(path,)))
    return data


def _open(path: Path, source: Path | BytesIO) -> Image.Image | None:
    """The picture, opened but not yet decoded; None if Pillow does not know the format."""
    try:
        image = Image.open(source)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        raise _too_large(path, "far more") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise _broken(path, error.strerror or error) from error
        raise _broken(path, error) from error
    if image.format == "EPS":  # which Pillow would have Ghostscript execute
        raise _broken(path, "it is PostScript, a program and no picture")
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path, f"{image.width}×{image.height}")
    return image


def _too_large(path: Path, got: str) -> DataError:
    return DataError(
        Finding(TOO_LARGE, f"{path} has {got} pixels; at most {MAX_PIXELS // 10**6} million are read.", files=(path,))
    )


def _tell_of_pages(image: Image.Image, data: bytes, path: Path) -> None:
    if image.format not in ("TIFF", "GIF", "WEBP", "PNG"):
        return
    with Image.open(BytesIO(data)) as again:  # before Pillow 13, counting mixes up the pages' palettes
        pages = getattr(again, "n_frames", 1)
    if pages > 1:
        add_remark(PAGES, f"{path} has {pages} pages or frames.", files=(path,))


def _load(image: Image.Image, path: Path) -> None:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _broken(path, error) from error


def _opencv(data: bytes, flags: int) -> Values | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _rgb(pixels: Values) -> Values:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _opencv_only(data: bytes, flags: int, path: Path) -> Values:
    pixels = _opencv(data, flags)
    if pixels is None:
        raise _broken(path, "neither Pillow nor OpenCV knows the format")
    return pixels


def _broken(path: Path, reason: object) -> DataError:
    return DataError(
        Finding(UNREADABLE, f"{path} cannot be read ({reason}): it is truncated, damaged or no picture.", files=(path,))
    )


def _opencv_reads(image: Image.Image, data: bytes) -> bool:
    if image.format in ("JPEG", "MPO"):
        return data.endswith(b"\xff\xd9")  # OpenCV before 5 fills the rest of a truncated file with grey
    if image.format == "TIFF":  # Pillow truncates 16-bit colours to 8 bits
        return image.mode == "RGB" and 16 in image.tag_v2.get(258, ())  # type: ignore[attr-defined]
    return image.format in _OPENCV_READS


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8, to be read before decoding; 1 for TIFF, which the decoders themselves turn."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1  # looking for the tag would decode a PNG without it
    orientation = image.getexif().get(0x0112, 1)
    return orientation if orientation in range(1, 9) else 1


def turn(pixels: Values, orientation: int) -> Values:
    """Pixels turned as an EXIF orientation says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def to_8_bit(pixels: Values, path: Path) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        rounded = np.minimum(pixels, 65407)  # what is above becomes 255, too, and does not overflow
        rounded += 128
        rounded //= 257
        return rounded.astype(np.uint8)
    raise DataError(
        Finding(OTHER_DEPTH, f"{path} has values of type {pixels.dtype}; expected 8 or 16 bits.", files=(path,))
    )
