"""What holds between the corpora of a configuration, which its schema cannot say."""

from collections.abc import Mapping
from typing import Any

from cloze.errors import ClozeError
from cloze.settings.schema import require_known


def require_one_kind(corpora: Any) -> None:
    """Raise `ClozeError` if an entry, as the user wrote it, is both files and a mixture."""
    for name, corpus in corpora.items() if isinstance(corpora, Mapping) else ():
        others = [key for key in corpus if key != "mixture"] if isinstance(corpus, Mapping) else []
        if others and len(others) < len(corpus):
            raise ClozeError(
                f"config: corpora.{name}.{others[0]}: a mixture is made of other corpora's "
                "documents and has no other key; leave it out"
            )


def check_mixtures(corpora: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `ClozeError` unless mixtures are made of corpora that are none themselves."""
    for name, section in corpora.items():
        path = f"corpora.{name}.mixture"
        if section.get("mixture") == {}:
            raise ClozeError(f"config: {path}: empty; name corpora with their weights")
        for part in section.get("mixture", ()):
            require_known(part, corpora, "corpora", f"{path}.{part}")
            if part == name:
                raise ClozeError(f"config: {path}.{part}: a mixture cannot hold itself")
            if "mixture" in corpora[part]:
                raise ClozeError(
                    f"config: {path}.{part}: is a mixture itself; name its corpora here"
                )
