"""Tokenizers: the BERT pipeline around a vocabulary, loading, special tokens, padding."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import require_file, write_json

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"
_ROLES = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens. `all` also holds any further token flagged as special.

    `unk` is None in a vocabulary of bytes that needs none. `separators`: how many [SEP] stand
    between the texts of a pair; RoBERTa has two.
    """

    pad: int
    unk: int | None
    cls: int
    sep: int
    mask: int
    all: frozenset[int]
    separators: int = 1

    def roles(self) -> dict[str, int]:
        """Return `{"pad": …, "unk": …, "cls": …, "sep": …, "mask": …}`, those that there are."""
        ids = {role: getattr(self, role) for role in _ROLES}
        return {role: number for role, number in ids.items() if number is not None}


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a `tokenizer.json` without padding or truncation.

    Text that spells a special token, such as `[MASK]` in a page about BERT, is
    encoded as the text it is. Raises `ClozeError` if the file is missing or is no
    tokenizer.
    """
    require_file(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    # The library raises bare `Exception` for whatever is wrong with the file.
    except Exception as error:
        raise ClozeError(
            f"{path}: not a tokenizer.json ({error}); make it again with train_tokenizer.py"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """Return the token that plays each role (`pad`, `unk`, `cls`, `sep`, `mask`).

    Knows BERT's names and RoBERTa's. Raises `ClozeError` if a role has no token; a vocabulary
    of bytes, in which nothing is unknown, may have none for `unk`.
    """
    found = {}
    for role, names in _ROLES.items():
        present = [name for name in names if tokenizer.token_to_id(name) is not None]
        if not present and role == "unk" and _is_of_bytes(tokenizer):
            continue
        if not present:
            raise ClozeError(
                f"the vocabulary has no {role} token ({' or '.join(names)}); "
                "add it or choose another vocabulary"
            )
        found[role] = present[0]
    return found


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Look up the ids of the special tokens; raises `ClozeError` if one is missing."""
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    roles = {role: vocab[name] for role, name in special_tokens(tokenizer).items()}
    added = tokenizer.get_added_tokens_decoder()
    flagged = {token_id for token_id, token in added.items() if token.special}
    every = frozenset(flagged | set(roles.values()))
    ends = (roles["cls"], roles["sep"])
    unk = roles.pop("unk", None)
    return SpecialIds(**roles, unk=unk, all=every, separators=_separators(tokenizer, *ends))


def _separators(tokenizer: Tokenizer, cls: int, sep: int) -> int:
    """Return how many [SEP] the tokenizer itself puts between the texts of a pair, 1 or 2."""
    word = tokenizer.encode("a", add_special_tokens=False).ids
    return 2 if tokenizer.encode("a", "a").ids == [cls, *word, sep, sep, *word, sep] else 1


def _is_of_bytes(tokenizer: Tokenizer) -> bool:
    """Whether every byte is a token, so that no text has an unknown one."""
    return isinstance(tokenizer.model, models.BPE) and all(
        tokenizer.token_to_id(character) is not None
        for character in pre_tokenizers.ByteLevel.alphabet()
    )


def vocab_size(tokenizer: Tokenizer) -> int:
    """Return the largest id + 1: the rows that an embedding table needs."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def bert_normalizer(
    *, lowercase: bool, strip_accents: bool, clean_text: bool, handle_chinese_chars: bool = True
) -> normalizers.Normalizer:
    """Return BERT's normalizer; `clean_text` drops control and format characters."""
    return normalizers.BertNormalizer(
        clean_text=clean_text,
        handle_chinese_chars=handle_chinese_chars,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )


