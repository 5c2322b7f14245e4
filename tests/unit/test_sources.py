"""Sources are taken apart correctly, and every way to write one badly has its own message."""

import subprocess
import sys
from pathlib import Path

import pytest

from cloze.errors import ClozeError
from cloze.fetch import sources
from cloze.fetch.sources import (
    HubSource,
    LocalSource,
    WebSource,
    expand_braces,
    mirror_places,
    parse_hub,
    parse_source,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = f"hf://datasets/Salesforce/wikitext@{COMMIT}/wikitext-2-raw-v1/train-0.parquet"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("data/train.txt", "data/train.txt"),
        ("/data/train:1.txt", "/data/train:1.txt"),
        ("file:///data/two%20words.txt", "/data/two words.txt"),
        ("file:/data/a.txt", "/data/a.txt"),
        ("file://localhost/data/a.txt", "/data/a.txt"),
        ("file:data/a.txt", "data/a.txt"),
    ],
)
def test_local_sources(text: str, path: str) -> None:
    source = parse_source(text)
    assert source == LocalSource(Path(path))
    assert source.is_local
    assert source.file_name == Path(path).name


def test_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/reader")
    assert parse_source("~/a.txt") == LocalSource(Path("/home/reader/a.txt"))


def test_web_source() -> None:
    source = parse_source("https://host:8443/a/two%20words.zip?download=true#top")
    assert source == WebSource("https://host:8443/a/two%20words.zip?download=true")
    assert not source.is_local
    assert source.file_name == "two words.zip"
    assert source.mirror_path == "host:8443/a/two words.zip?download=true"


def test_hub_source() -> None:
    source = parse_source(HUB)
    assert source == HubSource(
        "Salesforce", "wikitext", COMMIT, "wikitext-2-raw-v1/train-0.parquet"
    )
    assert (source.is_local, source.is_pinned) == (False, True)
    assert source.file_name == "train-0.parquet"
    assert str(source) == HUB
    assert source.mirror_path == (
        f"datasets/Salesforce/wikitext/{COMMIT}/wikitext-2-raw-v1/train-0.parquet"
    )
    assert not source.at("main").is_pinned


def test_a_model_of_the_hub() -> None:
    source = parse_source(f"hf://google-bert/bert-base-uncased@{COMMIT}/config.json")
    assert (source.kind, source.file_name) == ("model", "config.json")
    assert str(source) == f"hf://google-bert/bert-base-uncased@{COMMIT}/config.json"
    assert source.mirror_path == f"google-bert/bert-base-uncased/{COMMIT}/config.json"


@pytest.mark.parametrize("revision", ["refs/convert/parquet", "refs%2Fconvert%2Fparquet"])
def test_hub_revision_with_slashes(revision: str) -> None:
    source = parse_hub(f"hf://datasets/a/b@{revision}/default/0.parquet")
    assert (source.revision, source.path) == ("refs/convert/parquet", "default/0.parquet")


def test_hub_folder_may_be_the_root() -> None:
    assert parse_hub("hf://datasets/a/b@main").path == ""
    assert parse_hub("hf://datasets/a/b@main/sub/").path == "sub"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hf://datasets/a/b/x.txt", r"revision is missing.*--list hf://datasets/a/b@main/"),
        ("hf://datasets/squad@main/x.txt", "not of the form hf://datasets/OWNER/NAME@REVISION"),
        ("hf://spaces/a/b@main/x.txt", "not of the form hf://datasets/OWNER/NAME@REVISION/PATH"),
        ("hf://datasets/a/b@main", "names no file"),
        ("hf://datasets/a/b@main/../c", r"holds '\.\.'"),
        ("https://host/", "names no file"),
        ("https://host/a/..%2F..%2Fb", r"holds '\.\.'"),
        ("https:///a.txt", "names no host"),
        ("https://host:port/a.txt", "not a valid address"),
        ("ftp://host/a.txt", r"ftp: is not supported; use https:, http:, file:"),
        ("file://server/a.txt", r"'server' stands where a host belongs"),
        ("file:", "no path follows file:"),
        (" ", "the text is empty"),
    ],
)
def test_bad_sources(text: str, message: str) -> None:
    with pytest.raises(ClozeError, match=message):
        parse_source(text)


def test_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ClozeError, match=r"keep them in ~/\.netrc") as caught:
        parse_source("https://me:secret@host/a.txt")
    assert "secret" not in str(caught.value)


def test_ranges_keep_their_width() -> None:
    names = expand_braces("train-{00000..00040}-of-00041.parquet")
    assert len(names) == 41
    assert names[0] == "train-00000-of-00041.parquet"
    assert names[-1] == "train-00040-of-00041.parquet"
    assert expand_braces("{8..11}") == ["8", "9", "10", "11"]


def test_lists_and_several_groups() -> None:
    assert expand_braces("{a,b}-{1..2}") == ["a-1", "a-2", "b-1", "b-2"]
    assert expand_braces("x{,.bak}") == ["x", "x.bak"]
    assert expand_braces("plain.txt") == ["plain.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{3..1}", "runs backwards"),
        ("{a}", "neither a range"),
        ("{a..c}", "neither a range"),
        ("{a,b", "must come in pairs"),
        ("a}", "must come in pairs"),
        ("{a,{b,c}}", "must not be nested"),
    ],
)
def test_bad_braces(text: str, message: str) -> None:
    with pytest.raises(ClozeError, match=message):
        expand_braces(text)


def test_mirror_folder() -> None:
    source = parse_source(HUB)
    assert [str(place) for place in mirror_places(source, "/mnt/mirror")] == [
        f"/mnt/mirror/datasets/Salesforce/wikitext/{COMMIT}/wikitext-2-raw-v1/train-0.parquet",
        "/mnt/mirror/train-0.parquet",
    ]
    assert mirror_places(source, "file:///mnt")[1] == LocalSource(Path("/mnt/train-0.parquet"))


def test_mirror_server() -> None:
    source = parse_source("https://host/a/two%20words.zip?v=2")
    assert mirror_places(source, "http://inside:80/m/") == [
        WebSource("http://inside:80/m/host/a/two%20words.zip%3Fv%3D2"),
        WebSource("http://inside:80/m/two%20words.zip"),
    ]


def test_mirror_must_be_a_folder_or_a_server() -> None:
    with pytest.raises(ClozeError, match="neither a folder nor an http"):
        mirror_places(parse_source("https://host/a.txt"), HUB)


def test_import_stays_light() -> None:
    code = (
        "import sys, cloze.fetch.sources\n"
        "print([m for m in ('requests', 'numpy') if m in sys.modules])"
    )
    scripts = Path(sources.__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
