"""Coerce and check a configuration by the part of JSON Schema that Cloze's schema uses.

YAML reads `1e-3` as text and `snakemake --config flag=true` passes text, so a value is
first brought to the type that the schema asks for and then checked. Every problem is a
`ClozeError` that names the full path of the key.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cloze.errors import ClozeError

Schema = Mapping[str, Any]
_WHAT = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a mapping of keys to values",
}


class SchemaReader:
    """Completes values by one schema document: coerces, checks and fills in defaults."""

    def __init__(self, document: Schema) -> None:
        self._document = document

    def complete(self, value: Any) -> Any:
        """Return `value` coerced by the whole document, defaults filled in.

        A key whose value is null counts as absent. Raises `ClozeError` at the first problem.
        """
        return self._complete(value, self._document, "")

    def section(self, *names: str) -> Schema:
        """Return the schema of one entry of a table, for example `section("corpora")`.

        Further names descend into the properties of that entry.
        """
        schema = self.resolve(self._document["properties"][names[0]])
        schema = self.resolve(schema["additionalProperties"])
        for name in names[1:]:
            schema = self.resolve(schema["properties"][name])
        return schema

    def branch(self, schema: Schema, value: Mapping[str, Any]) -> Schema:
        """Return the alternative that holds for `value`, or `schema` itself if it has none."""
        alternatives = "oneOf" in schema or "anyOf" in schema
        return self._alternative(value, schema, "") if alternatives else schema

    def resolve(self, schema: Schema) -> Schema:
        """Follow a `$ref` into `$defs`; keywords beside the reference win."""
        if "$ref" not in schema:
            return schema
        target = self._document["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {**self.resolve(target), **beside}

    def _complete(self, value: Any, schema: Schema, path: str) -> Any:
        schema = self.resolve(schema)
        if "anyOf" in schema or "oneOf" in schema:
            schema = self._alternative(value, schema, path)
        value = _coerce(value, schema.get("type"), path)
        if isinstance(value, dict):
            value = self._complete_object(value, schema, path)
        elif isinstance(value, list):
            items = schema.get("items", {})
            value = [
                self._complete(item, items, f"{path}[{position}]")
                for position, item in enumerate(value)
            ]
        _check(value, schema, path)
        return value

    def _alternative(self, value: Any, schema: Schema, path: str) -> Schema:
        """`anyOf` is chosen by type and required keys, `oneOf` by a property with a `const`.

        Where no mapping of an `anyOf` has its required keys, the first one is meant.
        """
        branches = [self.resolve(branch) for branch in schema.get("anyOf", schema.get("oneOf"))]
        if "anyOf" in schema:
            kind = "object" if isinstance(value, Mapping) else "array"
            fitting = [b for b in branches if (b["type"] == "object") == (kind == "object")]
            for branch in fitting:
                if kind == "array" or set(branch.get("required", ())) <= value.keys():
                    return branch
            if fitting:
                return fitting[0]
            raise _error(path, f"expected {' or '.join(_WHAT[b['type']] for b in branches)}")
        key = _discriminator(branches)
        given = value.get(key) if isinstance(value, Mapping) else None
        known = [branch["properties"][key]["const"] for branch in branches]
        if given not in known:
            found = "is missing" if given is None else f"is {given!r}"
            raise _error(_join(path, key), f"{found}; choose one of: {', '.join(known)}")
        return branches[known.index(given)]

    def _complete_object(self, value: Mapping[Any, Any], schema: Schema, path: str) -> Any:
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        present = {str(key): item for key, item in value.items() if item is not None}
        completed = {}
        for key in self._ordered(properties, present):
            where = _join(path, key)
            if key in properties:
                completed[key] = self._complete(present[key], properties[key], where)
            elif others is False:
                raise _error(where, f"unknown key; {self._suggest(key, properties, path)}")
            else:
                _check(key, self.resolve(schema.get("propertyNames", {})), where)
                completed[key] = self._complete(present[key], others, where)
        for key in schema.get("required", ()):
            if key not in completed:
                about = self.resolve(properties[key]).get("description", "it is required")
                raise _error(_join(path, key), f"missing; add this key ({about})")
        return completed

    def _ordered(self, properties: Schema, present: dict[str, Any]) -> Iterator[str]:
        """Keys in the order of the schema, defaults added, then the other keys as given."""
        for key, schema in properties.items():
            default = self.resolve(schema).get("default")
            if key not in present and default is not None:
                present[key] = default
            if key in present:
                yield key
        yield from [key for key in present if key not in properties]

    def _suggest(self, key: str, properties: Schema, path: str) -> str:
        close = difflib.get_close_matches(key, properties, n=1)
        if close:
            return f"did you mean {_join(path, close[0])}?"
        elsewhere = dict(reversed(list(self._all_keys(self._document, ""))))
        close = difflib.get_close_matches(key, elsewhere, n=1, cutoff=0.8)
        if close:
            return f"did you mean {elsewhere[close[0]]}?"
        return f"known here: {', '.join(properties)}"

    def _all_keys(self, schema: Schema, path: str) -> Iterator[tuple[str, str]]:
        """Every key of the schema with its path; a name that the user chooses reads NAME."""
        schema = self.resolve(schema)
        for branch in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
            yield from self._all_keys(branch, path)
        for key, child in schema.get("properties", {}).items():
            yield key, _join(path, key)
            yield from self._all_keys(child, _join(path, key))
        others = schema.get("additionalProperties")
        if isinstance(others, Mapping):
            yield from self._all_keys(others, _join(path, "NAME"))


def _discriminator(branches: Iterable[Schema]) -> str:
    for branch in branches:
        for key, schema in branch["properties"].items():
            if "const" in schema:
                return str(key)
    raise ValueError("a oneOf needs a property with a const")


def _coerce(value: Any, kind: str | None, path: str) -> Any:
    if kind is None:
        return value
    if kind == "array" and not isinstance(value, list | tuple | Mapping):
        return [value]
    convert = {
        "integer": _to_integer,
        "number": _to_number,
        "boolean": _to_boolean,
        "string": _to_text,
        "array": lambda item: list(item) if isinstance(item, list | tuple) else None,
        "object": lambda item: dict(item) if isinstance(item, Mapping) else None,
    }[kind]
    converted = convert(value)
    if converted is None:
        quotes = "; put it in quotes" if kind == "string" and _is_scalar(value) else ""
        raise _error(path, f"expected {_WHAT[kind]}, got {value!r}{quotes}")
    return converted


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, Mapping | list | tuple)


def _to_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _to_integer(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _to_number(value)
    return int(number) if number is not None and number.is_integer() else None


def _to_boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _to_text(value: Any) -> str | None:
    """A float is refused: YAML has already turned `1.10` into 1.1."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _check(value: Any, schema: Schema, path: str) -> None:
    for problem in _problems(value, schema):
        raise _error(path, problem)


