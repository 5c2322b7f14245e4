"""A tiny task of sentence_similarity, shared by its tests: words that say what a text is about."""

import random
from pathlib import Path

import prepare_task

# A text's topic is one of these words; the same topic in two texts makes them alike.
TOPICS = [f"w{number}" for number in range(8)]


def text_about(topic: str, rng: random.Random) -> str:
    """Return filler words around a topic's word."""
    words = [f"w{rng.randrange(10, 59)}" for _ in range(rng.randrange(2, 6))]
    words.insert(rng.randrange(len(words)), topic)
    return " ".join(words)


def write_rows(path: Path, header: str, rows: list[list[str]]) -> Path:
    """Write a TSV file; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(row) for row in [header.split(), *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_scored(path: Path, num_rows: int, seed: int) -> Path:
    """Write pairs with a score of 5 for the same topic and 0 for two."""
    rng, rows = random.Random(seed), []
    for number in range(num_rows):
        first = rng.choice(TOPICS)
        second = first if number % 2 else rng.choice([t for t in TOPICS if t != first])
        score = "5" if first == second else "0"
        rows.append([text_about(first, rng), text_about(second, rng), score])
    return write_rows(path, "first second score", rows)


def write_pairs(path: Path, num_rows: int, seed: int) -> Path:
    """Write pairs of the same topic with a negative of another."""
    rng, rows = random.Random(seed), []
    for number in range(num_rows):
        topic, other = TOPICS[number % 8], TOPICS[(number + 1) % 8]
        rows.append([text_about(name, rng) for name in (topic, topic, other)])
    return write_rows(path, "first second negative", rows)


def write_collection(folder: Path, seed: int) -> Path:
    """Write a document and two queries a topic in BEIR's layout; returns the test qrels."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    documents = [f'{{"_id": "d{n}", "title": "", "text": "{text_about(topic, rng)}"}}'
                 for n, topic in enumerate(TOPICS)]  # fmt: skip
    queries = [f'{{"_id": "q{n}", "text": "{text_about(TOPICS[n % 8], rng)}"}}' for n in range(21)]
    for name, lines in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    judged = [[f"q{n}", f"d{n % 8}", "1"] for n in range(21)]
    return write_rows(folder / "qrels" / "test.tsv", "query-id corpus-id score", judged)


PAIR = ["--text-column=first", "--text-pair-column=second"]
SCORED = [*PAIR, "--label-column=score"]
TRIPLES = [*PAIR, "--negative-column=negative"]


def prepare(output: Path, train: Path, validation: Path, *flags: str) -> Path:
    """Write a task folder of these files; returns it."""
    files = ["--train", str(train), "--validation", str(validation), "--output", str(output)]
    assert prepare_task.main([*files, "--objective=sentence_similarity", *flags]) == 0
    return output
