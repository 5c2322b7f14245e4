"""SentencePiece models read without their library: a Unigram vocabulary and its normalizer.

A `.model` file is one message of protocol buffers; of `sentencepiece_model.proto` the few fields
are read that decide the tokens.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from cloze.errors import ClozeError
from cloze.files import require_file

_UNIGRAM = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Fields of ModelProto, of a piece, of the trainer's settings and of the normalizer's.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE = 1, 2
_MODEL_TYPE, _CHARSMAP = 3, 2
SPACE = "▁"
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


@dataclass(frozen=True)
class SentencePieceModel:
    """A Unigram vocabulary: pieces with their log-probabilities, by id, and the table of its
    normalizer (empty: none)."""

    pieces: list[tuple[str, float]]
    charsmap: bytes


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a SentencePiece model.

    Raises `ClozeError` for a file that is none, or holds another model than Unigram.
    """
    pieces: list[tuple[str, float]] = []
    kind, charsmap = _UNIGRAM, b""
    try:
        for number, value in _fields(require_file(path).read_bytes()):
            if not isinstance(value, bytes):
                continue
            if number == _PIECES:
                piece = dict(_fields(value))
                text, score = piece[_PIECE_TEXT], piece.get(_PIECE_SCORE, bytes(4))
                assert isinstance(text, bytes)
                assert isinstance(score, bytes)
                pieces.append((text.decode("utf-8"), struct.unpack("<f", score)[0]))
            elif number == _TRAINER:
                found = dict(_fields(value)).get(_MODEL_TYPE, _UNIGRAM)
                kind = found if isinstance(found, int) else 0
            elif number == _NORMALIZER:
                table = dict(_fields(value)).get(_CHARSMAP, b"")
                charsmap = table if isinstance(table, bytes) else b""
    except (ValueError, KeyError, AssertionError, struct.error) as error:
        raise ClozeError(f"{path}: not a SentencePiece model; fetch it again") from error
    if kind != _UNIGRAM or not pieces:
        raise ClozeError(
            f"{path}: holds no Unigram vocabulary; make a tokenizer.json of it, as "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers does"
        )
    return SentencePieceModel(pieces, charsmap)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and value of each field of a message; raises `ValueError` if it is none."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if wire == _BYTES:
            size, at = _varint(message, at)
        if size < 0 or at + size > len(message):
            raise ValueError("a field ends beyond the message")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number ends beyond the message")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has too many bytes")


def tokenizer_of_sentencepiece(path: Path, model_type: str) -> Tokenizer:
    """Return the tokenizer of XLM-R or CamemBERT around a SentencePiece model, without framing.

    model_type: `xlm-roberta` or `camembert`, which number the pieces in their own ways, as
    their tokenizers in `transformers` do.
    """
    model = read_sentencepiece(path)
    if model_type == "camembert":
        first = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>"]
        vocabulary = [(token, 0.0) for token in first] + [("<unk>NOTUSED", -100.0)]
        vocabulary += model.pieces[1:]
    else:
        vocabulary = [(token, 0.0) for token in _SPECIAL] + model.pieces[3:]
    vocabulary.append(("<mask>", 0.0))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    if model.charsmap:
        try:
            tokenizer.normalizer = normalizers.Precompiled(model.charsmap)
        # The library raises bare `Exception` for whatever is wrong with the table.
        except Exception as error:
            raise ClozeError(f"{path}: its normalizer is damaged; fetch it again") from error
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.add_special_tokens(
        [*_SPECIAL, AddedToken("<mask>", lstrip=True, special=True, normalized=False)]
    )
    return tokenizer
