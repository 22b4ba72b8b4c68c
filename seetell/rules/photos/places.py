"""Where things are in the picture, and how they lie to one another; only where the boxes leave no doubt."""

from __future__ import annotations

from seetell.rules.photos.evidence import Evidence, area
from seetell.rules.read import Region

GAP = 0.03  # of the picture's width or height, between two boxes of which one is said to lie beside the other
LARGEST = 0.3  # of the picture's area: what fills more has no place of its own


def spot(region: Region) -> str:
    """`on the left side of the picture`, `in the upper right part of the picture`; empty where it is neither."""
    if area(region) > LARGEST:
        return ""
    column = "left" if region.x1 < 0.5 and region.x < 0.36 else "right" if region.x0 > 0.5 and region.x > 0.64 else ""
    row = "upper" if region.y1 < 0.5 and region.y < 0.3 else "lower" if region.y0 > 0.5 and region.y > 0.7 else ""
    if row and column:
        return f"in the {row} {column} part of the picture"
    if column:
        return f"on the {column} side of the picture"
    centred = abs(region.x - 0.5) < 0.08 and region.x1 - region.x0 < 0.45
    if centred and abs(region.y - 0.5) < 0.12 and region.y1 - region.y0 < 0.6:
        return "in the middle of the picture"
    return f"in the {row} part of the picture" if row and centred else ""


def placed(evidence: Evidence) -> dict[str, str]:
    """Single things with a place, by label."""
    found: dict[str, str] = {}
    for label in evidence.sure:
        region = evidence.single(label)
        if region and label not in ("dining table", "skis") and (place := spot(region)):
            found[label] = place
    return found


def relations(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Pairs of single things: (one, `to the left of`, other), left and right before higher and lower."""
    singles = [(label, region) for label in evidence.sure if (region := evidence.single(label))]
    beside: list[tuple[str, str, str]] = []
    stacked: list[tuple[str, str, str]] = []
    for one, first in singles:
        for other, second in singles:
            if one == other:
                continue
            if first.x1 + GAP < second.x0:
                beside.append((one, "to the left of", other))
            elif second.x1 + GAP < first.x0:
                beside.append((one, "to the right of", other))
            elif first.y1 + GAP < second.y0:
                stacked.append((one, "higher up in the picture than", other))
            elif second.y1 + GAP < first.y0:
                stacked.append((one, "lower in the picture than", other))
    return beside or stacked


OPPOSITE = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "higher up in the picture than": "lower in the picture than",
    "lower in the picture than": "higher up in the picture than",
}
