"""The documentation against the code: commands, YAML, links and quoted messages."""

import argparse
import ast
import functools
import importlib
import itertools
import re
import shlex
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cloze.files import read_json
from cloze.settings.config import Config, load_config
from cloze.show import command
from cloze.show.command import Asked

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
PRESETS = sorted((ROOT / "workflow/presets").rglob("*.yaml"))
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(#[^)]*)?\)")


def blocks(page: Path, language: str) -> Iterator[str]:
    for found in _FENCE.finditer(page.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


def commands(script: str) -> Iterator[list[str]]:
    """The commands of a shell script: continued lines joined, `&&` taken apart."""
    for line in re.sub(r"\\\n\s*", "", script).splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []


PAGE_COMMANDS = [
    pytest.param(page, words, id=f"{page.name}: {' '.join(words)[:60]}")
    for page in PAGES
    for block in blocks(page, "bash")
    for words in commands(block)
]


def header_commands(preset: Path) -> str:
    """The indented lines of the comment that a preset begins with."""
    header = preset.read_text(encoding="utf-8").partition("\n\n")[0]
    return "\n".join(re.findall(r"^#(   +\S.*)$", header, re.MULTILINE))


PRESET_COMMANDS = [
    pytest.param(preset, words, id=f"{preset.stem}: {' '.join(words)[:60]}")
    for preset in PRESETS
    for words in commands(header_commands(preset))
]
PAGE_YAML = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in PAGES
    for number, text in enumerate(blocks(page, "yaml"))
]
HEADINGS = [
    quoted
    for heading in re.findall(
        r"^### (.*)$", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    for quoted in re.findall(r"`([^`]+)`", heading)
]


@functools.cache
def script_parser(name: str) -> argparse.ArgumentParser:
    parser = importlib.import_module(Path(name).stem).build_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    parser.allow_abbrev = False
    return parser


@functools.cache
def snakemake_parser() -> argparse.ArgumentParser:
    from snakemake.cli import get_argument_parser

    return get_argument_parser()


def check_script(arguments: list[str]) -> None:
    name, *flags = arguments
    assert (ROOT / name).is_file(), f"{name}: no such script"
    if flags != ["--help"]:
        script_parser(name).parse_args([flag for word in flags for flag in expand(word)])


def expand(word: str) -> list[str]:
    """What the shell makes of a word with a glob in it."""
    return sorted(map(str, ROOT.glob(word))) if "*" in word else [word]


def check_python(arguments: list[str], page: Path) -> None:
    if arguments[0] != "-m":
        check_script(arguments)
    elif arguments[1] == "pytest":
        for target in (word for word in arguments[2:] if word.startswith("tests")):
            assert (ROOT / target).exists(), f"{target}: no such tests"
    else:
        assert arguments[1] == "venv", f"python -m {arguments[1]} is unknown to this test"


def check_pip(arguments: list[str], page: Path) -> None:
    if "-r" in arguments:
        lock = arguments[arguments.index("-r") + 1]
        assert (ROOT / lock).is_file(), f"{lock}: no such file"


def check_snakemake(arguments: list[str], page: Path) -> None:
    """Parse the command as Snakemake does, and complete the configuration that it asks for.

    The page's own YAML counts: a command may use what the reader was told to add.
    """
    args = snakemake_parser().parse_args(arguments)
    given = dict(entry.split("=", 1) for entry in args.config or ())
    # What an earlier command of the page writes is not there.
    made = set(re.findall(r"--output (\S+\.yaml)", page.read_text(encoding="utf-8")))
    files = [path for path in args.configfile or () if str(path) not in made]
    overlays = [(ROOT / path).read_text(encoding="utf-8") for path in files]
    values = {key: yaml.safe_load(value) for key, value in given.items()}
    config = configuration(*blocks(page, "yaml"), *overlays, yaml.safe_dump(values))
    names = (*config.reports, *config.averages)
    reports = {f"results/{name}_report.txt" for name in names}
    tables = (config.names(table) for table in ("corpora", "tokenizers", "datasets"))
    shown = {f"results/{'/'.join(names)}/corpus.html" for names in itertools.product(*tables)}
    encoders = {f"{run.encoder_folder}/model.safetensors" for run in config.runs}
    assert set(args.targets) <= reports | shown | encoders
    if args.workflow_profile is not None:
        assert (ROOT / args.workflow_profile / "config.yaml").is_file()


def check_cloze(arguments: list[str], page: Path) -> None:
    """What the command would hand on: a script's flags, or presets, settings and reports."""
    name, *words = arguments
    if name in command.SCRIPTS:
        check_script([f"scripts/{name}.py", *words])
    else:
        asked = Asked.of(words)
        check_snakemake(asked.snakemake_arguments(), page)


def check_file(arguments: list[str], page: Path) -> None:
    """`bash FILE` and `. FILE`, which may be the environment that a command made just before."""
    made = re.fullmatch(r"\.venv[\w-]*/bin/activate", arguments[0])
    assert made or (ROOT / arguments[0]).is_file(), f"{arguments[0]}: no such file"


def check_precommit(arguments: list[str], page: Path) -> None:
    assert arguments == ["install"]
    assert (ROOT / ".pre-commit-config.yaml").is_file()


def check_docker(arguments: list[str], page: Path) -> None:
    """An image of the `Dockerfile`, and what is run in it."""
    if arguments[0] == "build":
        assert (ROOT / arguments[-1] / "Dockerfile").is_file()
        return
    name, *words = arguments[arguments.index("cloze") + 1 :]
    CHECKS[name](words, page)


def check_apptainer(arguments: list[str], page: Path) -> None:
    """The image that the rules name."""
    rules = (ROOT / "Snakefile").read_text(encoding="utf-8")
    assert arguments[0] == "build"
    assert f'container: "{arguments[1]}"' in rules


CHECKS: dict[str, Callable[[list[str], Path], None]] = {
    "python": check_python,
    "python3": check_python,
    "pip": check_pip,
    "snakemake": check_snakemake,
    "cloze": check_cloze,
    "bash": check_file,
    ".": check_file,
    "pre-commit": check_precommit,
    "docker": check_docker,
    "apptainer": check_apptainer,
}


def configuration(*overlays: str) -> Config:
    """`config.yaml` with these texts laid over it, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(len(overlays))]
        for file, text in zip(files, overlays, strict=True):
            file.write_text(text, encoding="utf-8")
        return load_config([ROOT / "config.yaml", *files])


@pytest.mark.parametrize(("page", "words"), PAGE_COMMANDS)
def test_commands_are_understood_by_what_they_call(page: Path, words: list[str]) -> None:
    assert words[0] in CHECKS, f"{page.name}: {words[0]} is unknown to this test"
    CHECKS[words[0]](words[1:], page)


@pytest.mark.parametrize(("preset", "words"), PRESET_COMMANDS)
def test_commands_of_presets_run_as_their_headers_say(preset: Path, words: list[str]) -> None:
    CHECKS[words[0]](words[1:], preset)
    name = preset.relative_to(ROOT).as_posix()
    assert words[0] != "snakemake" or name in words, f"{name}: is not in its own command"


def test_every_preset_has_a_command() -> None:
    assert {preset for preset in PRESETS if not [*commands(header_commands(preset))]} == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_command_to_try_is_understood_by_its_script(script: Path) -> None:
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    _, found, command = docstring.partition("\nTry: ")
    assert found, f"{script.name}: its docstring has no command to try"
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["python", f"scripts/{script.name}"]
    check_script(words[1:])


@pytest.mark.parametrize("text", PAGE_YAML)
def test_yaml_is_a_valid_part_of_the_configuration(text: str) -> None:
    values = yaml.safe_load(text)
    config = configuration(text)
    for table, entries in values.items():
        if isinstance(entries, dict) and table != "reports":
            assert set(entries) <= set(config.names(table))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [found[1] for found in _LINK.finditer(page.read_text(encoding="utf-8"))]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"({name})" not in index} == set()


@functools.cache
def messages() -> str:
    """Every text in the code, one a line, with `…` for what is filled in."""
    texts = []
    for path in (*sorted((ROOT / "scripts").rglob("*.py")), ROOT / "workflow/rules/machine.smk"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            strings = [part.value if isinstance(part, ast.Constant) else "…" for part in parts]
            texts.append("".join(text for text in strings if isinstance(text, str)))
    return "\n".join(texts)


@pytest.mark.parametrize("quoted", HEADINGS)
def test_messages_under_troubleshooting_are_those_of_the_code(quoted: str) -> None:
    pieces = map(re.escape, quoted.removeprefix("…").removesuffix("…").split("…"))
    assert re.search(".*".join(pieces), messages()), f"no message of the code reads {quoted!r}"


KEPT = ROOT / "docs/reports/sample-reviews.json"


def test_the_readme_shows_the_kept_report_of_the_sample() -> None:
    shown = [text for text in blocks(ROOT / "README.md", "text") if text.startswith("sst2: ")]
    assert len(shown) == 1
    assert KEPT.with_suffix(".txt").read_text(encoding="utf-8").startswith(shown[0])


def test_the_kept_report_is_of_the_default_configuration() -> None:
    report, config = read_json(KEPT), configuration()
    (run,) = config.runs
    assert report["model"] == run.encoder_folder
    assert [*report["score"]["per_seed"]] == [str(seed) for seed in run.seeds]
    encoder, task = config.section("encoders", run.encoder), report["task"]["name"]
    assert report["pretraining"]["steps"] == encoder["max_steps"]
    asked, used = config.section("tasks", task)["finetuning"], report["finetuning"]["recipe"]
    both = asked.keys() & used.keys()
    for key in both - {"warmup_ratio"}:
        assert used[key] == asked[key], key
    # Warm-up is a whole number of steps.
    assert used["warmup_ratio"] == pytest.approx(asked["warmup_ratio"], abs=0.005)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    block = next(text for text in blocks(ROOT / "README.md", "bash") if "pytest" in text)
    install, test = list(commands(block))[-2:]
    steps = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert f"step {' '.join(test)}" in steps
    assert f"step {' '.join(install).replace('install', 'install --quiet')}" in steps
    assert steps[-1] == f"step {' '.join(test)}"


def locked(name: str) -> dict[str, str]:
    """Package to version, names as the index normalises them."""
    versions = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-r ")):
            found = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
            assert found, f"{name}: {line!r} is no NAME==VERSION without local parts"
            versions[re.sub(r"[-_.]+", "-", found[1]).lower()] = found[2]
    return versions


def test_locks_pin_every_dependency_within_its_range() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = locked("requirements.lock")
    everything = {**runtime, **locked("requirements-dev.lock")}
    for texts, versions in (
        (project["dependencies"], runtime),
        (project["optional-dependencies"]["dev"], everything),
    ):
        for requirement in map(Requirement, texts):
            assert requirement.specifier.contains(versions[requirement.name]), str(requirement)


def test_the_citation_names_the_version_and_licence_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
