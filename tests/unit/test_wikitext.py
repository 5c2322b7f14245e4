"""Articles are found by their title lines, WikiText's split marks undone, nothing else changed."""

import lzma
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloze.corpus.documents import Document
from cloze.corpus.readers import Columns, open_corpus
from cloze.corpus.wikitext import read_wikitext
from cloze.errors import ClozeError

WIKITEXT = "\n".join(
    [
        " ",
        " = Robert <unk> @-@ Smith = ",
        " ",
        " Robert is an actor , aged 1 @,@ 000 @.@ 5 . ",
        " ",
        " = = Career = = ",
        " ",
        " == Later == ",
        ' He @-@ he said : " 3 @.@ 5 @,@ 000 " \u2028 né <unk> ',
        " = 1 <unk> and C = ",
        " = = uneven = ",
        " ",
        " = E = mc² = ",
        " ",
        " Energy @ - @ mass a@-@b user@example.org ",
        "",
    ]
)
PLAIN = (
    " = Café = \nA first paragraph.\nHistory.\n\n"
    " = Λόγος = \nAnother.\r\n= not a title =\n\u3000Last.\u2028 \n\n"
)


def read(*paths: Path, column: str = "text") -> list[Document]:
    return list(read_wikitext(open_corpus(paths), Columns(column)))


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_the_published_form(tmp_path: Path) -> None:
    documents = read(write(tmp_path / "wiki.tokens", WIKITEXT))

    assert [document.title for document in documents] == ["Robert <unk>-Smith", "E = mc²"]
    assert documents[0].text.split("\n") == [
        "Robert <unk>-Smith",
        "Robert is an actor , aged 1,000.5 .",
        "Career",
        "Later",
        'He-he said : " 3.5,000 " \u2028 né <unk>',
        "= 1 <unk> and C =",
        "= = uneven =",
    ]
    assert documents[1].text == "E = mc²\nEnergy @ - @ mass a@-@b user@example.org"


def test_natural_text_is_left_as_it_is(tmp_path: Path) -> None:
    documents = read(write(tmp_path / "wiki.txt", PLAIN))

    assert documents == [
        Document("wiki.txt", "Café", "Café\nA first paragraph.\nHistory."),
        Document("wiki.txt", "Λόγος", "Λόγος\nAnother.\n= not a title =\n\u3000Last.\u2028"),
    ]


def test_an_article_ends_with_its_file(tmp_path: Path) -> None:
    first = write(tmp_path / "a.txt", " = A = \nfirst\n")
    second = write(tmp_path / "b.txt", " = B = \nsecond\n")

    assert [document.text for document in read(first, second)] == ["A\nfirst", "B\nsecond"]


def test_an_article_goes_on_in_the_next_parquet_shard(tmp_path: Path) -> None:
    lines = WIKITEXT.split("\n")
    whole = read(write(tmp_path / "whole.txt", WIKITEXT))
    for cut in range(4, len(lines)):
        paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
        for path, part in zip(paths, (lines[:cut], lines[cut:]), strict=True):
            pq.write_table(pa.table({"line": [f"{line}\n" for line in part]}), path)

        documents = read(*paths, column="line")

        assert [item[1:] for item in documents] == [item[1:] for item in whole]
        assert documents[0].source == "0.parquet"


def test_text_before_the_first_title_is_no_wikitext(tmp_path: Path) -> None:
    path = write(tmp_path / "novel.txt", "\nIt was a dark night.\n\n = Chapter = \n")

    with pytest.raises(ClozeError, match=r"novel\.txt: line 2: text before the first title"):
        read(path)


def test_a_text_file_does_not_continue_the_one_before(tmp_path: Path) -> None:
    first = write(tmp_path / "a.txt", " = A = \nfirst\n")
    second = write(tmp_path / "b.txt", "just text\n")

    with pytest.raises(ClozeError, match=r"b\.txt: line 1: text before the first title"):
        read(first, second)


@pytest.mark.skipif("CLOZE_DATA" not in os.environ, reason="needs the corpora in CLOZE_DATA")
def test_wikitext2_has_sixty_articles_and_loses_no_word() -> None:
    path = Path(os.environ["CLOZE_DATA"]) / "wikitext2-heldout" / "test.tokens.txt.xz"

    documents = read(path)

    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as stream:
        source = stream.read()
    for mark in "-,.":
        source = source.replace(f" @{mark}@ ", mark)
    assert len(documents) == 60
    words = " ".join(document.text for document in documents).replace("=", " ").split()
    assert words == source.replace("=", " ").split()
