"""Masks that stand in a file as a small picture: LabelMe's and Supervisely's PNGs in base64."""

import base64
import binascii
import io
import zlib

import numpy as np
from PIL import Image

from segkit.formats.model import FormatError, Pixels, Size

MOST_BYTES = 64 * 2**20  # of an unpacked PNG


def decode_picture(text: str, size: Size, zipped: bool) -> Pixels:
    """A PNG in base64, `zipped` before that, as a mask: its alpha above 0, or without alpha its values. It may have no
    more pixels than `size`."""
    try:
        content = base64.b64decode(text, validate=True)
        content = _unpacked(content) if zipped else content
        image: Image.Image = Image.open(io.BytesIO(content), formats=["PNG"])
    except (binascii.Error, zlib.error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"its mask is no PNG in base64 ({error})") from None
    if image.width > size[1] or image.height > size[0]:
        raise FormatError(f"its mask is {image.width}×{image.height}, larger than the picture, {size[1]}×{size[0]}")
    try:
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA").getchannel("A")
        values = np.asarray(image.convert("RGB") if image.mode == "P" else image)
        return np.asarray(values.reshape(image.height, image.width, -1).max(axis=2) > 0)
    except (OSError, ValueError, SyntaxError) as error:
        raise FormatError(f"its mask is a damaged PNG ({error})") from None


def _unpacked(content: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(content, MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise FormatError(f"its mask is larger than {MOST_BYTES // 2**20} MB unpacked")
    return found


def encode_picture(pixels: Pixels) -> str:
    """A mask as a PNG of 0 and 1 in base64, as LabelMe has it."""
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
