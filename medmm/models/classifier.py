"""Image encoder and a query a class as one module.

Shape legend: B studies, V views, C classes, K channels of an image token.
"""

from __future__ import annotations

from torch import Tensor

from medmm.config.schema import PreprocessConfig
from medmm.models.decisions import Decisions
from medmm.models.familiarity import Familiarity, mean_token
from medmm.models.heads import FindingOutput, FindingQueries
from medmm.models.image_encoder import ImageEncoder
from medmm.models.study_encoder import StudyEncoder


class StudyClassifier(StudyEncoder):
    """Says of a study which classes it shows.

    Args:
        encoder: Image encoder.
        head: A query a class.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        max_views: Most views of a study.
    """

    def __init__(
        self, encoder: ImageEncoder, head: FindingQueries, preprocess: PreprocessConfig, max_views: int
    ) -> None:
        super().__init__(encoder, preprocess, max_views)
        self.head = head
        self.decisions = Decisions(len(head.names))
        self.familiarity = Familiarity(encoder.width)

    def forward(self, images: Tensor, view_mask: Tensor) -> FindingOutput:
        """Look at studies.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool.
        """
        return self.look(images, view_mask)[0]

    def look(self, images: Tensor, view_mask: Tensor) -> tuple[FindingOutput, Tensor]:
        """As :meth:`forward`, with each study's mean image token ``[B, K]``."""
        tokens, mask = self.see(images, view_mask)
        return self.head(tokens, mask), mean_token(tokens, mask)
