"""The model as MLflow serves it: a column of image paths in, drafts and findings out. Code is loaded, no pickle."""

from __future__ import annotations

import json
from typing import Any

import mlflow
import pandas as pd


class ReportDrafter(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Drafts a report for each image path."""

    def load_context(self, context: Any) -> None:
        """Load the run directory that travels as the artifact ``run``."""
        from medmm.training.run import load

        self.model = load(context.artifacts["run"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Draft a report for each row.

        Args:
            context: MLflow's, unused.
            model_input: One column ``path``.
            params: Unused.

        Returns:
            Columns ``report`` and ``findings`` (JSON: finding to status).
        """
        drafts = [self.model.predict([path]) for path in model_input["path"]]
        findings = [json.dumps({name: finding.status for name, finding in d.findings.items()}) for d in drafts]
        return pd.DataFrame({"report": [d.report for d in drafts], "findings": findings})


mlflow.models.set_model(ReportDrafter())
