"""A copy of the repository in a folder of its own, and Snakemake run in it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "profiles", "scripts", "workflow", "resources/sample")
_MODELS = re.compile(
    r"^rule (finetune|evaluate):\n(?:    .*\n)*?    wildcards: model=([^,]+),", re.MULTILINE
)
_JOBS = re.compile(r"^Job stats:\njob +count\n[- ]+\n(.*?)\ntotal ", re.MULTILINE | re.DOTALL)


class Project:
    """The parts of the repository that Snakemake needs, copied to `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "NO_COLOR": "1"}
        for part in PARTS:
            target = folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / part).is_dir():
                # With `__pycache__`: it stays valid, and compiling takes longer than a dry run.
                shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns(".*"))
            else:
                shutil.copy(ROOT / part, target)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake in a process group of its own, its own full output to a pipe."""
        return self.start_as_people_do("--printshellcmds", *arguments)

    def start_as_people_do(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake with nothing but these arguments."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def snakemake(self, *arguments: str, code: int = 0) -> str:
        """Run Snakemake and return all that it printed; its exit code must be `code`."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode == code, output
        return output

    def plan(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule a dry run plans, the target `all` left out."""
        return _count_jobs(self.snakemake("-n", *arguments))

    def planned(self, *arguments: str) -> set[str]:
        """Return the rules that a dry run plans; of a model without pretraining they say so."""
        output = self.snakemake("-n", *arguments)
        rules = set(_count_jobs(output)) - {"finetune", "evaluate"}
        for rule, model in _MODELS.findall(output):
            rules.add(f"{rule} from scratch" if "/scratch/" in model else rule)
        return rules

    def pretend(self, *arguments: str) -> None:
        """Make every output a small file and let Snakemake note it as made."""
        table = self.snakemake("--summary", *arguments)
        for line in table.partition("output_file\t")[2].splitlines()[1:]:
            name = line.split("\t")[0]
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        self.snakemake("--touch", "--forceall", *arguments)

    def overlay(self, value: dict[str, Any]) -> tuple[str, ...]:
        """Write a configuration to lay over config.yaml; return the arguments that do so."""
        path = self.folder / "overlay.yaml"
        path.write_text(yaml.safe_dump(value))
        return ("--configfile", str(path))

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace the first occurrence of a text in a file; it must be there."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert before in text, f"{before!r} is not in {name}"
        path.write_text(text.replace(before, after, 1), encoding="utf-8")


def _count_jobs(output: str) -> dict[str, int]:
    found = _JOBS.search(output)
    if found is None:
        assert "Nothing to be done" in output, output
        return {}
    lines = [line.split() for line in found[1].splitlines()]
    return {name: int(count) for name, count in lines if name != "all"}
