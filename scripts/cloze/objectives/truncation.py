"""What a text keeps that is longer than the encoder may read."""

from cloze.errors import ClozeError

# Sun et al. 2019, §5.3.1: of 510 tokens the first 128 and the last 382.
_HEAD_SHARE = 128 / 510
MIN_MAX_LENGTH = 4


def check_max_length(max_length: int, max_position_embeddings: int) -> None:
    """Raise `ClozeError` if the encoder cannot read texts of `max_length` tokens."""
    if max_length < MIN_MAX_LENGTH:
        raise ClozeError(
            f"--max-length {max_length}: leaves no room for a text beside [CLS] and [SEP]; "
            f"use {MIN_MAX_LENGTH} or more"
        )
    if max_length > max_position_embeddings:
        raise ClozeError(
            f"--max-length {max_length}: the encoder has {max_position_embeddings} positions; "
            "use that many or fewer"
        )


def truncate(ids: list[int], room: int, truncation: str) -> list[int]:
    """Return at most `room` tokens of a text.

    truncation: `head` keeps its start, `tail` its end, `head+tail` a quarter from its
    start and the rest from its end (Sun et al. 2019, §5.3.1).
    """
    if len(ids) <= room:
        return ids
    head = {"head": room, "tail": 0, "head+tail": round(room * _HEAD_SHARE)}[truncation]
    return ids[:head] + ids[len(ids) - (room - head) :]


def truncate_pair(
    first: list[int], second: list[int], room: int, truncation: str
) -> tuple[list[int], list[int]]:
    """Return two texts that have at most `room` tokens together.

    The longer one is cut until both are equally long, then both (`longest_first` in Hugging
    Face); an odd token is the first one's. Each is cut as `truncate` says.
    """
    second_room = max(room // 2, room - len(first))
    second = truncate(second, second_room, truncation)
    return truncate(first, room - len(second), truncation), second
