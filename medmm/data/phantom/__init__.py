"""The phantom: studies with known findings, the embedded default. See ``docs/phantom.md``."""

from medmm.data.phantom.generator import cached, generate

__all__ = ["cached", "generate"]
