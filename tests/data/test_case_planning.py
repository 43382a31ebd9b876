"""Grids planned from volumes: spacing, patch and window, in the manner of nnU-Net."""

import math

import nibabel as nib
import numpy as np
import pytest

from medmm.config.schema import Config
from medmm.data.case_planning import choose_classes, plan_grid
from medmm.errors import DataError
from medmm.types import ImageRef, Study

LABELS = {"liver": (1,), "tumour": (2,)}


@pytest.fixture
def volumes(tmp_path):
    """Make studies of volumes: ``volumes([(shape, spacing), ...], low)``; axes are D, H, W."""

    def make(kinds, low=-1000, values=(1,)):
        made = []
        for number, (shape, spacing) in enumerate(kinds):
            affine = np.diag([*spacing[::-1], 1.0])
            array = np.random.default_rng(number).integers(low, 400, shape[::-1]).astype(np.int16)
            mask = np.zeros(shape[::-1], np.uint8)
            for value in values:
                mask[value * 2 : value * 2 + 2, 2:-2, 2:-2] = value
            array[mask > 0] = 50
            paths = [tmp_path / f"{number}-{name}.nii.gz" for name in ("i", "m")]
            for path, one in zip(paths, (array, mask), strict=True):
                nib.save(nib.Nifti1Image(one, affine), path)
            made.append(Study(f"s{number}", "p", (ImageRef(paths[0]),), masks={"label": paths[1]}))
        return made

    return make


def grid(studies, most=40**3, **changes):
    config = Config.model_validate({"segmentation": changes})
    return plan_grid(config, studies, LABELS, ("liver",), most, 16)


def test_the_spacing_is_the_median_and_the_patch_fits_the_memory(volumes):
    found = grid(
        volumes([((30, 40, 40), (2.0, 1.0, 1.0)), ((34, 40, 44), (2.0, 1.0, 1.0)), ((30, 60, 60), (2.5, 1.0, 1.0))])
    )
    assert found.spacing_mm == (2.0, 1.0, 1.0)
    assert math.prod(found.patch) <= 40**3
    assert all(side % 16 == 0 for side in found.patch)
    assert found.ranges == ((50, 51),)  # what lies in the masks


def test_a_volume_that_is_too_large_is_made_coarser_along_its_finest_axes(volumes):
    found = grid(volumes([((30, 80, 80), (3.0, 1.0, 1.0))] * 2), most=20**3)
    assert found.spacing_mm[0] == 3.0
    assert found.spacing_mm[1] == found.spacing_mm[2] > 1.0
    extent = np.array([30, 80, 80]) * [3.0, 1.0, 1.0]
    assert np.prod(extent / found.spacing_mm) <= 8 * 20**3 * 1.001


def test_slices_of_twelve_millimetres_stay_thick(volumes):
    found = grid(volumes([((12, 48, 48), (12.0, 1.0, 1.0))] * 3))
    assert found.spacing_mm == (12.0, 1.0, 1.0)
    assert found.patch == (16, 48, 48)


def test_modalities_without_a_scale_are_shown_by_their_own_range(volumes):
    found = grid(volumes([((20, 24, 24), (1.0, 1.0, 1.0))], low=0))
    assert found.ranges == (None,)


def test_what_the_config_fixes_is_not_planned(volumes):
    found = grid(volumes([((20, 24, 24), (1.0, 1.0, 1.0))]), spacing_mm=(2, 2, 2), patch=(20, 32, 32))
    assert (found.spacing_mm, found.patch) == ((2, 2, 2), (32, 32, 32))


def test_classes_are_those_that_training_shows(volumes):
    studies = volumes([((12, 16, 16), (1.0, 1.0, 1.0))] * 2)
    assert choose_classes(studies, LABELS, ()) == ("liver",)
    with pytest.raises(DataError, match="tumour"):
        choose_classes(studies, LABELS, ("liver", "tumour"))
    with pytest.raises(DataError, match="spleen"):
        choose_classes(studies, LABELS, ("spleen",))


def test_what_nobody_has_labelled_is_no_class_and_says_nothing_of_the_values(volumes):
    studies = volumes([((12, 16, 16), (1.0, 1.0, 1.0))] * 2, values=(1, 2))
    for study in studies:
        image = nib.load(study.images[0].path)
        array, mask = np.asarray(image.dataobj).copy(), np.asarray(nib.load(study.masks["label"]).dataobj)
        array[mask == 2] = 900
        nib.save(nib.Nifti1Image(array, image.affine), study.images[0].path)
    table = {"liver": (1,), "ignore": (2,)}
    assert choose_classes(studies, table, ()) == ("liver",)
    assert plan_grid(Config(), studies, table, ("liver",), 40**3, 16).ranges == ((50, 51),)
    with pytest.raises(DataError, match="ignore"):
        choose_classes(studies, table, ("ignore",))


def test_each_channel_is_ct_or_not_by_its_name_and_its_values(volumes, tmp_path):
    studies = volumes([((12, 16, 16), (1.0, 1.0, 1.0))])
    generator = np.random.default_rng(0)
    array = np.stack([generator.normal(5, 1, (16, 16, 12)), generator.uniform(0, 80, (16, 16, 12)),
                      generator.uniform(-900, 80, (16, 16, 12))], -1)  # fmt: skip
    nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), studies[0].images[0].path)
    named = plan_grid(Config(), studies, LABELS, ("liver",), 40**3, 16, ("T1", "ct", "x"))
    assert named.channels == ("T1", "ct", "x")
    assert [one is None for one in named.ranges] == [True, False, False]
    mask = np.asarray(nib.load(studies[0].masks["label"]).dataobj) == 1
    low, high = np.percentile(array[mask, 1].astype(np.float32), (0.5, 99.5))
    assert named.ranges[1] == (np.floor(low), np.ceil(high))
    counted = plan_grid(Config(), studies, LABELS, ("liver",), 40**3, 16)
    assert counted.channels == ("channel_0", "channel_1", "channel_2")
    assert [one is None for one in counted.ranges] == [True, True, False]
