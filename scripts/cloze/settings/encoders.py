"""Checks of the encoders in a configuration that no key can be checked for by itself."""

from collections.abc import Mapping
from typing import Any

from cloze.errors import ClozeError

_LENGTHS = ("max_steps", "max_tokens", "budget")


def require_own_or_imported(encoders: Any) -> None:
    """Raise `ClozeError` for an encoder that comes from elsewhere and is pretrained here too.

    Called on what the user wrote, so that the message need not speak of unknown keys.
    """
    for name, encoder in encoders.items() if isinstance(encoders, Mapping) else ():
        given = {
            key
            for key, value in (encoder.items() if isinstance(encoder, Mapping) else ())
            if value is not None
        }
        if "pretrained" in given and (others := given - {"pretrained", "files", "unpickle"}):
            raise ClozeError(
                f"config: encoders.{name}: has pretrained and {', '.join(sorted(others))}, but an "
                "encoder from elsewhere brings its own shape and is not pretrained here; remove "
                "them, or use init_from to train it further"
            )


def check_lengths(encoders: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `ClozeError` unless every encoder says in exactly one way how long it trains."""
    for name, encoder in encoders.items():
        given = [key for key in _LENGTHS if key in encoder]
        if not given:
            raise ClozeError(
                f"config: encoders.{name}: says nowhere how long to train; add one of max_steps, "
                "max_tokens and budget"
            )
        if len(given) > 1:
            raise ClozeError(
                f"config: encoders.{name}: has {' and '.join(given)}, but only one of them can "
                f"end a run; remove one, or set it to null where another file gives it "
                f"({given[0]}: null)"
            )


def check_objectives(
    name: str,
    encoder: Mapping[str, Any],
    architecture: Mapping[str, Any],
    dataset_name: str,
    dataset: Mapping[str, Any],
) -> None:
    """Raise `ClozeError` if an encoder is to learn what its layout or data set has not."""
    if not encoder["next_sentence"]:
        return
    if architecture["layout"] != "bert":
        raise ClozeError(
            f"config: encoders.{name}.next_sentence: layout {architecture['layout']} has no "
            "next-sentence head; take an architecture with layout: bert, or leave the key out"
        )
    if not dataset.get("next_sentence", False):
        raise ClozeError(
            f"config: encoders.{name}.next_sentence: datasets.{dataset_name} has no pairs of "
            "texts; set next_sentence: true there too (method segment_text), or leave the key out"
        )
