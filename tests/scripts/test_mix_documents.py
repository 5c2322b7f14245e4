"""A mixture holds each source's training texts as often as its weight says, held-out texts once."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

import extract_documents
import mix_documents
from cloze.corpus import documents
from cloze.corpus.documents import StoredDocument, read_documents
from cloze.files import SPLITS


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """Documents of two corpora; they share 20 texts, which they split alike by their hash."""
    for name, start in {"wiki": 0, "novels": 380}.items():
        file = tmp_path / f"{name}.txt"
        file.write_text("\n\n".join(f"Text {n} of many." for n in range(start, start + 400)))
        flags = ["--format", "paragraphs", "--input", str(file), "--validation-fraction", "0.1"]
        assert extract_documents.main([*flags, "--output", str(tmp_path / name)]) == 0
    return tmp_path


def mix(folder: Path, **weights: float) -> dict[str, list[StoredDocument]]:
    flags = [
        text
        for name, weight in weights.items()
        for text in ("--corpus", name, str(weight), str(folder / name))
    ]
    assert mix_documents.main([*flags, "--output", str(folder / "mixed")]) == 0
    return held(folder / "mixed")


def held(folder: Path) -> dict[str, list[StoredDocument]]:
    return {split: list(read_documents(folder / f"{split}.parquet")) for split in SPLITS}


def metrics(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = json.loads(
        (folder / "mixed" / "metrics.json").read_text()
    )["metrics"]
    return found


def test_weights_are_how_often_a_training_text_is_seen(corpora: Path) -> None:
    mixed = mix(corpora, wiki=1, novels=2.5)

    wiki, novels = held(corpora / "wiki"), held(corpora / "novels")
    seen = Counter(row.text for row in mixed["train"] if row.source == "novels/novels.txt")
    assert set(seen) == {row.text for row in novels["train"]}
    assert set(seen.values()) == {2, 3}
    thirds = sum(count == 3 for count in seen.values())
    assert 0.35 < thirds / len(seen) < 0.65
    others = [row.text for row in mixed["train"] if row.source == "wiki/wiki.txt"]
    assert others == [row.text for row in wiki["train"]]
    facts = metrics(corpora)["sources"]
    assert facts["novels"]["documents"] == len(seen)
    assert facts["novels"]["documents_seen"] == 2 * len(seen) + thirds
    assert facts["wiki"]["documents"] == facts["wiki"]["documents_seen"] == len(wiki["train"])
    assert facts["wiki"]["bytes"] == sum(len(row.text) for row in wiki["train"])
    assert facts["novels"]["weight"] == 2.5
    total = sum(len(row.text) for row in mixed["train"])
    assert facts["novels"]["share"] == pytest.approx(facts["novels"]["bytes_seen"] / total)
    assert facts["novels"]["share"] + facts["wiki"]["share"] == pytest.approx(1)


def test_held_out_documents_come_once_and_ids_are_unique(corpora: Path) -> None:
    mixed = mix(corpora, wiki=3, novels=2)

    for split in ("validation", "test"):
        texts = [row.text for row in mixed[split]]
        sources = (held(corpora / name)[split] for name in ("wiki", "novels"))
        assert sorted(texts) == sorted({row.text for rows in sources for row in rows})
    ids = [row.document_id for split in SPLITS for row in mixed[split]]
    assert sorted(ids) == list(range(len(ids)))


def test_a_weight_below_one_takes_a_part_and_a_greater_one_adds_to_it(corpora: Path) -> None:
    some = {row.text for row in mix(corpora, wiki=0.3)["train"]}
    more = Counter(row.text for row in mix(corpora, wiki=1.6)["train"])

    everything = {row.text for row in held(corpora / "wiki")["train"]}
    assert 0.15 < len(some) / len(everything) < 0.45
    assert set(more) == everything
    assert some < {text for text, count in more.items() if count == 2}


def test_a_text_that_one_source_holds_out_is_training_text_of_none(tmp_path: Path) -> None:
    own = {"a": ("one\n\ntwo\n\nthree", "four"), "b": ("four\n\nfive", "five six\n\ntwo")}
    for name, (train, validation) in own.items():
        (tmp_path / "t").write_text(train)
        (tmp_path / "v").write_text(validation)
        flags = [
            "--format",
            "paragraphs",
            "--train",
            tmp_path / "t",
            "--validation",
            tmp_path / "v",
        ]
        extract_documents.main([*map(str, flags), "--output", str(tmp_path / name)])

    mixed = mix(tmp_path, a=2, b=1)

    assert sorted(row.text for row in mixed["train"]) == ["five", "one", "one", "three", "three"]
    assert [row.text for row in mixed["validation"]] == ["four", "five six", "two"]
    assert metrics(tmp_path)["dropped"] == {"duplicate": 0, "held_out": 2}
    with gzip.open(tmp_path / "mixed" / "dropped.tsv.gz", "rt") as stream:
        assert "held_out\tdocument 2\ta/t\t\ttwo\n" in stream.readlines()


def test_sources_take_turns(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_ROW_GROUP_BYTES", 300)
    for name in ("wiki", "novels"):
        flags = ["--format", "paragraphs", "--input", str(corpora / f"{name}.txt")]
        extract_documents.main([*flags, "--output", str(corpora / name)])
    mixed = mix(corpora, wiki=1, novels=3)["train"]

    for start in range(0, len(mixed) - 400, 200):
        novels = sum(row.source == "novels/novels.txt" for row in mixed[start : start + 400])
        assert 0.6 < novels / 400 < 0.9


def test_the_same_mixture_has_the_same_bytes(corpora: Path) -> None:
    contents = []
    for _ in range(2):
        mix(corpora, wiki=1.2, novels=0.5)
        contents.append([(corpora / "mixed" / f"{s}.parquet").read_bytes() for s in SPLITS])
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--corpus a 0 x", "--corpus a: weight '0' is not a number above 0"),
        ("--corpus a much x", "--corpus a: weight 'much' is not a number above 0"),
        ("--corpus a 1 x --corpus a 2 x", "--corpus a: stands there twice"),
        ("--corpus a 1 x", "x/test.parquet: no such file"),
    ],
)
def test_what_is_no_mixture(
    tmp_path: Path, flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mix_documents.main([*flags.split(), "--output", str(tmp_path / "o")]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("o/*"))
