"""A model folder with all its uses, and results as JSON holds them."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.cli import log
from cloze.metrics import metrics_of_model
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

# Of the examples on the page: rows looked at, characters of one, how many.
_ROWS, _EXAMPLE_CHARACTERS, _NUM_EXAMPLES = 200, 160, 3


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
        self.title = _title(folder)
        self.uses = tasks_of(folder)
        self.examples = _examples(folder)
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


def _title(folder: Path) -> str:
    """Return what a model is of: its task and the encoder that was fine-tuned, or its folder."""
    record = metrics_of_model(folder)
    task, encoder = record.get("metrics", {}).get("task"), record.get("args", {}).get("model")
    if not isinstance(task, str) or not isinstance(encoder, str):
        return folder.resolve().name
    return f"{task}, by {encoder.removeprefix('results/')}"


def _examples(folder: Path) -> list[Text]:
    """Return short texts on which a model was evaluated, where its predictions lie beside it."""
    found: list[Text] = []
    for path in sorted(folder.glob("*/predictions.parquet"))[-1:]:
        try:
            with pq.ParquetFile(path) as file:
                columns = [n for n in ("text", "text_pair") if n in file.schema_arrow.names]
                batches = file.iter_batches(_ROWS, columns=columns)
                rows = next(batches).to_pylist() if "text" in columns else []
        except (pa.ArrowException, OSError, UnicodeDecodeError, StopIteration) as error:
            log.warning("warning: %s: no examples can be read from it (%s)", path, error)
            continue
        for row in rows:
            texts = [row[name] or "" for name in columns]
            if texts[0].strip() and sum(map(len, texts)) <= _EXAMPLE_CHARACTERS:
                found.append(Text(texts[0], "".join(texts[1:]) or None, "an example"))
    return found[:_NUM_EXAMPLES]


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
