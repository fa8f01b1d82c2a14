"""The scale of a picture from a marker of known size in it."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

KINDS = ("DICT_4X4_250", "DICT_5X5_250", "DICT_6X6_250", "DICT_7X7_250")  # ArUco's
SLANTED = 1.1  # longest side over the shortest, above which a marker is not seen from straight above


class Seen(NamedTuple):
    """Markers in a picture: the mean length of their sides in pixels, and the longest side over the shortest of the
    one that is most distorted."""

    side: float
    distortion: float


def find_markers(image: NDArray[np.uint8]) -> Seen | None:
    """The ArUco markers in a picture (H, W, 3) RGB, whatever their number; None if there are none."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    sides: list[NDArray[np.float64]] = []
    for kind in KINDS:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, kind))
        found, _, _ = cv2.aruco.ArucoDetector(dictionary, parameters).detectMarkers(grey)
        for marker in found:
            corners = np.asarray(marker, np.float64).reshape(4, 2)
            sides.append(np.hypot(*(corners - np.roll(corners, 1, 0)).T))
    if not sides:
        return None
    return Seen(float(np.mean(sides)), max(float(one.max() / one.min()) for one in sides))
