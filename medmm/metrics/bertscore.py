"""BERTScore with any encoder in a local folder: words matched greedily by the cosine of their contextual embeddings.

Precision, recall and F1 equal those of the package bert-score for the same model and layer, without its rescaling.
Which model and layer were used belongs to every score (:attr:`BertScorer.name`): those of different models do not
compare.

Defined values: an empty draft or reference has 0; a text longer than the model reads is cut at its end.

Source: Zhang et al., ICLR 2020.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from medmm.errors import DataError, UsageError
from medmm.metrics.finding_errors import weighted_mean

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]

_SPACE_BEFORE = ("gpt2", "roberta")  # their byte-level vocabularies tell words by the space before them
_LONGEST = 512


@dataclass(frozen=True)
class BertScores:
    """BERTScore of ``n`` studies.

    Attributes:
        name: What was computed with what, such as ``BERTScore (bert, layer 9 of 12, float32, weights 0123456789ab)``.
        precision: ``[n]``, at most 1; random embeddings may give less than 0.
        recall: ``[n]``.
        f1: ``[n]``.
    """

    name: str
    precision: Floats
    recall: Floats
    f1: Floats

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Means over studies.

        Args:
            weights: ``[n]`` or ``[resamples, n]``: how often each study counts; None counts each once.

        Returns:
            ``bertscore_precision``, ``bertscore_recall`` and ``bertscore_f1``, each ``[]`` or ``[resamples]``.
        """
        parts = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {f"bertscore_{name}": weighted_mean(values, weights) for name, values in parts.items()}


