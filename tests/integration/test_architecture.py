"""The plan of modules is true: every module is in it, and nothing else."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_architecture_lists_every_module_and_no_other():
    listed = set(re.findall(r"^\| `([\w.]+)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE))
    files = (path.relative_to(ROOT / "medmm") for path in (ROOT / "medmm").rglob("*.py") if path.name != "__init__.py")
    assert listed == {".".join(path.with_suffix("").parts) for path in files}
