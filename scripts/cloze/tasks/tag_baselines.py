"""Baselines of tagged words: each word's most frequent tag, and a linear CRF."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pycrfsuite

from cloze.cli import progress
from cloze.tasks.kind import Baseline
from cloze.tasks.tag_scores import tags_outcome
from cloze.tasks.task import Task, TaskSplit

# The L-BFGS training of CRFsuite with both penalties, as in its tutorial on CoNLL's entities.
_CRF = {"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True}
_AFFIXES = (1, 2, 3)
_NEIGHBOURS = (-2, -1, 1, 2)


def most_frequent_tag(task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit]) -> Baseline:
    """Predict for each word its most frequent tag in the training split; else the most frequent.

    Of equally frequent tags the first.
    """
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for words, tags in zip(_words(train), train.labels, strict=True):
        for word, tag in zip(words, tags.tolist(), strict=True):
            counts[word][tag] += 1
    best = {word: min(found, key=lambda tag: (-found[tag], tag)) for word, found in counts.items()}
    fallback = int(np.bincount(np.concatenate(train.labels)).argmax())

    def predict(words: Sequence[str]) -> np.ndarray:
        return np.array([best.get(word, fallback) for word in words], dtype=np.int64)

    outcomes = {
        name: tags_outcome(
            task, _words(split), split.labels, [predict(words) for words in _words(split)]
        )
        for name, split in splits.items()
    }
    return Baseline(outcomes, {"unknown_words": task.labels[fallback]})


def linear_crf(task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit]) -> Baseline:
    """Predict by a conditional random field over the words and their neighbours.

    Features: the word in lower case, its ends, its shape, and the same of two words on each side.
    (Lafferty et al. 2001; `python-crfsuite`.)
    """
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params(_CRF)
    with progress(total=len(train), unit=" sentences", description="features") as bar:
        for words, tags in zip(_words(train), train.labels, strict=True):
            trainer.append(_features(words), [str(tag) for tag in tags.tolist()])
            bar.update()
    tagger = pycrfsuite.Tagger()
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "model.crfsuite")
        trainer.train(model)
        tagger.open(model)
        outcomes = {
            name: tags_outcome(
                task,
                _words(split),
                split.labels,
                [
                    np.array([int(tag) for tag in tagger.tag(_features(words))], dtype=np.int64)
                    for words in _words(split)
                ],
            )
            for name, split in splits.items()
        }
    return Baseline(outcomes, dict(_CRF))


def _words(split: TaskSplit) -> list[list[str]]:
    found: list[list[str]] = split.columns["tokens"].to_pylist()
    return found


def _features(words: Sequence[str]) -> list[list[str]]:
    own = [_of_word(word) for word in words]
    return [
        [
            *own[place],
            *(
                f"{step:+d} {feature}"
                for step in _NEIGHBOURS
                if 0 <= place + step < len(words)
                for feature in own[place + step][:3]
            ),
            *(["first"] if place == 0 else []),
            *(["last"] if place == len(words) - 1 else []),
        ]
        for place in range(len(words))
    ]


def _of_word(word: str) -> list[str]:
    """Return the features of one word, those that tell of it to its neighbours first."""
    lower = word.lower()
    shape = "".join(
        "X" if char.isupper() else "x" if char.islower() else "9" if char.isdigit() else char
        for char in word[:12]
    )
    return [
        f"word {lower}",
        f"shape {shape}",
        f"ends {lower[-3:]}",
        *(f"end{size} {lower[-size:]}" for size in _AFFIXES),
        *(f"begin{size} {lower[:size]}" for size in _AFFIXES),
    ]
