"""Texts in many scripts, random texts, and documents files for tests."""

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MULTILINGUAL = (
    "Hello, world! Dr. O'Neill doesn't pay $3.50 -- not (ever) #again @home... \"Do not!\"\n"
    "Ça va? Où étaient les élèves naïfs? Straße, Übergröße, smørrebrød, İstanbul ıssız.\n"
    "Tiếng Việt có rất nhiều dấu. Ünïcödé e\u0301 combining, ﬁ ligature, ½ ² ™.\n"
    "Широкая электрификация южных губерний. Ёлка! Її ґанок.\n"
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ώρα;\n"
    "هذا نص عربي، أليس كذلك؟ می‌خواهم بروم. نمی‌دانم\n"
    "זה משפט בעברית. שָׁלוֹם!\n"
    "क्षत्रिय और ज्ञान। हिन्दी में लिखा है।\n"
    "ภาษาไทยไม่มีช่องว่างระหว่างคำและประโยคหนึ่งอาจยาวมากจนเกินหนึ่งร้อยตัวอักษรได้โดยง่ายเพราะไม่มีการเว้นวรรคเลยในประโยคเดียวกันนั้น\n"
    "我不知道。你好吗？𠮷野家。\n"
    "これはペンです。カタカナとひらがな！\n"
    "한국어 문장입니다. 안녕하세요?\n"
    "👩‍👩‍👧‍👦 🇵🇹 👍🏽 ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋ \u00ad soft\u00adhyphen \ufffd \x07bell\u2060joiner\n"
    "##mark ## [MASK] [SEP] [UNK] <s> a##b snake_case\u00a0nbsp\u3000wide\ttab"
)
_WORDS = [word for word in MULTILINGUAL.split() if len(word) < 30]


def without_space(text: str) -> str:
    """Return `text` without any white space."""
    return "".join(text.split())


def random_text(seed: int, num_sentences: int) -> str:
    """Return paragraphs of random words of many scripts; some sentences are very long."""
    rng = random.Random(seed)
    pieces = []
    for _ in range(num_sentences):
        size = rng.choice([1, 3, 8, 15, 60])
        words = rng.choices(_WORDS, k=size)
        if rng.random() < 0.05:
            words.append("".join(rng.choices("abcxyz", k=rng.randint(40, 120))))
        pieces.append(" ".join(words) + rng.choice([". ", "! ", "?  ", "\n", "\n\n"]))
    return "".join(pieces)


def write_documents(path: Path, texts: Sequence[str], first_id: int = 0) -> None:
    """Write a documents file with the given texts, three documents a row group."""
    table = pa.table(
        {
            "document_id": pa.array(range(first_id, first_id + len(texts)), pa.uint32()),
            "source": ["memory"] * len(texts),
            "title": [""] * len(texts),
            "text": pa.array(texts, pa.large_string()),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", row_group_size=3)


def damage_pages(path: Path) -> None:
    """Overwrite the first pages of a parquet file, so that it opens but cannot be read."""
    content = bytearray(path.read_bytes())
    content[4:204] = bytes(200)
    path.write_bytes(content)
