"""The workflow and the scripts that people use most, by short names, in a clone of the repository.

  cloze run [PRESET...] [KEY=VALUE...] [REPORT...] [-- FLAG...]   make what is asked for
  cloze plan [...]      say what `cloze run` with these words would make, and why
  cloze status [...]    say which reports of the configuration are there
  cloze new|predict|serve|compare|clean ...    the scripts of these names

A PRESET is a name below workflow/presets/ or a YAML file, a KEY has dots for levels
(encoders.tiny.max_steps=60), a REPORT is a name below `reports` or a file below results/; flags
behind `--` go to Snakemake. `run` and `plan` only call Snakemake, and print the call.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cloze.cli import make_parser, run_script
from cloze.errors import ClozeError
from cloze.settings.config import Config, load_config
from cloze.show.run_figures import describe_report

SCRIPTS = ("new", "predict", "serve", "compare", "clean")
_CONFIG, _PRESETS = Path("config.yaml"), Path("workflow/presets")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line, that of the scripts apart."""
    parser = make_parser(__doc__)
    parser.add_argument("command", choices=("run", "plan", "status", *SCRIPTS))
    parser.add_argument("words", nargs="*", metavar="PRESET | KEY=VALUE | REPORT")
    return parser


def run(args: argparse.Namespace) -> None:
    """Do what a command says; `run`, `plan` and the scripts take this process's place."""
    if not Path("Snakefile").is_file() or not _PRESETS.is_dir():
        raise ClozeError(
            f"{Path.cwd()}: holds no Snakefile with workflow/presets/; run `cloze` in a clone of "
            "the repository, which has the rules and the scripts"
        )
    if args.command in SCRIPTS:
        _become([f"scripts/{args.command}.py", *args.flags])
        return
    asked = Asked.of(args.words)
    if args.command == "status":
        sys.stdout.write("".join(f"{line}\n" for line in asked.status()))
        return
    call = [*(["-n"] if args.command == "plan" else []), *args.flags, *asked.snakemake_arguments()]
    sys.stderr.write(f"+ {shlex.join(['snakemake', *call])}\n")
    _become(["-m", "snakemake", *call])


def _become(call: Sequence[str]) -> None:
    """Let Python run this in the place of the process, so that Ctrl-C reaches nothing else."""
    os.execv(sys.executable, [sys.executable, *call])


class Asked:
    """What the words of a command ask for: presets, settings and targets."""

    def __init__(self, presets: Sequence[Path], settings: dict[str, Any], names: list[str]) -> None:
        self.presets, self.settings = list(presets), settings
        self.config = load_config([_CONFIG, *presets], settings)
        self.targets = [_target(name, self.config) for name in names]

    @classmethod
    def of(cls, words: Sequence[str]) -> "Asked":
        """Sort words; raises `ClozeError` for one that is nothing that is known."""
        known = {path.stem: path for path in sorted(_PRESETS.rglob("*.yaml"), reverse=True)}
        presets, names, settings = list[Path](), list[str](), dict[str, Any]()
        for word in words:
            if "=" in word:
                _put(settings, *word.split("=", 1))
            elif word in known:
                presets.append(known[word])
            elif word.endswith((".yaml", ".yml")):
                presets.append(Path(word))
            else:
                names.append(word)
        return cls(presets, settings, names)

    def snakemake_arguments(self) -> list[str]:
        """Return targets first: --configfile and --config take all that follows."""
        settings = [f"{key}={_shown(value)}" for key, value in self.settings.items()]
        return [
            *self.targets,
            *(["--configfile", *map(str, self.presets)] if self.presets else []),
            *(["--config", *settings] if settings else []),
        ]

    def status(self) -> list[str]:
        """Return what each report says and where it lies, or that it is not there."""
        lines = []
        for name in self.config.report_places:
            found = [*describe_report(Path(f"results/{name}_report"))]
            lines += found or [f"{name}: not made yet"]
        return lines


def _target(name: str, config: Config) -> str:
    if "/" in name:
        return name
    if name not in config.report_places:
        raise ClozeError(
            f"{name!r} is no preset of {_PRESETS} and no report of the configuration; there are "
            f"the reports {', '.join(config.report_places)}"
        )
    return f"results/{name}_report.txt"


def _put(settings: dict[str, Any], path: str, text: str) -> None:
    """Put a value, read as YAML, where a path with dots says."""
    *parents, key = path.split(".")
    place = settings
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ClozeError(f"{path}: {parent} was given a value before; give it one way only")
    try:
        place[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ClozeError(f"{path}: {text!r} is not valid YAML; quote it for the shell") from error


def _shown(value: Any) -> str:
    """Return a value as Snakemake's `--config` reads it, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=sys.maxsize, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code; a script gets its own flags, even `--help`."""
    given = sys.argv[1:] if argv is None else argv
    is_script = bool(given) and given[0] in SCRIPTS
    cut = 1 if is_script else given.index("--") if "--" in given else len(given)
    parser = build_parser()
    parser.set_defaults(flags=given[cut:] if is_script else given[cut + 1 :])
    return run_script(parser, run, given[:cut])
