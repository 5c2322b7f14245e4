"""A model folder with all its uses, and results as JSON holds them."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cloze.model.device import Compute
from cloze.tokens.tokenizer import special_tokens
from cloze.tokens.tokenizer_folder import tokenizer_of_folder
from cloze.use.answerer import Answerer, FoundAnswer
from cloze.use.predictors import (
    Classification,
    Classifier,
    Embedder,
    MaskFiller,
    Predictor,
    finetuning_limits,
    tasks_of,
)
from cloze.use.tagger import Spans, Tagger
from cloze.use.texts import Text


def as_record(text: Text, result: Any) -> dict[str, Any]:
    """Return a text and what was predicted for it as JSON holds it."""
    if isinstance(result, FoundAnswer):
        known = {key: value for key, value in result._asdict().items() if value is not None}
        return {"question": text.first, "context": text.second, **known}
    record: dict[str, Any] = {"text": text.first}
    if text.second is not None:
        record["second_text"] = text.second
    if isinstance(result, Classification):
        known = {key: value for key, value in result._asdict().items() if value is not None}
        return {**record, **known}
    if isinstance(result, np.ndarray):
        return {**record, "embedding": result.tolist()}
    if isinstance(result, Spans):
        return {**record, "spans": [span._asdict() for span in result.spans]}
    masks = [[candidate._asdict() for candidate in candidates] for candidates in result]
    return {**record, "masks": masks}


class ModelService:
    """Loads a model folder once for each use and answers from any thread."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        self.name = folder.resolve().name
        self.uses = tasks_of(folder)
        self.mask_token = special_tokens(tokenizer_of_folder(folder))["mask"]
        self._predictors: dict[str, Predictor[Any]] = {
            use: _load(use, folder, compute) for use in self.uses
        }
        # PyTorch's threads are shared, so two requests at once would only take turns.
        self._lock = threading.Lock()

    def predict(self, use: str, texts: Sequence[Text]) -> list[Any]:
        """Return a result for each text; `use` is one of `uses`."""
        with self._lock:
            return self._predictors[use](texts)

    def facts(self) -> dict[str, Any]:
        """Return what the model is and does."""
        classifier = self._predictors[self.uses[0]]
        labels = (
            {"labels": classifier.labels} if isinstance(classifier, Classifier | Tagger) else {}
        )
        return {
            "model": self.name,
            "uses": self.uses,
            "max_length": {use: found.max_length for use, found in self._predictors.items()},
            "mask_token": self.mask_token,
            **labels,
        }


def _load(use: str, folder: Path, compute: Compute) -> Predictor[Any]:
    if use == "fill-mask":
        return MaskFiller(folder, compute)
    if use == "classify":
        return Classifier(folder, compute, *finetuning_limits(folder))
    if use == "tag":
        return Tagger(folder, compute, finetuning_limits(folder).max_length)
    if use == "answer":
        return Answerer(folder, compute)
    return Embedder(folder, compute)
