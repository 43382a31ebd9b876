"""Embedding by a stand-in whose vectors can be worked out: the angle of a study's vector is its grey level."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from medmm.config.schema import Config
from medmm.errors import CheckpointError, ImageError, Reason, ResourceError, UsageError
from medmm.scoring import embedding
from medmm.scoring.archive import Archive
from medmm.training.loaded import LoadedModel
from medmm.types import Finding, Rejection, Status, Study

CONFIG = Config.model_validate({"preprocess": {"size": 32}, "score": {"batch_size": 3}})
OWN = {"medmm": "0", "weights_sha256": "w" * 64, "preprocess_sha256": "p" * 64}
ANGLES = {"dark": 0.0, "grey": math.pi / 4, "bright": math.pi / 2}


class GreyEmbedding:
    """Images lie at the angle of their mean over views, words at that of the last one known; too long by a half."""

    def __init__(self, most=None):
        self.config, self.model, self.most, self.batches = CONFIG, torch.nn.Linear(1, 1), most, []

    def embed_images(self, images, view_mask):
        self.batches.append(len(images))
        if self.most is not None and len(images) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        level = (images.flatten(2).mean(2) * view_mask).sum(1) / view_mask.sum(1)
        return self._at(level * math.pi / 2)

    def embed_texts(self, texts):
        assert all(text == " ".join(text.split()) for text in texts)
        return self._at(torch.tensor([[ANGLES[one] for one in text.split() if one in ANGLES][-1] for text in texts]))

    def unknown_words(self, text):
        return [word for word in dict.fromkeys(text.split()) if word not in ANGLES]

    def _at(self, angle):
        return 1.5 * torch.stack([angle.cos(), angle.sin()], 1)


@pytest.fixture
def model():
    return LoadedModel(GreyEmbedding(), "cpu", OWN)


def test_an_archive_of_studies_finds_them_by_words_and_by_picture(model, make_study, tmp_path):
    texts = {0: "No pleural effusion.", 90: "Small left pleural effusion.", 120: None, 250: "Cardiomegaly."}
    studies = [make_study(f"g{level}", level, text) for level, text in texts.items()]
    broken = make_study("broken", 3, "Clear.")
    broken.images[0].path.write_bytes(b"no image")
    labelled = replace(make_study("labelled", 200, "Cardiomegaly."), findings={"edema": Finding(Status.PRESENT)})
    given = [*studies, broken, Rejection("aside", Reason.FILE_EMPTY, "empty"), labelled, Study("bare", "p")]
    told = []
    said = {"split": "all"}
    out = tmp_path / "out"
    done = embedding.embed_archive(
        given, model, CONFIG, out, said=said, total=8, progress=lambda *given: told.append(given)
    )
    assert (done.number, set(done.reasons.values())) == (5, {1})
    assert {(one.study_id, one.reason) for one in done.rejections} == {
        ("broken", Reason.NOT_AN_IMAGE), ("aside", Reason.FILE_EMPTY), ("bare", Reason.REPORT_WITHOUT_IMAGE),
    }  # fmt: skip
    assert (model.task.batches, told) == ([3, 2], [(3, 8), (5, 8)])
    own = Archive(out)
    assert own.identity == {"format": 1, **OWN, **said, "width": 2, "number": 5, "kind": "exact"}
    hits, among = own.search(embedding.embed_text(model, "bright").vector, 5)
    assert ([hit.study_id for hit in hits], among) == (["g250", "labelled", "g120", "g90", "g0"], 5)
    angles = np.array([250, 200, 120, 90, 0]) / 255 * np.pi / 2
    np.testing.assert_allclose([hit.score for hit in hits], np.sin(angles), atol=1e-5)
    assert [hit.finding_words for hit in hits] == [
        "cardiomegaly", "edema", "", "small left pleural effusion", "nothing present",
    ]  # fmt: skip
    nearest = own.search(embedding.embed_picture(model, studies[2].images[0].path).vector, 1)[0][0]
    assert (nearest.study_id, nearest.score) == ("g120", pytest.approx(1, abs=1e-6))
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_views_of_a_study_count_together_and_batches_change_nothing(model):
    views = [np.full((1, 1, 32, 32), 0.2, np.float32), np.full((2, 1, 32, 32), 0.6, np.float32)]
    views[1][1] = 0.8
    together = embedding.embed_views(model, views)
    np.testing.assert_allclose(np.arctan2(together[:, 1], together[:, 0]) / (np.pi / 2), [0.2, 0.7], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert (together.dtype, together.shape) == (np.float32, (2, 2))


def test_a_batch_that_does_not_fit_is_halved(model):
    small = LoadedModel(GreyEmbedding(most=1), "cpu", OWN)
    views = [np.full((1, 1, 32, 32), level, np.float32) for level in (0.1, 0.5, 0.9)]
    np.testing.assert_array_equal(embedding.embed_views(small, views), embedding.embed_views(model, views))
    assert small.task.batches == [3, 1, 2, 1, 1]
    with pytest.raises(ResourceError, match="a single study does not fit"):
        embedding.embed_views(LoadedModel(GreyEmbedding(most=0), "cpu", OWN), views)


def test_unknown_words_are_counted(model):
    query = embedding.embed_text(model, "  bright xqz zzyx  dark")
    assert (query.unknown, query.unknown_share) == (("xqz", "zzyx"), 0.5)
    assert embedding.embed_text(model, "dark").unknown == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is nothing to search for; got an empty text"),
        (" \n", "got an empty text"),
        ("12 ?", "got a text without words"),
        ("xqz zzyx", "knows no word of the query; got 2 of 2 words unknown"),
    ],
)
def test_a_text_that_says_nothing_is_refused(model, text, says):
    with pytest.raises(UsageError, match=says.replace("?", r"\?")):
        embedding.embed_text(model, text)


def test_a_picture_that_cannot_be_read_is_refused_without_its_path(model, tmp_path):
    (tmp_path / "DOE.png").write_bytes(b"no image")
    for name, reason in (("DOE.png", Reason.NOT_AN_IMAGE), ("DOE2.png", Reason.FILE_MISSING)):
        with pytest.raises(ImageError) as raised:
            embedding.embed_picture(model, tmp_path / name)
        assert raised.value.reason is reason
        assert "DOE" not in str(raised.value)


def test_weights_that_give_no_numbers_and_runs_that_embed_nothing_are_refused(model, monkeypatch, tmp_path):
    for value in (float("nan"), float("inf"), 0.0):
        monkeypatch.setattr(model.task, "_at", lambda angle, value=value: torch.full((len(angle), 2), value))
        with pytest.raises(CheckpointError, match="the weights give no numbers"):
            embedding.embed_text(model, "dark")
    model.task = type("Other", (), {"config": CONFIG, "model": model.task.model})()
    monkeypatch.setattr("medmm.training.run.load", lambda run, device: model)
    with pytest.raises(
        UsageError, match="--run: the run has no space that images and texts share; got a run of --task"
    ):
        embedding.load(tmp_path, "cpu")
