"""Classifiers as labelers, on tiny BERTs made here: their labels follow from their own logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from medmm.config.evaluation import LabelerConfig
from medmm.errors import CheckpointError
from medmm.models.text_labeler import TextLabeler
from medmm.reports.labelers import choose_labeler
from medmm.types import Status

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "edema", "effusion", "large", "the", "mass", "."]
TEXTS = ["No edema.", "FINDINGS: Large effusion.\nIMPRESSION: Mass.", "the the the", "  "]
STATUSES = ("absent", "present", "uncertain", "unmentioned")
PAIRS = [f"{name}={status}" for name in ("Edema", "Lung Opacity") for status in STATUSES]


def folder(path: Path, labels: list[str], problem: str = "multi_label_classification") -> Path:
    """A BERT classifier with random weights, large enough in scale that its labels differ between texts."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(3)
    path.mkdir()
    (path / "vocab.txt").write_text("\n".join(WORDS))
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, id2label=dict(enumerate(labels)), label2id={v: k for k, v in enumerate(labels)},
        problem_type=problem, initializer_range=0.6,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(path)
    BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    return path


def logits(path: Path, text: str) -> list[float]:
    from transformers import BertForSequenceClassification, BertTokenizer

    model = BertForSequenceClassification.from_pretrained(path).eval()
    with torch.no_grad():
        return model(**BertTokenizer.from_pretrained(path)(text, return_tensors="pt")).logits[0].tolist()


def test_a_logit_a_finding(tmp_path: Path) -> None:
    path = folder(tmp_path / "one", ["Edema", "Pleural Effusion", "Mass"])
    labeler = TextLabeler(path)
    assert labeler.findings == ("edema", "pleural_effusion", "mass")
    together = labeler.label_all(TEXTS)
    assert together[3] == {}
    for text, said in ((TEXTS[0], "No edema."), (TEXTS[1], "Large effusion. Mass."), (TEXTS[2], TEXTS[2])):
        expected = {
            name: float(torch.sigmoid(torch.tensor(logit)))
            for name, logit in zip(labeler.findings, logits(path, said), strict=True)
            if logit >= 0
        }
        found = labeler.label(text)
        assert {name: one.probability for name, one in found.items()} == pytest.approx(expected, abs=1e-5)
        assert all(one.status is Status.PRESENT for one in found.values())
        assert together[TEXTS.index(text)].keys() == found.keys()


def test_logits_that_compete_within_a_finding(tmp_path: Path) -> None:
    path = folder(tmp_path / "pairs", PAIRS)
    labeler = TextLabeler(path)
    assert labeler.findings == ("edema", "opacity")
    for text in TEXTS[:1] + TEXTS[2:3]:
        raw = torch.tensor(logits(path, text)).reshape(2, 4).softmax(1)
        best = [("absent", "present", "uncertain", "unmentioned")[int(row.argmax())] for row in raw]
        found = labeler.label(text)
        expected = {n: s for n, s in zip(labeler.findings, best, strict=True) if s != "unmentioned"}
        assert {name: str(one.status) for name, one in found.items()} == expected
        for name, one in found.items():
            assert one.probability == pytest.approx(float(raw[labeler.findings.index(name), 1]), abs=1e-5)


def test_chexbert_heads(tmp_path: Path) -> None:
    """Its weights, in order of its paper's code: 13 heads of blank, positive, negative, uncertain and one of two."""
    path = folder(tmp_path / "chexbert", ["x", "y"])
    bert = {name: one for name, one in load_file(path / "model.safetensors").items() if name.startswith("bert.")}
    heads = {}
    for number in range(14):
        size = 4 if number < 13 else 2
        heads[f"linear_heads.{number}.weight"] = torch.zeros(size, 16)
        heads[f"linear_heads.{number}.bias"] = torch.eye(size)[number % 4 if number < 13 else 0] * 4
    save_file(bert | heads, path / "model.safetensors")
    found = TextLabeler(path).label("no edema")
    assert {name: str(one.status) for name, one in found.items()} == {
        "cardiomegaly": "present", "opacity": "absent", "lung_lesion": "uncertain", "consolidation": "present",
        "pneumonia": "absent", "atelectasis": "uncertain", "pleural_effusion": "present", "pleural_other": "absent",
        "fracture": "uncertain",
    }  # fmt: skip
    e4 = torch.tensor([0.0, 4.0, 0.0, 0.0]).softmax(0)[1].item()
    assert found["cardiomegaly"].probability == pytest.approx(e4, abs=1e-5)


def test_the_version_follows_the_weights(tmp_path: Path) -> None:
    path = folder(tmp_path / "v", ["Edema"])
    first = TextLabeler(path).version
    assert TextLabeler(path).version == first
    tensors = load_file(path / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] + 1
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    assert TextLabeler(path).version != first


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        TextLabeler(tmp_path)
    path = folder(tmp_path / "pickle", ["Edema"])
    torch.save({"a": torch.zeros(1)}, path / "model.safetensors")
    with pytest.raises(CheckpointError, match="pickle"):
        TextLabeler(path)
    with pytest.raises(CheckpointError, match="names no finding"):
        TextLabeler(folder(tmp_path / "bare", ["LABEL_0", "LABEL_1"]))
    with pytest.raises(CheckpointError, match="names no finding"):
        TextLabeler(folder(tmp_path / "state", ["Edema=perhaps", "Edema=present"]))
    cut = folder(tmp_path / "cut", ["Edema"])
    tensors = load_file(cut / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, cut / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError):
        TextLabeler(cut)
    (cut / "model.safetensors").write_bytes(b"not a file of tensors")
    with pytest.raises(CheckpointError):
        TextLabeler(cut)


def test_chosen_by_the_config(tmp_path: Path) -> None:
    path = folder(tmp_path / "chosen", ["Edema"])
    labeler = choose_labeler(LabelerConfig(name="huggingface", source=path))
    assert (labeler.name, labeler.findings) == ("huggingface", ("edema",))
    assert choose_labeler(LabelerConfig()).name == "rules"
    both = {"name": "huggingface", "source": path, "vocabulary": path}
    for wrong in ({"name": "huggingface"}, {"source": path}, both):
        with pytest.raises(ValueError, match="labeler"):
            LabelerConfig(**wrong)
