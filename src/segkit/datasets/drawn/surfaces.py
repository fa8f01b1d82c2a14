"""The elements of drawn pictures: noise of many scales, rough surfaces, and the camera that takes them.

Scenes are (3, size, size), red, green and blue, in grey levels 0..255; one brightness for all three
broadcasts. Everything is float32 until `photograph` rounds it.
Lengths are in pixels of a 128-pixel picture; `unit` = picture size / 128 scales them to the size drawn.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Rng = np.random.Generator


def as_float(image: object) -> Array:
    """The image as float32: OpenCV's return values carry no element type."""
    return np.asarray(image, dtype=np.float32)


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A factor as likely between 1 and 2 as between 2 and 4."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def coordinates(size: int) -> tuple[Array, Array]:
    """Row numbers (size, 1) and column numbers (1, size)."""
    numbers = np.arange(size, dtype=np.float32)
    return numbers[:, None], numbers[None]


def noise(rng: Rng, size: int, cell: float, stretch: float = 1.0) -> Array:
    """Smooth noise (size, size), mean 0, deviation about 0.8, with blobs of about `cell` pixels.

    `stretch` > 1 makes the blobs that many times wider than high. Cells of a pixel or less give white noise.
    """
    rows = min(size, int(np.ceil(size / max(cell, 1.0))) + 1)
    columns = min(size, int(np.ceil(size / max(cell * stretch, 1.0))) + 1)
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    if (rows, columns) == (size, size):
        return grid
    return as_float(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC))


def fractal(rng: Rng, size: int, largest: float, smallest: float, roughness: float) -> Array:
    """Sum of noises whose cells halve from `largest` to `smallest` pixels, deviation 1, mean 0.

    Each octave is `roughness` times as strong as the one before: 0.4 gives clouds, 1 gives rubble.
    """
    total = np.zeros((1, 1), np.float32)
    cell, strength = largest, 1.0
    while cell >= smallest:
        side = min(size, int(np.ceil(size / max(cell, 1.0))) + 1)
        total = as_float(cv2.resize(total, (side, side), interpolation=cv2.INTER_CUBIC))
        total += np.float32(strength) * rng.standard_normal((side, side), dtype=np.float32)
        cell, strength = cell / 2, strength * roughness
    total = as_float(cv2.resize(total, (size, size), interpolation=cv2.INTER_CUBIC))
    return as_float((total - total.mean()) / (total.std() + 1e-6))


def blur(image: NDArray[np.floating[Any]], sigma: float) -> Array:
    """Gaussian blur of (H, W) or (3, H, W); a sigma that would change nothing is skipped."""
    if sigma < 0.2:
        return image
    if image.ndim == 3:
        return np.stack([blur(plane, sigma) for plane in image])
    return as_float(cv2.GaussianBlur(image, (0, 0), sigma))


