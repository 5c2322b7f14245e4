"""Train tokenizers: WordPiece, BPE of characters and of bytes, Unigram.

Each comes with the characters of its corpus, every one of which belongs into the vocabulary,
and, but for Unigram, comes out the same every time.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from cloze.cli import draws_progress
from cloze.errors import ClozeError
from cloze.tokens.tokenizer import CONTINUATION, SPECIAL_TOKENS, add_framing, bert_tokenizer

_COMPOSED = {"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}
_DECOMPOSED = {"none": normalizers.NFD, "nfc": normalizers.NFD, "nfkc": normalizers.NFKD}
_CODE_POINTS = 0x110000
# Long enough for scripts that put no space between words, where BERT's 100 is not.
MAX_INPUT_CHARS_PER_WORD = 1000
END_OF_WORD = "</w>"
_WORD_START = "▁"
# Besides the corpus's own: white space that a task's texts may hold, and what spells a
# special token, so that a text which does can be told in ordinary pieces.
_EXTRA_CHARACTERS = sorted({"\n", "\t", *"".join(SPECIAL_TOKENS)})


def in_unicode_form(form: str, normalizer: normalizers.Normalizer) -> normalizers.Normalizer:
    """Return a normalizer that first brings a text to a form, `none`, `nfc` or `nfkc`."""
    if form == "none":
        return normalizer
    return normalizers.Sequence([_COMPOSED[form](), normalizer])


def text_normalizer(
    *, lowercase: bool, strip_accents: bool, unicode_normalization: str
) -> normalizers.Normalizer:
    """Return a normalizer that adds no spaces, as BERT's does around Han characters.

    `unicode_normalization` is `none`, `nfc` or `nfkc`.
    """
    steps: list[normalizers.Normalizer] = []
    if strip_accents:
        # Composed again, or Hangul would stay in pieces.
        decomposed = _DECOMPOSED[unicode_normalization]()
        steps += [decomposed, normalizers.StripAccents(), normalizers.NFC()]
    elif unicode_normalization != "none":
        steps.append(_COMPOSED[unicode_normalization]())
    if lowercase:
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps)


@dataclass(frozen=True)
class Alphabet:
    """The characters of a corpus after normalisation.

    `characters`: those kept, in code point order. `of_words`: those of them that may
    stand beside others in one word, so not punctuation and not Han, say. `dropped`:
    those left out. `white_space`: the white space of the corpus, in none of the others.
    """

    characters: list[str]
    of_words: list[str]
    dropped: list[str]
    white_space: list[str]

    def require_room(self, needed: int, vocab_size: int) -> None:
        """Raise `ClozeError` if the `needed` tokens are more than `vocab_size`."""
        if needed > vocab_size:
            raise ClozeError(
                f"vocab_size of {vocab_size} is too small: the special tokens and the "
                f"{len(self.characters)} characters of the corpus need {needed}; "
                "raise vocab_size or keep fewer characters with limit_alphabet"
            )

    def without_dropped(
        self, texts: Iterable[str], normalizer: normalizers.Normalizer
    ) -> Iterable[str]:
        """Put spaces for dropped characters: they will be unknown, so they teach no merges."""
        if not self.dropped:
            return texts
        blanks = str.maketrans(dict.fromkeys(self.dropped, " "))
        return (normalizer.normalize_str(text).translate(blanks) for text in texts)


def find_alphabet(texts: Iterable[str], normalizer: normalizers.Normalizer, limit: int) -> Alphabet:
    """Collect the characters that words and punctuation are made of.

    With `limit` above 0 keeps the most frequent, the lower code point first among
    equals. Raises `ClozeError` if the texts hold no character but white space.
    """
    counts = _count_characters(texts, normalizer)
    found = [chr(point) for point in np.flatnonzero(counts)]
    white_space = [c for c in found if _pieces(f"a {c}", normalizer) == 1]
    seen = np.setdiff1d(np.flatnonzero(counts), [ord(c) for c in white_space])
    if not len(seen):
        raise ClozeError("the corpus is empty: there is no text to train a vocabulary on")
    by_frequency = seen[np.lexsort((seen, -counts[seen]))]
    kept = np.sort(by_frequency[:limit] if limit else by_frequency)
    characters = [chr(point) for point in kept]
    return Alphabet(
        characters=characters,
        of_words=[c for c in characters if _pieces(f"a{c}", normalizer) == 1],
        dropped=[chr(point) for point in np.setdiff1d(seen, kept)],
        white_space=white_space,
    )


def _count_characters(texts: Iterable[str], normalizer: normalizers.Normalizer) -> np.ndarray:
    """Return how often each code point occurs in the normalised texts, int64 [_CODE_POINTS]."""
    # BERT's normalizer sees one character at a time, so each distinct one is normalised once.
    if not isinstance(normalizer, normalizers.BertNormalizer):
        texts = map(normalizer.normalize_str, texts)
    raw = np.zeros(_CODE_POINTS, np.int64)
    for text in texts:
        counted = np.bincount(np.frombuffer(text.encode("utf-32-le"), np.uint32))
        raw[: len(counted)] += counted
    counts = np.zeros(_CODE_POINTS, np.int64)
    for point in np.flatnonzero(raw):
        for character in normalizer.normalize_str(chr(point)):
            counts[ord(character)] += raw[point]
    return counts


def _pieces(text: str, normalizer: normalizers.Normalizer) -> int:
    """How many words and punctuation marks BERT's pipeline sees in `text`."""
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))


