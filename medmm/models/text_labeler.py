"""A text classifier from a local folder as a labeler of reports: nothing is downloaded, no foreign code, no pickles.

Two forms are read, both with ``model.safetensors``, ``config.json`` and a tokenizer in the folder:

- a ``transformers`` sequence classifier; its ``id2label`` names either findings, each with a logit of its own, or pairs
  such as ``edema=absent``, whose logits compete within a finding;
- CheXbert's weights (Smit et al., EMNLP 2020): a BERT under ``bert.`` and ``linear_heads.0`` to ``linear_heads.13``.

Shape legend: B reports, T tokens, L logits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medmm.errors import CheckpointError
from medmm.models.weights import refuse_pickle
from medmm.reports.findings import sentences_read
from medmm.reports.parse import parse_report
from medmm.types import Finding, Report, Status

_WEIGHTS = "model.safetensors"
_BATCH, _LONGEST = 32, 512
_NAMES = {"lung_opacity": "opacity"}  # as the labeler and the readers call CheXpert's observation
_CHEXBERT = (
    "enlarged_cardiomediastinum", "cardiomegaly", "opacity", "lung_lesion", "edema", "consolidation", "pneumonia",
    "atelectasis", "pneumothorax", "pleural_effusion", "pleural_other", "fracture", "support_devices", "no_finding",
)  # fmt: skip
"""CheXbert's heads in order."""
_CLASSES = (Status.UNMENTIONED, Status.PRESENT, Status.ABSENT, Status.UNCERTAIN)
"""CheXbert's classes in order; the head of ``no_finding`` has the first two."""


class TextLabeler:
    """Labels reports with a classifier.

    Args:
        source: Its folder.

    Raises:
        CheckpointError: The folder has no ``model.safetensors``, or one that is a pickle; settings, tokenizer or
            weights cannot be read or do not fit each other; a label names no finding.
    """

    name = "huggingface"

    def __init__(self, source: Path) -> None:
        source = Path(source)
        refuse_pickle(source / _WEIGHTS)
        self._model, self._groups, self._tokenizer = _load(source)
        digest = hashlib.sha256()
        for part in sorted(one for one in source.iterdir() if one.suffix in {".json", ".txt", ".safetensors"}):
            digest.update(part.read_bytes())
        self._digest = digest.hexdigest()[:12]

    @property
    def version(self) -> str:
        """Digest of the folder's weights, settings and tokenizer."""
        return self._digest

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of all findings that it can label."""
        return tuple(name for name, _ in self._groups)

    def label(self, report: Report | str) -> dict[str, Finding]:
        """Label one report; see :meth:`label_all`."""
        return self.label_all([report])[0]

    def label_all(self, reports: Sequence[Report | str]) -> list[dict[str, Finding]]:
        """Label reports by what their findings and impression say.

        Returns:
            Finding name to status and the probability that it is present, without spans; unmentioned findings have no
            entry. A report without text mentions nothing.
        """
        texts = [_text(report) for report in reports]
        found: list[dict[str, Finding]] = [{} for _ in texts]
        full = [place for place, text in enumerate(texts) if text]
        for start in range(0, len(full), _BATCH):
            places = full[start : start + _BATCH]
            for place, logits in zip(places, self._logits([texts[one] for one in places]), strict=True):
                found[place] = dict(self._read(logits))
        return found

    @torch.inference_mode()
    def _logits(self, texts: list[str]) -> Tensor:
        """Logits ``[B, L]`` float32."""
        limit = min(_LONGEST, getattr(self._model.config, "max_position_embeddings", _LONGEST))
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return self._model(**tokens).logits.float()  # type: ignore[no-any-return]

    def _read(self, logits: Tensor) -> Iterator[tuple[str, Finding]]:
        for name, classes in self._groups:
            own = logits[[place for place, _ in classes]]
            if len(classes) == 1:
                chance = float(torch.sigmoid(own[0]))
                status = Status.PRESENT if chance >= 0.5 else Status.UNMENTIONED
            else:
                shares = torch.softmax(own, 0)
                status = classes[int(shares.argmax())][1]
                chance = sum(float(share) for share, (_, one) in zip(shares, classes, strict=True) if one == "present")
            if status is not Status.UNMENTIONED:
                yield name, Finding(status, probability=chance)


class _CheXbert(nn.Module):
    """BERT with a linear head an observation on the first token's last state."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        from transformers import AutoModel

        self.config = config
        self.bert = AutoModel.from_config(config)
        sizes = [len(_CLASSES)] * (len(_CHEXBERT) - 1) + [2]
        self.linear_heads = nn.ModuleList(nn.Linear(config.hidden_size, size) for size in sizes)

    def forward(self, **tokens: Tensor) -> Any:
        from transformers.modeling_outputs import SequenceClassifierOutput

        first = self.bert(**tokens).last_hidden_state[:, 0]
        return SequenceClassifierOutput(logits=torch.cat([head(first) for head in self.linear_heads], 1))  # type: ignore[arg-type]


