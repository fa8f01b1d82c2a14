"""Cracks of known width and length, drawn from exact distances to a curve; and probabilities as a network sees them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import isotonic_regression, minimize
from scipy.spatial import cKDTree

Array = NDArray[Any]
SHAPES = ("straight", "arc", "wave", "fork", "crossing")
FINE = 8  # sub-pixels along each side


class Drawn(NamedTuple):
    """The share of each pixel that a crack covers (size, size), its width, and its length from tip to tip."""

    covered: Array
    width: float
    length: float
    junctions: int


def draw(rng: np.random.Generator, shape: str, width: float, size: int = 240) -> Drawn:
    """A crack with round ends, in any direction and place."""
    middle, half = size / 2 + rng.uniform(-2, 2, 2), 0.3 * size
    way, turn = np.linspace(-half, half, 1001), rng.uniform(0, np.pi)
    if shape in ("fork", "crossing"):
        apart = (
            rng.uniform(1.8, 2.3, 2) if shape == "fork" else [opening := rng.uniform(1.05, np.pi / 2), np.pi - opening]
        )
        count = 3 if shape == "fork" else 4
        turns = turn + np.cumsum([0, *apart, *apart][:count])
        curves = [np.stack([way[500:] * np.cos(one), way[500:] * np.sin(one)], 1) for one in turns]
    else:
        radius = rng.uniform(max(60, 2 * width), 200)
        bend = {
            "arc": radius * (1 - np.cos(way / radius)),
            "wave": rng.uniform(2, 6) * np.sin(way / rng.uniform(12, 25)),
        }
        aside = bend.get(shape, 0 * way) if shape != "wave" or width < 12 else bend["wave"] / 2
        across = radius * np.sin(way / radius) if shape == "arc" else way
        spun = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        curves = [np.stack([across, aside], 1) @ spun]
    curves = [middle + curve for curve in curves]
    tips = {"fork": 3, "crossing": 4}.get(shape, 2)
    length = sum(float(np.hypot(*np.diff(curve, axis=0).T).sum()) for curve in curves) + tips * width / 2
    return Drawn(cover(curves, width, size), width, length, int(tips > 2))


def cover(curves: Sequence[Array], width: float, size: int) -> Array:
    """The share of each pixel that lies within half the width of a curve, from FINE² points in it."""
    tree, centres = cKDTree(np.concatenate(curves)), np.arange(size) + 0.5
    grid = np.stack(np.meshgrid(centres, centres), -1)
    distance = tree.query(grid.reshape(-1, 2), distance_upper_bound=width / 2 + 3)[0].reshape(size, size)
    covered = (distance <= width / 2).astype(float)
    border = np.abs(distance - width / 2) < 0.75
    offsets = (np.arange(FINE) + 0.5) / FINE - 0.5
    inside = np.stack(np.meshgrid(offsets, offsets), -1).reshape(-1, 2)
    near = tree.query(grid[border][:, None] + inside, distance_upper_bound=width / 2 + 3)[0]
    covered[border] = (near <= width / 2).mean(1)
    return covered


def photograph(rng: np.random.Generator, covered: Array, blur: float, noise: float) -> Array:
    """What a camera makes of it: texture of the surface, blur, and noise of the sensor."""
    scene = covered + 0.04 * gaussian_filter(rng.normal(size=covered.shape), 4) / 0.07
    return np.asarray(gaussian_filter(scene, blur) + noise * gaussian_filter(rng.normal(size=covered.shape), 0.6))


def features(image: Array) -> Array:
    """The picture and its edges at several scales, and their products with themselves and the finest (P, F)."""
    smooth = [gaussian_filter(image, scale) for scale in (0.5, 1, 2, 4)]
    edges = [gaussian_filter(image, scale) - gaussian_filter(image, 1.6 * scale) for scale in (0.7, 1.5, 3)]
    found = np.stack([*smooth, *edges], -1).reshape(-1, 7)
    return np.concatenate([found, found**2, found[:, :1] * found[:, 1:]], 1)


def learn(images: Sequence[Array], covered: Sequence[Array]) -> Callable[[Array], NDArray[np.float32]]:
    """From pictures to calibrated probabilities that a pixel is at least half covered: a logistic regression on
    `features`, calibrated by isotonic regression."""
    seen = np.concatenate([features(image) for image in images])
    truth = np.concatenate([one.ravel() >= 0.5 for one in covered]).astype(float)
    mean, deviation = seen.mean(0), seen.std(0) + 1e-9

    def prepare(values: Array) -> Array:
        return np.concatenate([(values - mean) / deviation, np.ones((len(values), 1))], 1)

    inputs = prepare(seen)

    def loss(weights: Array) -> tuple[float, Array]:
        logits = inputs @ weights
        slope = inputs.T @ (1 / (1 + np.exp(-logits)) - truth)
        return float(
            (np.logaddexp(0, logits) - truth * logits).sum() + 1e-3 * weights @ weights
        ), slope + 2e-3 * weights

    weights = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 80}).x
    order = np.argsort(inputs @ weights)
    some = np.linspace(0, len(order) - 1, 4000).astype(int)
    logits, rates = (inputs @ weights)[order][some], isotonic_regression(truth[order]).x[some]

    def predict(image: Array) -> NDArray[np.float32]:
        return np.interp(prepare(features(image)) @ weights, logits, rates).reshape(image.shape).astype(np.float32)

    return predict