def train_wordpiece(
    texts: Callable[[], Iterable[str]],
    normalizer: normalizers.Normalizer,
    *,
    vocab_size: int,
    min_frequency: int,
    limit_alphabet: int,
) -> tuple[Tokenizer, Alphabet]:
    """Train a vocabulary of at most `vocab_size` tokens; `texts` is called twice.

    The special tokens have ids 0 to 4. Pairs seen fewer than `min_frequency` times
    are not merged. `limit_alphabet` keeps only that many of the most frequent
    characters; 0 keeps all. Each one kept can begin and continue a word, so no text
    made of these characters has an unknown word, even one the corpus never held.

    Raises `ClozeError` if there is no text or if the characters alone need more than
    `vocab_size` tokens.
    """
    alphabet = find_alphabet(texts(), normalizer, limit_alphabet)
    continuations = [CONTINUATION + character for character in alphabet.of_words]
    needed = len(SPECIAL_TOKENS) + len(alphabet.characters) + len(continuations)
    alphabet.require_room(needed, vocab_size)
    tokenizer = _pipeline(
        models.WordPiece(unk_token="[UNK]"), normalizer, pre_tokenizers.BertPreTokenizer()
    )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        # The trainer gives ids to `##` characters in the order of a randomly seeded
        # hash table, and later ties follow these ids. Listed here, they get theirs first.
        special_tokens=[*SPECIAL_TOKENS, *continuations],
        initial_alphabet=alphabet.characters,
        limit_alphabet=_CODE_POINTS,
        continuing_subword_prefix=CONTINUATION,
        show_progress=draws_progress(),
    )
    tokenizer.train_from_iterator(alphabet.without_dropped(texts(), normalizer), trainer)
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    return bert_tokenizer(vocab, normalizer, MAX_INPUT_CHARS_PER_WORD), alphabet


def train_bpe(
    texts: Callable[[], Iterable[str]],
    normalizer: normalizers.Normalizer,
    *,
    vocab_size: int,
    min_frequency: int,
    limit_alphabet: int,
) -> tuple[Tokenizer, Alphabet]:
    """Train merges of characters within words; the last piece of a word ends in `</w>`.

    Words and punctuation marks are BERT's. Parameters, ids of the special tokens and
    errors are those of `train_wordpiece`. Each character kept can stand anywhere in a
    word; any other is `[UNK]` by itself.
    """
    alphabet = find_alphabet(texts(), normalizer, limit_alphabet)
    ends = [character + END_OF_WORD for character in alphabet.characters]
    alphabet.require_room(len(SPECIAL_TOKENS) + 2 * len(ends), vocab_size)
    tokenizer = _pipeline(
        models.BPE(unk_token="[UNK]", end_of_word_suffix=END_OF_WORD),
        normalizer,
        pre_tokenizers.BertPreTokenizer(),
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        # Listed for the reason that `train_wordpiece` has: ids in hash order otherwise.
        special_tokens=[*SPECIAL_TOKENS, *ends],
        initial_alphabet=alphabet.characters,
        limit_alphabet=_CODE_POINTS,
        end_of_word_suffix=END_OF_WORD,
        show_progress=draws_progress(),
    )
    tokenizer.train_from_iterator(alphabet.without_dropped(texts(), normalizer), trainer)
    return _finished_bpe(tokenizer, decoders.BPEDecoder(suffix=END_OF_WORD)), alphabet


