"""Cracks in roads and walls, drawn: paths, their opening, and how they look in the surface."""

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.datasets.drawn.surfaces import (
    Array,
    Pixels,
    Rng,
    add_clutter,
    as_float,
    blur,
    channels,
    coordinates,
    fractal,
    log_uniform,
    noise,
    photograph,
    rough_surface,
    smoothstep,
)

Polyline = NDArray[np.float64]
FINE = 2  # cracks are drawn on a canvas this many times finer, then pulled back to size


def draw_cracks(rng: Rng, size: int, empty: bool) -> tuple[Pixels, Pixels]:
    """A picture (size, size, 3) and its mask (size, size) with 1 = crack; without a crack if `empty`.

    The mask includes every pixel of which the crack covers about a third or more, whatever the contrast: annotators
    outline what they can follow, soft edges included. Specks of a few pixels are not marked.
    """
    scene = rough_surface(rng, size)
    scene = add_clutter(rng, scene)
    mask = np.zeros((size, size), np.uint8)
    softness = rng.choice([rng.uniform(0, 0.8), log_uniform(rng, 0.5, 2.5)], p=[0.7, 0.3])
    if not empty:
        opening = draw_opening(rng, size)
        scene = carve(rng, scene, opening)
        mask = remove_crumbs(blur(opening, 0.5 * softness) > rng.uniform(0.2, 0.4), size)
    return photograph(rng, scene, softness), mask