class BertScorer:
    """An encoder, ready to score.

    Args:
        folder: A Hugging Face model with its tokenizer; weights as safetensors.
        layer: Hidden layer whose states are compared, 1 to the model's number; None takes the one three quarters up,
            which is where the package's tuned choices lie (9 of 12 for BERT).
        device: ``cpu``, ``cuda``, ``cuda:1``, …
        precision: ``float32``, or ``bfloat16`` where speed matters more than the third decimal.
        batch: Texts at a time.

    Raises:
        DataError: The folder holds no model that can be used.
        UsageError: The model has no such layer.
    """

    def __init__(
        self,
        folder: Path,
        layer: int | None = None,
        device: str = "cpu",
        precision: Literal["float32", "bfloat16"] = "float32",
        batch: int = 64,
    ) -> None:
        import torch

        self._tokenizer, self._model = _loaded(folder, getattr(torch, precision), device)
        config = self._model.config
        layers = int(config.num_hidden_layers)
        self._layer = layer if layer is not None else max(1, round(layers * 3 / 4))
        if not 1 <= self._layer <= layers:
            raise UsageError("the model has no such layer", where="BERTScore", got=layer, expected=f"1 to {layers}")
        _cut(self._model, layers, self._layer)
        self._kind, self._batch, self._device = str(config.model_type), batch, device
        reach = int(getattr(config, "max_position_embeddings", _LONGEST))
        reach -= 2 if "roberta" in self._kind else 0  # whose positions begin after the padding's
        self._longest = min(reach, int(self._tokenizer.model_max_length))
        weights = f"weights {_digest(folder)}"
        self.name = f"BERTScore ({self._kind}, layer {self._layer} of {layers}, {precision}, {weights})"

    def score(self, references: Sequence[str], drafts: Sequence[str], idf: bool = False) -> BertScores:
        """Score drafts.

        Args:
            references: Each study's report.
            drafts: Each study's draft, in the same order.
            idf: Weigh pieces of words by how rare they are among the references.

        Raises:
            UsageError: The two differ in number, or are empty.
        """
        if len(references) != len(drafts) or not references:
            raise UsageError(
                "BERTScore needs a draft for each reference",
                got=f"{len(drafts)} drafts",
                expected=len(references) or "some",
            )
        pieces = {text: self._pieces(text) for text in {*references, *drafts}}
        rarity = _Rarity([pieces[text] for text in references] if idf else [], self._special())
        order = sorted(range(len(drafts)), key=lambda at: -len(pieces[references[at]]) - len(pieces[drafts[at]]))
        found = np.zeros((len(drafts), 3))
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            one = [pieces[drafts[at]] for at in rows]
            other = [pieces[references[at]] for at in rows]
            found[rows] = self._compared(one, other, rarity)
        name = self.name.replace("BERTScore (", "BERTScore (idf of the references, ") if idf else self.name
        return BertScores(name, found[:, 0], found[:, 1], found[:, 2])

    def _pieces(self, text: str) -> list[int]:
        text = text.strip()
        if text and self._kind in _SPACE_BEFORE:
            text = f" {text}"
        return list(self._tokenizer(text, truncation=True, max_length=self._longest)["input_ids"])

    def _special(self) -> frozenset[int]:
        ids = (self._tokenizer.cls_token_id, self._tokenizer.sep_token_id)
        return frozenset(one for one in ids if one is not None)

    def _compared(self, drafts: Sequence[list[int]], references: Sequence[list[int]], rarity: _Rarity) -> Floats:
        """``[batch, 3]`` precision, recall and F1."""
        import torch

        with torch.inference_mode():
            said, said_mask = self._embedded(drafts)
            there, there_mask = self._embedded(references)
            cosine = torch.bmm(said, there.transpose(1, 2)) * said_mask[:, :, None] * there_mask[:, None, :]
            # as in the package, padding takes part with a cosine of 0
            best_said, best_there = cosine.amax(2).double().cpu().numpy(), cosine.amax(1).double().cpu().numpy()
        precision = _weighed(best_said, [rarity.of(pieces) for pieces in drafts])
        recall = _weighed(best_there, [rarity.of(pieces) for pieces in references])
        empty = [not (rarity.words(one) and rarity.words(other)) for one, other in zip(drafts, references, strict=True)]
        precision[empty] = recall[empty] = 0.0
        under = precision + recall
        f1 = np.divide(2 * precision * recall, under, out=np.zeros_like(under), where=under != 0)
        return np.stack([precision, recall, f1], axis=1)

    def _embedded(self, texts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit embeddings ``[batch, longest, width]`` float32, and 1 where there is a piece: ``[batch, longest]``."""
        import torch

        longest = max(1, *(len(text) for text in texts))
        padding = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([text + [padding] * (longest - len(text)) for text in texts], device=self._device)
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts], device=self._device)
        states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.nn.functional.normalize(states.float(), dim=-1), mask.float()


class _Rarity:
    """What each piece weighs: 1, or ``log((documents + 1) / (documents with it + 1))``; special pieces nothing."""

    def __init__(self, documents: Sequence[list[int]], special: frozenset[int]) -> None:
        self._special, self._documents = special, len(documents)
        self._counts = Counter(piece for document in documents for piece in set(document))

    def of(self, pieces: Sequence[int]) -> list[float]:
        """Weights of the pieces of one text."""
        return [0.0 if piece in self._special else self._weight(piece) for piece in pieces]

    def words(self, pieces: Sequence[int]) -> bool:
        """Whether a text has any piece that is not special."""
        return any(piece not in self._special for piece in pieces)

    def _weight(self, piece: int) -> float:
        return math.log((self._documents + 1) / (self._counts[piece] + 1)) if self._documents else 1.0


def _weighed(values: Floats, weights: Sequence[Sequence[float]]) -> Floats:
    """Weighted mean of each row; 0 where all weights are 0."""
    means = np.zeros(len(values))
    for row, weight in enumerate(weights):
        total = sum(weight)
        means[row] = float(np.dot(values[row, : len(weight)], weight)) / total if total > 0 else 0.0
    return means


def _loaded(folder: Path, dtype: torch.dtype, device: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise DataError("no model in that folder", where="BERTScore", expected="config.json, tokenizer, safetensors")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise DataError(
            "the model cannot be loaded",
            where="BERTScore",
            got=type(error).__name__,
            expected="an encoder with its tokenizer, weights as safetensors",
        ) from error
    return tokenizer, model.eval().to(device)


def _cut(model: Any, layers: int, layer: int) -> None:
    """Drop the layers above the one whose states are compared."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == layers:
            del module[layer:]
            model.config.num_hidden_layers = layer
            return
    if layer != layers:
        raise UsageError("the model's layers are not found", where="BERTScore", fix=f"Take its last, layer {layers}.")


def _digest(folder: Path) -> str:
    """First twelve hex digits of the SHA-256 of the weights: a folder's name says nothing, or too much."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]
