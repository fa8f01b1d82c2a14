"""Run-length codes of masks: COCO's (by columns, as numbers or text) and CVAT's (by rows). They begin with zeros."""

from collections.abc import Sequence

import numpy as np

from segkit.formats.model import FormatError, Pixels, Size


def decode_runs(counts: Sequence[int], size: Size, by_column: bool = False) -> Pixels:
    """The (height, width) mask of alternating runs of zeros and ones. FormatError, before anything is allocated, unless
    they fill it exactly."""
    area = size[0] * size[1]
    if min(counts, default=0) < 0:
        raise FormatError(f"a run has {min(counts)} pixels; expected 0 or more")
    if (total := sum(counts)) != area:
        raise FormatError(f"its runs have {total:,} pixels in all; expected {area:,}, for {size[1]}×{size[0]}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, np.asarray(counts, np.int64))
    return flat.reshape(size[::-1]).T if by_column else flat.reshape(size)


def encode_runs(pixels: Pixels, by_column: bool = False) -> list[int]:
    """The runs of a mask. The first is of zeros and may be empty."""
    flat = pixels.ravel(order="F" if by_column else "C")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts: list[int] = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return [0, *counts] if flat.size and flat[0] else counts


def text_to_counts(text: str) -> list[int]:
    """The runs in COCO's compressed text. From the fourth on, a count is stored as the difference from the count two
    before it. Each number is split into groups of five bits, lowest first, each stored as the character of its value
    plus 48, plus 32 if more groups follow. The highest bit of the last group is the sign."""
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60:
            raise FormatError(f"its text has {letter!r}, which is in no code of runs, or too long a number")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        value -= (code & 16) << (shift - 4)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise FormatError("its text ends in the middle of a run")
    return counts


def counts_to_text(counts: Sequence[int]) -> str:
    """Runs as COCO's compressed text; see `text_to_counts`."""
    letters = []
    for at, count in enumerate(counts):
        value = count - (counts[at - 2] if at > 2 else 0)
        more = True
        while more:
            code, value = value & 31, value >> 5
            more = value != (-1 if code & 16 else 0)
            letters.append(chr(48 + code + 32 * more))
    return "".join(letters)
