"""Text to token ids and back: a byte-level BPE learned from the training reports, or a language model's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import CheckpointError
from medmm.models.settings import forget_places

_FEWEST_PATIENTS = 5
_BEGIN, _END, _PAD, _MASK = "<s>", "</s>", "<pad>", "<mask>"


class ReportTokenizer:
    """A Hugging Face tokenizer with the three special tokens that training needs.

    Args:
        inner: A ``PreTrainedTokenizerBase``. Where it has no pad token, its end token pads; where it has no begin
            token, its end token (or BERT's ``[CLS]``) begins.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.end = _first(inner.eos_token_id, inner.sep_token_id)
        self.begin = _first(inner.bos_token_id, inner.cls_token_id, self.end)
        self.pad = _first(inner.pad_token_id, self.end)

    @property
    def mask(self) -> int | None:
        """Token that stands for a hidden one, None where there is none."""
        found: int | None = self.inner.mask_token_id
        return found

    @property
    def size(self) -> int:
        """Number of token ids."""
        return len(self.inner)

    def encode(self, text: str, longest: int) -> tuple[npt.NDArray[np.int64], bool]:
        """Turn text into ``[T]`` ids that end with the end token, T at most ``longest``; says whether it was cut."""
        ids = self.inner.encode(text, add_special_tokens=False)
        return np.array([*ids[: longest - 1], self.end], dtype=np.int64), len(ids) > longest - 1

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, up to the first end token, white space collapsed."""
        kept: list[int] = []
        for token in ids:
            if token in (self.end, self.pad):
                break
            kept.append(int(token))
        return " ".join(self.inner.decode(kept, skip_special_tokens=True).split())

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and its settings into ``folder``, without the place that they came from."""
        self.inner.save_pretrained(str(folder))
        forget_places(folder)


def learn_tokenizer(
    texts: Sequence[str], size: int, patients: Sequence[str] | None = None, masks: bool = False
) -> ReportTokenizer:
    """Learn a byte-level BPE (Sennrich et al. 2016, on bytes as in GPT-2), which spells any text.

    Words of few patients are not learned from: a name that stands in a report must not become a token, because the
    tokenizer travels with the weights.

    Args:
        texts: Target texts of the training split.
        size: Most token ids; at least the 256 bytes and 3 special tokens are made.
        patients: Whose text each is; every text is somebody else's if None.
        masks: Whether words will be hidden, so that a token must stand for them.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[_BEGIN, _END, _PAD, *([_MASK] if masks else [])],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    common = _common_words(tokenizer.pre_tokenizer, texts, patients or [str(place) for place in range(len(texts))])
    tokenizer.train_from_iterator(common, trainer)
    special = {"bos_token": _BEGIN, "eos_token": _END, "pad_token": _PAD} | ({"mask_token": _MASK} if masks else {})
    return ReportTokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special))


def _common_words(pre_tokenizer: Any, texts: Sequence[str], patients: Sequence[str]) -> Iterator[str]:
    """The texts without the words that fewer than ``_FEWEST_PATIENTS`` patients' texts have."""
    cut = [pre_tokenizer.pre_tokenize_str(text) for text in texts]
    having: dict[str, set[str]] = defaultdict(set)
    for pieces, patient in zip(cut, patients, strict=True):
        for piece, _ in pieces:
            if len(having[piece]) < _FEWEST_PATIENTS:
                having[piece].add(patient)
    for text, pieces in zip(texts, cut, strict=True):
        yield "".join(text[start:end] for piece, (start, end) in pieces if len(having[piece]) >= _FEWEST_PATIENTS)


def load_tokenizer(source: str | Path) -> ReportTokenizer:
    """Load a tokenizer from a local folder, or by hub id where ``source`` is no folder.

    Raises:
        CheckpointError: No tokenizer can be loaded from there.
    """
    from transformers import AutoTokenizer

    local = Path(source).is_dir()
    try:
        inner = AutoTokenizer.from_pretrained(str(source), local_files_only=local, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        fix = "Name a folder that holds tokenizer.json, or a hub id that can be reached."
        raise CheckpointError("no tokenizer can be loaded", where="model.decoder.source", fix=fix) from error
    return ReportTokenizer(inner)


def _first(*ids: int | None) -> int:
    for one in ids:
        if one is not None:
            return int(one)
    where, expected = "model.decoder.source", "an eos or sep token"
    raise CheckpointError("the tokenizer has no end token", where=where, expected=expected)