def remove_crumbs(covered: NDArray[np.bool_], size: int) -> Pixels:
    """The mask without parts smaller than about 16 pixels (in a 128-pixel picture)."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(covered.astype(np.uint8))
    large = stats[:, cv2.CC_STAT_AREA] >= (size / 32) ** 2
    large[0] = False  # the surface
    return np.asarray(large[parts], np.uint8)


def draw_opening(rng: Rng, size: int) -> Array:
    """The share of each pixel that cracks cover, 0..1, (size, size)."""
    unit = size / 128
    canvas = np.zeros((size * FINE, size * FINE), np.uint8)
    width = unit * (log_uniform(rng, 1, 3) if rng.random() < 0.35 else log_uniform(rng, 2.5, 22))
    for number in range(rng.choice([1, 2, 3], p=[0.75, 0.2, 0.05])):
        path = draw_crossing(rng, size)
        draw_path(rng, canvas, path, width * (1.0 if number == 0 else rng.uniform(0.3, 1)), unit)
        for _ in range(rng.choice([0, 1, 2, 4], p=[0.6, 0.25, 0.1, 0.05])):
            branch = draw_branch(rng, path, size)
            draw_path(rng, canvas, branch, max(width * rng.uniform(0.2, 0.8), 1.2 * unit), unit)
    opening = roughen_borders(rng, canvas, size, min(width, 7 * unit))
    if rng.random() < 0.25:
        bridges = smoothstep(noise(rng, size, rng.uniform(4, 12) * unit), 0.9, 1.6)
        opening *= 1 - bridges
    return opening


def draw_crossing(rng: Rng, size: int) -> Polyline:
    """Points (n, 2) of a crack across the picture, from border to border or ending inside it."""
    turn = rng.uniform(0, 2 * np.pi)
    along, aside = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    middle = size * (0.5 + aside * rng.uniform(-0.45, 0.45))
    start = middle - along * size * 0.75
    end = middle + along * size * (0.75 if rng.random() < 0.75 else rng.uniform(-0.2, 0.4))
    return wander(rng, start, end)


def draw_branch(rng: Rng, path: Polyline, size: int) -> Polyline:
    """A side crack that leaves `path` somewhere at a wide angle."""
    at = int(rng.integers(len(path) // 5, len(path) * 4 // 5))
    heading = path[min(at + 4, len(path) - 1)] - path[max(at - 4, 0)]
    turn = np.arctan2(heading[1], heading[0]) + rng.choice([-1, 1]) * rng.uniform(0.4, 1.6)
    away = size * rng.uniform(0.15, 0.9) * np.array([np.cos(turn), np.sin(turn)])
    return wander(rng, path[at], path[at] + away)


def wander(rng: Rng, start: Polyline, end: Polyline) -> Polyline:
    """Midpoint displacement, 65 points: each halving moves the middle sideways, by less and less."""
    points = np.stack([start, end])
    sway, fade = rng.uniform(0.08, 0.3), rng.uniform(0.7, 1)
    for _ in range(6):
        steps = np.diff(points, axis=0)
        normals = np.stack([-steps[:, 1], steps[:, 0]], 1)
        middles = (points[:-1] + points[1:]) / 2 + normals * rng.uniform(-sway, sway, (len(steps), 1))
        merged = np.empty((len(points) + len(middles), 2))
        merged[::2], merged[1::2] = points, middles
        points, sway = merged, sway * fade
    return points


def draw_path(rng: Rng, canvas: Pixels, path: Polyline, width: float, unit: float) -> None:
    """Draw a crack about `width` wide along `path`: it wavers, may taper, and may open to a hole."""
    count = len(path)
    waver = np.interp(np.arange(count), np.linspace(0, count, 12), rng.normal(0, 1, 12))
    widths = width * np.exp(rng.uniform(0.1, 0.5) * waver)
    if rng.random() < 0.5:
        widths = widths * np.clip((count - np.arange(count)) / (rng.uniform(0.2, 1) * count), 0.25, 1)
    if rng.random() < 0.2:
        hole, spread = rng.uniform(0, count), rng.uniform(3, 14)
        widths = widths + rng.uniform(5, 35) * unit * np.exp(-(((np.arange(count) - hole) / spread) ** 2))
    thickness = np.round(np.maximum(widths, 1) * FINE).astype(int).tolist()
    points = np.round(path * FINE * 16).astype(int).tolist()
    for start, end, across in zip(points[:-1], points[1:], thickness, strict=False):
        cv2.line(canvas, start, end, 255, across, cv2.LINE_AA, 4)


def roughen_borders(rng: Rng, canvas: Pixels, size: int, reach: float) -> Array:
    """Bring the fine canvas to `size`, its borders displaced by up to about `reach` pixels."""
    strength = rng.uniform(0.1, 0.6) * reach
    smallest = rng.uniform(1.5, 4)
    rows, columns = coordinates(size)
    shift_x, shift_y = (strength * fractal(rng, size, 8 * smallest, smallest, 0.7) for _ in range(2))
    small = as_float(cv2.GaussianBlur(canvas, (0, 0), 0.4 * FINE)) / 255
    moved = cv2.remap(small, (columns + shift_x) * FINE, (rows + shift_y) * FINE, cv2.INTER_LINEAR)
    return as_float(moved)


def remove_details(scene: Array) -> Array:
    """The scene without its details: reduced to 8 × 8 pixels and smoothly enlarged again."""
    size = scene.shape[-1]
    small = [cv2.resize(plane, (8, 8), interpolation=cv2.INTER_AREA) for plane in scene]
    return np.stack([as_float(cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR)) for plane in small])


def carve(rng: Rng, scene: Array, opening: Array) -> Array:
    """The scene with the crack in it: dark, rubble on its floor, one wall lit, dirty or light rims."""
    size = scene.shape[-1]
    unit = size / 128
    depth = rng.uniform(0.4, 0.95) if rng.random() < 0.75 else rng.uniform(0.2, 0.5)
    surface = remove_details(scene)
    earth = 1 + rng.uniform(-0.05, 0.25) * channels(1, 0.1, -1)
    rubble = fractal(rng, size, log_uniform(rng, 3, 10) * unit, 1, rng.uniform(0.6, 1))
    inside = surface * earth * (1 - depth) * (1 + rng.uniform(0.05, 0.5) * rubble)
    inside += rng.uniform(0, 0.4) * (scene - surface)

    turn = rng.uniform(0, 2 * np.pi)
    reach = log_uniform(rng, 0.5, 8) * unit
    shift = np.array([[1, 0, reach * np.cos(turn)], [0, 1, reach * np.sin(turn)]])
    shifted = as_float(cv2.warpAffine(opening, shift, (size, size), borderMode=cv2.BORDER_REPLICATE))
    lit_wall = np.clip(opening - shifted, 0, 1)
    rim = np.clip(shifted - opening, 0, 1)
    inside = inside + rng.uniform(-0.2, 0.5) * depth * lit_wall * scene
    scene = scene * (1 + rng.uniform(-0.2, 0.25) * rim)
    dirt = blur(opening, rng.uniform(2, 6) * unit)
    scene = scene * (1 - rng.uniform(0, 0.3) * dirt)
    cover = blur(opening, rng.uniform(0, 0.7))
    return as_float(scene + cover * (inside - scene))
