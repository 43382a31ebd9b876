"""``medmm index``: pair scans with reports, split by patient, say what was not paired and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medmm.errors import ExitCode
from medmm.pipelines import _cli


@_cli.stage
def command(call: _cli.Invocation) -> Mapping[str, Any]:
    """Pair scans with reports: writes manifest.parquet, pairing.json and pairing.html."""
    config = call.load_config(None)
    from medmm.pipelines._data import index_into, show_pairing

    if call.dry_run:
        return _dry_run(call, config)
    out = call.folder("runs/index")
    result = index_into(config, out, call.console)
    show_pairing(result, call.console)
    call.console.line(f"wrote {out / 'manifest.parquet'} and {out / 'pairing.html'}")
    code = ExitCode.QUARANTINED if result.rejected else ExitCode.DONE
    return {"out": out, **result.counts, "exit_code": code}


def _dry_run(call: _cli.Invocation, config: Any) -> Mapping[str, Any]:
    from medmm.pipelines._data import dry_index

    counts = dry_index(config, call.console)
    call.console.line(f"would index {counts['studies']} studies with {counts['images']} images in under 1 GB of memory")
    return {"dry_run": True, **counts}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "index", arguments)


if __name__ == "__main__":
    main()
