"""Fill rows with whole samples: best fit, longest sample first."""

import numpy as np


def pack_best_fit(lengths: np.ndarray, max_length: int) -> list[list[int]]:
    """Put every sample into a row whose samples' lengths add up to at most `max_length`.

    Best-fit decreasing (Johnson 1973): samples from the longest to the shortest, each
    into the fullest row that still has room, else into a new row. Equal lengths keep
    their order. Each returned row lists sample indices in ascending order, and rows
    are ordered by their first sample, so nearby text stays nearby.

    `lengths`: integers [num_samples], each from 1 to `max_length`.
    Raises `ValueError` if a length is outside that range.
    """
    if len(lengths) and not (lengths.min() >= 1 and lengths.max() <= max_length):
        raise ValueError(f"sample lengths must be from 1 to {max_length}")
    rows: list[list[int]] = []
    rows_with_room: list[list[int]] = [[] for _ in range(max_length + 1)]
    # Bit r is set where some row has room for exactly r more tokens: the lowest set
    # bit at or above a sample's length is its best fit, found without a search.
    rooms = 0
    for sample in np.argsort(-lengths.astype(np.int64), kind="stable").tolist():
        length = int(lengths[sample])
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = rows_with_room[room].pop()
            if not rows_with_room[room]:
                rooms ^= 1 << room
        else:
            room, row = max_length, len(rows)
            rows.append([])
        rows[row].append(sample)
        if room > length:
            rows_with_room[room - length].append(row)
            rooms |= 1 << (room - length)
    return sorted(sorted(row) for row in rows)
