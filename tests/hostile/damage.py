"""What becomes of files on disks, in mails and under hands: damage drawn from a seed."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[bytes], bytes]

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "minus one": -1,
    "a fraction": 2.5,
    "ten million": 10_000_000,
    "a large number": 10**30,
    "infinity": float("inf"),
    "NaN": float("nan"),
    "no text": "",
    "text": "x",
    "digits": "12",
    "a list": [],
    "a list of lists": [[1], [2]],
    "an object": {},
    "an object of null": {"0": None},
    "half of a surrogate pair": "\ud800",
    "a long text": "x" * 5000,
}
"""Values of the wrong type or size for nearly every key."""

WHOLE_FILES: dict[str, Damage] = {
    "empty": lambda content: b"",
    "a third": lambda content: content[: len(content) // 3],
    "all but the last byte": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
    "an empty object": lambda content: b"{}",
    "an empty list": lambda content: b"[]",
    "a number": lambda content: b"7",
    "null": lambda content: b"null",
    "a text": lambda content: b'"x"',
    "half of an object": lambda content: b'{"metrics": {"score": 0.',
    "deep lists": lambda content: b"[" * 100_000,
    "deep objects": lambda content: b'{"a":' * 100_000,
    "UTF-16": lambda content: "{}".encode("utf-16"),
    "bytes that are no text": lambda content: b"\xff\xfe\x00\x01" * 64,
    "a web page": lambda content: b"<!DOCTYPE html><html><body>404</body></html>",
    "a pointer of Git LFS": lambda content: b"version https://git-lfs.github.com/spec/v1\noid x\n",
    "a number of 5,000 digits": lambda content: b'{"score": ' + b"9" * 5000 + b"}",
}
"""Damage that needs no knowledge of a file; most of it is of JSON."""


def flipped(seed: str) -> Damage:
    """Return the damage of one bit of 16 bytes that a seed draws."""

    def damage(content: bytes) -> bytes:
        rng, changed = random.Random(seed), bytearray(content)
        for _ in range(16):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)

    return damage


def changed(*path: str, value: Any) -> Damage:
    """Return the damage of one value of a JSON file, at this path of keys and numbers."""

    def damage(content: bytes) -> bytes:
        whole = json.loads(content)
        place = whole
        for step in path[:-1]:
            place = place[int(step) if isinstance(place, list) else step]
        last: Any = int(path[-1]) if isinstance(place, list) else path[-1]
        place[last] = value
        return json.dumps(whole).encode()

    return damage


def without(*path: str) -> Damage:
    """Return the damage of a JSON file that lacks the key at the end of this path."""

    def damage(content: bytes) -> bytes:
        whole = json.loads(content)
        place = whole
        for step in path[:-1]:
            place = place[int(step) if isinstance(place, list) else step]
        del place[path[-1]]
        return json.dumps(whole).encode()

    return damage


def of_keys(values: Any, seed: str, each: int, path: tuple[str, ...] = ()) -> dict[str, Damage]:
    """Return, for every key of a JSON object and those below it, damage that a seed draws.

    each: how many of `VALUES` a key gets, besides being left out.
    """
    found: dict[str, Damage] = {}
    for key, value in values.items():
        place = (*path, key)
        name = ".".join(place)
        found[f"without {name}"] = without(*place)
        for wrong in random.Random(f"{seed} {name}").sample(list(VALUES), each):
            found[f"{name} is {wrong}"] = changed(*place, value=VALUES[wrong])
        if isinstance(value, dict):
            found |= of_keys(value, seed, each, place)
    return found


def damage_file(path: Path, damage: Damage) -> None:
    """Replace a file by what the damage makes of it; what is linked elsewhere stays whole."""
    content = damage(path.read_bytes())
    path.unlink()
    path.write_bytes(content)
