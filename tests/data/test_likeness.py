"""One image under two patients is found, however it was stored; two patients' images are not one."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from medmm.data.doubts import Kind
from medmm.data.likeness import ALIKE, DeepPass, portray
from medmm.data.phantom.study import make_study
from medmm.errors import ImageError, Reason
from medmm.types import ImageRef, Rejection, Study


@pytest.fixture(scope="module")
def greys():
    return [make_study(0, number, 96).grey for number in range(12)]


def save(path: Path, grey) -> Path:
    assert cv2.imwrite(str(path), np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8))
    return path


def correlation(one: Path, other: Path) -> float:
    return abs(float(portray(one).copy.astype(np.float32) @ portray(other).copy.astype(np.float32)))


@pytest.mark.parametrize(
    "change",
    [
        lambda grey: 1 - grey,
        lambda grey: grey**0.8,
        lambda grey: 0.2 + 0.5 * grey,
        lambda grey: cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA),
        lambda grey: grey + np.random.default_rng(0).normal(0, 0.02, grey.shape),
    ],
    ids=["inverted", "gamma", "window", "smaller", "noise"],
)
def test_the_same_image_stored_in_another_way(greys, tmp_path, change):
    one = save(tmp_path / "one.png", greys[0])
    assert correlation(one, save(tmp_path / "other.png", change(greys[0]))) > ALIKE


def test_images_of_different_patients_are_not_alike(greys, tmp_path):
    copies = np.stack([portray(save(tmp_path / f"{n}.png", grey)).copy for n, grey in enumerate(greys)]).astype(float)
    product = np.abs(copies @ copies.T)
    np.fill_diagonal(product, 0)
    assert product.max() < ALIKE


def test_a_portrait_holds_the_files_hash(greys, tmp_path):
    import hashlib

    path = save(tmp_path / "one.png", greys[0])
    assert portray(path).content_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert portray(save(tmp_path / "black.png", np.zeros((50, 50)))).copy is None
    (tmp_path / "broken.png").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ImageError):
        portray(tmp_path / "broken.png")


def test_the_pass_keeps_the_order_and_finds_what_patients_share(greys, tmp_path):
    paths = [save(tmp_path / f"{number}.png", grey) for number, grey in enumerate(greys)]
    again = save(tmp_path / "again.png", 1 - greys[3])
    own = save(tmp_path / "own.png", greys[5])
    (tmp_path / "broken.png").write_bytes(paths[0].read_bytes()[:100])
    studies = [Study(f"s{number}", f"p{number}", (ImageRef(path),)) for number, path in enumerate(paths)]
    extra = [
        Rejection("r", Reason.REPORT_EMPTY, "no text"),
        Study("twin", "p-other", (ImageRef(tmp_path / "broken.png"), ImageRef(again))),
        Study("later", "p5", (ImageRef(own),)),  # the same patient may well be shown twice
        Study("bare", "p-bare", ()),
    ]
    deep = DeepPass(workers=2)
    out = list(deep.watch([*studies, *extra]))
    ids = [one.study_id for one in out]
    assert ids == [*(f"s{number}" for number in range(12)), "r", "twin", "twin", "later", "bare"]
    broken, twin = out[13:15]
    assert (broken.reason, broken.path) == (Reason.DECODE_FAILED, tmp_path / "broken.png")
    assert [image.path for image in twin.images] == [again]
    assert all(len(image.content_hash) == 64 for one in out if isinstance(one, Study) for image in one.images)
    (doubt,) = deep.doubts({"s3": "train", "twin": "test"})
    assert (doubt.study_id, doubt.kind, doubt.other) == ("twin", Kind.SAME_IMAGE, "s3")
    assert doubt.detail.endswith("on both sides of the split: test and train")
