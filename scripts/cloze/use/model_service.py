"""One model folder behind a server: every use that it has, a request at a time."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloze.model.device import Compute
from cloze.tokens.tokenizer import load_tokenizer, special_tokens
from cloze.use.predictors import (
    Classifier,
    Embedder,
    MaskFiller,
    Predictor,
    finetuning_limits,
    tasks_of,
)
from cloze.use.texts import Text


class ModelService:
    """Loads a model folder once for each use and answers from any thread."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        self.name = folder.resolve().name
        self.uses = tasks_of(folder)
        self.mask_token = special_tokens(load_tokenizer(folder / "tokenizer.json"))["mask"]
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
        classifier = self._predictors.get("classify")
        labels = {"labels": classifier.labels} if isinstance(classifier, Classifier) else {}
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
    return Embedder(folder, compute)
