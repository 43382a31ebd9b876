"""Files of a search for prompts: ``prompts.yaml`` for ``prompts.file=``, ``metrics.json`` and ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medmm.data.pairing import write_quarantine
from medmm.io import atomic
from medmm.scoring.evaluation import QUARANTINE
from medmm.scoring.labelled import Archive, Judged
from medmm.scoring.markdown import Table, finer, interval, number, table
from medmm.scoring.prompt_search import PromptSearch
from medmm.scoring.run_card import describe_data, describe_run, describe_versions
from medmm.tasks.prompts import Prompts

METRICS, PAGE, FOUND = "metrics.json", "metrics.md", "prompts.yaml"
CANDIDATES = "prompts/candidates.yaml"


def search(archive: Archive, packaged: Prompts, candidates: Prompts) -> Judged:
    """Try prompts on the validation split, and write the files into ``archive.out``.

    Raises:
        DataError: There is no validation split with known findings.
        ResourceError: Out of disk or memory.
    """
    (archive.out / METRICS).unlink(missing_ok=True)
    material, told = archive.told("val", [archive.model])
    tries = PromptSearch(told[0], material.names, packaged, candidates, archive.task.embed_texts)
    best, found = tries.run()
    patients, config = [one.patient_key for one in material.samples], archive.config
    found["gain_ci95"] = tries.intervals(best, patients, config.evaluate.bootstrap, config.seed)
    few = f"too few validation studies with or without {', '.join(tries.left_out)}"
    notes = ((few,) if tries.left_out else ()) + (_FLATTERS,)
    metrics = found | {"card": _card(archive, len(material.samples), len(set(patients)), list(notes))}
    shown = _tables(metrics)
    write_quarantine(archive.out / QUARANTINE, archive.rejections)
    best.save(archive.out / FOUND)
    atomic.write_text(archive.out / PAGE, _page(metrics, shown))
    atomic.write_json(archive.out / METRICS, metrics)
    return Judged(metrics, shown, notes, len(archive.rejections))


def _card(archive: Archive, studies: int, patients: int, notes: list[str]) -> dict[str, Any]:
    model, config = archive.model, archive.config
    return {
        **describe_run(model, config, "val", {"seed": archive.task.config.seed}, model.device),
        **describe_data(model, archive.manifest, config),
        "counts": {"studies": studies, "patients": patients},
        "warnings": notes,
        **describe_versions(("torch", "numpy")),
    }


def _tables(found: Mapping[str, Any]) -> tuple[Table, ...]:
    packaged, single, ensemble = (found[name]["auroc_macro"] for name in ("packaged", "single", "ensemble"))
    overall: list[tuple[str, ...]] = [
        ("packaged", number(packaged), "", ""),
        ("best pair", number(single), finer(single - packaged), ""),
        ("best ensemble", number(ensemble), finer(found["gain"]), interval(found["gain_ci95"])),
    ]
    rows: list[tuple[str, ...]] = [
        (
            name, number(one["packaged"]), number(one["ensemble"]), finer(one["ensemble"] - one["packaged"]),
            number(one["single"]), f"{one['present']} / {one['absent']}",
        )
        for name, one in found["findings"].items()
    ]  # fmt: skip
    columns = ("finding", "packaged", "ensemble", "gain", "best pair", "its templates")
    counts = found["card"]["counts"]
    title = f"AUROC on {counts['studies']} validation studies of {counts['patients']} patients"
    return (title, ("prompts", "macro-AUROC", "gain", "95% interval"), overall), ("Findings", columns, rows)


def _page(found: Mapping[str, Any], shown: tuple[Table, ...]) -> str:
    ensemble = found["ensemble"]
    parts = ["# Prompts that tell findings best", *[f"- **Mind:** {one}" for one in found["card"]["warnings"]]]
    parts += [part for title, columns, rows in shown for part in (f"## {title}", table(columns, rows))]
    for kind in ("present", "absent"):
        parts.append(f"## The ensemble: {kind}\n\n" + "\n".join(f"- {one}" for one in ensemble[kind]))
    alone = [(template, number(value)) for template, value in found["templates"].items()]
    parts += ["## Each template in its best pair", table(("template", "macro-AUROC"), alone)]
    return "\n\n".join(parts) + "\n"


_FLATTERS = (
    "prompts were chosen on these very studies, so the gain flatters; evaluate with prompts.file=prompts.yaml on test"
    " for one that does not"
)


def merged(one: Prompts, other: Prompts) -> Prompts:
    """Templates of both, without repetition; names of ``other`` go before those of ``one``."""
    present, absent = (tuple(dict.fromkeys(both)) for both in (one.present + other.present, one.absent + other.absent))
    return Prompts(present, absent, {**one.names, **other.names})


def candidates(own: Path | None) -> Prompts:
    """The packaged candidates, and those of the user's file.

    Raises:
        ConfigError: The file cannot be read or lacks templates.
    """
    from medmm.config.load import config_file
    from medmm.tasks.prompts import load_prompts

    packaged = load_prompts(config_file(CANDIDATES))
    return packaged if own is None else merged(packaged, load_prompts(own))
