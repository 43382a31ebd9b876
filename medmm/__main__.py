"""``medmm STAGE`` and ``python -m medmm STAGE``."""

from __future__ import annotations

import difflib
import sys

from medmm import registry
from medmm.errors import ExitCode

_SUMMARY = {
    "index": "pair scans with reports, split by patient, say what was not paired",
    "phantom": "make studies with known findings",
    "pretrain": "learn from scans with their reports before anything is labelled",
    "finetune": "train a model, resumable at any step",
    "tune": "search for the settings that train best",
    "evaluate": "score a run with baselines and intervals",
    "score": "draft reports for a folder of studies",
    "embed": "write embeddings of an archive and an index over them",
    "probe": "say what a pretrained run learns from a few labelled studies",
    "prompts": "search the words that a pretrained run tells findings by",
    "search": "search an archive with words or with a picture",
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
    known = (*registry.STAGES, *registry.TOOLS)
    if words[0] not in known:
        near = difflib.get_close_matches(words[0], known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        sys.stderr.write(f"error: no stage '{words[0]}'; expected {' | '.join(known)}.{hint}\n")
        sys.exit(ExitCode.USAGE)
    registry.resolve("tool" if words[0] in registry.TOOLS else "stage", words[0])(words[1:])


def _help() -> None:
    stages, tools = (
        "".join(f"  {name:<12}{_SUMMARY[name]}\n" for name in names) for names in (registry.STAGES, registry.TOOLS)
    )
    sys.stdout.write(
        f"usage: medmm STAGE [OPTIONS] [KEY.PATH=VALUE]...\n\nStages:\n{stages}\n"
        f"Other commands, without KEY.PATH=VALUE:\n{tools}\n'medmm STAGE --help' says more.\n"
    )


if __name__ == "__main__":
    main()
