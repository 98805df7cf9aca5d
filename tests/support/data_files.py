"""Where the files lie that tests compare with: ``tests/data``."""

from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"
COLAB_IMAGE = DATA / "colab_image.txt"
PHOTOS = DATA / "photos"
REFERENCE = DATA / "reference"
