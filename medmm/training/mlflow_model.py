"""The model as MLflow serves it: a row a study in, what its task says of it out. Code is loaded, no pickle."""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Says of each image path what the run's task says: a draft, findings, numbers, masks or an answer."""

    def load_context(self, context: Any) -> None:
        """Load the run directory that travels as the artifact ``run``."""
        from medmm.training.run import load

        self.model = load(context.artifacts["run"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Look at each row's image.

        Args:
            context: MLflow's, unused.
            model_input: Column ``path``, and ``question`` for a run that answers questions.
            params: Unused.

        Returns:
            The columns of :func:`medmm.training.served.say`.
        """
        from medmm.training.served import say

        asked = model_input["question"].tolist() if "question" in model_input else None
        return pd.DataFrame(say(self.model, model_input["path"].tolist(), asked))


mlflow.models.set_model(ServedModel())
