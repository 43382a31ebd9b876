"""A loaded run reads images as it was trained to, and says where its drafts come from."""

import hashlib
import json

import cv2
import numpy as np
import pytest
import torch
import yaml

from medmm.errors import CheckpointError, ImageError, Reason, UsageError
from medmm.training.loaded import load
from medmm.types import ImageRef, Study, study_tag


@pytest.fixture(scope="module")
def model(trained):
    return load(trained, "cpu")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def studies(manifest):
    return list(manifest.studies("test"))


@pytest.fixture(scope="module")
def paths(studies):
    return [study.images[0].path for study in studies]


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    return tmp_path / "broken.png"


def test_it_reads_an_image_over_the_range_of_its_values(model, paths):
    for path in paths:
        stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(float)  # of the model's size already
        prepared = model.prepare(path)
        assert (prepared.shape, prepared.dtype) == ((1, 1, 32, 32), np.float32)
        wanted = (stored - stored.min()) / (stored.max() - stored.min())
        np.testing.assert_allclose(prepared[0, 0], wanted, rtol=0, atol=1 / 65535)


def test_a_prediction_is_that_of_a_batch_of_one(model, studies, paths):
    for study, path in zip(studies, paths, strict=True):
        mask = np.ones((1, 1), dtype=bool)
        wanted = model.predict_batch(model.prepare(path)[None], mask, [study.study_id])[0]
        assert model.predict(study) == wanted
        by_path = model.predict(path)
        draft = model.task.draft(torch.from_numpy(model.prepare(path))[None], torch.from_numpy(mask))[0]
        assert (wanted.report, wanted.answer, wanted.findings) == (draft.report, draft.answer, draft.findings)
        assert by_path.study_id == study_tag(str(path))
        assert (by_path.report, by_path.findings) == (wanted.report, wanted.findings)
        assert (model.predict(str(path)), model.predict([path])) == (by_path, by_path)


def test_in_a_batch_each_study_is_what_it_is_alone(model, studies, paths):
    images = np.stack([model.prepare(path) for path in paths])
    mask = np.ones((len(paths), 1), dtype=bool)
    together = model.predict_batch(images, mask, [study.study_id for study in studies])
    assert [one.study_id for one in together] == [study.study_id for study in studies]
    for one, study in zip(together, studies, strict=True):
        alone = model.predict(study)
        assert one.report == alone.report
        assert one.findings["nodule"].probability == pytest.approx(alone.findings["nodule"].probability, abs=1e-5)


def test_absent_views_may_stand_anywhere(model, paths):
    view = model.prepare(paths[0])
    noise = np.full_like(view, 0.7)
    alone = model.predict_batch(view[None], np.ones((1, 1), bool), ["a"])
    for order, mask in (((view, noise), [[True, False]]), ((noise, view), [[False, True]])):
        images = np.concatenate(order)[None]
        assert model.predict_batch(images, np.array(mask), ["a"]) == alone


def test_views_beyond_those_that_it_takes_are_left_out(model, paths):
    assert model.config.model.max_views == 2
    prepared = model.prepare(paths[:3])
    assert prepared.shape == (2, 1, 32, 32)
    np.testing.assert_array_equal(prepared, np.concatenate([model.prepare(path) for path in paths[:2]]))
    assert model.predict(paths[:3]).report == model.predict(paths[:2]).report


def test_a_broken_view_does_not_stop_the_others(model, paths, broken):
    first, second = model.prepare(paths[0]), model.prepare(paths[1])
    np.testing.assert_array_equal(model.prepare([paths[0], broken]), first)
    np.testing.assert_array_equal(model.prepare([broken, paths[1]]), second)
    np.testing.assert_array_equal(model.prepare([paths[0], broken, paths[1]]), np.concatenate([first, second]))
    assert model.predict([paths[0], broken]).findings == model.predict([paths[0]]).findings


def test_a_prediction_names_the_images_that_were_left_out(model, paths, broken, tmp_path):
    reason = reason_of(model, broken)
    assert model.predict(paths[:2]).notes == ()
    assert model.predict([paths[0], broken]).notes == (f"image 2 of 2 left out: {reason}",)
    assert model.predict([tmp_path / "absent.png", broken, paths[0]]).notes == (
        "image 1 of 3 left out: file_missing",
        f"image 2 of 3 left out: {reason}",
    )
    assert model.predict([broken, *paths[:5]]).notes == (
        f"image 1 of 6 left out: {reason}",
        "images 4 to 6 of 6 left out: image_surplus",
    )
    images = tuple(ImageRef(path) for path in (*paths[:2], broken))
    assert model.predict(Study("x", "p", images)).notes == ("image 3 of 3 left out: image_surplus",)


def reason_of(model, path):
    """Why the image cannot be read."""
    with pytest.raises(ImageError) as caught:
        model.prepare(path)
    return caught.value.reason


