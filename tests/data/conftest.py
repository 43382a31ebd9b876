"""Layouts for the tests of data, as a fixture."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def layouts():
    """The module ``layouts.py``, which writes small layouts."""
    spec = importlib.util.spec_from_file_location("medmm_test_layouts", Path(__file__).with_name("layouts.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
