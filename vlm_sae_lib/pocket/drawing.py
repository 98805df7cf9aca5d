"""Drawing primitives: a drawing is built once in unit coordinates and painted at any size."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import ImageDraw

Colour = tuple[int, int, int]
OUTLINE = 0.012  # of the picture's width

INK, WHITE, CREAM, BROWN, BARK, LEAF, STEM, BEAK = (
    (40, 30, 40), (255, 255, 255), (240, 230, 210), (150, 130, 110),
    (110, 75, 50), (80, 150, 70), (60, 130, 60), (240, 160, 50),
)  # fmt: skip


def mix(a, b, share: float) -> Colour:
    """The colour at ``share`` of the way from a to b."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def darker(colour, share: float = 0.45) -> Colour:
    return mix(colour, (25, 18, 30), share)


def lighter(colour, share: float = 0.4) -> Colour:
    return mix(colour, WHITE, share)


@dataclass
class Drawing:
    """Polygons and lines in unit coordinates. Colours are fixed RGB or the name of a role in the palette."""

    parts: list[tuple] = field(default_factory=list)  # (is_line, start, stop, colour, outline or width)
    points: list[np.ndarray] = field(default_factory=list)
    _count: int = 0

    def _add(self, is_line: bool, points, colour, extra) -> None:
        points = np.asarray(points, dtype=float)
        self.points.append(points)
        self.parts.append((is_line, self._count, self._count + len(points), colour, extra))
        self._count += len(points)

    def polygon(self, points, colour, outline=None) -> None:
        self._add(False, points, colour, outline)

    def line(self, points, colour, width: float) -> None:
        self._add(True, points, colour, width)

    def paint(self, canvas: ImageDraw.ImageDraw, size: int, palette: dict, matrix=None, offset=(0.0, 0.0)) -> None:
        """Paint on a ``size`` × ``size`` canvas after the affine map ``p ↦ p @ matrix + offset`` (unit coordinates)."""
        points = np.concatenate(self.points)
        scale = 1.0
        if matrix is not None:
            points = points @ matrix + np.asarray(offset)
            scale = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
        flat = (points * size).ravel().tolist()
        outline_width = max(1, round(OUTLINE * size))
        for is_line, start, stop, colour, extra in self.parts:
            xy = flat[2 * start : 2 * stop]
            colour = palette[colour] if isinstance(colour, str) else colour
            if is_line:
                canvas.line(xy, fill=colour, width=max(1, round(extra * scale * size)), joint="curve")
                continue
            canvas.polygon(xy, fill=colour)
            if extra is not None:
                edge = palette[extra] if isinstance(extra, str) else extra
                canvas.line(xy + xy[:2], fill=edge, width=outline_width)


def circle(x: float, y: float, radius: float, n: int = 12, radius_y: float | None = None) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, n, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + (radius_y or radius) * np.sin(angle)], axis=1)


class Body:
    """A shape along an axis: ``at(t, u)`` is the point a share t down the axis and a share u of the half-width aside.

    Patterns drawn in (t, u) stay inside the outline, so nothing needs clipping.
    """

    def __init__(self, start, end, width: float, profile: Callable, bend: float = 0.0):
        self.start = np.array(start, dtype=float)
        self.axis = np.array(end, dtype=float) - self.start
        self.length = math.hypot(*self.axis)
        self.normal = np.array([-self.axis[1], self.axis[0]]) / self.length
        self.width, self.profile, self.bend = width, profile, bend

    def at(self, t, u) -> np.ndarray:
        t, u = np.asarray(t, dtype=float), np.asarray(u, dtype=float)
        aside = self.profile(t) * self.width * u + self.bend * self.length * np.sin(t * 2 * math.pi)
        return self.start + t[..., None] * self.axis + aside[..., None] * self.normal

    def strip(self, t0=0.0, t1=1.0, u0=-1.0, u1=1.0, n: int = 15) -> np.ndarray:
        """The outline of the part between t0 and t1, u0 and u1."""
        t = np.linspace(t0, t1, n)
        return np.concatenate([self.at(t, np.full(n, u0)), self.at(t[::-1], np.full(n, u1))])


def oval(t):
    return np.sqrt(np.maximum(1 - (2 * t - 1) ** 2, 0))


def fish(t):
    return np.maximum(1.05 * np.sin(np.pi * np.clip(t, 0, 1) ** 0.75), 0.05)


def eel(t):
    return np.clip(np.minimum(6 * t, 2.2 * (1 - t) + 0.18), 0, 1) ** 0.6


def bird(t):
    return np.sin(np.pi * np.clip(t, 0, 1) ** 0.8) ** 0.8


def dome(t):
    return np.sqrt(np.maximum(1 - t**2, 0))


def cup(t):
    return 0.45 + 0.75 * np.sin(np.pi * np.clip(t * 0.62 + 0.1, 0, 1)) - 0.25 * t


def spire(t):
    return np.clip((1 - t) ** 0.7 * 1.05, 0, 1) * (0.85 + 0.15 * np.cos(t * 6))


def cone(t):
    return 1 - t


def wing(t):
    return np.sin(np.pi * np.clip(t, 0, 1) ** 1.5) ** 0.7


def petal(t):
    return np.sin(np.pi * np.clip(t, 0.02, 1) ** 1.2) ** 0.8


def stalk(t):
    return 1 - 0.35 * t


def draw_pattern(drawing: Drawing, body: Body, pattern: str, n=4, t0=0.12, t1=0.92, radius=None) -> None:
    """Spots, bands or lines in the accent colour, inside the body."""
    if pattern == "spotted":
        radius = radius or body.width * 0.2
        for i in range(n):
            for u in (-0.5, 0.5) if i % 2 else (0,):
                x, y = body.at(t0 + (t1 - t0) * (i + 0.5) / n, u)
                drawing.polygon(circle(x, y, radius, 8), "accent")
    elif pattern == "banded":
        half = (t1 - t0) * 0.25 / (n - 1)
        for i in range(n - 1):
            t = t0 + (t1 - t0) * (i + 0.5) / (n - 1)
            drawing.polygon(body.strip(t - half, t + half, n=5), "accent")
    elif pattern == "lined":
        for u in (-0.55, 0, 0.55):
            drawing.polygon(body.strip(t0 * 0.7, t1, u - 0.11, u + 0.11), "accent")
