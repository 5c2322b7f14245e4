"""How documents become rows of tokens, by two methods."""

from dataclasses import dataclass

from cloze.settings.fields import setting

SHARD_FORMATS = ("msgpack", "parquet")


@dataclass(frozen=True, kw_only=True)
class DataSetSettings:
    """What both methods have in common."""

    max_length: int = setting(
        128, "tokens in a sample at most, [CLS] and [SEP] included; at least 8", minimum=8
    )
    row_length: int | None = setting(
        None,
        "tokens in a row of samples at most; unset: max_length. Longer rows waste less padding "
        "where samples differ in length, and cost memory and attention",
        minimum=1,
    )
    num_shards: int = setting(1, "files that train is divided into", minimum=1, maximum=99999)
    format: str = setting("msgpack", "format of the shards", choices=SHARD_FORMATS)


@dataclass(frozen=True, kw_only=True)
class SegmentTextSettings(DataSetSettings):
    """Whole sentences, packed up to `max_length`."""

    language: str = setting("en", "language whose sentence rules apply, as in ISO 639-1")
    next_sentence: bool = setting(
        False,
        "make samples pairs, [CLS] A [SEP] B [SEP], whose B follows A in half of all cases and is "
        "from another document in the others",
    )


@dataclass(frozen=True, kw_only=True)
class SplitTokensSettings(DataSetSettings):
    """A document's tokens cut into samples of equal length."""

    whole_words: bool = setting(False, "never cut between the pieces of one word")
