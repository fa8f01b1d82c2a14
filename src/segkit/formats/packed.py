"""Masks stored as base64 PNGs: LabelMe's and Supervisely's."""

import base64
import binascii
import io
import zlib

import numpy as np
from PIL import Image

from segkit.formats.model import FormatError, Pixels, Size

MOST_BYTES = 64 * 2**20  # of a decompressed PNG


def decode_picture(text: str, size: Size, zipped: bool) -> Pixels:
    """The mask in a base64 PNG: where its alpha is above 0, or without alpha its values. It may not be larger than
    `size`. zipped: the PNG was compressed with zlib first."""
    try:
        content = base64.b64decode(text, validate=True)
        content = _unpack(content) if zipped else content
        image: Image.Image = Image.open(io.BytesIO(content), formats=["PNG"])
    except (binascii.Error, zlib.error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"its mask is not a PNG in base64 ({error})") from None
    if image.width > size[1] or image.height > size[0]:
        raise FormatError(f"its mask is {image.width}×{image.height}, larger than the picture, {size[1]}×{size[0]}")
    try:
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA").getchannel("A")
        values = np.asarray(image.convert("RGB") if image.mode == "P" else image)
        return np.asarray(values.reshape(image.height, image.width, -1).max(axis=2) > 0)
    except (OSError, ValueError, SyntaxError) as error:
        raise FormatError(f"its mask is a damaged PNG ({error})") from None


def _unpack(content: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(content, MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise FormatError(f"its mask is larger than {MOST_BYTES // 2**20} MB when decompressed")
    return found


def encode_picture(pixels: Pixels) -> str:
    """A mask as a base64 PNG of 0 and 1, as LabelMe writes it."""
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
