"""What an adaptation changed: tokens a word, and the masked-LM loss on each text."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cloze.files import read_json

_MEASURES = ("loss", "accuracy", "masked_bits_per_byte", "predictions")


def adaptation_facts(
    tokenizer: Path | None, masked_lm: Mapping[str, tuple[Path, Path]]
) -> dict[str, Any] | None:
    """Return what was measured before and after; None where nothing was adapted.

    tokenizer: the folder that `extend_tokenizer.py` wrote. masked_lm: corpus to what
    `evaluate_masked_lm.py` wrote of the encoder before and after.
    """
    if tokenizer is None:
        return None
    metrics = read_json(tokenizer / "metrics.json")["metrics"]
    return {
        "new_pieces": metrics["new_pieces"],
        "most_used": metrics["most_used"],
        "tokens_per_word": metrics["tokens_per_word"],
        "masked_lm": {
            corpus: {"before": _measures(before), "after": _measures(after)}
            for corpus, (before, after) in masked_lm.items()
        },
    }


def _measures(path: Path) -> dict[str, Any] | None:
    """Return the measures in a file; None of an encoder that had no head to predict with."""
    metrics = read_json(path)["metrics"]
    return {key: metrics[key] for key in _MEASURES} if "loss" in metrics else None


def adaptation_table(facts: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: each measure before and after, and the difference."""
    rows = [_row("tokens a word", facts["tokens_per_word"], "{:.3f}")]
    for corpus, sides in facts["masked_lm"].items():
        for key, what, shown in (
            ("masked_bits_per_byte", "bits a byte", "{:.3f}"),
            ("loss", "nats a masked token", "{:.3f}"),
        ):
            values = {side: found and found[key] for side, found in sides.items()}
            rows.append(_row(f"{corpus}: {what}", values, shown))
        right = {side: found and 100 * found["accuracy"] for side, found in sides.items()}
        rows.append(_row(f"{corpus}: guessed right, %", right, "{:.1f}"))
    return ["", "before", "after", "difference"], rows


def _row(name: str, values: Mapping[str, float | None], shown: str) -> list[str]:
    before, after = values["before"], values["after"]
    if before is None or after is None:
        return [name, *("-" if value is None else shown.format(value) for value in (before, after)),
                "-"]  # fmt: skip
    return [name, shown.format(before), shown.format(after),
            shown.replace(":", ":+").format(after - before)]  # fmt: skip


def adaptation_notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield how the figures were found, a paragraph each."""
    if facts["new_pieces"]:
        pieces = ", ".join(facts["most_used"][:10])
        yield f"{facts['new_pieces']:,} pieces are new, those most used: {pieces}."
    yield (
        "Held-out text of each corpus, cut by the encoder's own tokenizer; whole words are masked, "
        "15 % of the tokens, in samples of at most 128. Bits a byte are of the same text whatever "
        "its tokens are; nats of different vocabularies are of different things. A corpus that was "
        "not learned and has more bits than before was partly forgotten."
    )
