"""How each order of animals is drawn, in local coordinates: x right, y down, about [-1, 1].

Every function takes the drawing, the family's shape (0 or 1), the genus's pattern and the pose (-1 to 1).
"""

import numpy as np

from vlm_sae_lib.pocket.drawing import (
    BEAK,
    CREAM,
    INK,
    WHITE,
    Body,
    Drawing,
    bird,
    circle,
    dome,
    draw_pattern,
    eel,
    fish,
    oval,
    wing,
)  # fmt: skip


def _eye(drawing: Drawing, x: float, y: float, radius: float) -> None:
    drawing.polygon(circle(x, y, radius, 10), WHITE, INK)
    drawing.polygon(circle(x + radius * 0.25, y, radius * 0.5, 8), INK)


def beetle(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    width = (0.64, 0.42)[shape]
    reach = (0.98, 0.8)[shape]
    for i, x in enumerate((-0.5, -0.1, 0.3)):
        for side in (-1, 1):
            knee = (x - 0.12 + 0.1 * pose * (-1) ** i, side * reach * 0.74)
            d.line([(x, 0), knee, (x - 0.3, side * reach)], INK, 0.075)
    d.polygon(circle(0.6, 0, 0.27), "shade", INK)
    for side in (-1, 1):
        d.line([(0.75, side * 0.1), (0.95, side * 0.28), (1.08, side * (0.5, 0.18)[shape])], INK, 0.06)
    body = Body((-0.9, 0), (0.55, 0), width, oval)
    d.polygon(body.strip(), "body", "edge")
    draw_pattern(d, body, pattern)
    d.line([body.at(0.03, 0), body.at(0.97, 0)], "edge", 0.05)
    for side in (-1, 1):
        d.polygon(circle(0.72, side * 0.13, 0.07, 8), WHITE)


def butterfly(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    flap = 1 - 0.18 * abs(pose)
    for side in (-1, 1):
        hind = Body((0, 0.1 * side), (-0.62 - 0.3 * shape, side * (0.78, 0.6)[shape] * flap), 0.32, wing)
        d.polygon(hind.strip(), "shade", "edge")
        fore = Body((0.1, 0), (0.5 - 0.15 * shape, side * 1.08 * flap), (0.5, 0.34)[shape], wing)
        d.polygon(fore.strip(), "body", "edge")
        if pattern == "spotted":
            (x, y), (behind, aside) = fore.at(0.66, 0), hind.at(0.7, 0)
            d.polygon(circle(x, y, 0.21, 10), "accent")
            d.polygon(circle(x, y, 0.1, 8), INK)
            d.polygon(circle(behind, aside, 0.12, 8), "accent")
        else:
            draw_pattern(d, fore, pattern, t0=0.25)
        d.line([(0.5, side * 0.03), (0.75, side * 0.22), (0.92, side * 0.3)], INK, 0.05)
    d.polygon(Body((-0.6, 0), (0.55, 0), 0.1, oval).strip(), INK)


def spider(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    reach = (0.8, 1.05)[shape]
    for i, x in enumerate((0.3, 0.18, 0.05, -0.08)):
        for side in (-1, 1):
            lean = 0.75 - 0.5 * i + 0.06 * pose * (-1) ** i
            knee = (x + lean * 0.6, side * reach * (0.62 if shape else 0.58))
            d.line([(x, side * 0.1), knee, (x + lean * 1.15, side * reach)], INK if shape else "edge", 0.075)
    abdomen = Body((-0.98, 0), (0.12, 0), (0.52, 0.3)[shape], oval)
    d.polygon(abdomen.strip(), "body", "edge")
    draw_pattern(d, abdomen, pattern, radius=0.1)
    d.polygon(circle(0.3, 0, 0.26), "shade", INK)
    for side in (-1, 1):
        d.polygon(circle(0.44, side * 0.1, 0.07, 8), WHITE)


def discfish(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    d.polygon([(-0.55, 0), (-1, -0.5), (-0.85, 0), (-1, 0.5)], "accent", "edge")
    if shape == 0:
        d.polygon([(-0.3, -0.4), (0, -1.04), (0.3, -0.45)], "accent", "edge")
        d.polygon([(-0.25, 0.4), (-0.05, 0.95), (0.2, 0.45)], "accent", "edge")
    else:
        d.polygon([(-0.6, -0.25), (-0.6, -0.85), (0.1, -0.9), (0.5, -0.35)], "accent", "edge")
    body = Body((0.85, 0), (-0.65, 0), (0.66, 0.56)[shape], fish)
    d.polygon(body.strip(), "body", "edge")
    draw_pattern(d, body, pattern, t0=0.25, t1=1.0)
    _eye(d, 0.55, -0.12, 0.13)
    d.line([(0.8, 0.14), (0.66, 0.18)], "edge", 0.05)
    d.polygon([(0.15, 0.1), (-0.15, 0.3 + 0.1 * pose), (-0.1, 0.02)], "pale", "edge")


def eel_(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    bend = (0.13, 0.1)[shape] * (1 if pose > 0 else -1)
    body = Body((1.05, -0.05), (-1.1, 0.05), (0.27, 0.24)[shape], eel, bend=bend)
    t = np.linspace(0.25, 0.95, 8)
    fin = (2.0, 1.5)[shape]
    d.polygon(np.concatenate([body.at(t, np.full(8, 1.0)), body.at(t[::-1], np.full(8, fin))]), "accent", "edge")
    if shape == 1:
        under = np.concatenate([body.at(t, np.full(8, -1.0)), body.at(t[::-1], np.full(8, -1.9))])
        d.polygon(under, "accent", "edge")
    d.polygon(body.strip(n=22), "body", "edge")
    draw_pattern(d, body, pattern, n=7, t0=0.14, radius=0.075)
    x, y = body.at(0.07, 0.1)
    _eye(d, x, y, 0.1)


def wader(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    for x in (-0.08, 0.14):
        leg = [(x - 0.1, 0.1), (x - 0.1 + 0.1 * pose, 0.55), (x - 0.02, 1.05), (x + 0.14, 1.05)]
        d.line(leg, (200, 90, 40), 0.06)
    head = (0.55, (-0.72, -0.55)[shape])
    d.line([(0.3, -0.05), (0.5, -0.3), (0.42, head[1] + 0.15), head], "body", 0.18)
    if shape == 0:
        d.polygon([(0.65, head[1] - 0.09), (1.17, head[1] + 0.06), (0.65, head[1] + 0.09)], BEAK, INK)
    else:
        d.line([(0.68, head[1]), (0.95, head[1] + 0.08), (1.05, head[1] + 0.42)], BEAK, 0.1)
        d.line([(0.45, head[1] - 0.1), (0.1, head[1] - 0.22)], "accent", 0.1)
    body = Body((0.42, -0.1), (-0.8, 0.1), (0.32, 0.42)[shape], bird)
    d.polygon(body.strip(), "body", "edge")
    draw_pattern(d, body, pattern, radius=0.09)
    d.polygon(circle(*head, 0.19), "body", "edge")
    d.polygon([(-0.1, 0.02), (-0.72, 0.16), (-0.35, 0.26)], "shade", "edge")
    _eye(d, head[0] + 0.07, head[1] - 0.04, 0.08)


def finch(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    for x in (-0.1, 0.12):
        d.line([(x, 0.4), (x + 0.02, 0.85), (x + 0.16, 0.85)], (150, 80, 40), 0.07)
    d.polygon([(-0.55, 0), (-1.1, -0.25 + 0.15 * pose), (-1.05, 0.12), (-0.5, 0.3)], "shade", "edge")
    body = Body((0.6, -0.15), (-0.75, 0.2), (0.52, 0.6)[shape], bird)
    head = (0.5, -0.42)
    d.polygon([(0.7, -0.52), (1.02, -0.36), (0.7, -0.26)], BEAK, INK)
    d.polygon(body.strip(), "body", "edge")
    draw_pattern(d, body, pattern)
    d.polygon(circle(*head, 0.3), "body", "edge")
    d.polygon([(-0.15, 0.02), (-0.75, 0.18), (-0.4, 0.32), (-0.05, 0.22)], "shade", "edge")
    if shape == 0:
        d.polygon([(0.3, -0.62), (0.2, -1.05), (0.62, -0.68)], "accent", "edge")
    _eye(d, 0.57, -0.46, 0.11)


def turtle(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    for x in (-0.55, 0.35):
        d.polygon(Body((x, 0.2), (x + 0.12 * pose, 0.72), 0.17, lambda t: 1 - 0.2 * t).strip(n=4), "pale", "edge")
    d.polygon([(-0.75, 0.25), (-1.08, 0.36), (-0.75, 0.42)], "pale", "edge")
    d.line([(0.6, 0.2), (0.85, -0.02 - 0.2 * (1 - shape))], "pale", 0.24)
    head = (0.92, -0.1 - 0.2 * (1 - shape))
    d.polygon(circle(*head, 0.2), "pale", "edge")
    shell = Body((-0.03, 0.3), (-0.03, (-0.72, -0.28)[shape]), (0.78, 0.95)[shape], dome)
    d.polygon(shell.strip(), "body", "edge")
    draw_pattern(d, shell, pattern, n=4 - shape, t0=0.02, t1=0.95, radius=0.12)
    d.polygon(Body((-0.85, 0.3), (0.8, 0.3), 0.1, oval).strip(), "shade", "edge")
    _eye(d, head[0] + 0.06, head[1] - 0.04, 0.08)


def snail(d: Drawing, shape: int, pattern: str, pose: float) -> None:
    d.polygon([(-1, 0.72), (0.55, 0.72), (0.95, 0.35), (0.75, 0.1), (0.45, 0.42), (-0.6, 0.5)], CREAM, "edge")
    for x in (0.72, 0.9):
        tip = (x + 0.08 + 0.06 * pose, -0.32)
        d.line([(x, 0.2), tip], CREAM, 0.07)
        d.polygon(circle(*tip, 0.07, 8), INK)
    if shape == 0:
        shell = Body((-0.78, 0.0), (0.48, 0.0), 0.62, oval)
        d.polygon(shell.strip(), "body", "edge")
        draw_pattern(d, shell, pattern, n=4)
        angle = np.linspace(0, 3.6 * np.pi, 22)
        radius = 0.36 * (1 - angle / angle[-1])
        d.line(np.stack([-0.13 + radius * np.cos(angle), radius * np.sin(angle)], axis=1), "edge", 0.06)
    else:
        shell = Body((-0.15, 0.55), (-0.5, -1.05), 0.55, lambda t: (1 - t) * (1 + 0.16 * np.sin(t * 19)))
        d.polygon(shell.strip(n=20), "body", "edge")
        draw_pattern(d, shell, pattern, n=5, t0=0.05, t1=0.85, radius=0.1)
