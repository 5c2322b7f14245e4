"""Check what `config.yaml` holds against the settings' classes, by pydantic.

YAML reads `1e-3` as text and `snakemake --config flag=true` passes text, so a value is first
brought to the type of its setting and then checked. Every problem is a `ClozeError` that
names the full path of the key. No script that a machine without pydantic runs imports this.
"""

import contextlib
import difflib
import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, is_dataclass, make_dataclass
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from cloze.errors import ClozeError
from cloze.settings.entries import Configuration
from cloze.settings.fields import Bounds, Duration, Key, Name, Sha256, keys_of

_RESERVED = ("best", "documents", "imported", "scratch", "tasks")
_SENTENCES = {
    "greater_than_equal": "{value} is too small; the least is {ge:g}",
    "greater_than": "{value} is too small; it must be above {gt:g}",
    "less_than_equal": "{value} is too large; the most is {le:g}",
    "string_pattern_mismatch": "{value!r} does not have the form {pattern}",
    "too_short": "the list needs at least {min_length} entries",
    "dict_type": "expected a mapping of keys to values, got {value!r}",
}


def check(raw: Mapping[str, Any]) -> Configuration:
    """Return what `raw` says, coerced and completed with defaults.

    A key whose value is null counts as absent. Raises `ClozeError` at the first problem.
    """
    try:
        found: Configuration = adapter().validate_python(_without_nulls(raw))
    except ValidationError as error:
        raise ClozeError(_sentence(error.errors()[0])) from None
    return found


@functools.cache
def adapter() -> TypeAdapter[Any]:
    """Return what checks a whole configuration and knows its JSON schema."""
    return TypeAdapter(_checked(Configuration, Bounds()))


def require_known(name: str, known: Iterable[str], table: str, path: str) -> None:
    """Raise `ClozeError` that names `path` unless `name` is one of those in `table`."""
    known = list(known)
    if name not in known:
        raise ClozeError(
            f"config: {path}: {name!r} is not in {table}{_nearest(name, known)} "
            f"(known: {', '.join(known) or 'none'})"
        )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nulls(v) for key, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value


def _sentence(error: Any) -> str:
    about = error.get("ctx", {})
    path = ""
    for step in error["loc"]:
        if isinstance(step, int):
            path += f"[{step}]"
        # Tags of alternatives and pydantic's own "[key]" are no part of the user's path.
        elif not step.startswith(("<", "[")):
            path = _join(path, step)
    if error["type"] == "unknown":
        problem = f"unknown key; {_suggestion(path, about['key'], about['known'])}"
    elif template := _SENTENCES.get(error["type"]):
        problem = template.format(value=error["input"], **about)
    else:
        problem = error["msg"]
    path = _join(path, about["key"]) if "key" in about else path
    # A key may hold whatever YAML can spell.
    place = path if path.isprintable() else ascii(path)
    return f"config: {place or 'top level'}: {problem}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _suggestion(path: str, key: str, known: Iterable[str]) -> str:
    places = [place for name, place in _all_keys(Configuration, "") if name == key]
    if any(_is_place(place, _join(path, key)) for place in places):
        return (
            "it goes with another kind of entry; leave it out, or set it to null where another "
            f"file gives it ({key}: null)"
        )
    if close := difflib.get_close_matches(key, known, n=1):
        return f"did you mean {_join(path, close[0])}?"
    # Of several places that of the fewest steps.
    all_keys = sorted(_all_keys(Configuration, ""), key=lambda found: found[1].count("."))
    elsewhere = dict(reversed(all_keys))
    if close := difflib.get_close_matches(key, elsewhere, n=1, cutoff=0.8):
        return f"did you mean {elsewhere[close[0]]}?"
    return f"known here: {', '.join(known)}"


def _is_place(place: str, path: str) -> bool:
    """Tell whether a path is this place, in which NAME stands for what the user chose."""
    steps, given = place.split("."), path.split(".")
    return len(steps) == len(given) and all(
        step in ("NAME", name) for step, name in zip(steps, given, strict=True)
    )


