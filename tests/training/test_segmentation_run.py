"""Runs of --task segmentation: trained, resumed bit for bit, evaluated, and scored back onto the original grid."""

import json

import cv2
import nibabel as nib
import numpy as np
import pytest

import medmm
from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.errors import DataError, UsageError
from medmm.io.segmentation import on_grid, read_segmentation
from medmm.scoring.engine import score_folder
from medmm.scoring.evaluation import evaluate
from medmm.training import records
from medmm.training.case_plan import plan
from medmm.training.plan import Machine
from medmm.training.run import finetune
from medmm.types import ImageRef, Study

TRAIN = {"steps": 30, "batch_size": 4, "lr": 5e-3, "save_every": 10, "validate_every": 10, "workers": 0}
SMALL = {"task": "segmentation", "preprocess": {"size": 32}, "train": TRAIN, "evaluate": {"bootstrap": 100}}


def picture(folder, number):
    """A bright disc with its mask."""
    y, x = np.mgrid[:40, :44]
    generator = np.random.default_rng(number)
    disc = (y - generator.integers(14, 26)) ** 2 + (x - generator.integers(14, 30)) ** 2 < 64
    image = np.where(disc, 200, 40) + generator.normal(0, 12, disc.shape)
    cv2.imwrite(str(folder / f"{number}.png"), np.clip(image, 0, 255).astype(np.uint8))
    cv2.imwrite(str(folder / f"{number}-m.png"), disc.astype(np.uint8) * 255)
    image = ImageRef(folder / f"{number}.png")
    return Study(f"study {number}", f"patient {number}", (image,), masks={"disc": folder / f"{number}-m.png"})


def scan(folder, number, size=20):
    """A CT scan with an organ on the right that is bright and one on the left that is dark, stored left to right."""
    generator = np.random.default_rng(number)
    i, j, k = np.mgrid[:24, :22, :size]
    middle = generator.uniform(9, 12, 2)
    labels = np.zeros((24, 22, size), np.uint8)
    for value, place in ((1, 17), (2, 6)):
        labels[(i - place) ** 2 + (j - middle[0]) ** 2 + (k - middle[1]) ** 2 < 28] = value
    hu = np.choose(labels, [-900, 60, -300]) + generator.normal(0, 40, labels.shape)
    affine = np.diag([-2.0, 2.0, 2.5, 1.0])
    affine[:3, 3] = (20, -30, 5)
    for name, array in (("i", hu.astype(np.int16)), ("m", labels)):
        nib.save(nib.Nifti1Image(array[::-1], affine), folder / f"{number}-{name}.nii.gz")
    image = ImageRef(folder / f"{number}-i.nii.gz", modality="CT")
    return Study(f"scan {number}", f"patient {number}", (image,), masks={"label": folder / f"{number}-m.nii.gz"})


def manifest_of(studies, folder):
    manifests.build(studies, folder / "manifest.parquet", SplitConfig(val=0.2, test=0.2), lambda rejection: None)
    return manifests.Manifest.open(folder / "manifest.parquet")


