"""What predicted tags are worth: entities as `seqeval` and conlleval count them, and words.

`seqeval` is imported where something is measured.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cloze.tasks.kind import Outcome
from cloze.tasks.task import Task

_CONFUSIONS = 20
_ENTITIES_OF_STRICT = "bioes"
Entity = tuple[str, int, int]


def entity_type(tag: str) -> str:
    """Return the type of a tag with a prefix; `O` is its own."""
    return tag if tag == "O" else tag[2:]


def scheme_of(names: Sequence[str]) -> str:
    """Return how a model's tags are read: `plain`, `bioes` or, for all other prefixes, `bio`."""
    tags = [name for name in names if name != "O"]
    if not tags or not all(name[:1] in "BIES" and name[1:2] == "-" for name in tags):
        return "plain"
    return "bioes" if {name[0] for name in tags} & {"E", "S"} else "bio"


def entities(tags: Sequence[str], scheme: str) -> list[Entity]:
    """Return type, first and last word of each entity of a sentence.

    bio and iob1 are read as conlleval does: B begins an entity, and so does an I behind another
    type or `O` (Tjong Kim Sang and Buchholz 2000; `seqeval` by default). bioes is strict: only
    what is tagged whole, B … E or S, is an entity (`seqeval` with mode strict and IOBES).
    """
    from seqeval.metrics.sequence_labeling import get_entities
    from seqeval.scheme import IOBES, Tokens

    if scheme == _ENTITIES_OF_STRICT:
        found = Tokens(list(tags), IOBES).entities
        return [(entity.tag, entity.start, entity.end - 1) for entity in found]
    return [(str(kind), int(first), int(last)) for kind, first, last in get_entities(list(tags))]


def tags_outcome(
    task: Task,
    tokens: Sequence[Sequence[str]],
    labels: Sequence[np.ndarray] | np.ndarray,
    predictions: Sequence[np.ndarray] | np.ndarray,
) -> Outcome:
    """Return what predicted tags are worth.

    labels, predictions: of each sentence int64 [num_words]. Of a scheme `entity_f1`, `precision`,
    `recall` and, `per_type`, those of each type with `support`; always `token_accuracy`,
    `per_tag` where tags are plain, and `confusions`: the most frequent pairs of true and predicted
    types of a word, with their number.
    """
    scheme, names = str(task.facts["scheme"]), task.labels
    kinds = names if scheme == "plain" else [entity_type(name) for name in names]
    true, predicted = np.concatenate(labels), np.concatenate(predictions)
    right = np.array([(one == other).sum() for one, other in zip(labels, predictions, strict=True)])
    words = np.array([len(tags) for tags in labels])
    metrics: dict[str, Any] = {
        "examples": len(labels),
        "words": len(true),
        "token_accuracy": float((true == predicted).mean()),
    }
    statistics = np.stack([right, words], axis=1).astype(np.float64)
    if scheme == "plain":
        pairs = zip(true.tolist(), predicted.tolist(), strict=True)
        metrics["per_type"] = _by_type(
            Counter(names[one] for one in true.tolist()),
            Counter(names[one] for one in predicted.tolist()),
            Counter(names[one] for one, other in pairs if one == other),
        )
    else:
        found = [
            [set(entities([names[tag] for tag in tags], scheme)) for tags in side]
            for side in (labels, predictions)
        ]
        both = [one & other for one, other in zip(*found, strict=True)]
        parts = (both, found[1], found[0])
        counts = np.array([[len(part[row]) for part in parts] for row in range(len(labels))])
        by_type = [Counter(kind for row in part for kind, _, _ in row) for part in parts]
        metrics |= _f1(*counts.sum(axis=0).tolist(), name="entity_f1")
        metrics["entities"] = int(counts[:, 2].sum())
        metrics["per_type"] = _by_type(by_type[2], by_type[1], by_type[0])
        if task.metric == "entity_f1":
            statistics = counts.astype(np.float64)
    metrics["confusions"] = _confusions(kinds, true, predicted)
    metrics = {"metric": task.metric, "score": metrics[task.metric], **metrics}
    kind = pa.list_(pa.int32())
    columns = {
        "tokens": pa.array(list(tokens), pa.list_(pa.string())),
        "label": pa.array(list(labels), kind),
        "prediction": pa.array(list(predictions), kind),
    }
    return Outcome(metrics, columns, statistics)


def _f1(right: int, predicted: int, true: int, *, name: str = "f1") -> dict[str, float]:
    """Precision, recall and F1 of counts, 0 where nothing was predicted or true, as `seqeval`."""
    precision = right / predicted if predicted else 0.0
    recall = right / true if true else 0.0
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {"precision": precision, "recall": recall, name: f1}


def _by_type(
    true: Counter[str], predicted: Counter[str], right: Counter[str]
) -> dict[str, dict[str, float]]:
    return {
        kind: {**_f1(right[kind], predicted[kind], true[kind]), "support": true[kind]}
        for kind in sorted({*true, *predicted})
    }


def _confusions(
    kinds: Sequence[str], true: np.ndarray, predicted: np.ndarray
) -> list[dict[str, Any]]:
    """Return the most frequent pairs of different types, the most frequent first."""
    pairs, counts = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
    found = Counter[tuple[str, str]]()
    for (one, other), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        if kinds[one] != kinds[other]:
            found[kinds[one], kinds[other]] += count
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_CONFUSIONS]
    return [{"label": one, "prediction": other, "words": n} for (one, other), n in ranked]
