import cv2
import numpy as np
from PIL import Image

from medmm.scoring.plots import Bar, finding_bars

MODEL = (0x88, 0xCC, 0xEE)


def _lengths(path):
    """Lengths of the model's bars in pixels, from the top, measured at the upper edge where no mark lies."""
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    blue = (pixels == MODEL).all(axis=2)
    blue[: pixels.shape[0] // 4] = False  # the legend
    filled = blue.sum(axis=1)
    starts = np.flatnonzero((filled[1:] > 0) & (filled[:-1] == 0)) + 3
    return [int(filled[start]) for start in starts]


def test_bars_are_as_long_as_f1_and_the_best_stands_first(tmp_path):
    bars = [Bar("low", 12, {"model": 0.25}), Bar("high", 30, {"model": 1.0}), Bar("mid", 20, {"model": 0.5})]
    finding_bars(bars, {"model": 0.75}, (), tmp_path / "a.png")
    macro, high, mid, low = _lengths(tmp_path / "a.png")
    np.testing.assert_allclose([macro / high, mid / high, low / high], [0.75, 0.5, 0.25], atol=0.01)


def test_findings_that_are_not_averaged_stand_last(tmp_path):
    bars = [Bar("few", 2, {"model": 1.0}, averaged=False), Bar("many", 20, {"model": 0.5})]
    finding_bars(bars, {}, (), tmp_path / "a.png")
    many, few = _lengths(tmp_path / "a.png")
    np.testing.assert_allclose(many / few, 0.5, atol=0.01)


def test_picture_says_nothing_but_what_is_drawn(tmp_path):
    bars = [Bar("nodule", 12, {"model": 0.5, "nearest_image": 0.2}, 0.4, 0.6)]
    finding_bars(bars, {"model": 0.5}, (0.4, 0.6), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert set(picture.info) <= {"dpi"}
