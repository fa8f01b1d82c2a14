"""Are two small grey pictures of the same photograph? They are laid on each other and compared place by place.

What is alike as a whole may still be two photographs: frames of a video, or two pieces of the same make. A copy is
alike everywhere, so the places that fit worst decide.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.datasets.checking.sieve import Window
from segkit.datasets.checking.thumbnails import SIDE, Grey

PLACES = 8  # each way
FEWEST = 8  # places with something to see, of 64, for a picture to be told from others
NOISE = 0.7  # grey levels of detail that may differ: of cameras and encoders
SEEN = 2 * NOISE  # from here on it is something to see
DARK, BRIGHT, CLIPPED = 6, 249, 0.25  # a place with more than this of its pixels beyond says nothing
EDGE = 0.015  # how far a crop may reach beyond: what reaches further is another crop of the same photograph
SLACK = 0.08  # how far a crop may lie from the window that it was found by

EVERYWHERE = np.ones((SIDE, SIDE), np.uint8)

Affine = NDArray[np.float32]  # (2, 3), from places of the part to places of the whole


class Fit(NamedTuple):
    """`agreement` in -1..1 of the worst place, and where the part lies in the whole."""

    agreement: float
    window: Window


def agreement(first: Grey, second: Grey, sharp: float = 0.7, smooth: float = 4.0) -> float:
    """How well the details of two aligned thumbnails agree in the place that agrees least, in -1..1; -1 where too
    little is to be seen.

    It is their correlation, without what may be noise. Gain and offset of each place are free, so that other exposure
    and vignettes do not matter; but what is seen in one of them alone does not agree.
    """
    one, two = _places(_band(first, sharp, smooth)), _places(_band(second, sharp, smooth))
    one, two = one - one.mean(1, keepdims=True), two - two.mean(1, keepdims=True)
    contrasts = float(one.std()), float(two.std())
    one, two = (
        part * (max(contrasts) / max(contrast, 1e-3)) for part, contrast in zip((one, two), contrasts, strict=True)
    )
    power_one, power_two, common = (one * one).mean(1), (two * two).mean(1), (one * two).mean(1)
    power = np.maximum(power_one, power_two)
    open_to_see = ~(_is_clipped(first) | _is_clipped(second))
    if ((power > SEEN**2) & open_to_see).sum() < FEWEST:
        return -1.0
    correlation = common / np.sqrt(np.maximum(power_one * power_two, 1e-6))
    differs = np.maximum(power * (1 - correlation**2) - NOISE**2, 0)
    fits = np.sqrt(1 - differs / np.maximum(power, 1e-6)) * np.where((correlation < 0) & (differs > 0), -1, 1)
    return float(fits[open_to_see].min())


def is_plain(grey: Grey) -> bool:
    """Whether so little is to be seen that two pictures cannot be told apart."""
    return bool((_places(_band(grey, 0.7, 4.0)).var(1) > SEEN**2).sum() < FEWEST)


def _band(grey: Grey, sharp: float, smooth: float) -> Grey:
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), sharp) - cv2.GaussianBlur(grey, (0, 0), smooth), np.float32)


def _places(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """(64, pixels of a place)"""
    side = SIDE // PLACES
    return grey.reshape(PLACES, side, PLACES, side).swapaxes(1, 2).reshape(PLACES**2, side**2)


def _is_clipped(grey: Grey) -> NDArray[np.bool_]:
    beyond = _places(((grey < DARK) | (grey > BRIGHT)).astype(np.float32)).mean(1)
    return np.asarray(beyond > CLIPPED)


def fit_window(part: Grey, whole: Grey, near: Window, least: float) -> Fit | None:
    """Where `part` lies in `whole`, near a window: by template matching, then by its affine map (ECC). None where
    their likeness is below `least` after the first, or the map is no crop."""
    one, two = _even(part), _even(whole)
    start = _match(one, two, near, least)
    if start is None:
        return None
    try:
        _, found = cv2.findTransformECC(one, two, start, cv2.MOTION_AFFINE, (3, 30, 1e-4), EVERYWHERE, 1)
    except cv2.error:  # it does not converge
        return None
    affine = np.asarray(found, np.float32)
    window = Window(
        (affine[1, 2] + 0.5 - affine[1, 1] / 2) / SIDE,
        (affine[0, 2] + 0.5 - affine[0, 0] / 2) / SIDE,
        float(affine[1, 1]),
        float(affine[0, 0]),
    )
    if not _is_crop(affine, window):
        return None
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(whole, affine, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return Fit(agreement(part, np.asarray(laid, np.float32), sharp=1.0), window)


def _even(grey: Grey) -> Grey:
    """Details with the same contrast everywhere."""
    detail = _band(grey, 1.0, 8.0)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 8.0))
    return np.asarray(detail / (contrast + 0.1 * detail.std() + 0.3), np.float32)


def _match(part: Grey, whole: Grey, near: Window, least: float) -> Affine | None:
    best, found = least, None
    for scale in (near.height - 0.04, near.height, near.height + 0.04):
        side = round(scale * SIDE)
        top, left = (max(int((start - SLACK) * SIDE), 0) for start in near[:2])
        bottom, right = (min(int((start + scale + SLACK) * SIDE) + 1, SIDE) for start in near[:2])
        if side > min(bottom - top, right - left):
            continue
        template = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
        likeness = cv2.matchTemplate(whole[top:bottom, left:right], template, cv2.TM_CCOEFF_NORMED)
        _, highest, _, (x, y) = cv2.minMaxLoc(likeness)
        if highest >= best:
            ratio = side / SIDE
            shift = [along + (ratio - 1) / 2 for along in (x + left, y + top)]
            best, found = highest, np.array([[ratio, 0, shift[0]], [0, ratio, shift[1]]], np.float32)
    return found


def _is_crop(affine: Affine, window: Window) -> bool:
    """Neither turned nor sheared, not much smaller, and inside."""
    skew = max(abs(float(affine[0, 1])), abs(float(affine[1, 0])))
    inside = all(start > -EDGE and start + extent < 1 + EDGE for start, extent in (window[::2], window[1::2]))
    return skew < 0.03 and min(window.height, window.width) > 0.6 and inside