def train(config, manifest, out):
    records.claim(out, config, resume=False)
    return finetune(config, manifest, out)


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A run on pictures: its folder, config and manifest."""
    folder = tmp_path_factory.mktemp("flat")
    manifest, config = manifest_of([picture(folder, n) for n in range(20)], folder), Config.model_validate(SMALL)
    train(config, manifest, folder / "run")
    return folder / "run", config, manifest


@pytest.fixture(scope="module")
def solid(tmp_path_factory):
    """A run on volumes with two organs that exclude each other."""
    folder = tmp_path_factory.mktemp("solid")
    manifest = manifest_of([scan(folder, number) for number in range(10)], folder)
    data = {"labels": {"right": 1, "left": 2}}
    config = Config.model_validate({**SMALL, "data": data, "train": {**TRAIN, "steps": 60, "batch_size": 2}})
    train(config, manifest, folder / "run")
    return folder / "run", config, manifest, folder


def test_discs_are_learned_and_the_figures_are_those_of_the_masks(flat, tmp_path):
    run, config, manifest = flat
    found = evaluate(run, manifest, config, "test", tmp_path)
    assert found.metrics["test"]["dice_mean"] > 0.85
    assert found.metrics["test"]["dice_mean"] == found.metrics["test"]["dice/disc"]
    assert found.metrics["test"]["dice_mean"] > found.metrics["baselines"]["most_frequent"]["dice_mean"]
    seen = evaluate(run, manifest, config, "train", tmp_path / "train").metrics["ci95"]
    assert 0.85 < seen["dice_mean"][0] < seen["dice_mean"][1] <= 1
    assert "hd95_px/disc" in seen
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    model = medmm.load(run)
    for study, line in zip(manifest.studies("test"), lines, strict=True):
        drawn = model.predict(study).masks["disc"] > 0
        true = cv2.imread(str(study.masks["disc"]), -1) > 0
        dice = 2 * (drawn & true).sum() / (drawn.sum() + true.sum())
        assert line["classes"]["disc"]["dice"] == pytest.approx(dice, abs=1e-6)
        assert line["classes"]["disc"]["voxels_true"] == true.sum()


def test_a_run_that_is_cut_off_ends_with_the_same_weights(flat, tmp_path, monkeypatch):
    run, config, manifest = flat
    out = tmp_path / "run"
    records.claim(out, config, resume=False)

    class CutOffError(Exception):
        pass

    def stop(done, total, note=""):
        if total == 30 and done == 14:
            raise CutOffError

    with pytest.raises(CutOffError):
        finetune(config, manifest, out, progress=stop)
    finetune(config, manifest, out, resume=True)
    weights = "model/model.safetensors"
    assert (out / weights).read_bytes() == (run / weights).read_bytes()


def test_masks_of_volumes_come_back_on_the_files_own_grid(solid, tmp_path):
    run, config, manifest, folder = solid
    found = evaluate(run, manifest, config, "test", tmp_path / "evaluation")
    assert found.metrics["test"]["dice_mean"] > 0.8
    assert {"hd95_mm", "volume_error_ml", "dice/right", "dice/left"} <= set(found.metrics["test"])
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "a.nii.gz").write_bytes((folder / "0-i.nii.gz").read_bytes())
    score_folder(scans, run, tmp_path / "out")
    (line,) = [json.loads(text) for text in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    (one,) = line["masks"]
    assert one["labels"] == {"right": 1, "left": 2}
    written, image = nib.load(tmp_path / "out" / one["files"][0]), nib.load(scans / "a.nii.gz")
    assert written.shape == image.shape
    np.testing.assert_allclose(written.affine, image.affine)
    true, drawn = np.asarray(nib.load(folder / "0-m.nii.gz").dataobj), np.asarray(written.dataobj)
    for value in (1, 2):
        assert 2 * ((true == value) & (drawn == value)).sum() / ((true == value).sum() + (drawn == value).sum()) > 0.8
    assert one["classes"]["right"]["voxels"] == (drawn == 1).sum()
    assert one["classes"]["right"]["volume_ml"] == pytest.approx((drawn == 1).sum() * 0.01, abs=1e-3)


def test_a_dicom_series_gets_a_segmentation_that_opens_on_it(solid, tmp_path):
    from medmm.data.phantom.series import write_series

    run = solid[0]
    hu = np.random.default_rng(1).normal(-900, 40, (18, 22, 24))
    hu[4:12, 6:14, 3:10] = 60
    affine = np.eye(4)[:, [2, 1, 0, 3]] @ np.diag([2.5, 2.0, 2.0, 1.0])
    write_series(tmp_path / "in" / "series", hu, affine)
    score_folder(tmp_path / "in", run, tmp_path / "out")
    (line,) = [json.loads(text) for text in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    files = [tmp_path / "out" / name for name in line["masks"][0]["files"]]
    image = medmm.read_image(tmp_path / "in" / "series", window=None)
    labels = np.asarray(nib.load(files[0]).dataobj).transpose(2, 1, 0)
    assert labels.any()
    for value, segment in enumerate(on_grid(read_segmentation(files[1]), image).segments, 1):
        np.testing.assert_array_equal(segment.array, labels == value)


def test_pictures_get_png_masks_and_volumes_are_set_aside(flat, solid, tmp_path):
    run, _, manifest = flat
    images = tmp_path / "in"
    images.mkdir()
    study = next(iter(manifest.studies("test")))
    (images / "a.png").write_bytes(study.images[0].path.read_bytes())
    (images / "b.nii.gz").write_bytes((solid[3] / "0-i.nii.gz").read_bytes())
    summary = score_folder(images, run, tmp_path / "out")
    assert (summary.scored, dict(summary.reasons)) == (1, {"dimensions_mismatch": 1})
    (line,) = [json.loads(text) for text in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    mask = cv2.imread(str(tmp_path / "out" / line["masks"][0]["files"][0]), -1)
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal(mask > 0, medmm.load(run).predict(images / "a.png").masks["disc"] > 0)


def test_the_plan_follows_data_and_memory_and_says_its_grid(solid):
    _, config, manifest, _ = solid
    free = config.model_copy(update={"train": config.train.model_copy(update={"steps": None, "batch_size": 16})})
    chosen = plan(free, manifest, Machine(2, True, "cpu", 16.0))
    assert chosen.grid["spacing_mm"] == [2.5, 2.0, 2.0]
    assert chosen.grid["patch"] == [32, 32, 32]
    assert "2.5 x 2 x 2 mm" in chosen.lines()[0]
    longer = free.model_copy(update={"train": free.train.model_copy(update={"budget_minutes": 48.0})})
    assert plan(longer, manifest, Machine(2, True, "cpu", 16.0)).steps >= chosen.steps


def test_what_cannot_be_learned_is_refused_by_name(flat, tmp_path):
    _, config, manifest = flat

    def asked(**changes):
        wanted = config.segmentation.model_copy(update=changes)
        return config.model_copy(update={"segmentation": wanted})

    with pytest.raises(DataError, match="heart"):
        train(asked(classes=("disc", "heart")), manifest, tmp_path / "a")
    studies = [picture(tmp_path, number) for number in range(6)]
    sided = [Study(s.study_id, s.patient_key, s.images, masks={"lung_left": s.masks["disc"]}) for s in studies]
    with pytest.raises(UsageError, match="lung_left"):
        train(asked(mirror=True), manifest_of(sided, tmp_path), tmp_path / "b")


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    """A run that outlines what is dense in CT, on a grid so coarse that a whole chest takes a moment."""
    folder = tmp_path_factory.mktemp("coarse")
    studies = []
    for number in range(6):
        study = scan(folder, number, size=24)
        image = nib.load(study.images[0].path)
        hu = np.asarray(image.dataobj).repeat(4, 0).repeat(4, 1).repeat(2, 2)
        affine = np.diag([-8.0, 8.0, 10.0, 1.0]) @ np.diag([0.25, 0.25, 0.5, 1.0])
        for path, array in ((study.images[0].path, hu), (study.masks["label"], (hu > -400).astype(np.uint8))):
            nib.save(nib.Nifti1Image(array, affine), path)
        studies.append(study)
    wanted = {"spacing_mm": [10, 8, 8], "patch": [16, 32, 32]}
    config = {**SMALL, "data": {"labels": {"body": 1}}, "segmentation": wanted, "train": {**TRAIN, "lr": 1e-2}}
    train(Config.model_validate(config), manifest_of(studies, folder), folder / "run")
    return folder / "run"


@pytest.mark.shared
def test_masks_of_a_real_series_open_on_it_in_other_programs(coarse, shared, tmp_path):
    import pydicom
    import SimpleITK

    folder = shared / "dicom" / "ct_series"
    summary = score_folder(folder, coarse, tmp_path / "out")
    assert summary.scored == 1
    (line,) = [json.loads(text) for text in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    nifti, seg = (tmp_path / "out" / name for name in line["masks"][0]["files"])
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    series = SimpleITK.ReadImage(names)
    mask = SimpleITK.Resample(SimpleITK.ReadImage(str(nifti)), series, SimpleITK.Transform(),
                              SimpleITK.sitkNearestNeighbor, 0.0, SimpleITK.sitkUInt8)  # fmt: skip
    drawn = SimpleITK.GetArrayFromImage(mask)
    hu = SimpleITK.GetArrayFromImage(series)
    assert 2 * (drawn.astype(bool) & (hu > -400)).sum() / (drawn.sum() + (hu > -400).sum()) > 0.7
    written = pydicom.dcmread(seg)
    frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(seg))).reshape(-1, *drawn.shape[1:])
    positions = {
        tuple(map(float, pydicom.dcmread(name, stop_before_pixels=True).ImagePositionPatient)) for name in names
    }
    places = [
        tuple(map(float, one.PlanePositionSequence[0].ImagePositionPatient))
        for one in written.PerFrameFunctionalGroupsSequence
    ]
    assert set(places) <= positions
    assert len(set(places)) == len(places) == len(frames) == drawn.any((1, 2)).sum()
    for place, frame in zip(places, frames, strict=True):
        number = series.TransformPhysicalPointToIndex(place)[2]
        np.testing.assert_array_equal(frame > 0, drawn[number] > 0)


def test_a_run_is_not_asked_for_another_task(flat, tmp_path):
    run, config, manifest = flat
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(next(iter(manifest.studies("test"))).images[0].path.read_bytes())
    other = config.model_copy(update={"task": "report_gen"})
    with pytest.raises(UsageError, match="another task; got report_gen; expected segmentation"):
        score_folder(tmp_path / "in", run, tmp_path / "out", config=other)


def test_a_run_of_the_first_format_is_still_read(solid):
    from medmm.tasks.segmentation import Segmentation

    run, config, _, folder = solid
    said = json.loads((run / "model" / "task.json").read_text())
    low, high = said["grid"].pop("ranges")[0]
    said["grid"].pop("channels")
    (folder / "old").mkdir()
    old = said | {"format": 1, "grid": said["grid"] | {"low": low, "high": high}}
    (folder / "old" / "task.json").write_text(json.dumps(old))
    assert Segmentation.load(folder / "old", config).grid == Segmentation.load(run / "model", config).grid
