"""A tiny sentence task and a tiny encoder for it, shared by the tests of fine-tuning."""

import random
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cloze.files import write_json
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM
from cloze.model.hf import save_model
from cloze.settings.fields import keys_of
from cloze.settings.tasks import TaskSettings
from cloze.tasks.evaluations import write_predictions
from cloze.tasks.kind import Outcome
from cloze.tasks.labels import Classes, label_columns
from cloze.tasks.task import TaskSplit, describe_split, load_task, overlap_with_train, write_split
from tests.tiny import write_tokenizer

LABELS = ["negative", "positive"]
GOOD, BAD = "w1", "w2"


def task_settings(**given: Any) -> Namespace:
    """The settings of `prepare_task.py`, those that are not given at their defaults."""
    defaults = {key.name: key.default for key in keys_of(TaskSettings)}
    return Namespace(**{**defaults, "train": [Path("train")], **given})


def make_split(num_rows: int, seed: int) -> TaskSplit:
    """Sentences of filler words with one word that decides the label."""
    rng = random.Random(seed)
    labels = np.arange(num_rows) % 2
    texts = []
    for label in labels:
        words = [f"w{rng.randrange(10, 59)}" for _ in range(rng.randrange(2, 12))]
        words.insert(rng.randrange(len(words)), GOOD if label else BAD)
        texts.append(" ".join(words))
    return TaskSplit(texts, labels.astype(np.int64))


def write_task(
    folder: Path, train_rows: int = 128, validation_rows: int = 40, test_rows: int = 0
) -> Path:
    """Write a task folder, with a test split if that is to have rows; returns it."""
    sizes = {"train": train_rows, "validation": validation_rows, "test": test_rows}
    splits = {
        name: make_split(rows, seed) for seed, (name, rows) in enumerate(sizes.items(), 1) if rows
    }
    for name, split in splits.items():
        write_split(folder / f"{name}.parquet", split)
    write_json(
        folder / "task.json",
        {
            "name": "tiny-task",
            "labels": LABELS,
            "origin": "made for a test",
            "splits": {
                name: describe_split(split, LABELS, Classes()) for name, split in splits.items()
            },
            "sources": {},
            "overlap_with_train": {
                name: overlap_with_train(splits["train"], splits[name]) for name in [*splits][1:]
            },
        },
    )
    load_task(folder)
    return folder


def write_label_predictions(
    folder: Path, split: TaskSplit, predictions: np.ndarray, probabilities: np.ndarray
) -> None:
    """Write the predictions of an evaluation folder, of classes or scores."""
    columns = label_columns(split.labels, predictions, probabilities)
    write_predictions(folder / "predictions.parquet", split, Outcome({}, columns))


def write_encoder(folder: Path, layout: str = "bert") -> Path:
    """Write a model folder with random weights and a tokenizer; returns it."""
    tokenizer = write_tokenizer(folder / "tokenizer")
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=64, layout=layout, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=32,
    )  # fmt: skip
    save_model(folder, MaskedLM(config), tokenizer.parent)
    return folder
