"""How text becomes tokens."""

from dataclasses import dataclass

from cloze.settings.fields import setting

UNICODE_FORMS = ("none", "nfc", "nfkc")
TOKENIZER_MODELS = ("wordpiece", "bpe", "byte-level-bpe", "unigram")


@dataclass(frozen=True, kw_only=True)
class NormalizationSettings:
    """What holds for a vocab.txt that is taken over too."""

    lowercase: bool = setting(False, "turn text into lower case")
    strip_accents: bool = setting(False, "strip accents from letters")
    unicode_normalization: str = setting(
        "none",
        "nfc: one way to write each accented letter; nfkc: no ligatures, no full width either",
        choices=UNICODE_FORMS,
    )
    pad_vocab_to_multiple_of: int = setting(
        1,
        "add unused tokens up to a multiple of this, 64 for fast matrix products on a GPU",
        minimum=1,
    )


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings(NormalizationSettings):
    """How a tokenizer is trained."""

    model: str = setting("wordpiece", "how words are made of pieces", choices=TOKENIZER_MODELS)
    vocab_size: int = setting(16384, "entries of the vocabulary at most", minimum=1)
    min_frequency: int = setting(
        2, "how often a pair of pieces must occur to become one (not for unigram)", minimum=1
    )
    limit_alphabet: int = setting(
        0,
        "keep this many of the most frequent characters, others are unknown; 0: keep all",
        minimum=0,
    )
    max_training_bytes: int | None = setting(
        None,
        "train on this much text, drawn evenly from the whole corpus; 0: on all of it; unset: 20 "
        "MB, for unigram 10 MB, less where words have no spaces between them",
        minimum=0,
    )


@dataclass(frozen=True, kw_only=True)
class ExtensionSettings:
    """How the vocabulary of an encoder from elsewhere is extended."""

    extend_vocabulary: int = setting(
        0, "learn this many new pieces from the corpus, those that shorten it most", minimum=0
    )


def refused_vocabulary(path: str) -> str | None:
    """Return why a file is none of the vocabularies that are taken over, told by its name."""
    what = None
    if path.endswith(".model"):
        what = "a SentencePiece model"
    elif path.rpartition("/")[2] == "vocab.json":
        what = "the vocabulary of a byte-level BPE without its merges"
    return what and (
        f"{path}: is {what}, not a vocab.txt or tokenizer.json; make a tokenizer.json of its "
        "folder, as AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers "
        "does"
    )
