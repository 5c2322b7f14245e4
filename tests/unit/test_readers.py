"""Every reader yields whole, unchanged documents and names the place of what it cannot read."""

import io
import json
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloze.corpus import tables, text_streams
from cloze.corpus.documents import Document
from cloze.corpus.readers import (
    Columns,
    Reader,
    open_corpus,
    read_csv,
    read_files,
    read_jsonl,
    read_paragraphs,
    read_parquet,
    read_single_lines,
    read_tsv,
)
from cloze.corpus.tables import Dialect
from cloze.errors import ClozeError

STRANGE = "e\u0301 日本\u2028語 \x85 👩‍👩‍👧"


def read(
    reader: Reader, *paths: Path, pattern: str = "*", columns: Columns | None = None
) -> list[Document]:
    return list(reader(open_corpus(paths, pattern), columns or Columns()))


def texts(documents: list[Document]) -> list[str]:
    return [document.text for document in documents]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class TestFiles:
    def test_a_folder_is_walked_in_order_without_hidden_files(self, tmp_path: Path) -> None:
        for name in ("b.txt", "a/z.txt", "a/.hidden", ".git/x.txt", "c.xml"):
            write(tmp_path / name, f"{name}\r\n{STRANGE}")

        documents = read(read_files, tmp_path, pattern="*.txt")

        assert [(item.source, item.title) for item in documents] == [
            ("a/z.txt", "z"),
            ("b.txt", "b"),
        ]
        assert documents[1].text == f"b.txt\r\n{STRANGE}"

    def test_archive_members_are_documents(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "corpus.zip", "w") as archive:
            archive.writestr("en/two.txt", "two")
            archive.writestr("en/one.txt", "one")
            archive.writestr("README", "no")

        documents = read(read_files, tmp_path / "corpus.zip", pattern="en/*")

        assert documents == [
            Document("en/one.txt", "one", "one"),
            Document("en/two.txt", "two", "two"),
        ]

    def test_members_of_archives_in_a_folder_are_read_whole(self, tmp_path: Path) -> None:
        write(tmp_path / "sub" / "plain.txt.xz", lzma.compress(b"packed"))
        with tarfile.open(tmp_path / "sub" / "more.tar", "w") as archive:
            member = tarfile.TarInfo("inner.txt")
            member.size = 5
            archive.addfile(member, io.BytesIO(b"inner"))

        documents = read(read_files, tmp_path)

        assert [(item.source, item.text) for item in documents] == [
            ("sub/inner.txt", "inner"),
            ("sub/plain.txt", "packed"),
        ]

    def test_byte_order_mark_is_not_text(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.txt", b"\xef\xbb\xbfone \xef\xbb\xbf two")

        assert texts(read(read_files, path)) == ["one \ufeff two"]

    def test_invalid_utf8_names_file_and_byte(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.txt", b"caf\xe9 noir")

        with pytest.raises(
            ClozeError, match=r"a\.txt: byte 3 \(0xe9\) is not valid UTF-8; .*iconv"
        ):
            read(read_files, path)

    def test_missing_file_and_pattern_without_match(self, tmp_path: Path) -> None:
        with pytest.raises(ClozeError, match=r"none\.txt: no such file"):
            read(read_files, tmp_path / "none.txt")
        with pytest.raises(ClozeError, match=r"no file in it matches '\*\.txt', .* change --memb"):
            read(read_files, tmp_path, pattern="*.txt")


class TestParagraphs:
    def test_blank_lines_separate_documents(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.txt", f"\n\n  one\r\n{STRANGE}\r\n \t\r\n\n\nthree \nfour")

        assert texts(read(read_paragraphs, path)) == [f"  one\n{STRANGE}", "three \nfour"]

    def test_documents_end_with_their_file(self, tmp_path: Path) -> None:
        first, second = write(tmp_path / "a", "one\n"), write(tmp_path / "b", "two\n")

        documents = read(read_paragraphs, first, second)

        assert documents == [Document("a", "", "one"), Document("b", "", "two")]

    def test_invalid_byte_is_counted_from_the_start_of_the_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.txt", "\ufeffé\n\nab".encode() + b"\xff")

        with pytest.raises(ClozeError, match=r"byte 9 \(0xff\)"):
            read(read_paragraphs, path)


class TestLines:
    def test_a_line_is_a_document(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.txt", f"one\r\n\n \t\n{STRANGE}\n  three, a\ttab")

        documents = read(read_single_lines, path)

        assert texts(documents) == ["one", STRANGE, "  three, a\ttab"]
        assert documents[0] == Document("a.txt", "", "one")


@pytest.mark.parametrize(
    ("reader", "advice"),
    [
        (read_files, r"holds a document .* --format paragraphs \(.*\) or lines"),
        (read_paragraphs, r"holds a document between blank lines .* with --format lines$"),
        (read_single_lines, r"holds a line .* break it into lines, if it is text at all$"),
        (read_csv, r"holds a line .* break it into lines, if it is text at all$"),
    ],
)
def test_what_is_too_long_gets_advice_that_is_not_followed_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Reader, advice: str
) -> None:
    monkeypatch.setattr(text_streams, "MAX_DOCUMENT_BYTES", 1000)
    monkeypatch.setattr(text_streams, "_BLOCK_BYTES", 100)
    is_line = reader in (read_single_lines, read_csv)
    path = write(tmp_path / "a.txt", "x" * 2000 if is_line else "text\n" * 400)

    with pytest.raises(ClozeError, match=rf"a\.txt: {advice}"):
        read(reader, path)


@pytest.mark.parametrize("reader", [read_files, read_paragraphs, read_single_lines, read_tsv])
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        ("text\n\nand more\n".encode("utf-16"), "UTF-16 text"),
        ("text\n\nand more\n".encode("utf-16-le"), "UTF-16LE text"),
        (("漢字かな交じり文" * 40 + "\n").encode("utf-16-be"), "UTF-16BE text"),
        (b"PK\x03\x04" + bytes(26) + b"xl/", "an? (zip|Excel)"),
    ],
)
def test_what_is_no_text_is_named_by_every_reader(
    tmp_path: Path, reader: Reader, content: bytes, name: str
) -> None:
    with pytest.raises(ClozeError, match=rf"a\.txt: is {name}"):
        read(reader, write(tmp_path / "a.txt", content))


@pytest.mark.parametrize("suffix", ["", ".tar"])
def test_a_name_that_is_no_utf_8_stays_readable(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "texts"
    write(folder / os.fsdecode(b"caf\xe9.txt"), "text")
    if suffix:
        with tarfile.open(tmp_path / "texts.tar", "w") as archive:
            archive.add(folder, "in")

    documents = read(read_files, tmp_path / f"texts{suffix}")

    assert [item.source.rpartition("/")[2] for item in documents] == ["caf\ufffd.txt"]


class TestJsonLines:
    @pytest.mark.parametrize("content", ['[{"text": "x"}]', '{\n  "text": "x"\n}\n'])
    def test_other_json_is_told_how_it_becomes_lines(self, tmp_path: Path, content: str) -> None:
        with pytest.raises(ClozeError, match=r"line 1: .*one object a line; make it so: jq -c"):
            read(read_jsonl, write(tmp_path / "a.jsonl", content))

    def test_text_and_title(self, tmp_path: Path) -> None:
        rows = [{"body": STRANGE, "name": "x", "n": 1}, {"name": None, "body": "a\nb"}]
        path = write(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, rows)))

        documents = read(read_jsonl, path, columns=Columns("body", "name"))

        assert documents == [Document("a.jsonl", "x", STRANGE), Document("a.jsonl", "", "a\nb")]

    def test_line_separators_inside_a_string_do_not_end_the_line(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", json.dumps({"text": STRANGE}, ensure_ascii=False))

        assert texts(read(read_jsonl, path)) == [STRANGE]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('{"text": "x"', r"a\.jsonl: line 2: not JSON"),
            ('["x"]', r"line 2: not a JSON object"),
            ('{"txt": "x", "id": 3}', r"line 2: no column 'text'; there are: txt, id"),
            ('{"text": 3}', r"line 2: column 'text' holds int, not text"),
            (r'{"text": "\ud83d"}', r"line 2: column 'text' holds '\\ud83d', half of a surrogate"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, line: str, message: str) -> None:
        path = write(tmp_path / "a.jsonl", f'{{"text": "fine"}}\n{line}\n')

        with pytest.raises(ClozeError, match=message):
            read(read_jsonl, path)


class TestLimits:
    """One for all formats, in bytes, and memory that does not grow with what a file repeats."""

    @pytest.mark.parametrize("character", ["x", "é"])
    @pytest.mark.parametrize(
        ("reader", "name"),
        [(read_jsonl, "a.jsonl"), (read_csv, "a.csv"), (read_parquet, "a.parquet")],
    )
    def test_a_text_has_a_size_that_all_formats_know(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        reader: Reader,
        name: str,
        character: str,
    ) -> None:
        for module in (text_streams, tables):
            monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", 1000)
        path, text = tmp_path / name, character * 1500
        if name.endswith("parquet"):
            pq.write_table(pa.table({"text": ["fine"] * 20 + [text]}), path)
        else:
            write(path, "text\nfine\n" + text if "csv" in name else json.dumps({"text": text}))

        with pytest.raises(ClozeError, match=rf"{name}.*(holds a .* of more than|field larger)"):
            read(reader, path)

    def test_a_text_that_a_file_repeats_is_held_once(self, tmp_path: Path) -> None:
        path, rows = tmp_path / "a.parquet", pa.array([0] * 256, pa.int32())
        text = pa.DictionaryArray.from_arrays(rows, ["x" * (1 << 20)])
        pq.write_table(pa.table({"text": text, "n": [[1]] * 256}), path, compression="zstd")
        pool = pa.default_memory_pool()

        before = pool.bytes_allocated()
        for document in read_parquet(open_corpus([path]), Columns()):
            assert len(document.text) == 1 << 20
            assert pool.bytes_allocated() - before < 16 << 20

    def test_a_page_that_fills_the_memory_is_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tables, "_MAX_PAGE_BYTES", 1 << 20)
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"text": [f"{n}" * 9000 for n in range(200)]}), path)

        with pytest.raises(
            ClozeError, match=r"a\.parquet: has \d MiB in one row group of 200 rows"
        ):
            read(read_parquet, path)

    def test_text_that_is_no_utf_8_is_named_by_its_row(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        texts = pa.array([b"fine", b"caf\xe9"]).view(pa.string())
        pq.write_table(pa.table({"text": texts}), path)

        with pytest.raises(ClozeError, match=r"a\.parquet: row 2: holds text that is not UTF-8"):
            read(read_parquet, path)

    @pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
    def test_a_column_that_is_there_twice_is_ambiguous(self, tmp_path: Path, name: str) -> None:
        path = write(tmp_path / "a.csv", "text,text\na,b\n")
        if name == "a.parquet":
            table = pa.table({"text": ["a"]}).append_column("text", pa.array(["b"]))
            path = tmp_path / name
            pq.write_table(table, path)

        with pytest.raises(ClozeError, match=rf"{name}: has 2 columns 'text'; rename all but one"):
            read(read_csv if name == "a.csv" else read_parquet, path)


class TestCsvAndTsv:
    def test_quoted_fields_hold_delimiters_quotes_and_line_breaks(self, tmp_path: Path) -> None:
        content = f'id,text\r\n1,"a, ""b""\nc"\r\n\r\n2,{STRANGE}\r\n'

        path = write(tmp_path / "a.csv", content)

        assert texts(read(read_csv, path)) == ['a, "b"\nc', STRANGE]

    def test_fields_longer_than_the_library_allows_by_default(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text\n" + "x" * 300_000)

        assert texts(read(read_csv, path)) == ["x" * 300_000]

    def test_without_header_columns_are_numbers(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "7,first\n8,second\n")

        documents = read(read_csv, path, columns=Columns("1", "0", Dialect(header=False)))

        assert documents == [Document("a.csv", "7", "first"), Document("a.csv", "8", "second")]

    def test_quotation_marks_are_text_in_tsv(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tsv", 'text\tid\n"unbalanced\t1\nit\'s "so"\t2\n')

        assert texts(read(read_tsv, path)) == ['"unbalanced', 'it\'s "so"']

    def test_a_missing_column_lists_those_there_are(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "id,sentence\n1,x\n")

        with pytest.raises(
            ClozeError,
            match=r"a\.csv: no column 'text'; there are: id, sentence; .* --no-header",
        ):
            read(read_csv, path)

    @pytest.mark.parametrize("reader", [read_csv, read_tsv, read_jsonl])
    def test_a_web_page_is_no_table(self, tmp_path: Path, reader: Reader) -> None:
        path = write(tmp_path / "a.csv", "\n<!DOCTYPE html>\n<p>404</p>\n")

        with pytest.raises(ClozeError, match=r"a\.csv: (line 2: )?is a web page"):
            read(reader, path)

    def test_a_short_row_is_named_by_its_first_line(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'id,text\n1,"two\nlines"\n2\n')

        with pytest.raises(
            ClozeError, match=r"a\.csv: line 4: 1 columns where the first row has 2"
        ):
            read(read_csv, path)

    def test_a_quote_that_never_closes_does_not_swallow_the_rest(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'id,text\n1,fine\n2,"open\n3,more\n')

        with pytest.raises(ClozeError, match=r"line 3: .*mend the row that starts there"):
            read(read_csv, path)


class TestParquet:
    def test_text_title_and_null(self, tmp_path: Path) -> None:
        table = pa.table({"t": [STRANGE, None], "n": ["x", "y"], "id": [1, 2]})
        pq.write_table(table, tmp_path / "a.parquet")

        documents = read(read_parquet, tmp_path / "a.parquet", columns=Columns("t", "n"))

        assert documents == [Document("a.parquet", "x", STRANGE), Document("a.parquet", "y", "")]

    def test_bad_columns(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "a.parquet")

        with pytest.raises(ClozeError, match=r"a\.parquet: no column 'text'; there are: id"):
            read(read_parquet, tmp_path / "a.parquet")
        with pytest.raises(ClozeError, match=r"row 1: column 'id' holds int, not text"):
            read(read_parquet, tmp_path / "a.parquet", columns=Columns("id"))

    def test_damaged_or_packed_files(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet", "no parquet")
        write(tmp_path / "b.parquet.xz", lzma.compress(b"x"))
        write(tmp_path / "c.parquet", b"PAR1" + bytes(range(100)))
        write(tmp_path / "d.parquet", b"ARROW1\0\0" + bytes(range(100)))

        with pytest.raises(ClozeError, match=r"a\.parquet: is text; let its name end in what"):
            read(read_parquet, tmp_path / "a.parquet")
        with pytest.raises(ClozeError, match=r"c\.parquet: not a whole parquet file"):
            read(read_parquet, tmp_path / "c.parquet")
        with pytest.raises(ClozeError, match=r"d\.parquet: is an Arrow .* write it as parquet"):
            read(read_parquet, tmp_path / "d.parquet")
        with pytest.raises(ClozeError, match=r"b\.parquet\.xz: .*unpack it first"):
            read(read_parquet, tmp_path / "b.parquet.xz")
