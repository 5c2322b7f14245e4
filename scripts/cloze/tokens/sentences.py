"""Sentence boundaries in any language: Wikimedia's `sentencex`, and what it splits too eagerly."""

import itertools
import re

import numpy as np
import sentencex

from cloze.corpus.document_reader import DocumentBatch

# A lone capital and a full stop, such as D. in Portuguese names; I., V. and X. may be numerals.
_INITIAL = re.compile(r"(?:^|[\s(\[«“\"'‘-])[^\W\d_IVX]\.$")
_OPENING = "\"'“‘«([—–-¿¡ "


def one_sentence_a_line(documents: DocumentBatch, language: str) -> DocumentBatch:
    """Return the documents with a line end after each sentence and no blank line."""
    texts = []
    for first, last in itertools.pairwise(documents.offsets.tolist()):
        text = str(documents.text[first:last].data, "utf-8")
        texts.append("\n".join(split_sentences(text, language)).encode())
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return DocumentBatch(documents.ids, np.frombuffer(b"".join(texts), np.uint8), offsets)


def split_sentences(text: str, language: str) -> list[str]:
    """Split a document into sentences; none spans a paragraph (a line).

    `language` is a code of ISO 639-1; for a language without rules of its own,
    sentencex takes those of the language it falls back to, in the end English's.
    White space between two sentences goes to the second one, as byte-level
    vocabularies expect; otherwise the pieces of a line add up to the line. Lines of
    white space alone give nothing.
    """
    sentences: list[str] = []
    for paragraph in text.split("\n"):
        if paragraph.strip():
            sentences += _joined(_lead_with_space(sentencex.segment(language, paragraph)))
    return sentences


def _joined(sentences: list[str]) -> list[str]:
    """Join what belongs together; in English and Portuguese this halves the false bounds."""
    joined: list[str] = []
    for sentence in sentences:
        if joined and _continues(joined[-1], sentence):
            joined[-1] += sentence
        else:
            joined.append(sentence)
    return joined


def _continues(before: str, sentence: str) -> bool:
    if not sentence[0].isspace() and before[-1].isascii():
        # Scripts with full stops of their own need no space after them.
        return True
    if sentence.lstrip(_OPENING)[:1].islower():
        return True
    return before[-1] == "." and before[-2:-1].isupper() and bool(_INITIAL.search(before[-3:]))


def _lead_with_space(sentences: list[str]) -> list[str]:
    moved = []
    space = ""
    for sentence in sentences:
        body = sentence.rstrip()
        if body:
            moved.append(space + body)
            space = ""
        space += sentence[len(body) :]
    return moved
