"""All that the page about a corpus shows, as data: what `corpus.json` holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.files import read_json
from cloze.show.corpus_examples import choose_examples
from cloze.show.corpus_statistics import RowStatistics, describe_lengths, describe_vocabulary
from cloze.tokens.loading import iterate_rows
from cloze.tokens.manifest import read_manifest
from cloze.tokens.tokenizer import load_tokenizer, special_ids

_DUPLICATE = "duplicate"


def describe_corpus(
    documents: Path, dataset: Path, tokenizer_path: Path, recipe: Mapping[str, str]
) -> dict[str, Any]:
    """Return the facts about a corpus and a data set made of it; lengths are in tokens.

    Reads the training rows once, a block at a time. Raises `ClozeError` if a folder lacks
    something or the three do not belong together.
    """
    manifest = read_manifest(dataset)
    tokenizer = load_tokenizer(tokenizer_path)
    special = special_ids(tokenizer)
    statistics = RowStatistics(manifest.vocab_size, special.cls, special.sep)
    examples: list[dict[str, Any]] | None = None
    blocks = iterate_rows(dataset, "train", tokenizer_path)
    for rows in progress(blocks, unit=" blocks", description="describe"):
        if examples is None:
            examples = choose_examples(
                rows, documents / "train.parquet", tokenizer, frozenset({special.cls, special.sep})
            )
        statistics.add(rows)
    corpus = _corpus(documents)
    splits = {
        name: {
            **corpus["splits"][name],
            **{key: getattr(split, key) for key in ("rows", "samples", "tokens")},
        }
        if (split := manifest.splits.get(name))
        else corpus["splits"][name]
        for name in corpus["splits"]
    }
    text_tokens = statistics.own_tokens
    train = manifest.splits["train"]
    tokens = [tokenizer.id_to_token(token_id) for token_id in range(manifest.vocab_size)]
    return {
        "recipe": dict(recipe),
        "method": manifest.method,
        "max_length": manifest.max_length,
        "row_length": manifest.row_length,
        "splits": splits,
        "text_tokens": text_tokens,
        "tokens_per_word": text_tokens / max(splits["train"]["words"], 1),
        "bytes_per_token": train.text_bytes / max(text_tokens, 1),
        "row_fill": train.tokens / max(train.rows * manifest.row_length, 1),
        "cut_sentences": None if manifest.method == "split_tokens" else statistics.cut_sentences,
        "pairs": {"count": statistics.pairs, "is_next": statistics.true_pairs},
        "lengths": describe_lengths(statistics, manifest.max_length, manifest.row_length),
        "vocabulary": describe_vocabulary(statistics.tokens, tokens, special.all, special.unk),
        "dropped": corpus["dropped"],
        "duplicates": corpus["dropped"].get(_DUPLICATE, 0),
        "examples": examples or [],
    }


def _corpus(documents: Path) -> dict[str, Any]:
    """Return what extract_documents.py counted."""
    path = documents / "metrics.json"
    metrics = read_json(path).get("metrics", {})
    for key in ("splits", "dropped"):
        if key not in metrics:
            raise ClozeError(f"{path}: has no {key!r}; make it with extract_documents.py")
    return dict(metrics)
