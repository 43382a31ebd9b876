"""A run on nnU-Net's layout with two channels and unlabelled voxels: trained, evaluated, and scored back."""

import json

import nibabel as nib
import numpy as np
import pytest
from safetensors.numpy import load_file

import medmm
from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.data.readers import decathlon, nnunet
from medmm.errors import Reason
from medmm.scoring.engine import score_folder
from medmm.scoring.evaluation import evaluate
from medmm.tasks.segmentation import planned
from medmm.training import records
from medmm.training.run import finetune
from medmm.types import Study

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
TRAIN = {"steps": 40, "batch_size": 2, "lr": 5e-3, "validate_every": 40, "workers": 0}


def case(number):
    """Two channels whose sum shows an organ, and its labels: the lower slices are not labelled."""
    generator = np.random.default_rng(number)
    i, j, k = np.mgrid[:20, :22, :18]
    organ = (i - 10) ** 2 + (j - generator.uniform(9, 12)) ** 2 + (k - 9) ** 2 < 30
    first = generator.normal(300, 20, organ.shape) + 200 * organ
    second = generator.normal(4, 0.3, organ.shape) - 2 * organ
    labels = organ.astype(np.uint8)
    labels[:, :, :7] = 2
    return (first.astype(np.float32), second.astype(np.float32)), labels


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def studies_of(reader, config):
    return [one for one in reader.read(config) if isinstance(one, Study)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run, its config and manifest, and the layout's folder."""
    folder = tmp_path_factory.mktemp("channels")
    raw = folder / "Dataset001_Organ"
    for number in range(8):
        channels, labels = case(number)
        for place, channel in enumerate(channels):
            save(raw / "imagesTr" / f"c{number}_{place:04d}.nii.gz", channel)
        save(raw / "labelsTr" / f"c{number}.nii.gz", labels)
    about = {"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"background": 0, "organ": 1, "ignore": 2},
             "numTraining": 8, "file_ending": ".nii.gz"}  # fmt: skip
    (raw / "dataset.json").write_text(json.dumps(about))
    config = Config.model_validate(
        {"task": "segmentation", "data": {"reader": "nnunet", "path": str(raw)}, "train": TRAIN,
         "segmentation": {"patch": [16, 16, 16]}, "score": {"workers": 1}, "evaluate": {"bootstrap": 0}}
    )  # fmt: skip
    studies = studies_of(nnunet, config.data)
    split = SplitConfig(val=0.2, test=0.3)
    manifests.build(studies, folder / "manifest.parquet", split, lambda rejection: None)
    manifest = manifests.Manifest.open(folder / "manifest.parquet")
    records.claim(folder / "run", config, resume=False)
    finetune(config, manifest, folder / "run")
    return folder / "run", config, manifest, raw


def test_the_run_says_its_channels_and_its_network_takes_them(trained):
    run = trained[0]
    said = json.loads((run / "model" / "preprocess.json").read_text())
    assert (said["channels"], said["channel_names"]) == (2, ["T2", "ADC"])
    weights = load_file(run / "model" / "model.safetensors")
    assert weights["network.fine.0.weight"].shape[1] == 2
    described = json.loads((run / "model" / "task.json").read_text())
    assert described["classes"] == ["organ"]
    assert described["grid"]["ranges"] == [None, None]


def test_figures_count_what_is_labelled_and_nothing_else(trained, tmp_path):
    run, config, manifest, raw = trained
    found = evaluate(run, manifest, config, "test", tmp_path).metrics
    assert found["test"]["dice/organ"] > 0.8
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert lines
    model = medmm.load(run)
    for study, line in zip(manifest.studies("test"), lines, strict=True):
        drawn = model.predict(study).masks["organ"].transpose(2, 1, 0) > 0
        labels = np.asarray(nib.load(raw / "labelsTr" / f"{study.study_id}.nii.gz").dataobj)
        drawn &= labels != 2
        true = labels == 1
        said = line["classes"]["organ"]
        assert (said["voxels"], said["voxels_true"]) == (drawn.sum(), true.sum())
        assert said["dice"] == pytest.approx(2 * (drawn & true).sum() / (drawn.sum() + true.sum()), abs=1e-6)


def test_files_of_a_case_are_scored_together_and_what_does_not_fit_is_set_aside(trained, tmp_path):
    run, _, _, raw = trained
    scans = tmp_path / "in"
    (first, second), _ = case(90)
    save(scans / "a_0000.nii.gz", first)
    save(scans / "a_0001.nii.gz", second)
    save(scans / "b.nii.gz", np.stack([first, second], -1))
    save(scans / "c_0000.nii.gz", first)
    save(scans / "d_0000.nii.gz", first)
    save(scans / "d_0001.nii.gz", second, AFFINE + np.eye(4)[:, [3, 1, 2, 0]] * np.eye(4)[0][:, None] * 9)
    save(scans / "e.nii.gz", np.stack([first] * 3, -1))
    (scans / "f.nii.gz").write_bytes((raw / "labelsTr" / "c0.nii.gz").read_bytes()[:60])
    summary = score_folder(scans, run, tmp_path / "out")
    lines = [json.loads(text) for text in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert {line["study_id"]: line["sources"] for line in lines} == {
        "a": ["a_0000.nii.gz", "a_0001.nii.gz"], "b.nii.gz": ["b.nii.gz"],
    }  # fmt: skip
    drawn = [nib.load(tmp_path / "out" / line["masks"][0]["files"][0]) for line in lines]
    np.testing.assert_array_equal(np.asarray(drawn[0].dataobj), np.asarray(drawn[1].dataobj))
    np.testing.assert_allclose(drawn[0].affine, AFFINE)
    assert drawn[0].shape == first.shape
    aside = [json.loads(text) for text in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    said = {one["study_id"]: (one["reason"], one["detail"]) for one in aside}
    assert said["c_0000.nii.gz"] == (
        "dimensions_mismatch", "an image of another number of channels; got 1; expected 2 (T2, ADC)"
    )  # fmt: skip
    assert said["d"][0] == "dimensions_mismatch"
    assert "different grids" in said["d"][1]
    assert "got 3; expected 2" in said["e.nii.gz"][1]
    assert (summary.scored, summary.quarantined) == (2, 4)


def test_a_file_that_kills_its_reader_costs_its_own_study_alone(trained, tmp_path, monkeypatch):
    from medmm.data.case_reading import Request
    from medmm.scoring import outline_stream

    run = trained[0]
    (first, second), _ = case(90)
    for name in "abc":
        save(tmp_path / "in" / f"{name}.nii.gz", np.stack([first, second], -1))
    ask = outline_stream.request
    deadly = Request("os:abort", (), ())
    monkeypatch.setattr(outline_stream, "request", lambda one, grid: deadly if one.name[0] == "b" else ask(one, grid))
    summary = score_folder(tmp_path / "in", run, tmp_path / "out")
    assert (summary.scored, dict(summary.reasons)) == (2, {str(Reason.DECODE_FAILED): 1})


def test_data_of_other_channels_are_left_out_of_an_evaluation_with_their_reason(trained, tmp_path):
    run, config, _, _ = trained
    (first, _), labels = case(3)
    save(tmp_path / "imagesTr" / "x.nii.gz", first)
    save(tmp_path / "imagesTr" / "y.nii.gz", np.stack(case(3)[0], -1))
    for name in "xy":
        save(tmp_path / "labelsTr" / f"{name}.nii.gz", labels)
    entries = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in "xy"]
    about = {"labels": {"0": "background", "1": "organ", "2": "ignore"}, "training": [], "test": entries}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    data = config.data.model_copy(update={"reader": "decathlon", "path": tmp_path})
    manifests.build(studies_of(decathlon, data), tmp_path / "m.parquet", SplitConfig(), lambda rejection: None)
    manifest = manifests.Manifest.open(tmp_path / "m.parquet")
    found = evaluate(run, manifest, config.model_copy(update={"data": data}), "test", tmp_path / "out")
    assert found.metrics["card"]["counts"]["left_out"] == {"dimensions_mismatch": 1}
    assert found.metrics["card"]["counts"]["studies"] == 1


@pytest.mark.parametrize(
    ("labels", "exclusive"),
    [({"whole": [1, 2], "core": [2]}, False), ({"rim": 1, "core": 2}, True), ({"whole": [1, 2], "ignore": 3}, False)],
)
def test_regions_of_several_values_overlap_and_single_values_exclude_each_other(tmp_path, labels, exclusive):
    image, values = case(0)
    save(tmp_path / "imagesTr" / "a_0000.nii.gz", image[0])
    values[values == 2], values[9:11, 9:11, 8:10] = 3 if "ignore" in labels else 0, 2
    save(tmp_path / "labelsTr" / "a.nii.gz", values)
    about = {"channel_names": {"0": "T2"}, "labels": {"background": 0, **labels}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    config = Config.model_validate({"data": {"reader": "nnunet", "path": str(tmp_path)}, "train": {"workers": 0}})
    code, grid = planned(config, studies_of(nnunet, config.data))
    assert (set(code.classes), code.exclusive) == (set(labels) - {"ignore"}, exclusive)
    assert grid.channels == ("T2",)
