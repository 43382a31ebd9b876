"""Masks of lungs and heart beside phantom radiographs, which stay as they are; label maps of phantom CT."""

import cv2
import numpy as np

from medmm.config.schema import DataConfig
from medmm.data.labels import mask_labels
from medmm.data.phantom.ct import LABELS
from medmm.data.phantom.generator import generate
from medmm.data.phantom.options import Options
from medmm.data.phantom.study import ORGANS, make_study
from medmm.data.readers.phantom import read


def test_shadows_lie_where_the_organs_do_and_the_image_is_the_same(tmp_path):
    generate(tmp_path / "with", 4, 0, 96, workers=1, options=Options(organs=True))
    generate(tmp_path / "without", 4, 0, 96, workers=1)
    for number in range(4):
        names = [tmp_path / kind / f"{number:06d}" / "image.dcm" for kind in ("with", "without")]
        assert names[0].read_bytes() == names[1].read_bytes()
    for number, study in enumerate(read(DataConfig(reader="phantom", path=tmp_path / "with"))):
        masks = {name: cv2.imread(str(study.masks[name]), -1) > 0 for name in ORGANS}
        made = make_study(0, number, 96)
        for name in ORGANS:
            np.testing.assert_array_equal(masks[name], made.organs[name])
        middle = {name: np.argwhere(mask).mean(0) for name, mask in masks.items()}
        assert middle["lung_right"][1] < middle["heart"][1] < middle["lung_left"][1]  # the left is on the image's right
        assert middle["heart"][0] > middle["lung_left"][0]
        assert made.grey[masks["lung_right"] & ~masks["heart"]].mean() < made.grey[masks["heart"]].mean()
    assert not set(next(iter(read(DataConfig(reader="phantom", path=tmp_path / "without")))).masks) & set(ORGANS)


def test_label_maps_of_ct_have_their_names(tmp_path):
    generate(tmp_path, 2, 0, 96, workers=1, options=Options(modality="ct", volume_shape=(16, 16, 16)))
    config = DataConfig(reader="phantom", path=tmp_path)
    assert mask_labels(config) == {name: (value,) for name, value in LABELS.items()}
    assert all(study.masks["label"].name == "label.nii.gz" for study in read(config))
