"""Label Studio's run-length code of brushed masks: thi.ng's `rle-pack`, over the bytes of an RGBA picture, row by row.
A pixel is in the mask if its alpha is above 0. It has nothing in common with COCO's code.

Bits, highest first: 32 for the number of values; 5 for the bits per value, minus 1; 4 × 4 for the bits of each of four
kinds of lengths, minus 1; then blocks. A block: 1 bit, whether it is a run; 2 bits, the kind of its length; the length,
minus 1; then the value of the run once, or each value.
"""

from collections.abc import Sequence

import numpy as np

from segkit.formats.model import FormatError, Pixels, Size

CHANNELS = 4
VALUE_BITS = 8
LENGTH_BITS = (3, 4, 8, 16)


class Bits:
    """Bytes, read bit by bit."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def read(self, count: int) -> int:
        """The next `count` bits as a number."""
        end = self.at + count
        if end > 8 * len(self.content):
            raise FormatError("its brush code is cut off")
        found = int.from_bytes(self.content[self.at // 8 : (end + 7) // 8])
        self.at = end
        return found >> (-end % 8) & ((1 << count) - 1)


def decode_brush(code: Sequence[int], size: Size) -> Pixels:
    """The (height, width) mask of a brush code. FormatError, before anything is allocated, for another size."""
    bits = Bits(bytes(code))
    values, value_bits = bits.read(32), bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    expected = size[0] * size[1] * CHANNELS
    if values != expected:
        raise FormatError(
            f"its brush code has {values:,} values; expected {expected:,}, 4 for each pixel of {size[1]}×{size[0]}"
        )
    found = np.zeros(values, np.bool_)
    at = 0
    while at < values:
        is_run = bits.read(1)
        end = at + 1 + bits.read(lengths[bits.read(2)])
        if end > values:
            raise FormatError(f"its brush code has more than the {values:,} values that it states")
        if is_run:
            found[at:end] = bits.read(value_bits) > 0
        else:
            found[at:end] = [bits.read(value_bits) > 0 for _ in range(at, end)]
        at = end
    return found.reshape(*size, CHANNELS)[..., CHANNELS - 1]


def encode_brush(pixels: Pixels) -> list[int]:
    """The brush code of a mask, of runs alone: 255 in all four channels inside, 0 outside."""
    flat = pixels.ravel()
    ends = np.concatenate([np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    parts = [f"{flat.size * CHANNELS:032b}{VALUE_BITS - 1:05b}", *(f"{bits - 1:04b}" for bits in LENGTH_BITS)]
    begin = 0
    for end in ends.tolist():
        value = f"{255 * int(flat[begin]):08b}"
        left = (end - begin) * CHANNELS
        while left:
            length = min(left, 1 << LENGTH_BITS[-1])
            which = next(at for at, bits in enumerate(LENGTH_BITS) if length <= 1 << bits)
            parts.append(f"1{which:02b}{length - 1:0{LENGTH_BITS[which]}b}{value}")
            left -= length
        begin = end
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]
