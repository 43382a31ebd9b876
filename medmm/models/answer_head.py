"""A question asks the image for itself, and the answer is called among those that training knows.

Shape legend: Q questions, T tokens of a question, M image tokens of a study, K channels of an image token, A answers
that can be called (the last one stands for any other).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.models.familiarity import mean_token

_PAIRS = 2048  # places that pairs of neighbouring tokens share
_MULTIPLIER = 1_000_003  # a prime, so that pairs spread over the places


@dataclass(frozen=True)
class AnswerOutput:
    """What the head makes of questions.

    Attributes:
        logits_qa: ``[Q, A]`` float32.
        taken_qk: ``[Q, K]`` float32, what each question took from the image.
    """

    logits_qa: Tensor
    taken_qk: Tensor


class AnswerHead(nn.Module):
    """Calls an answer from the words of a question and from what they find in the image.

    The words alone have a linear way of their own to the answers, as in a logistic regression on a bag of words: it is
    what a question-only model can do, and it learns from all questions, shown with an image or not. What the image says
    is added to it.

    Args:
        vocabulary: Number of token ids.
        width: Channels K of an image token.
        shares: A shares of training questions with each answer; the head starts from them.
        dropout: Share of the hidden values that are left out in training.
    """

    worth: Tensor
    telling: Tensor

    def __init__(self, vocabulary: int, width: int, shares: Sequence[float], dropout: float) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.words = nn.Linear(vocabulary + _PAIRS, len(shares))
        self.embed = nn.Linear(vocabulary + _PAIRS, width)
        self.asks = nn.LayerNorm(width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.unseen = nn.Parameter(torch.zeros(width))
        self.hidden = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Dropout(dropout))
        self.answers = nn.Linear(width, len(shares), bias=False)
        nn.init.zeros_(self.words.weight)
        nn.init.zeros_(self.answers.weight)
        self.register_buffer("worth", torch.ones(()))
        # belongs to the tokenizer, not to the weights: a run that begins with another's has its own
        self.register_buffer("telling", torch.ones(vocabulary + _PAIRS), persistent=False)
        self.words.bias.data = torch.tensor(shares).clamp(min=1e-4).log()

    def weigh(self, questions: Sequence[npt.NDArray[np.int64]]) -> None:
        """Set what words tell: the rarer in training the more, and nothing where training never saw them.

        ``log((1 + n) / (1 + df))``, the inverse document frequency of Spärck Jones 1972, smoothed.

        Args:
            questions: Token ids of each training question.
        """
        having = torch.zeros(len(self.telling))
        for ids in questions:
            row = torch.from_numpy(ids)[None]
            having += bag(row, torch.ones_like(row, dtype=torch.bool), self.vocabulary)[0]
        self.telling.copy_(torch.log((1 + len(questions)) / (1 + having)) * (having > 0))

    def look(self, tokens_bmk: Tensor, mask_bm: Tensor) -> tuple[Tensor, Tensor]:
        """What questions can ask of B studies: keys and values ``[B, M, 2 K]``, and the mean token ``[B, K]``.

        Args:
            tokens_bmk: ``[B, M, K]`` image tokens.
            mask_bm: ``[B, M]`` bool, False for tokens of absent views.
        """
        return self.keys_values(tokens_bmk), mean_token(tokens_bmk, mask_bm)

    def forward(  # noqa: PLR0913, PLR0917
        self, seen_qmk: Tensor, mean_qk: Tensor, mask_qm: Tensor, shown_q: Tensor, ids_qt: Tensor, real_qt: Tensor
    ) -> AnswerOutput:
        """Call answers.

        Args:
            seen_qmk: ``[Q, M, 2 K]``, of each question's study as :meth:`look` gives it.
            mean_qk: ``[Q, K]``, likewise.
            mask_qm: ``[Q, M]`` bool, False for tokens of absent views.
            shown_q: ``[Q]`` bool, False where the question is answered without the image.
            ids_qt: ``[Q, T]`` int64 token ids.
            real_qt: ``[Q, T]`` bool, False for padding.
        """
        words = functional.normalize(bag(ids_qt, real_qt, self.vocabulary) * self.telling, dim=1)
        asked = self.asks(self.embed(words).float())
        keys, values = seen_qmk.chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            _split(asked[:, None].to(keys.dtype)), _split(keys), _split(values), attn_mask=mask_qm[:, None, None, :]
        )
        taken = self.norm(self.mix(attended.transpose(1, 2).flatten(1)).float() + mean_qk)
        taken = torch.where(shown_q[:, None], taken, self.unseen)
        hidden = self.hidden(torch.cat([asked, taken, asked * taken], dim=1))
        return AnswerOutput((self.words(words) + self.answers(hidden)).float(), taken)

    def called(self, logits_qa: Tensor) -> Tensor:
        """Which answer is called, ``[Q]`` int64, from the logits ``[Q, A]``: the one that is most probably right.

        That it is any other answer counts by its probability times how often such an answer is then written right.
        """
        probabilities = logits_qa.softmax(1)
        return torch.cat([probabilities[:, :-1], probabilities[:, -1:] * self.worth], dim=1).argmax(1)


def bag(ids_qt: Tensor, real_qt: Tensor, vocabulary: int) -> Tensor:
    """Which tokens, and which pairs of neighbours, a question has.

    Args:
        ids_qt: ``[Q, T]`` int64 token ids below ``vocabulary``.
        real_qt: ``[Q, T]`` bool, False for padding, which lies at one end.
        vocabulary: Number of token ids.

    Returns:
        ``[Q, vocabulary + 2048]`` float32, 1 where it has them, else 0; pairs share places by a hash.
    """
    beyond = vocabulary + _PAIRS
    found = torch.zeros(len(ids_qt), beyond + 1, device=ids_qt.device)
    found.scatter_(1, ids_qt.masked_fill(~real_qt, beyond), 1.0)
    pairs = (ids_qt[:, :-1] * _MULTIPLIER + ids_qt[:, 1:]) % _PAIRS + vocabulary
    found.scatter_(1, pairs.masked_fill(~(real_qt[:, :-1] & real_qt[:, 1:]), beyond), 1.0)
    return found[:, :beyond]


def _split(x: Tensor) -> Tensor:
    """``[Q, X, K]`` to ``[Q, heads, X, K / heads]``, four heads where K allows."""
    return x.unflatten(-1, (math.gcd(x.shape[-1], 4), -1)).transpose(1, 2)