def train_byte_level_bpe(
    texts: Callable[[], Iterable[str]],
    normalizer: normalizers.Normalizer,
    *,
    vocab_size: int,
    min_frequency: int,
) -> Tokenizer:
    """Train merges of UTF-8 bytes, with the words of GPT-2: nothing is ever unknown.

    A space belongs to the word after it. Decoding gives the normalised text back byte
    for byte. Raises `ClozeError` if there is no text or `vocab_size` has no room for the
    256 bytes and the special tokens.
    """
    needed = len(SPECIAL_TOKENS) + len(pre_tokenizers.ByteLevel.alphabet())
    if needed > vocab_size:
        raise ClozeError(
            f"vocab_size of {vocab_size} is too small: the special tokens and the 256 bytes "
            f"need {needed}; raise vocab_size"
        )
    # As in RoBERTa and ModernBERT a text does not gain a space at its start.
    tokenizer = _pipeline(
        models.BPE(), normalizer, pre_tokenizers.ByteLevel(add_prefix_space=False)
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=draws_progress(),
    )
    seen_text = False

    def lines() -> Iterable[str]:
        nonlocal seen_text
        for text in texts():
            # Texts are encoded line by line, so nothing that spans lines is worth a token.
            for line in text.split("\n"):
                seen_text = seen_text or bool(line.strip())
                yield line

    tokenizer.train_from_iterator(lines(), trainer)
    if not seen_text:
        raise ClozeError("the corpus is empty: there is no text to train a vocabulary on")
    return _finished_bpe(tokenizer, decoders.ByteLevel())


def _finished_bpe(trained: Tokenizer, decoder: decoders.Decoder) -> Tokenizer:
    """Return the trained pipeline with no special tokens but `SPECIAL_TOKENS`, and a decoder."""
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    names = ("unk_token", "end_of_word_suffix")
    options = {name: model[name] for name in names if model[name] is not None}
    return _framed(models.BPE(model["vocab"], merges, **options), trained, decoder)


def train_unigram(
    texts: Callable[[], Iterable[str]],
    normalizer: normalizers.Normalizer,
    *,
    vocab_size: int,
    limit_alphabet: int,
) -> tuple[Tokenizer, Alphabet]:
    """Train a vocabulary of at most `vocab_size` pieces; `texts` is called twice.

    A word is what stands between spaces, and begins with `▁`. The special tokens have
    ids 0 to 4. `limit_alphabet` keeps only that many of the most frequent characters,
    0 keeps all; any other is `[UNK]`. The library's trainer is not deterministic: pieces
    and their scores differ a little from one training to the next.

    Raises `ClozeError` if there is no text or if the characters alone need more than
    `vocab_size` tokens.
    """
    alphabet = find_alphabet(texts(), normalizer, limit_alphabet)
    required = {_WORD_START, *_EXTRA_CHARACTERS, *alphabet.characters, *alphabet.white_space}
    # The library's trainer overshoots unless one piece fits besides the characters.
    needed = len(SPECIAL_TOKENS) + len(required - {" "}) + 1
    alphabet.require_room(needed, vocab_size)
    tokenizer = _pipeline(
        models.Unigram(), normalizer, pre_tokenizers.Metaspace(prepend_scheme="first")
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        unk_token="[UNK]",
        initial_alphabet=_EXTRA_CHARACTERS,
        show_progress=draws_progress(),
    )
    passages = alphabet.without_dropped(texts(), normalizer)
    # Texts are encoded line by line, so nothing that spans lines is worth a token.
    lines = (line for text in passages for line in text.split("\n"))
    tokenizer.train_from_iterator(lines, trainer)
    return _finished_unigram(tokenizer, required - {" "}), alphabet


def _finished_unigram(trained: Tokenizer, characters: set[str]) -> Tokenizer:
    """Put the framing around the model; what it lacks of `characters` becomes its worst pieces."""
    model = json.loads(trained.to_str())["model"]
    # A corpus with pages about [MASK] makes it an ordinary piece as well, and the trainer
    # gives the special token the best score of all: text that spells it must not become it.
    pieces = [(piece, score) for piece, score in model["vocab"] if piece not in SPECIAL_TOKENS]
    worst = min(score for _, score in pieces)
    pieces = _with_characters(pieces, characters, worst)
    never = 2 * worst * max(map(len, SPECIAL_TOKENS))
    special = [(token, never) for token in SPECIAL_TOKENS]
    model = models.Unigram([*special, *pieces], unk_id=model["unk_id"])
    return _framed(model, trained, decoders.Metaspace(prepend_scheme="first"))


def _with_characters(
    pieces: list[tuple[str, float]], characters: set[str], score: float
) -> list[tuple[str, float]]:
    """Exchange the worst longer pieces for the characters that the trained text had not."""
    missing = sorted(characters - {piece for piece, _ in pieces})
    longer = sorted((score, piece) for piece, score in pieces if len(piece) > 1)
    given_up = {piece for _, piece in longer[: len(missing)]}
    kept = [(piece, score) for piece, score in pieces if piece not in given_up]
    return kept + [(character, score) for character in missing]


def _pipeline(
    model: models.Model,
    normalizer: normalizers.Normalizer,
    pre_tokenizer: pre_tokenizers.PreTokenizer,
) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    return tokenizer


def _framed(model: models.Model, trained: Tokenizer, decoder: decoders.Decoder) -> Tokenizer:
    tokenizer = _pipeline(model, trained.normalizer, trained.pre_tokenizer)
    tokenizer.decoder = decoder
    add_framing(tokenizer)
    return tokenizer
