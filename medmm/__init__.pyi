from medmm.io.image import read_image as read_image
from medmm.reports.findings import label_report as label_report
from medmm.reports.parse import parse_report as parse_report
from medmm.scoring.engine import score_folder as score
from medmm.training.run import load as load

__version__: str
__all__ = ["__version__", "label_report", "load", "parse_report", "read_image", "score"]
