"""How each order of plants and fungi is drawn, in local coordinates: x right, y down, about [-1, 1].

Every function takes the drawing, the family's shape (0 or 1), the genus's pattern and the pose (-1 to 1).
"""

import math

import numpy as np

from vlm_sae_lib.pocket.drawing import (
    BARK,
    BROWN,
    CREAM,
    LEAF,
    STEM,
    Body,
    Drawing,
    circle,
    cone,
    cup,
    dome,
    draw_pattern,
    oval,
    petal,
    spire,
    stalk,
)  # fmt: skip

LEAF_EDGE, BARK_EDGE = (40, 90, 45), (60, 40, 30)


def daisy(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    d.line([(0, 0), (0.08 * pose, 0.6), (0, 1.1)], STEM, 0.1)
    d.polygon(Body((0, 0.75), (0.55, 0.5), 0.14, oval).strip(), LEAF, LEAF_EDGE)
    count = (9, 5)[shape]
    for i in range(count):
        angle = 2 * math.pi * (i + pose / 2) / count
        ray = np.array([math.cos(angle), math.sin(angle)])
        leaf = Body((0, -0.2) + 0.12 * ray, (0, -0.2) + (0.74, 0.8)[shape] * ray, (0.16, 0.27)[shape], petal)
        d.polygon(leaf.strip(), "body", "edge")
        if pattern == "banded":
            d.polygon(leaf.strip(0.45, 0.72, n=5), "accent")
        elif pattern == "lined":
            d.polygon(leaf.strip(0.3, 0.95, -0.25, 0.25, n=5), "accent")
    d.polygon(circle(0, -0.2, 0.24), "heart", "edge")


def oak(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    d.polygon([(-0.13, 0.2), (0.13, 0.2), (0.18, 1.1), (-0.18, 1.1)], BARK, BARK_EDGE)
    d.line([(0, 0.5), (0.3, 0.1 + 0.1 * pose)], BARK, 0.1)
    if shape == 0:
        crown = [(-0.45, -0.1, 0.42), (0.45, -0.1, 0.42), (0, -0.55, 0.5), (0, 0, 0.45)]
    else:
        crown = [(-0.4, -0.35, 0.42), (0.4, -0.35, 0.42), (0, -0.55, 0.42), (0, -0.2, 0.4)]
    for x, y, radius in crown:
        d.polygon(circle(x, y, radius + 0.045, 14), "edge")
    for x, y, radius in crown:
        d.polygon(circle(x, y, radius, 14), "body")
    if pattern == "spotted":
        for x, y in ((-0.5, -0.15), (0.45, -0.2), (0, -0.75), (-0.15, -0.3), (0.2, 0.05), (0.2, -0.5), (-0.35, -0.5)):
            d.polygon(circle(x, y, 0.11, 8), "accent")
    elif pattern == "lined":
        for x in (-0.62, -0.32, 0, 0.32, 0.62):
            d.line([(x, -0.35 + abs(x) * 0.3), (x * 1.15, 0.1), (x * (1.2 + 0.1 * pose), 0.58)], "accent", 0.1)


def tulip(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    d.line([(0, 0), (0.06 * pose, 0.6), (0, 1.1)], STEM, 0.1)
    for side in (-1, 1):
        leaf = Body((0, 1.0), (side * (0.5, 0.36)[shape], 0.15), 0.13, petal)
        d.polygon(leaf.strip(), LEAF, LEAF_EDGE)
    if shape == 0:
        goblet = Body((0, 0.22), (0, -0.75), 0.52, cup)
        rim = abs(float(goblet.at(1.0, 1.0)[0]))
        teeth = [(x, -0.75 + (-0.2 if i % 2 == 0 else 0.12)) for i, x in enumerate(np.linspace(-rim, rim, 7))]
        d.polygon([(-rim, -0.7), *teeth, (rim, -0.7)], "body", "edge")
    else:
        goblet = Body((0, -0.85), (0, 0.2), 0.72, lambda t: 0.25 + 0.75 * np.clip(t, 0, 1) ** 1.6)
    d.polygon(goblet.strip(), "body", "edge")
    draw_pattern(d, goblet, pattern, t0=0.1, t1=0.95, radius=0.1)


def conifer(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    d.polygon([(-0.1, 0.7), (0.1, 0.7), (0.12, 1.1), (-0.12, 1.1)], BARK, BARK_EDGE)
    if shape == 0:
        for i in range(3):
            base = 0.75 - 0.55 * i
            tier = Body((0, base), (0.03 * pose, base - 0.8), 0.78 - 0.17 * i, cone)
            d.polygon(tier.strip(n=5), "body", "edge")
            if pattern == "banded":
                d.polygon(tier.strip(0.08, 0.28, n=4), "accent")
        return
    tree = Body((0, 0.85), (0.05 * pose, -1.15), 0.5, lambda t: oval(0.12 + 0.88 * np.clip(t, 0, 1)))
    d.polygon(tree.strip(n=18), "body", "edge")
    draw_pattern(d, tree, pattern, n=5, t0=0.08, radius=0.11)


def toadstool(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    d.polygon(Body((0.05 * pose, 1.0), (0, -0.1), (0.22, 0.14)[shape], stalk).strip(), CREAM, BROWN)
    d.polygon(Body((-0.22, 0.25), (0.22, 0.25), 0.09, oval).strip(), (225, 212, 190))
    width = (0.98, 0.58)[shape]
    cap = Body((0, 0.14), (0, (-0.6, -0.95)[shape]), width, dome)
    d.polygon(cap.strip(), "body", "edge")
    d.polygon(Body((-width, 0.14), (width, 0.14), 0.09, oval).strip(), "pale", "edge")
    if pattern == "spotted":
        for u, t in ((-0.62, 0.3), (0, 0.25), (0.62, 0.3), (-0.4, 0.68), (0.38, 0.66), (0, 0.86)):
            x, y = cap.at(t, u)
            d.polygon(circle(x, y, 0.12, 9), "accent")
    else:
        draw_pattern(d, cap, pattern, n=4, t0=0.1, t1=0.9)


def morel(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    d.polygon(Body((0.05 * pose, 1.0), (0, 0.2), 0.2, lambda t: 1 + 0 * t).strip(), CREAM, BROWN)
    if shape == 0:
        cap = Body((0, 0.4), (0, -1.1), 0.46, spire)
    else:
        cap = Body((0, 0.45), (0, -0.7), 0.66, lambda t: oval(0.1 + 0.9 * np.clip(t, 0, 1)))
    d.polygon(cap.strip(), "body", "edge")
    draw_pattern(d, cap, pattern, n=5, t0=0.04, t1=0.9)
