"""The catalogue names every preset and its sources; each preset's encoders can be built."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

import init_encoder
import train_tokenizer
from cloze.errors import ClozeError
from cloze.fetch.sources import HubSource, parse_source
from cloze.model.encoder import EncoderConfig
from cloze.settings.config import Config, load_config
from cloze.settings.encoders import ArchitectureSettings
from cloze.settings.fields import from_args
from tests.workflow.project import Project

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "catalogue.md"
PRESETS = sorted((ROOT / "workflow" / "presets").glob("*.yaml"))
SLOW = pytest.mark.slow
COLUMNS = ["preset", "corpus and origin", "licence", "size", "text", "task"]


def rows() -> dict[str, list[str]]:
    """The table of presets: name to its cells."""
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index("| preset |") :].split("\n\n")[0].splitlines()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert lines[0] == COLUMNS
    return {cells[0].strip("`"): cells for cells in lines[2:]}


def config_of(preset: Path) -> Config:
    mine = {"format": "text", "files": ["texts"]}  # some presets leave the corpus to the user
    return load_config([ROOT / "config.yaml", preset], {"corpora": {"mine": mine}})


def test_a_preset_without_a_corpus_does_not_take_that_of_the_sample() -> None:
    for name in ("fifteen-minutes", "ten-minutes", "longer-texts"):
        with pytest.raises(ClozeError, match="corpus: 'mine' is not in corpora"):
            load_config([ROOT / "config.yaml", ROOT / f"workflow/presets/{name}.yaml"])


def test_the_catalogue_lists_exactly_the_presets() -> None:
    assert sorted(rows()) == [preset.stem for preset in PRESETS]
    assert all(len(cells) == len(COLUMNS) and all(cells) for cells in rows().values())


def hub_links(config: Config, files: Iterable[str]) -> set[str]:
    """The pages of the hub's data sets that these files come from, where they are fetched."""
    links = set()
    for file in config.files.downloads.keys() & set(files):
        source = parse_source(config.files.downloads[file].source)
        assert isinstance(source, HubSource)
        links.add(f"(https://huggingface.co/datasets/{source.owner}/{source.name})")
    return links


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_the_catalogue_names_the_hub_data_sets_of_a_preset(preset: Path) -> None:
    config = config_of(preset)
    added = yaml.safe_load(preset.read_text(encoding="utf-8")).get("corpora", {})
    corpora = [
        file for name in added for files in config.files.corpora[name].values() for file in files
    ]
    assert all(link in " ".join(rows()[preset.stem]) for link in hub_links(config, corpora))
    page = PAGE.read_text(encoding="utf-8")
    for _, report in config.reports.values():
        files = [file for named in config.files.tasks[report.task].values() for file in named]
        assert all(link in page for link in hub_links(config, files))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_the_encoders_and_tokenizers_of_a_preset_can_be_made(preset: Path) -> None:
    config = config_of(preset)
    for run in config.runs:
        flags = config.flags("tokenizers", run.tokenizer)
        where = ["--documents", "train.parquet", "--output", "folder"]
        tokenizer = train_tokenizer.build_parser().parse_args([*where, *flags])
        flags = config.flags("architectures", run.architecture)
        where = ["--tokenizer", "tokenizer.json", "--output", "folder"]
        encoder = init_encoder.build_parser().parse_args([*where, *flags])
        shape = asdict(from_args(ArchitectureSettings, encoder))
        made = EncoderConfig(tokenizer.vocab_size, **shape)
        longest = config.section("datasets", run.dataset)["max_length"]
        assert made.max_position_embeddings >= longest


@pytest.mark.parametrize(
    ("preset", "downloads", "parts", "rule"),
    [
        ("portuguese", 6 + 1, 6, "segment_text_sentences-pt-128-x32"),
        pytest.param("openwebtext", 80 + 2, 80, "split_tokens_tokens-512-x64", marks=SLOW),
    ],
)
def test_a_preset_of_many_files_plans_the_whole_chain(
    tmp_path: Path, preset: str, downloads: int, parts: int, rule: str
) -> None:
    plan = Project(tmp_path).plan("--configfile", f"workflow/presets/{preset}.yaml")
    assert plan["download"] == downloads
    assert plan["extract_part"] == parts
    assert plan[rule] > 32
    assert plan["train_tokenizer"] == plan["pretrain"] == plan["report"] == 1


def test_the_preset_for_local_texts_reads_the_folder(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("One.")
    target = "results/local-text/cased-16k/sentences-128/mini/model.safetensors"
    overlay = ("--configfile", "workflow/presets/local-text.yaml")
    plan = project.plan(*overlay, "--", target)
    assert "download" not in plan
    assert plan["extract_documents"] == plan["train_tokenizer"] == plan["pretrain"] == 1