def test_where_no_image_can_be_read_the_first_ones_reason_is_given(model, broken, tmp_path):
    with pytest.raises(ImageError) as caught:
        model.prepare([tmp_path / "absent.png", broken])
    assert caught.value.reason is Reason.FILE_MISSING
    with pytest.raises(ImageError) as caught:
        model.prepare([broken, tmp_path / "absent.png"])
    assert caught.value.reason is not Reason.FILE_MISSING
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ImageError) as caught:
        model.prepare([])
    assert caught.value.reason is Reason.REPORT_WITHOUT_IMAGE


@pytest.mark.parametrize(
    ("shape", "mask", "ids"),
    [
        ((1, 1, 32, 32), (1, 1), 1),  # no axis of studies
        ((1, 1, 1, 31, 32), (1, 1), 1),
        ((1, 1, 3, 32, 32), (1, 1), 1),
        ((1, 1, 1, 8, 32, 32), (1, 1), 1),
        ((2, 1, 1, 32, 32), (1, 1), 2),
        ((1, 2, 1, 32, 32), (1, 1), 1),
        ((2, 1, 1, 32, 32), (2, 1), 1),
    ],
)
def test_arrays_that_do_not_fit_are_refused(model, shape, mask, ids):
    with pytest.raises(UsageError, match=r"do not fit.*\[B, V, 1, 32, 32\]"):
        model.predict_batch(np.zeros(shape, np.float32), np.ones(mask, bool), ["x"] * ids)


def test_no_view_and_too_many_views_are_refused(model):
    with pytest.raises(UsageError, match="1 to 2 views"):
        model.predict_batch(np.zeros((1, 3, 1, 32, 32), np.float32), np.ones((1, 3), bool), ["x"])
    mask = np.array([[True, True], [False, False]])
    with pytest.raises(UsageError, match="1 to 2 views"):
        model.predict_batch(np.zeros((2, 2, 1, 32, 32), np.float32), mask, ["x", "y"])


def test_sampling_repeats(run, edit, paths):
    edit("generate", strategy="sample", temperature=3.0, top_p=1.0)
    model = load(run, "cpu")
    first = model.predict(paths[0])
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    assert model.predict(paths[0]) == first
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_sampled_draft_depends_on_its_study_alone(run, edit, paths):
    edit("generate", strategy="sample", temperature=3.0, top_p=1.0)
    model = load(run, "cpu")
    images = np.stack([model.prepare(path) for path in paths[:3]])
    mask = np.ones((3, 1), bool)
    together = [one.report for one in model.predict_batch(images, mask, ["a", "b", "c"])]
    turned = [one.report for one in model.predict_batch(images[::-1].copy(), mask, ["c", "b", "a"])]
    alone = [model.predict_batch(images[k : k + 1], mask[:1], [name])[0].report for k, name in enumerate("abc")]
    assert together == turned[::-1] == alone
    other = [one.report for one in model.predict_batch(images[[0, 0, 0]], mask, ["a", "b", "c"])]
    assert len(set(other)) == 3


def test_provenance_leads_to_the_files(trained, model, manifest, paths):
    record = json.loads((trained / "run.json").read_text())
    shaping = yaml.safe_load((trained / "config.yaml").read_text())
    for name in ("device", "cache", "tracking", "evaluate", "score", "generate", "probe"):
        shaping.pop(name, None)
    contract = json.loads((trained / "model" / "preprocess.json").read_text())
    settings = {name: contract[name] for name in ("size", "depth", "window", "mean", "std")}
    said = model.predict(paths[0]).provenance
    assert said == model.provenance
    assert said["weights_sha256"] == sha256((trained / "model" / "model.safetensors").read_bytes())
    assert said["config_sha256"] == sha256(json.dumps(shaping, sort_keys=True).encode())
    assert said["preprocess_sha256"] == contract["hash"] == model.preprocess_hash
    assert said["preprocess_sha256"] == sha256(json.dumps(settings, sort_keys=True).encode())
    assert (said["data_hash"], said["split_hash"]) == (manifest.data_hash, manifest.split_hash)
    assert (said["data_hash"], said["split_hash"]) == (record["data_hash"], record["split_hash"])
    assert (said["task"], said["mlflow_run_id"]) == ("report_gen", None)


def test_it_is_in_evaluation_mode_with_the_weights_of_the_file(trained, model):
    from safetensors.numpy import load_file

    assert not any(module.training for module in model.task.model.modules())
    stored = load_file(trained / "model" / "model.safetensors")
    own = model.task.model.state_dict()
    assert stored.keys() <= own.keys()
    for name, values in stored.items():
        np.testing.assert_array_equal(own[name].numpy(), values)


def test_a_run_without_its_record_is_refused(run):
    (run / "run.json").unlink()
    with pytest.raises(CheckpointError, match="record is missing"):
        load(str(run), "cpu")
