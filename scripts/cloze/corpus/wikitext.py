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
from collections.abc import Iterable, Iterator

from cloze.corpus.documents import Document
from cloze.corpus.readers import Columns, Member
from cloze.corpus.tables import read_columns
from cloze.corpus.utf8 import read_lines
from cloze.errors import ClozeError

_HEADING = re.compile(r" (=(?: ?=)*) (?!=)(.+)(?<!=) \1 ")
_SPLIT_MARK = re.compile(r" @([-,.])@ ")


def read_wikitext(members: Iterable[Member], columns: Columns) -> Iterator[Document]:
    """Yield an article a document, its paragraphs one a line.

    Files hold lines; parquet files hold a line a row in the text column, as the
    Hugging Face hub publishes WikiText. There an article may go on from one shard to
    the next, so consecutive parquet files are read as one; its source is the first.

    Raises `ClozeError` for text that stands before the first title line.
    """
    source, paragraphs = "", list[str]()
    after_blank = True
    for member in members:
        is_shard = member.source.endswith(".parquet")
        if paragraphs and not is_shard:
            yield _article(source, paragraphs)
            paragraphs = []
        after_blank = after_blank or not is_shard
        for place, line in _lines(member, columns, is_shard):
            heading = _HEADING.fullmatch(line)
            is_title = heading is not None and heading[1] == "=" and after_blank
            after_blank = not line.strip()
            if is_title:
                if paragraphs:
                    yield _article(source, paragraphs)
                source, paragraphs = member.source, []
            elif not paragraphs and not after_blank:
                raise ClozeError(
                    f"{member.where}: {place}: text before the first title; an article starts "
                    "with a line ' = Title = ' after a blank one: is --format right?"
                )
            if heading and (is_title or heading[1] != "="):
                paragraphs.append(_restore(heading[2]))
            elif not after_blank:
                paragraphs.append(_restore(line))
    if paragraphs:
        yield _article(source, paragraphs)


def _article(source: str, paragraphs: list[str]) -> Document:
    return Document(source, paragraphs[0], "\n".join(paragraphs))


def _restore(line: str) -> str:
    return _SPLIT_MARK.sub(r"\1", line.strip(" "))


def _lines(member: Member, columns: Columns, is_shard: bool) -> Iterator[tuple[str, str]]:
    """Yield `(place, line without its end)`."""
    if is_shard:
        rows = read_columns(member.stream, member.where, "parquet", [columns.text])
        for place, (text,) in rows:
            for line in text.removesuffix("\n").split("\n"):
                yield place, line.removesuffix("\r")
    else:
        for number, line in enumerate(read_lines(member.stream, member.where), start=1):
            yield f"line {number}", line.removesuffix("\n")
