"""Where a text may be cut so that the ids of its pieces are the ids of the text."""

import enum
import json
from typing import Any

from tokenizers import Tokenizer

# Normalizers that give a text what they give its words, white space between them.
_LOCAL_NORMALIZERS = {"BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"}
_DROP_WHITE_SPACE = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}


class Splitting(enum.Enum):
    """Where a text may be cut so that the pieces' ids add up to the text's."""

    AT_PUNCTUATION = "white space belongs to no token, punctuation marks are words of their own"
    AT_WHITE_SPACE = "white space belongs to no token"
    BEFORE_SPACES = "a space belongs to the word after it"
    AT_LINES = "only lines are known to be independent"


def splitting_of(tokenizer: Tokenizer) -> Splitting:
    """Decide where texts may be cut from the tokenizer's own description of itself."""
    parts = json.loads(tokenizer.to_str())
    if not _is_local(parts["normalizer"]) or parts["model"].get("dropout"):
        return Splitting.AT_LINES
    if any(not token["special"] for token in parts["added_tokens"]):
        # They are found in the raw text, before any rule about white space.
        return Splitting.AT_LINES
    kind = (parts["pre_tokenizer"] or {}).get("type")
    if kind == "BertPreTokenizer" and _never_composes(parts["normalizer"]):
        return Splitting.AT_PUNCTUATION
    if kind in _DROP_WHITE_SPACE:
        return Splitting.AT_WHITE_SPACE
    if (kind == "ByteLevel" and parts["pre_tokenizer"]["use_regex"]) or (
        kind == "Metaspace" and parts["pre_tokenizer"]["split"]
    ):
        return Splitting.BEFORE_SPACES
    return Splitting.AT_LINES


def _is_local(normalizer: dict[str, Any] | None) -> bool:
    if normalizer is None:
        return True
    if normalizer["type"] == "Sequence":
        return all(map(_is_local, normalizer["normalizers"]))
    return normalizer["type"] in _LOCAL_NORMALIZERS


def lowercases(tokenizer: Tokenizer) -> bool:
    """Return whether BERT's normalizer lowercases; any other, or none, does not."""
    normalizer = json.loads(tokenizer.to_str())["normalizer"]
    return normalizer is not None and normalizer["lowercase"]


def _never_composes(normalizer: dict[str, Any] | None) -> bool:
    """Whether a mark after punctuation stays one: NFC makes `=` and U+0338 one letter."""
    return normalizer is None or normalizer["type"] == "BertNormalizer"
