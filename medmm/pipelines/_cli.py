"""What every stage shares: its options, its exit codes and how it speaks. Nothing heavy is imported here."""

from __future__ import annotations

import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from medmm.config.load import load, to_yaml
from medmm.config.schema import Config
from medmm.errors import ExitCode, MedmmError, Reason, UsageError, is_full_disk, is_out_of_memory
from medmm.pipelines._console import Console

ConfigOption = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="YAML file; a path or the name of a packaged one.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", metavar="auto|cpu|cuda[:N]", help="Where to compute.")]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of every random choice.")]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on where the same command was cut off; without --out in the newest folder of its name."
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would run, on how much, and stop.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output; words go to standard error.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Errors only.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Say more; a full traceback for a bug.")]
PrintConfigOption = Annotated[bool, typer.Option("--print-config", help="Print the resolved config and stop.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="KEY.PATH=VALUE", help="Settings, such as train.lr=1e-4.")
]

_DATA = "Where studies come from; phantom studies if not given."
_OUT = "Folder to write to; if not given a new one below runs/, which is named at the start."
LACKING = frozenset(
    {Reason.REPORT_EMPTY, Reason.IMAGE_WITHOUT_REPORT, Reason.REPORT_WITHOUT_IMAGE, Reason.SECTION_MISSING,
     Reason.LABEL_MISSING, Reason.IMAGE_WITHOUT_MASK, Reason.IMAGE_WITHOUT_QUESTION, Reason.QUESTION_WITHOUT_IMAGE}
)  # fmt: skip
"""Reasons for setting aside what is not broken: the source has no more."""


def exit_code(aside: Iterable[str]) -> ExitCode:
    """The exit code of a stage that has done its work: 10 where something broken was set aside, else 0.

    Args:
        aside: Reasons that something was set aside for.
    """
    return ExitCode.QUARANTINED if set(aside) - LACKING else ExitCode.DONE


def _shared(data: str, out: str) -> dict[str, tuple[Any, Any]]:
    """The options of every stage; what two of them mean depends on the stage."""
    data_option = Annotated[str | None, typer.Option("--data", metavar="READER:PATH", help=data)]
    out_option = Annotated[Path | None, typer.Option("--out", metavar="DIR", help=out)]
    return {
        "overrides": (OverridesArgument, None),
        "config": (ConfigOption, None),
        "data": (data_option, None),
        "out": (out_option, None),
        "device": (DeviceOption, None),
        "seed": (SeedOption, None),
        "resume": (ResumeOption, False),
        "dry_run": (DryRunOption, False),
        "json": (JsonOption, False),
        "quiet": (QuietOption, False),
        "verbose": (VerboseOption, False),
        "print_config": (PrintConfigOption, False),
    }


@dataclass(frozen=True)
class Invocation:
    """What the shared options of one call say.

    Attributes:
        file: ``--config``.
        words: ``key.path=value`` overrides.
        out: ``--out``.
        resume: ``--resume``.
        dry_run: ``--dry-run``.
        console: Where to speak.
        given: The options that have a place in the config, as a mapping to merge into it.
        print_config: ``--print-config``.
    """

    file: str | None
    words: tuple[str, ...]
    out: Path | None
    resume: bool
    dry_run: bool
    console: Console
    given: Mapping[str, Any]
    print_config: bool

    def load_config(self, defaults: str | None, base: Mapping[str, Any] | None = None, **extra: Any) -> Config:
        """Merge ``defaults``, ``base``, the file, the words and the options; ``--print-config`` stops here.

        Args:
            defaults: Packaged YAML of the stage.
            base: Settings below the user's, such as those of a run that is evaluated.
            extra: Settings above everything, such as the task.

        Raises:
            ConfigError: Anything in them is wrong.
        """
        config = load(defaults, self.file, (*self.words, self.given, extra), base=base)
        if self.print_config:
            as_json = json.dumps(config.model_dump(mode="json"), ensure_ascii=False) + "\n"
            sys.stdout.write(as_json if self.console.json else to_yaml(config))
            raise typer.Exit(ExitCode.DONE)
        return config

    def folder(self, default: str) -> Path:
        """Choose the output folder, and name it where ``--out`` does not.

        Without ``--out`` it is ``default``, or ``default-2`` and so on where that is taken; with ``--resume`` the last
        of them.

        Raises:
            UsageError: ``--resume``, and there is no such folder.
        """
        if self.out is not None:
            return self.out
        last = _last_number(Path(default))
        if self.resume and not last:
            fix = "Add --out DIR, the folder of the run that was cut off, or leave --resume out."
            raise UsageError("there is nothing to go on with", where="--resume", got=f"no folder {default}", fix=fix)
        number = last if self.resume else last + 1
        chosen = Path(default if number == 1 else f"{default}-{number}")
        self.console.line(f"{'going on' if self.resume else 'writing'} in {chosen}")
        return chosen


def _last_number(default: Path) -> int:
    """Highest number among the folders of a name: 1 is the name itself, 2 is ``name-2``; 0 where there is none."""
    found = (re.fullmatch(rf"{re.escape(default.name)}-([2-9]|[1-9]\d+)", one.name) for one in default.parent.glob("*"))
    return max([int(match[1]) for match in found if match], default=int(default.exists()))


def stage(body: Callable[..., Mapping[str, Any] | None], *, data: str = _DATA, out: str = _OUT) -> Callable[..., None]:
    """Turn ``body(call, **own_options)`` into a command with the shared options, its errors turned into exit codes.

    Args:
        body: Returns what ``--json`` prints; an ``exit_code`` in it becomes the exit code.
        data: What ``--help`` says of ``--data``.
        out: What it says of ``--out``.
    """
    return _command(body, _shared(data, out))


def tool(body: Callable[..., Mapping[str, Any] | None], *, out: str = _OUT) -> Callable[..., None]:
    """Turn ``body(call, **own_options)`` into a command that is no stage: it takes neither a config nor its words.

    Args:
        body: As in :func:`stage`.
        out: What ``--help`` says of ``--out``.
    """
    shared = _shared(_DATA, out)
    return _command(body, {name: shared[name] for name in ("out", "device", "json", "quiet", "verbose")})


def _command(
    body: Callable[..., Mapping[str, Any] | None], options_of_all: Mapping[str, tuple[Any, Any]]
) -> Callable[..., None]:
    own = [p for name, p in inspect.signature(body, eval_str=True).parameters.items() if name != "call"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options_of_all.items()
    ]

    def command(**options: Any) -> None:
        console = Console(json=options["json"], quiet=options["quiet"], verbose=options["verbose"])
        with _exit_codes(console), console.notes():
            call = _invocation(options, console)
            result = dict(body(call, **{p.name: options[p.name] for p in own}) or {})
            code = int(result.pop("exit_code", ExitCode.DONE))
            if options["json"]:
                sys.stdout.write(json.dumps(result, default=str) + "\n")
            if code:
                raise typer.Exit(code)

    command.__doc__ = body.__doc__
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*own, *shared)}
    return command


