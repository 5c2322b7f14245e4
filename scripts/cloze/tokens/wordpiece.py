"""Train a WordPiece vocabulary that comes out the same every time."""

import sys
from collections.abc import Callable, Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from cloze.tokens.alphabet import CODE_POINTS, Alphabet, find_alphabet
from cloze.tokens.tokenizer import CONTINUATION, SPECIAL_TOKENS, bert_tokenizer

# Long enough for scripts that put no space between words, where BERT's 100 is not.
MAX_INPUT_CHARS_PER_WORD = 1000


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
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        # The trainer gives ids to `##` characters in the order of a randomly seeded
        # hash table, and later ties follow these ids. Listed here, they get theirs first.
        special_tokens=[*SPECIAL_TOKENS, *continuations],
        initial_alphabet=alphabet.characters,
        limit_alphabet=CODE_POINTS,
        continuing_subword_prefix=CONTINUATION,
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(alphabet.without_dropped(texts(), normalizer), trainer)
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    return bert_tokenizer(vocab, normalizer, MAX_INPUT_CHARS_PER_WORD), alphabet
