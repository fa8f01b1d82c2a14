"""GeoJSON (RFC 7946), with pixels from the picture's top left corner in place of degrees, as QuPath reads it."""

from collections.abc import Iterable

from segkit.formats.model import Json, Outline, Points


def write(outlines: Iterable[Outline]) -> Json:
    """A picture's objects: a polygon for each, with its holes, its class and its area in pixels."""
    features = [
        {
            "type": "Feature",
            "properties": {"class": outline.label, "area": int(outline.pixels.sum())},
            "geometry": {
                "type": "Polygon",
                "coordinates": [close(ring) for ring in (outline.polygon.outer, *outline.polygon.holes)],
            },
        }
        for outline in outlines
    ]
    return {"type": "FeatureCollection", "features": features}


def close(ring: Points) -> list[list[float]]:
    """A ring as pairs of numbers that end where they begin."""
    pairs: list[list[float]] = ring.tolist()
    return [*pairs, pairs[0]]
