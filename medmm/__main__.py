"""``medmm STAGE`` and ``python -m medmm STAGE``."""

from __future__ import annotations

import difflib
import sys

from medmm import registry
from medmm.errors import ExitCode

_SUMMARY = {
    "index": "pair scans with reports, split by patient, say what was not paired",
    "phantom": "make studies with known findings",
    "finetune": "train a model, resumable at any step",
    "tune": "search for the settings that train best",
    "evaluate": "score a run with baselines and intervals",
    "score": "draft reports for a folder of studies",
}


def main(arguments: list[str] | None = None) -> None:
    """Hand over to the stage named first; never returns."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help"):
        _help()
        sys.exit(ExitCode.DONE if words else ExitCode.USAGE)
    if words[0] == "--version":
        from medmm import __version__

        sys.stdout.write(f"medmm {__version__}\n")
        sys.exit(ExitCode.DONE)
    if words[0] not in registry.STAGES:
        near = difflib.get_close_matches(words[0], registry.STAGES, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        sys.stderr.write(f"error: no stage '{words[0]}'; expected {' | '.join(registry.STAGES)}.{hint}\n")
        sys.exit(ExitCode.USAGE)
    registry.resolve("stage", words[0])(words[1:])


def _help() -> None:
    lines = "".join(f"  {name:<12}{_SUMMARY[name]}\n" for name in registry.STAGES)
    sys.stdout.write(
        f"usage: medmm STAGE [OPTIONS] [KEY.PATH=VALUE]...\n\nStages:\n{lines}\n'medmm STAGE --help' says more.\n"
    )


if __name__ == "__main__":
    main()
