"""Pictures inside a page: as data URIs, so that the page is one file."""

import base64

import cv2
import numpy as np

from segkit.pictures.overlays import Pixels

QUALITY = 82  # of JPEGs


def to_data_uri(picture: Pixels, suffix: str = ".jpg", quality: int = QUALITY) -> str:
    """An RGB picture (H, W, 3) as a data URI; suffix: .jpg, or .png where every pixel counts."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1]), options)
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of shape {picture.shape} as {suffix}.")
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64," + base64.b64encode(encoded.tobytes()).decode()
