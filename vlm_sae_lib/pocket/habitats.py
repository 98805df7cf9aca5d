"""The six habitats, each drawn from a variant number: a sky, a ground and a few things that only grow there."""

import numpy as np

from vlm_sae_lib.pocket.drawing import Drawing, circle, mix

SKY = {  # top of the sky, horizon, ground
    "meadow": ((150, 205, 245), (225, 240, 235), (120, 185, 90)),
    "forest": ((120, 150, 110), (70, 110, 80), (75, 70, 45)),
    "desert": ((250, 205, 150), (253, 235, 200), (222, 180, 115)),
    "sea": ((90, 180, 205), (35, 100, 150), (215, 200, 150)),
    "snow": ((190, 205, 225), (230, 236, 244), (246, 249, 252)),
    "cave": ((22, 20, 48), (58, 50, 92), (46, 42, 62)),
}


def _hill(d: Drawing, y: float, height: float, waves: float, phase: float, colour) -> None:
    x = np.linspace(0, 1, 12)
    ridge = np.stack([x, y + height * np.sin(x * waves + phase)], axis=1)
    d.polygon(np.concatenate([ridge, [(1, 1.01), (0, 1.01)]]), colour)


def _meadow(d, rng, horizon, phase, ground):
    d.polygon(circle(rng.uniform(0, 1), 0.14, 0.08), (255, 235, 130))
    _hill(d, horizon - 0.05, 0.05, 5, phase, mix(ground, (170, 210, 170), 0.5))
    _hill(d, horizon, 0.02, 4, phase, ground)
    for x, y in zip(rng.uniform(0, 1, 7), rng.uniform(horizon + 0.03, 0.98, 7), strict=True):
        d.line([(x - 0.02, y - 0.05), (x, y), (x + 0.02, y - 0.06)], (70, 140, 60), 0.014)


def _forest(d, rng, horizon, phase, ground):
    for x in rng.uniform(0, 1, 6):
        trunk = mix((70, 55, 40), (100, 120, 95), rng.uniform(0, 0.6))
        d.line([(x, 0), (x, horizon + 0.04)], trunk, rng.uniform(0.03, 0.07))
    _hill(d, horizon, 0.02, 5, phase, ground)
    for x, y in zip(rng.uniform(0, 1, 8), rng.uniform(horizon + 0.02, 1, 8), strict=True):
        d.polygon(circle(x, y, 0.022, 5, 0.011), (150, 105, 50))


def _desert(d, rng, horizon, phase, ground):
    d.polygon(circle(rng.uniform(0, 1), 0.15, 0.1), (255, 180, 90))
    _hill(d, horizon - 0.04, 0.06, 7, phase, mix(ground, (250, 220, 170), 0.4))
    _hill(d, horizon + 0.03, 0.03, 4, phase, ground)
    x = rng.choice([0.06, 0.9])
    d.line([(x, horizon + 0.1), (x, horizon - 0.2)], (90, 140, 90), 0.045)
    d.line([(x, horizon - 0.03), (x + 0.07, horizon - 0.05), (x + 0.07, horizon - 0.13)], (90, 140, 90), 0.03)


def _sea(d, rng, horizon, phase, ground):
    x = np.linspace(0, 1, 10)
    for i in range(3):
        wave = 0.08 + 0.1 * i + 0.015 * np.sin(12 * x + phase + i)
        d.line(np.stack([x, wave], axis=1), (150, 215, 230), 0.012)
    _hill(d, horizon + 0.14, 0.03, 5, phase, ground)
    for _ in range(6):
        d.polygon(circle(rng.uniform(0, 1), rng.uniform(0.1, 0.8), rng.uniform(0.012, 0.03), 8), (175, 225, 240))
    for x in rng.uniform(0, 1, 3):
        d.line([(x, 1), (x + 0.03, 0.9), (x - 0.02, 0.8)], (50, 140, 110), 0.025)


def _snow(d, rng, horizon, phase, ground):
    x = rng.uniform(0.1, 0.9)
    d.polygon([(x - 0.35, horizon + 0.02), (x, horizon - 0.35), (x + 0.35, horizon + 0.02)], (150, 165, 190))
    top = horizon - 0.35
    d.polygon([(x - 0.1, top + 0.1), (x, top), (x + 0.1, top + 0.1), (x, top + 0.15)], (250, 252, 255))
    _hill(d, horizon, 0.03, 5, phase, ground)
    for x, y in rng.uniform(0, 1, (14, 2)):
        d.polygon(circle(x, y, 0.012, 5), (255, 255, 255))


def _cave(d, rng, horizon, phase, ground):
    for x in rng.uniform(0, 1, 5):
        length = rng.uniform(0.1, 0.3)
        d.polygon([(x - 0.05, 0), (x + 0.05, 0), (x, length)], mix(ground, (20, 18, 40), 0.3))
    _hill(d, horizon - 0.02, 0.04, 6, phase, mix(ground, (90, 80, 120), 0.35))
    _hill(d, horizon + 0.04, 0.02, 4, phase, ground)
    for x, y in zip(rng.uniform(0, 1, 4), rng.uniform(horizon, 0.95, 4), strict=True):
        glow = ((120, 220, 230), (190, 150, 240))[int(rng.integers(2))]
        d.polygon([(x - 0.025, y), (x, y - 0.11), (x + 0.025, y)], glow)


_DRAW = {"meadow": _meadow, "forest": _forest, "desert": _desert, "sea": _sea, "snow": _snow, "cave": _cave}


def draw_habitat(habitat: str, variant: int) -> Drawing:
    """The habitat's drawing; the same variant gives the same drawing."""
    rng = np.random.default_rng([variant, sorted(_DRAW).index(habitat)])
    drawing = Drawing()
    sky, haze, ground = SKY[habitat]
    horizon, phase = rng.uniform(0.62, 0.76), rng.uniform(0, 6)
    for i in range(6):
        top = horizon * i / 6
        drawing.polygon([(0, top), (1, top), (1, 1), (0, 1)], mix(sky, haze, i / 5))
    _DRAW[habitat](drawing, rng, horizon, phase, ground)
    return drawing
