"""Phantom studies in every transfer syntax and with every object that DICOM holds beside images."""

from typing import get_args

import numpy as np
import pydicom
import pytest

import medmm
from medmm.config.schema import DataConfig
from medmm.config.sources import PhantomConfig, SyntaxName
from medmm.data.phantom import compression, generate
from medmm.data.phantom.files import form, stored_values, write_image
from medmm.data.phantom.options import Options
from medmm.data.phantom.study import make_study
from medmm.data.readers import dicom, phantom
from medmm.io.segmentation import on_grid, read_segmentation
from medmm.io.structure_set import rasterise, read_structure_set
from medmm.types import Study


@pytest.fixture(scope="module")
def study():
    return make_study(0, 1, 96)


def test_the_config_knows_every_syntax():
    assert set(get_args(SyntaxName)) == set(compression.NAMES)
    assert set(compression.NAMES.values()) == set(compression.ALL)


@pytest.mark.parametrize("name", sorted(compression.NAMES))
def test_every_syntax_holds_the_radiograph(tmp_path, study, name):
    syntax = compression.NAMES[name]
    write_image(tmp_path / "image.dcm", 0, study, syntax)
    how = form(0, 1, syntax)
    wanted = stored_values(study.grey, how).astype(float)
    assert str(pydicom.dcmread(tmp_path / "image.dcm").file_meta.TransferSyntaxUID) == syntax
    got = medmm.read_image(tmp_path / "image.dcm", window=None).array[0]
    off = np.abs(got - wanted) / (2**how.bits - 1)
    if syntax in compression.LOSSY:
        assert 0 < off.mean() < 0.01
    else:
        assert off.max() == 0


def test_a_syntax_that_does_not_hold_the_bits_is_refused():
    with pytest.raises(medmm.errors.UsageError, match="bits"):
        compression.pixel_data(np.zeros((1, 8, 8), np.uint16), compression.JPEG_BASELINE, 12)


def test_a_structure_set_needs_a_series():
    with pytest.raises(ValueError, match="structure set"):
        PhantomConfig(objects=("structure_set",))
    with pytest.raises(ValueError, match="volume_format=dicom"):
        PhantomConfig(modality="ct", syntaxes=("rle",))


def test_radiographs_with_report_and_segmentation(tmp_path):
    config = PhantomConfig(objects=("report", "segmentation"), syntaxes=("htj2k", "jpeg_ls"))
    plain = generate(tmp_path / "plain", 4, 0, 64, workers=1)
    rich = generate(tmp_path / "rich", 4, 0, 64, workers=1, options=Options.of(config))
    for one, other in zip(*(list(phantom.read(DataConfig(path=folder))) for folder in (plain, rich)), strict=True):
        sections = {name: " ".join(part.text.split()) for name, part in one.report.sections.items()}
        assert {name: " ".join(part.text.split()) for name, part in other.report.sections.items()} == sections
        assert other.report.source_format == "dicom_sr"
    studies = [one for one in dicom.read(DataConfig(reader="dicom", path=rich)) if isinstance(one, Study)]
    assert sum("segmentation" in one.masks for one in studies) >= 2
    masked = next(one for one in studies if one.masks)
    found = read_segmentation(masked.masks["segmentation"])
    assert {segment.label for segment in found.segments}


def test_a_ct_series_with_everything(tmp_path):
    config = PhantomConfig(
        modality="ct", volume_format="dicom", volume_shape=(24, 32, 32), syntaxes=("jpeg_2000",),
        objects=("report", "segmentation", "structure_set"),
    )  # fmt: skip
    folder = generate(tmp_path / "ct", 1, 0, 64, workers=1, options=Options.of(config)) / "000000"
    image = medmm.read_volumes(folder / "image")[0]
    segments = on_grid(read_segmentation(folder / "segmentation.dcm"), image).segments
    masks = {segment.label: segment.array > 0 for segment in segments}
    lungs = [mask for name, mask in masks.items() if "lung" in name]
    assert len(lungs) == 2
    inside = image.array[0][lungs[0] | lungs[1]]
    assert -950 < np.median(inside) < -600
    regions = {one.name: one.array > 0 for one in rasterise(read_structure_set(folder / "structure_set.dcm"), image)}
    assert set(regions) == set(masks)
    for name, mask in masks.items():
        assert 2 * (regions[name] & mask).sum() / (regions[name].sum() + mask.sum()) > 0.95, name
