"""A manifest of 100,000 rows builds in under 1 GB, from a table whose studies are scattered over it.

Run with ``pytest -m slow tests/benchmarks/test_manifest_memory.py``; the figures stand in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = 100_000
_SENTENCES = 25  # about 1,900 characters, as a long radiology report

_SCRIPT = """
import json, re, sys, time
from pathlib import Path
from medmm.config.schema import DataConfig
from medmm.data.indexing import index
from medmm.data.manifest import Manifest

folder = Path(sys.argv[1])
columns = {"image": "file", "report": "report", "patient": "patient", "study": "study", "view": "view"}
config = DataConfig(reader="table", path=folder / "table.csv", image_root=folder / "images", columns=columns)
start = time.perf_counter()
result = index(config, 0, folder / "out")
built = time.perf_counter() - start
number = sum(len(study.images) for study in Manifest.open(result.manifest).studies())
read = time.perf_counter() - start - built
# not getrusage: its maximum survives exec and may be that of the process that started this one
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
said = {"built_s": built, "read_s": read, "images": number, "peak_bytes": peak, "torch": "torch" in sys.modules}
print(json.dumps(said))
"""


def write_table(folder: Path) -> None:
    """Write two views a study, all first views before all second ones, and empty files for the images."""
    (folder / "images").mkdir()
    with (folder / "table.csv").open("w") as table:
        table.write("study,patient,file,view,report\n")
        for row in range(ROWS):
            study = row % (ROWS // 2)
            view = "PA" if row < ROWS // 2 else "LATERAL"
            text = " ".join(
                f"Sentence {number} on the lungs of study {study} says that they are clear."
                for number in range(_SENTENCES)
            )
            table.write(
                f"1.2.840.{study},P{study // 2},{row}.png,{view},FINDINGS: {text} IMPRESSION: Normal {study}.\n"
            )
            (folder / "images" / f"{row}.png").write_bytes(b"x")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_100_000_rows_in_under_1_gb(tmp_path, record_property):
    write_table(tmp_path)
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path)]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    figures["manifest_bytes"] = (tmp_path / "out" / "manifest.parquet").stat().st_size
    for name, value in figures.items():
        record_property(name, value)
    sys.stdout.write(json.dumps(figures) + "\n")
    assert figures["images"] == ROWS
    assert figures["peak_bytes"] < 1e9
    assert not figures["torch"]