def smoothstep(value: Array, start: float, end: float) -> Array:
    """0 below `start`, 1 above `end`, a soft edge between."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return as_float(t * t * (3 - 2 * t))


def colour(rng: Rng) -> Array:
    """(3, 1, 1) factors near 1: mostly almost grey, more often warm than cold, rarely strong."""
    strength = log_uniform(rng, 0.01, 0.06) if rng.random() < 0.85 else rng.uniform(0.06, 0.2)
    warm, green = strength * rng.choice([1.0, 1.0, -1.0]), rng.normal(0, 0.012)
    return channels(1 + warm, 1 + green + 0.2 * warm, 1 - warm)


def channels(red: float, green: float, blue: float) -> Array:
    """(3, 1, 1), to multiply with a picture or a brightness."""
    return np.array([red, green, blue], np.float32).reshape(3, 1, 1)


def rough_surface(rng: Rng, size: int) -> Array:
    """A road or a wall without cracks, (3, size, size)."""
    unit = size / 128
    zoom = unit * log_uniform(rng, 0.7, 2.5)
    level = rng.uniform(90, 215)
    contrast = log_uniform(rng, 3, 28)

    height = fractal(rng, size, log_uniform(rng, 3, 20) * zoom, 1.0, rng.uniform(0.5, 1.1))
    light = height
    if rng.random() < 0.5:
        light = relief(height, rng.uniform(0, 2 * np.pi))
    light = contrast * light
    light += log_uniform(rng, 1, 12) * fractal(rng, size, 64 * unit, 8 * unit, 0.6)
    if rng.random() < 0.6:
        light += rng.uniform(0.5, 2.5) * contrast * specks(rng, size, zoom)
    if rng.random() < 0.5:
        holes = cavities(rng, size, zoom)
        # Few holes leave the relief flat almost everywhere: scaled to deviation 1 it would be glaring there.
        rims = np.clip(relief(holes, rng.uniform(0, 2 * np.pi)), -5, 5)
        light += rng.uniform(0, 0.5) * contrast * rims
        light -= rng.uniform(0.15, 0.8) * level * holes
    if rng.random() < 0.15:
        light += rng.uniform(0.3, 1.0) * contrast * trowel_lines(rng, size, zoom)
    image = (level + light) * colour(rng)
    if rng.random() < 0.5:
        image += rng.uniform(0.5, 4) * noise(rng, size, 3 * zoom) * channels(*rng.normal(0, 1, 3))
    return image


def relief(height: Array, direction: float) -> Array:
    """A height map lit from one side, deviation 1: bright where it rises towards `direction` (radians)."""
    dy, dx = np.gradient(height)
    slope = dx * math.cos(direction) + dy * math.sin(direction)
    return as_float(slope / (slope.std() + 1e-6))


def specks(rng: Rng, size: int, zoom: float) -> Array:
    """Dark grains, down to -3, and bright pebbles, up to 2; sparse and sharp-edged."""
    dark = smoothstep(noise(rng, size, rng.uniform(1.5, 5) * zoom), rng.uniform(1.0, 1.5), 2.2)
    bright = smoothstep(noise(rng, size, rng.uniform(1.5, 4) * zoom), rng.uniform(0.8, 1.5), 2.0)
    return as_float(rng.uniform(0, 2) * bright - rng.uniform(0.6, 3) * dark)


def cavities(rng: Rng, size: int, zoom: float) -> Array:
    """Holes and broken-out grains, 1 in the middle: as dark as a crack, but compact or in clusters."""
    largest = log_uniform(rng, 4, 16) * zoom
    rough = fractal(rng, size, largest, 1.5 * zoom, rng.uniform(0.5, 1))
    if rng.random() < 0.4:
        rough = rough + rng.uniform(0.3, 1) * noise(rng, size, rng.uniform(20, 60) * zoom)
    rarity = rng.uniform(1.4, 2.6)
    return smoothstep(rough, rarity, rarity + rng.uniform(0.2, 0.8))


def trowel_lines(rng: Rng, size: int, zoom: float) -> Array:
    """Long parallel grain of brushed concrete or wood board, any direction, deviation about 1."""
    wide = int(size * 1.5)
    grain = noise(rng, wide, rng.uniform(1, 3) * zoom, stretch=rng.uniform(10, 40))
    turn = cv2.getRotationMatrix2D((wide / 2, wide / 2), rng.uniform(0, 180), 1.0)
    turned = cv2.warpAffine(grain, turn, (wide, wide), borderMode=cv2.BORDER_REFLECT)
    margin = (wide - size) // 2
    return as_float(turned[margin : margin + size, margin : margin + size])


def add_clutter(rng: Rng, image: Array) -> Array:
    """Things on a surface that are not cracks: stains, painted areas, joints, scratches, writing, shadows."""
    size = image.shape[-1]
    unit = size / 128
    if rng.random() < 0.35:
        edge = rng.uniform(0.1, 1.5)
        start = rng.uniform(0, 1.2)
        stain = smoothstep(fractal(rng, size, 40 * unit, 3 * unit, 0.5), start, start + edge)
        image = image * (1 + stain * (rng.uniform(-0.4, 0.3) + channels(*rng.normal(0, 0.03, 3))))
    if rng.random() < 0.12:
        image = add_painted_area(rng, image)
    if rng.random() < 0.12:
        image = add_joints(rng, image)
    if rng.random() < 0.3:
        image = add_scratches(rng, image)
    if rng.random() < 0.08:
        image = add_writing(rng, image)
    if rng.random() < 0.25:
        image = add_shadow(rng, image)
    return as_float(image)


def add_painted_area(rng: Rng, image: Array) -> Array:
    """A band or half of the picture in another colour, keeping part of the grain, with a worn border."""
    size = image.shape[-1]
    unit = size / 128
    side = half_plane(rng, size) + 3 * unit * fractal(rng, size, 12 * unit, 2, 0.7)
    width = rng.uniform(15, 60) * unit
    area = smoothstep(side, 0, 2) * (1 - smoothstep(side, width, width + 2))
    if rng.random() < 0.5:
        area = smoothstep(side, 0, 2)
    area *= rng.uniform(0.5, 1)
    paint = rng.uniform(60, 240) * channels(1, rng.uniform(0.8, 1), rng.uniform(0.4, 1))
    kept = rng.uniform(0.2, 0.8) * (image - image.mean((1, 2), keepdims=True))
    return as_float(image + area * (paint + kept - image))


def half_plane(rng: Rng, size: int) -> Array:
    """Signed distance in pixels to a straight line through the picture, any direction, (size, size)."""
    turn = rng.uniform(0, 2 * np.pi)
    x, y = (rng.uniform(0.1, 0.9, 2) * size).tolist()
    rows, columns = coordinates(size)
    return as_float((columns - x) * math.cos(turn) + (rows - y) * math.sin(turn))


def add_joints(rng: Rng, image: Array) -> Array:
    """One to three straight parallel lines across the picture: saw cuts, formwork, tile edges; no cracks."""
    unit = image.shape[-1] / 128
    distance = half_plane(rng, image.shape[-1])
    spacing = rng.uniform(30, 150) * unit
    width = log_uniform(rng, 1, 5) * unit
    away = np.abs(np.mod(distance + spacing / 2, spacing) - spacing / 2)
    line = 1 - smoothstep(as_float(away), width / 2, width / 2 + rng.uniform(0.7, 2))
    strength = rng.uniform(0.15, 0.6) if rng.random() < 0.7 else -rng.uniform(0.1, 0.4)
    return as_float(image * (1 - strength * line))


def add_scratches(rng: Rng, image: Array) -> Array:
    """A few thin, short, slightly bent lines, mostly light, sometimes dark and faint."""
    size = image.shape[-1]
    unit = size / 128
    lines = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 6)):
        start = rng.uniform(0, size, 2)
        turn, length = rng.uniform(0, 2 * np.pi), rng.uniform(5, 60) * unit
        bends = turn + np.cumsum(rng.normal(0, 0.15, 4))
        steps = np.stack([np.cos(bends), np.sin(bends)], 1) * length / 4
        points = np.concatenate([[start], start + np.cumsum(steps, 0)])
        cv2.polylines(lines, [np.round(points * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    strength = rng.uniform(10, 60) if rng.random() < 0.75 else -rng.uniform(5, 20)
    return as_float(image + strength * blur(as_float(lines) / 255, rng.uniform(0.3, 0.8)))


def add_writing(rng: Rng, image: Array) -> Array:
    """Half-transparent letters or chalk over the picture, light or dark."""
    size = image.shape[-1]
    text = "".join(rng.choice(list("ABCDEGHKMNORSTUVWXZabcdeghkmnorstuvw.0123456789"), rng.integers(2, 9)))
    letters = np.zeros((size, size), np.uint8)
    where = (int(rng.uniform(-0.2, 0.7) * size), int(rng.uniform(0.1, 1.0) * size))
    scale = log_uniform(rng, 0.3, 2.0) * size / 128
    stroke = int(rng.integers(1, 4))
    cv2.putText(letters, text, where, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, stroke, cv2.LINE_AA)
    layer = as_float(np.rot90(letters) if rng.random() < 0.5 else letters) / 255
    ink = 255.0 if rng.random() < 0.7 else 0.0
    return as_float(image + rng.uniform(0.15, 0.6) * layer * (ink - image))


def add_shadow(rng: Rng, image: Array) -> Array:
    """A darker side with a soft, wavy border."""
    size = image.shape[-1]
    unit = size / 128
    side = half_plane(rng, size) + rng.uniform(0, 12) * unit * fractal(rng, size, 48 * unit, 12 * unit, 0.4)
    shade = smoothstep(side, 0, rng.uniform(2, 30) * unit)
    return as_float(image * (1 - rng.uniform(0.15, 0.6) * shade))


def photograph(rng: Rng, image: Array, softness: float) -> Pixels:
    """What a camera makes of a scene, (H, W, 3): uneven light, blur of `softness` pixels, noise, JPEG."""
    size = image.shape[-1]
    gradient = half_plane(rng, size) / size
    image = blur(as_float(image * (1 + rng.uniform(0, 0.25) * gradient)), softness)
    if rng.random() < 0.3:
        image = image + rng.uniform(0.3, 1.2) * (image - blur(image, rng.uniform(0.7, 2)))
    planes = 1 if rng.random() < 0.5 else 3
    image = image + log_uniform(rng, 0.5, 6) * rng.standard_normal((planes, size, size), dtype=np.float32)
    curve = 255 * np.linspace(0, 1, 256) ** log_uniform(rng, 0.8, 1.25)
    pixels = np.round(curve).astype(np.uint8)[np.clip(image, 0, 255).astype(np.uint8)]
    pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    if rng.random() < 0.7:
        # Channels go in and come out in the same order, so it does not matter that OpenCV takes them for BGR.
        _, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])
        pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return pixels