def _all_keys(hint: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every key with its path; a name that the user chooses reads NAME."""
    if _is_class(hint):
        for key in keys_of(hint):
            place = _join(path, key.name)
            yield key.name, place
            yield from _all_keys(key.type, place)
    elif get_origin(hint) is dict:
        yield from _all_keys(get_args(hint)[1], f"{path}.NAME")
    else:
        for inner in get_args(hint):
            yield from _all_keys(inner, path)


def _nearest(name: Any, known: Iterable[Any]) -> str:
    close = difflib.get_close_matches(str(name), [str(item) for item in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _is_class(hint: Any) -> bool:
    return is_dataclass(hint)


def _checked(hint: Any, bounds: Bounds) -> Any:
    """Return a setting's type as pydantic is to check it."""
    if _is_class(hint):
        return Annotated[_checked_class(hint), BeforeValidator(_known_keys(hint))]
    if hint in _LEAVES:
        return _checked_leaf(hint, bounds)
    inner = get_args(hint)
    if get_origin(hint) is dict:
        return GenericAlias(dict, (_checked(inner[0], Bounds()), _checked(inner[1], bounds)))
    if get_origin(hint) is list:
        items = GenericAlias(list, (_checked(inner[0], bounds),))
        least = Field(min_length=bounds.fewest or None)
        if not bounds.unique:
            return Annotated[items, least, BeforeValidator(_as_list)]
        unique = Field(json_schema_extra={"uniqueItems": True})
        return Annotated[items, least, BeforeValidator(_as_list), AfterValidator(_unique), unique]
    kinds = [Annotated[_checked(kind, bounds), Tag(f"<{n}>")] for n, kind in enumerate(inner)]
    one_of_them = functools.reduce(operator.or_, kinds)
    choose = Discriminator(_chooser(inner))
    return Annotated[one_of_them, choose, BeforeValidator(_named_rightly(inner))]


@functools.cache
def _checked_class(cls: type) -> type:
    """Return a subclass of a settings class whose types say what pydantic must check."""
    return make_dataclass(
        cls.__name__,
        [
            (
                key.name,
                Annotated[_checked(key.type, key.bounds), Field(description=key.help)],
                field(
                    default=key.field.default,
                    default_factory=key.field.default_factory,
                    metadata=key.field.metadata,
                ),
            )
            for key in keys_of(cls)
        ],
        bases=(cls,),
        namespace={"__doc__": cls.__doc__, "__pydantic_config__": {"extra": "forbid"}},
        frozen=True,
        kw_only=True,
    )


def _checked_leaf(hint: Any, bounds: Bounds) -> Any:
    coerce, kind, pattern = _LEAVES[hint]
    if bounds.choices:
        choice = AfterValidator(_one_of(bounds.choices))
        enum = Field(json_schema_extra={"enum": list(bounds.choices)})
        return Annotated[kind, BeforeValidator(coerce), choice, enum]
    limits = Field(ge=bounds.minimum, gt=bounds.above, le=bounds.maximum, pattern=pattern)
    if hint is not Name:
        return Annotated[kind, limits, BeforeValidator(coerce)]
    free = Field(json_schema_extra={"not": {"enum": list(_RESERVED)}})
    return Annotated[kind, limits, BeforeValidator(coerce), AfterValidator(_unreserved), free]


def _known_keys(cls: type) -> Callable[[Any], Any]:
    """Return a check that a mapping has no keys but those of a class, and all it requires."""
    keys = {key.name: key for key in keys_of(cls)}

    def check_keys(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _problem(f"expected a mapping of keys to values, got {value!r}")
        for name in value:
            if name not in keys:
                raise PydanticCustomError("unknown", "unknown", {"key": name, "known": [*keys]})
        for key in keys.values():
            if key.is_required and key.name not in value:
                raise _problem(f"missing; add this key ({key.help})", key=key.name)
        return value

    return check_keys


def _problem(message: str, **about: str) -> PydanticCustomError:
    """Return what a check raises; `key` in `about` is the key below that is at fault."""
    return PydanticCustomError("problem", "{message}", {"message": message, **about})


def _chooser(kinds: tuple[Any, ...]) -> Callable[[Any], str]:
    """Return how one of several kinds of value is chosen.

    A mapping is of the class whose required keys it has, or else of the first one; a list is of
    the kind for lists where there is one beside others.
    """
    classes = {f"<{n}>": kind for n, kind in enumerate(kinds) if _is_class(kind)}
    others = {f"<{n}>": kind for n, kind in enumerate(kinds) if not _is_class(kind)}
    of_lists = next((tag for tag, kind in others.items() if get_origin(kind) is list), None)

    def choose(value: Any) -> str:
        if isinstance(value, list | tuple) and of_lists:
            return of_lists
        if not isinstance(value, Mapping):
            return next(iter({**others, **classes}))
        fitting = (tag for tag, cls in classes.items() if _fits(cls, value))
        return next(fitting, next(iter(classes)))

    return choose


def _fits(cls: type, value: Mapping[str, Any]) -> bool:
    required = [key for key in keys_of(cls) if key.is_required]
    return all(
        key.name in value and (not _names_class(key) or value[key.name] in key.bounds.choices)
        for key in required
    )


def _names_class(key: Key) -> bool:
    """Return whether a key has but one value, by which its class is known."""
    return len(key.bounds.choices) == 1


def _named_rightly(kinds: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Return a check that a mapping says which of several classes it is, where a key does."""
    naming = [key for cls in kinds if _is_class(cls) for key in keys_of(cls) if _names_class(key)]
    known = [choice for key in naming for choice in key.bounds.choices]

    def check_name(value: Any) -> Any:
        for key in naming if isinstance(value, Mapping) else ():
            if value.get(key.name) not in known:
                found = f"is {value[key.name]!r}" if key.name in value else "is missing"
                raise _problem(f"{found}; choose one of: {', '.join(known)}", key=key.name)
        return value

    return check_name


def _as_list(value: Any) -> Any:
    """A single value counts as a list of one."""
    if isinstance(value, Mapping):
        raise _problem(f"expected a list, got {value!r}")
    return list(value) if isinstance(value, list | tuple) else [value]


def _unique(items: list[Any]) -> list[Any]:
    if len(set(items)) < len(items):
        raise _problem("an entry stands in the list twice")
    return items


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def check_choice(value: str) -> str:
        if value not in choices:
            raise _problem(f"{value!r} is none of: {', '.join(choices)}{_nearest(value, choices)}")
        return value

    return check_choice


def _unreserved(name: str) -> str:
    if name in _RESERVED:
        raise _problem(f"the name {name!r} is reserved for a folder of results; choose another")
    return name


def _to_number(value: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            if math.isfinite(number := float(value)):
                return number
    raise _problem(f"expected a number, got {value!r}")


def _to_integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    with contextlib.suppress(PydanticCustomError):
        if (number := _to_number(value)).is_integer():
            return int(number)
    raise _problem(f"expected a whole number, got {value!r}")


def _to_boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    if not isinstance(value, bool):
        raise _problem(f"expected true or false, got {value!r}")
    return value


def _to_text(value: Any) -> str:
    """A float is refused: YAML has already turned `1.10` into 1.1."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value
    quotes = "" if isinstance(value, list | Mapping) else "; put it in quotes"
    raise _problem(f"expected text, got {value!r}{quotes}")


# Type of a setting to what coerces a value, the type that it then has, and its form.
_LEAVES: dict[Any, tuple[Callable[[Any], Any], type, str | None]] = {
    int: (_to_integer, int, None),
    float: (_to_number, float, None),
    bool: (_to_boolean, bool, None),
    str: (_to_text, str, None),
    Name: (_to_text, str, r"^[a-z0-9][a-z0-9._-]*$"),
    Sha256: (_to_text, str, r"^[0-9a-f]{64}$"),
    Duration: (_to_text, str, r"^[0-9]+([.][0-9]+)?[smh]?$"),
}
