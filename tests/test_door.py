"""The top-level names, and what they cost to import."""

import subprocess
import sys

import pytest

import medmm


def loaded_after(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_medmm_imports_nothing_heavy():
    assert not loaded_after("import medmm") & {"numpy", "torch", "pydicom", "pandas", "cv2", "monai", "transformers"}


def test_reading_needs_no_learning_stack():
    heavy = {"torch", "monai", "mlflow", "transformers", "pandas", "matplotlib"}
    assert not loaded_after("import medmm; medmm.read_image; medmm.parse_report; medmm.label_report") & heavy


def test_names():
    assert set(medmm.__all__) <= set(dir(medmm))
    with pytest.raises(AttributeError, match="no attribute 'read_imag'"):
        medmm.read_imag  # noqa: B018
