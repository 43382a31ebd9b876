import cv2
import numpy as np
from PIL import Image

from medmm.scoring.comparison_plot import comparison_picture

BLUE = (0x00, 0x44, 0x66)


def _metrics(**differences):
    entries = {
        name: {"difference": value, "ci95": [value - 0.001, value + 0.001]} for name, value in differences.items()
    }
    against = {"main": list(entries), "metrics": entries}
    return {"test": dict.fromkeys(differences, 0.5), "differences": {}, "against": against}


def _centres(path):
    """Columns in which the marks lie, from the top row to the lowest."""
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    blue = (pixels == BLUE).all(axis=2)
    blue[: pixels.shape[0] // 5] = False  # the legend
    count, _, boxes, centres = cv2.connectedComponentsWithStats(blue.astype(np.uint8))
    marks = [place for place in range(1, count) if boxes[place, cv2.CC_STAT_AREA] > 10]
    return [centres[place][0] for place in sorted(marks, key=lambda place: centres[place][1])]


def test_marks_lie_at_the_differences_and_what_is_better_small_is_turned(tmp_path):
    assert comparison_picture(_metrics(bleu_1=-0.2, rouge_l=0.2, prior_reference_rate=-0.2), tmp_path / "a.png")
    worse, better, turned = _centres(tmp_path / "a.png")
    assert worse < better
    np.testing.assert_allclose(turned, better, atol=1.0)


def test_nothing_to_draw_is_no_picture(tmp_path):
    metrics = {"test": {"bleu_1": 0.5}, "differences": {"swapped_image": {"bleu_1": {"difference": 0.1}}}}
    assert not comparison_picture(metrics, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_picture_says_nothing_but_what_is_drawn(tmp_path):
    comparison_picture(_metrics(bleu_1=0.1), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert set(picture.info) <= {"dpi"}