def run(command: Callable[..., None], name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a stage as a program; never returns."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name=name)(command)
    app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name=f"medmm {name}")


def _invocation(options: Mapping[str, Any], console: Console) -> Invocation:
    given: dict[str, Any] = {key: options[key] for key in ("device", "seed") if options.get(key) is not None}
    if options.get("data") is not None:
        reader, _, path = options["data"].partition(":")
        given["data"] = {"reader": reader, "path": path or None}
    return Invocation(
        file=options.get("config"),
        words=tuple(options.get("overrides") or ()),
        out=options["out"],
        resume=options.get("resume", False),
        dry_run=options.get("dry_run", False),
        console=console,
        given=given,
        print_config=options.get("print_config", False),
    )


class _exit_codes:  # noqa: N801 - reads as a statement
    """Turn what a stage raises into a message and an exit code."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, (typer.Exit, SystemExit)):
            return
        raise typer.Exit(_report(error, self.console)) from None


def _report(error: BaseException, console: Console) -> ExitCode:
    if isinstance(error, MedmmError):
        console.error(str(error))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        console.error("interrupted; the same command with --resume goes on")
        return ExitCode.INTERRUPTED
    if is_out_of_memory(error):
        console.error("out of memory. Use a smaller train.batch_size, preprocess.size or score.batch_size.")
        return ExitCode.RESOURCE
    if isinstance(error, OSError) and is_full_disk(error):
        console.error(
            "the disk is full. Free some space, then run the same command again; "
            "finetune, tune and score go on with --resume."
        )
        return ExitCode.RESOURCE
    if console.verbose:
        console.error("".join(traceback.format_exception(error)))
    else:  # frames only: the message of a foreign error may quote a path or a report
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        places = "\n".join(f"  {Path(f.filename).name}:{f.lineno} in {f.name}" for f in frames)
        console.error(
            f"a bug in medmm: {type(error).__name__}\n{places}\nRun again with --verbose for the whole traceback."
        )
    return ExitCode.BUG
