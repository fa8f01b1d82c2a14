"""Widths and lengths of drawn cracks, 1 to 30 pixels wide, from calibrated probabilities of blurred, noisy pictures."""

import statistics
from typing import Any

import numpy as np
from drawn_cracks import SHAPES, draw, learn, photograph

from segkit.geometry.cracks import measure_cracks

WIDTHS = (1, 1.5, 2, 3, 5, 8, 12, 20, 30)
LIGHTS = ((0.6, 0.05), (1.0, 0.1))  # blur in pixels, and noise as a share of the crack's contrast
TIMES = 3  # of each width, light and shape


def measure() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    rows = [row for width in WIDTHS for blur, noise in LIGHTS for row in measure_all(rng, width, blur, noise)]
    detail = f"{len(rows)} straight, bent, branched and crossing cracks, {WIDTHS[0]} to {WIDTHS[-1]} pixels wide"
    what = {
        "width_error": ("median error of a drawn crack's mean width, in pixels", 0.5, "lower"),
        "length_error": ("median error of its length, as a share", 0.03, "lower"),
        "mean_covered": ("share of the intervals of the mean width that hold it", 0.9, "higher"),
        "widest_covered": ("share of the intervals of the largest width that hold it", 0.9, "higher"),
    }
    taken = {key: statistics.median if better == "lower" else statistics.mean for key, (_, _, better) in what.items()}
    return [
        {
            "name": name,
            "ratio": round(taken[key](row[key] for row in rows), 3),
            "target": target,
            "better": better,
            "detail": detail,
        }
        for key, (name, target, better) in what.items()
    ]


def measure_all(rng: np.random.Generator, width: float, blur: float, noise: float) -> list[dict[str, float]]:
    """A row for each crack of one width in one light; its probabilities are learnt from other pictures."""
    known = [draw(rng, shape, width) for shape in SHAPES]
    predict = learn([photograph(rng, one.covered, blur, noise) for one in known], [one.covered for one in known])
    rows = []
    for shape in SHAPES * TIMES:
        crack = draw(rng, shape, width)
        probability = predict(photograph(rng, crack.covered, blur, noise))
        found = [one for one in measure_cracks(probability, probability > 0.5) if one.length > 5]
        longest = max(found, key=lambda one: one.length)
        rows.append(
            {
                "width_error": abs(longest.width.value - width),
                "length_error": abs(sum(one.length for one in found) / crack.length - 1),
                "mean_covered": float(longest.width.low <= width <= longest.width.high),
                "widest_covered": float(longest.widest.low <= width <= longest.widest.high),
            }
        )
    return rows


if __name__ == "__main__":
    for entry in measure():
        print(entry)
