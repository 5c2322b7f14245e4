"""Libraries that only some uses need."""

import importlib
from types import ModuleType

from cloze.errors import ClozeError


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