Groups = list[tuple[str, list[tuple[int, Status]]]]


def _load(source: Path) -> tuple[Any, Groups, Any]:
    from safetensors import SafetensorError, safe_open
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        with safe_open(source / _WEIGHTS, "pt") as weights:
            is_chexbert = "linear_heads.0.weight" in weights.keys()  # noqa: SIM118 - no mapping
            tensors = {name: weights.get_tensor(name) for name in weights.keys()} if is_chexbert else {}  # noqa: SIM118
        config = AutoConfig.from_pretrained(str(source), **local)
        tokenizer = AutoTokenizer.from_pretrained(str(source), **local)
        if is_chexbert:
            model: Any = _CheXbert(config)
            model.load_state_dict(tensors)
            groups = _chexbert_groups()
        else:
            model, said = AutoModelForSequenceClassification.from_pretrained(
                str(source), use_safetensors=True, output_loading_info=True, **local
            )
            if said["missing_keys"]:
                missing = f"{len(said['missing_keys'])} missing tensors"
                raise CheckpointError("the classifier lacks weights", where="labeler.source", got=missing)
            groups = _groups({int(key): str(value) for key, value in config.id2label.items()})
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        got = type(error).__name__
        what, expected = "the labeler's folder cannot be read", "settings, tokenizer and weights of one classifier"
        raise CheckpointError(what, where="labeler.source", got=got, expected=expected) from error
    return model.eval(), groups, tokenizer


def _groups(labels: dict[int, str]) -> Groups:
    """Logits by finding, from names such as ``Edema`` or ``Edema=absent``.

    Raises:
        CheckpointError: A label is a bare number's, or its status is none.
    """
    groups: dict[str, list[tuple[int, Status]]] = {}
    for place, label in sorted(labels.items()):
        finding, is_pair, status = label.partition("=")
        name = "_".join(finding.strip().lower().split())
        if name.startswith("label_") or (is_pair and status.strip().lower() not in set(Status)):
            expected = "id2label with findings, or with pairs such as edema=absent"
            raise CheckpointError("a label names no finding", where="config.json", got=f"'{label}'", expected=expected)
        chosen = Status(status.strip().lower()) if is_pair else Status.PRESENT
        groups.setdefault(_NAMES.get(name, name), []).append((place, chosen))
    return list(groups.items())


def _chexbert_groups() -> Groups:
    groups: Groups = []
    place = 0
    for name in _CHEXBERT:
        classes = _CLASSES if name != "no_finding" else _CLASSES[:2]
        groups.append((name, [(place + number, status) for number, status in enumerate(classes)]))
        place += len(classes)
    return groups


def _text(report: Report | str) -> str:
    if isinstance(report, str):
        if not report.strip():
            return ""
        report = parse_report(report)
    return " ".join(" ".join(sentence.text.split()) for sentence in sentences_read(report))
