"""Which documents stay, by nothing but their own text.

Two measures of repetition and noise need no tokenizer. The compression ratio is the size
of a text's UTF-8 after zlib at level 1 divided by the size before: Geiping and Goldstein
(2023, section 4.4) drop what their tokenizer compresses badly, more than 0.3 tokens a
character; a text that zlib compresses badly is noise to it as well (tables of codes,
encoded data), and one that it compresses very well repeats itself. The share of repeated
lines is that of a text's characters in lines that stood in it before (Rae et al. 2021,
table A1).
"""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

_LEVEL = 1


class Verdict(NamedTuple):
    """Why a document is dropped, and what was measured."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Filters:
    """The bounds that a document must keep to stay; None: no bound."""

    min_characters: int = 0
    max_repeated_lines: float | None = None
    min_compression_ratio: float | None = None
    max_compression_ratio: float | None = None

    @property
    def reasons(self) -> list[str]:
        """The reasons for which these filters drop documents."""
        optional = {
            "repeated_lines": self.max_repeated_lines,
            "repetitive": self.min_compression_ratio,
            "incompressible": self.max_compression_ratio,
        }
        chosen = (reason for reason, bound in optional.items() if bound is not None)
        return ["empty", "too_short", *chosen]

    def judge(self, stripped: str) -> Verdict | None:
        """Return why a text, without the white space at both ends, is dropped; None: it stays."""
        if not stripped:
            return Verdict("empty")
        if len(stripped) < self.min_characters:
            return Verdict("too_short", f"{len(stripped)} characters")
        if self.max_repeated_lines is not None:
            share = repeated_lines(stripped)
            if share > self.max_repeated_lines:
                return Verdict("repeated_lines", f"{share:.3f} of the characters")
        if self.min_compression_ratio is not None or self.max_compression_ratio is not None:
            return self._judge_compression(compression_ratio(stripped))
        return None

    def _judge_compression(self, ratio: float) -> Verdict | None:
        if self.min_compression_ratio is not None and ratio < self.min_compression_ratio:
            return Verdict("repetitive", f"compression ratio {ratio:.3f}")
        if self.max_compression_ratio is not None and ratio > self.max_compression_ratio:
            return Verdict("incompressible", f"compression ratio {ratio:.3f}")
        return None


def repeated_lines(text: str) -> float:
    """Return the share of the characters of a text in lines that stood in it before."""
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0


def compression_ratio(text: str) -> float:
    """Return the bytes of a text after zlib at level 1 divided by those before."""
    data = text.encode()
    return len(zlib.compress(data, _LEVEL)) / len(data)
