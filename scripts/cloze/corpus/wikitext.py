"""Articles of corpora in the form of WikiText (Merity et al. 2016).

A line ` = Title = ` at the start or after a blank line opens an article. Without the
blank line it is text: WikiText's articles on electronics have lines such as
` = 1 <unk> and <unk> C = `. ` = = Section = = ` and ` == Section == ` are headings.

What is undone, in titles too: the marks around titles and headings, the spaces at both
ends of a line, blank lines, and ` @-@ `, ` @,@ ` and ` @.@ `, by which the WikiText
authors split `role-playing`, `1,000` and `3.5` (they did so in the raw form as well).
The title stays in the text as its first paragraph, headings as paragraphs of their own.

What stays: the spaces around punctuation, since no rule gives quotation marks and
apostrophes back without guessing and word-piece tokenizers split punctuation off
anyway; and `<unk>`, the tokens form's word for rare words, since the word is lost and
any stand-in would be an invention.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from cloze.corpus.documents import Document
from cloze.corpus.readers import Columns, Member
from cloze.corpus.tables import read_columns
from cloze.corpus.text_streams import read_blocks, require_bounded
from cloze.errors import ClozeError

_HEADING = re.compile(r" (=(?: ?=)*) (?!=)(.+)(?<!=) \1 ")
_SPLIT_MARK = re.compile(r" @([-,.])@ ")


def read_wikitext(members: Iterable[Member], columns: Columns) -> Iterator[Document]:
    """Yield an article a document, its paragraphs one a line.

    Files hold lines; parquet files hold a line a row in the text column, as the
    Hugging Face hub publishes WikiText. There an article may go on from one shard to
    the next, so consecutive parquet files are read as one; its source is the first.

    Raises `ClozeError` for text that stands before the first title line, and for an
    article of more than 64 MiB.
    """
    source, paragraphs = "", list[str]()
    after_blank, size = True, 0
    for member in members:
        is_shard = member.source.endswith(".parquet")
        if paragraphs and not is_shard:
            yield _article(source, paragraphs)
            paragraphs = []
        after_blank = after_blank or not is_shard
        for place, lines in _lines(member, columns, is_shard):
            size += sum(map(len, lines))
            require_bounded(size, member.where, "an article", "is --format right?")
            for number, line in enumerate(lines):
                # Most lines are neither headings nor blank, and this loop sees every line.
                heading = _HEADING.fullmatch(line) if line[:2] == " =" else None
                is_title = heading is not None and heading[1] == "=" and after_blank
                after_blank = not line or line.isspace()
                if is_title:
                    if paragraphs:
                        yield _article(source, paragraphs)
                    source, paragraphs, size = member.source, [], 0
                elif not paragraphs and not after_blank:
                    raise ClozeError(
                        f"{member.where}: {place(number)}: text before the first title; an "
                        "article starts with a line ' = Title = ' after a blank one: "
                        "is --format right?"
                    )
                if heading and (is_title or heading[1] != "="):
                    paragraphs.append(heading[2].strip(" "))
                elif not after_blank:
                    paragraphs.append(line.strip(" "))
    if paragraphs:
        yield _article(source, paragraphs)


def _article(source: str, paragraphs: list[str]) -> Document:
    text = "\n".join(paragraphs)
    if " @" in text:
        text = _SPLIT_MARK.sub(r"\1", text)
    return Document(source, text.partition("\n")[0], text)


def _lines(
    member: Member, columns: Columns, is_shard: bool
) -> Iterator[tuple[Callable[[int], str], list[str]]]:
    """Yield `(name of the place of line n, lines without their ends)`."""
    if is_shard:
        for place, (text,) in read_columns(member.stream, member.where, "parquet", [columns.text]):
            lines = text.removesuffix("\n").split("\n")
            yield partial(_row_place, place), [line.removesuffix("\r") for line in lines]
    else:
        first = 1
        for block in read_blocks(member.stream, member.where):
            lines = block.removesuffix("\n").split("\n")
            yield partial(_line_place, first), lines
            first += len(lines)


def _row_place(place: str, number: int) -> str:
    return place


def _line_place(first: int, number: int) -> str:
    return f"line {first + number}"
