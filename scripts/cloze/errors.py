"""The one exception that a user is meant to read."""

import importlib
from types import ModuleType
from typing import Any

_SHOWN_CHARACTERS = 40


class ClozeError(Exception):
    """A problem that the user can fix.

    The message names the file and the key or row at fault and says what to do;
    the command line prints it as one line, without a traceback, and exits with 1.
    """


def shortened(value: Any) -> str:
    """Return a value as a message names it."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deep {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def require_module(name: str, flag: str, extra: str, packages: str) -> ModuleType:
    """Import a library that `flag` needs; raises `ClozeError` with the command that installs it.

    extra: the name of the group of optional dependencies; packages: what is in it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ClozeError(
            f"{flag}: needs {name}, which is not installed ({error}); run: pip install {packages} "
            f"(or, in the repository: pip install -e '.[{extra}]')"
        ) from error
