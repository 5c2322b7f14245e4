"""A setting stands once: a field of a dataclass with type, default, bounds and help.

The flags of a script are made from such a class here, with the standard library alone. The
workflow checks `config.yaml` by the same classes in `cloze.settings.checking`, and
`cloze.settings.schema` describes them to a reader.
"""

import argparse
import functools
import operator
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from cloze.cli import Number

Settings = TypeVar("Settings")

Name = Annotated[str, "name"]
"""An entry of a table in `config.yaml`, and so a folder of results."""
Sha256 = Annotated[str, "sha256"]
"""64 hexadecimal digits."""
Duration = Annotated[float, "duration"]
"""Seconds; written as 90s, 20m or 1.5h, and kept as written in a checked configuration."""

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
REQUIRED: Any = MISSING


@dataclass(frozen=True)
class Bounds:
    """What a value must keep to; of a list each item, of a mapping each value.

    `above` is itself excluded. A list holds at least `fewest` items, none twice if `unique`.
    """

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    fewest: int = 0
    unique: bool = False


def setting(default: Any, help: str, *, is_flag: bool = True, **bounds: Any) -> Any:
    """Return a dataclass field; `bounds` are the fields of `Bounds`.

    `default` is a value, a function that makes one, or `REQUIRED`. Keys of `config.yaml` that
    name inputs or other entries have no flag of their own.
    """
    metadata = {"help": help, "is_flag": is_flag, "bounds": Bounds(**bounds)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Key:
    """A setting as its class declares it; `type` without the None of what may be unset."""

    name: str
    type: Any
    field: "Field[Any]"

    @property
    def flag(self) -> str:
        """The name of its flag."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def help(self) -> str:
        """What it means."""
        return str(self.field.metadata["help"])

    @property
    def is_flag(self) -> bool:
        """Whether a script has a flag of this name."""
        return bool(self.field.metadata["is_flag"])

    @property
    def bounds(self) -> Bounds:
        """What its values keep to."""
        bounds: Bounds = self.field.metadata["bounds"]
        return bounds

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def default(self) -> Any:
        """The value where none is given; `MISSING` if it must be."""
        if self.field.default_factory is not MISSING:
            return self.field.default_factory()
        return self.field.default

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return get_origin(self.type) is list

    @property
    def number(self) -> Number | None:
        """The numbers that it admits, if it is one, or a list or mapping of them."""
        kind = get_args(self.type)[-1] if get_origin(self.type) in (list, dict) else self.type
        if kind not in (int, float):
            return None
        return Number(kind, self.bounds.minimum, self.bounds.above, self.bounds.maximum)


@functools.cache
def keys_of(cls: type, beside: type | None = None) -> tuple[Key, ...]:
    """Return the settings of a class, those that are no flags first.

    Settings that `beside` has too are left out.
    """
    hints = get_type_hints(cls, include_extras=True)
    others = {found.name for found in fields(beside)} if beside else set()
    keys = [
        Key(found.name, _without_none(hints[found.name]), found)
        for found in fields(cls)
        if found.name not in others
    ]
    return tuple(sorted(keys, key=lambda key: key.is_flag))


def _without_none(hint: Any) -> Any:
    if NoneType not in get_args(hint):
        return hint
    # What remains of `A | None` is A, of `A | B | None` it is `A | B`.
    return functools.reduce(operator.or_, (a for a in get_args(hint) if a is not NoneType))


def add_flags(
    container: argparse._ActionsContainer, cls: type, beside: type | None = None, **defaults: Any
) -> None:
    """Add a flag for each setting of a class to a parser or a group of one.

    Settings that `beside` has too are left out; `defaults` are a script's own.
    """
    for key in keys_of(cls, beside):
        if key.is_flag:
            default = defaults.get(key.name, key.default)
            options = {} if key.is_required else {"default": default}
            container.add_argument(
                key.flag,
                **_options(key),
                **options,
                required=key.is_required,
                help=key.help.replace("%", "%%"),
            )


def _options(key: Key) -> dict[str, Any]:
    """Return how argparse reads the values of a setting."""
    if key.type is bool:
        return {"action": argparse.BooleanOptionalAction}
    several = {"nargs": "+"} if key.is_list else {}
    if key.bounds.choices:
        return {"choices": key.bounds.choices, **several}
    if key.type is Duration:
        return {"type": duration, **several}
    return {"type": key.number or str, **several}


def duration(text: str) -> float:
    """argparse type: seconds from text such as `90s`, `20m`, `1.5h` or `600`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 20m or 1.5h")
    return float(found[1]) * _SECONDS[found[2]]


def from_args(cls: type[Settings], args: argparse.Namespace) -> Settings:
    """Return the settings of a class that a command line gives."""
    keys = keys_of(cls)  # type: ignore[arg-type]
    return cls(**{key.name: getattr(args, key.name) for key in keys})


def script_values(settings: Any, cls: type) -> dict[str, Any]:
    """Return the values that a script gets of a checked entry: times in seconds."""
    values = {key.name: (key.type, getattr(settings, key.name)) for key in keys_of(cls)}
    return {
        name: duration(value) if kind == Duration and value is not None else value
        for name, (kind, value) in values.items()
    }


def render_flags(
    settings: Any, cls: type | None = None, *, without: type | None = None
) -> list[str]:
    """Return `["--max-length", "128", …]` for settings, of `cls` alone and not of `without`.

    A list follows its flag. A switch appears where it differs from its default, as `--key` or
    `--no-key`. What has no value, or an empty one, is left out: quoted for a shell among others
    an empty text would vanish.
    """
    left_out = {key.name for key in keys_of(without)} if without else set()
    return [
        text
        for key in keys_of(cls or type(settings))
        if key.is_flag and key.name not in left_out
        for text in _rendered(key, getattr(settings, key.name))
    ]


def _rendered(key: Key, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        if value != key.default:
            yield key.flag if value else f"--no-{key.flag.removeprefix('--')}"
    elif value not in (None, "", []):
        yield key.flag
        yield from map(_text, value if isinstance(value, list) else [value])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)