def _problems(value: Any, schema: Schema) -> Iterator[str]:
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None and value not in choices:
        yield f"{value!r} is none of: {', '.join(map(str, choices))}{nearest(value, choices)}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{value} is too small; the least is {schema['minimum']}"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield f"{value} is too small; it must be above {schema['exclusiveMinimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{value} is too large; the most is {schema['maximum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{value!r} does not have the form {schema['pattern']}"
    if value in schema.get("not", {}).get("enum", ()):
        yield f"the name {value!r} is reserved for a folder of results; choose another"
    if "minItems" in schema and len(value) < schema["minItems"]:
        yield f"the list needs at least {schema['minItems']} entries"
    if schema.get("uniqueItems") and len({str(item) for item in value}) < len(value):
        yield "an entry stands in the list twice"


def nearest(name: Any, known: Iterable[Any]) -> str:
    """Return `; did you mean 'x'?` for the nearest of the known names, or an empty text."""
    close = difflib.get_close_matches(str(name), [str(item) for item in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def require_known(name: str, known: Iterable[str], table: str, path: str) -> None:
    """Raise `ClozeError` that names `path` unless `name` is one of those in `table`."""
    known = list(known)
    if name not in known:
        raise ClozeError(
            f"config: {path}: {name!r} is not in {table}{nearest(name, known)} "
            f"(known: {', '.join(known) or 'none'})"
        )


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _error(path: str, problem: str) -> ClozeError:
    return ClozeError(f"config: {path or 'top level'}: {problem}")
