"""Batches of studies to the questions on them, as a model takes them.

Shape legend: B studies, Q questions, U tokens of an answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medmm.config.vqa import VqaConfig
from medmm.data.dataset import Batch
from medmm.models.question_answerer import Asked

IGNORED = -100  # torch's cross entropy leaves such targets out


@dataclass(frozen=True)
class Learned:
    """The questions of a batch with their answers.

    Attributes:
        asked: The questions.
        answers_qu: ``[Q, U]`` token ids of the answers, padded with -100.
        called_q: ``[Q]`` which of the head's answers each is.
    """

    asked: Asked
    answers_qu: Tensor
    called_q: Tensor


def unpacked(batch: Batch, pad: int, config: VqaConfig, training: bool) -> Learned:
    """Cut a batch into its questions.

    Args:
        batch: Its targets hold ``questions`` and ``answers`` of a study one behind the other, their ``_lengths``, and
            what each answer is ``called``.
        pad: Token id that fills questions up.
        config: While training, how many questions of a study are drawn and how many of them are shown the image.
        training: Else all questions are asked, all with the image unless none is in training; nothing is drawn.
    """
    targets, device = batch.targets, batch.images.device
    owners: list[int] = []
    rows: dict[str, list[Tensor]] = {"question": [], "answer": []}
    for row in range(len(batch.study_ids)):
        for name, found in rows.items():
            lengths = [length for length in targets[f"{name}_lengths"][row].tolist() if length]
            found.extend(targets[f"{name}s"][row, : sum(lengths)].split(lengths))
        owners += [row] * len(lengths)
    order = drawn(owners, config.per_study) if training else list(range(len(owners)))
    shown = torch.full((len(order),), config.image_share > 0, device=device)
    if training:
        shown = torch.rand(len(order)).to(device) < config.image_share
    asked = padded([owners[place] for place in order], [rows["question"][place] for place in order], shown, pad)
    answers = pad_sequence([rows["answer"][place] for place in order], batch_first=True, padding_value=IGNORED)
    called = targets["called"][targets["called"] >= 0]
    return Learned(asked, answers, called[torch.tensor(order, device=device)])


def padded(owners: Sequence[int], questions: Sequence[Tensor], shown: Tensor, pad: int) -> Asked:
    """Questions of differing length as the model takes them.

    Args:
        owners: Each question's study in the batch.
        questions: Q vectors of token ids.
        shown: ``[Q]`` bool, whether the model sees the images.
        pad: Token id that fills them up.
    """
    ids = pad_sequence(list(questions), batch_first=True, padding_value=IGNORED)  # no token, so padding can be told
    real = ids >= 0
    return Asked(torch.tensor(owners, device=ids.device), ids.masked_fill(~real, pad), real, shown)


def drawn(owners: Sequence[int], most: int) -> list[int]:
    """Places of at most ``most`` questions of each study, drawn by torch's generator, in their order."""
    taken: Counter[int] = Counter()
    kept = []
    for place in torch.randperm(len(owners)).tolist():
        taken[owners[place]] += 1
        if taken[owners[place]] <= most:
            kept.append(place)
    return sorted(kept)


def why_declined(confidence: float, least: float, most_wrong: float) -> str | None:
    """Why an answer does not count; None where it does.

    Args:
        confidence: The answer's, in [0, 1].
        least: Confidence from which on answers count; infinite where validation can promise nothing.
        most_wrong: The share of wrong answers that is promised.
    """
    if confidence >= least:
        return None
    wanted = f"reliability.most_wrong={most_wrong:g}"
    if math.isfinite(least):
        return f"an answer is too unsure for {wanted}"
    return f"validation has too few questions that were answered right to promise {wanted}: every answer is declined"