def bert_tokenizer(
    vocab: Mapping[str, int], normalizer: normalizers.Normalizer, max_input_chars_per_word: int
) -> Tokenizer:
    """Return BERT's pipeline around a WordPiece vocabulary.

    A single text becomes `[CLS] A [SEP]`, a pair `[CLS] A [SEP] B [SEP]`. A word of
    more than `max_input_chars_per_word` characters becomes `[UNK]`. The decoder joins
    pieces and leaves everything else as it is. Raises `ClozeError` if the vocabulary
    lacks one of `SPECIAL_TOKENS`.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise ClozeError(f"the vocabulary lacks {' '.join(missing)}; add a line for each of them")
    tokenizer = Tokenizer(
        models.WordPiece(
            dict(vocab),
            unk_token="[UNK]",
            continuing_subword_prefix=CONTINUATION,
            max_input_chars_per_word=max_input_chars_per_word,
        )
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # Cleaning up would also rewrite text: it turns " do not" into " don't".
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION, cleanup=False)
    add_framing(tokenizer)
    return tokenizer


def add_framing(tokenizer: Tokenizer) -> None:
    """Flag `SPECIAL_TOKENS` as special and put `[CLS]` and `[SEP]` around texts and pairs.

    Where a space is part of the token after it, a space before `[MASK]` belongs to the mask, as in
    RoBERTa: in training the masked token had it, and alone it would be a token of its own.
    """
    keeps_spaces = not isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
    tokenizer.add_special_tokens(
        [
            AddedToken(name, special=True, normalized=False, lstrip=True)
            if keeps_spaces and name in _ROLES["mask"]
            else name
            for name in SPECIAL_TOKENS
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )


def pad_vocab(tokenizer: Tokenizer, multiple: int) -> int:
    """Add `[unused0]`, `[unused1]`, … until the vocabulary's size is a multiple; returns how many.

    They are flagged as special: no text gives them, and masking neither predicts nor
    draws them.
    """
    missing = -vocab_size(tokenizer) % multiple
    names = (f"[unused{number}]" for number in itertools.count())
    unused = (name for name in names if tokenizer.token_to_id(name) is None)
    tokenizer.add_special_tokens(list(itertools.islice(unused, missing)))
    return missing


def write_tokenizer_config(path: Path, tokenizer: Tokenizer) -> None:
    """Write the `tokenizer_config.json` with which `transformers` reads `tokenizer.json` as it is.

    Any narrower class than the generic one would rebuild the pipeline from the
    vocabulary and so give other ids.
    """
    names = special_tokens(tokenizer)
    write_json(
        path,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{f"{role}_token": name for role, name in names.items()},
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )


def is_wordpiece(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer's model is WordPiece."""
    return isinstance(tokenizer.model, models.WordPiece)


def tokens_by_id(tokenizer: Tokenizer) -> list[str]:
    """Return the vocabulary in the order of ids, the lines of a `vocab.txt`."""
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(vocab, key=vocab.__getitem__)


def read_vocab(path: Path) -> dict[str, int]:
    """Read a `vocab.txt`, a token a line, ids from 0 on.

    As in `transformers` each token has the number of its line, of the last one where it stands
    twice, and so does whatever follows a line that is empty: the places of those lines stay
    taken, by `[unused…]`, since weights may have been trained by these numbers. Raises
    `ClozeError` for a file that is missing, empty or not UTF-8.
    """
    try:
        text = require_file(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ClozeError(f"{path}: not UTF-8 ({error}); convert it") from error
    # Not splitlines(): characters that it takes for line ends may be tokens.
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    places = {token: number for number, token in enumerate(lines) if token}
    if not places:
        raise ClozeError(f"{path}: holds no token; name a vocabulary")
    without = [number for number, token in enumerate(lines) if places.get(token) != number]
    names = (f"[unused{number}]" for number in itertools.count())
    unused = (name for name in names if name not in places)
    if without:
        first = without[0]
        what = f"stands again as line {places[lines[first]] + 1}" if lines[first] else "is empty"
        log.warning(
            "warning: %s: line %d %s (%d such lines); every token keeps the number of its line",
            path, first + 1, what, len(without),
        )  # fmt: skip
    places |= dict(zip(unused, without, strict=False))
    return places
