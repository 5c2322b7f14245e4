"""`README.md` of a model folder, written from what its run measured and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cloze.errors import ClozeError
from cloze.model.encoder import EncoderConfig
from cloze.settings.tasks import METRICS
from cloze.show.text_layout import short_number

_PIPELINES = {
    "fill-mask": "fill-mask",
    "classify": "text-classification",
    "tag": "token-classification",
    "answer": "question-answering",
    "embed": "feature-extraction",
}
_LAYOUTS = {
    "bert": "BERT (Devlin et al. 2019)",
    "modernbert": "ModernBERT (Warner et al. 2024)",
    "roberta": "RoBERTa (Liu et al. 2019)",
    "distilbert": "DistilBERT (Sanh et al. 2019)",
    "electra": "ELECTRA (Clark et al. 2020)",
}
# What only who publishes a model knows, by the hub's names and with how each is written there.
_GIVEN_METADATA = {
    "language": "pt",
    "license": "apache-2.0",
    "datasets": "[owner/name]",
    "base_model": "owner/name",
    "tags": "[legal]",
}
_LONGEST_VALUE = 80
_USE = """```python
from transformers import pipeline

model = pipeline("{pipeline}", model=".")
```"""
_USE_OF_VECTORS = """```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer(".").encode(["one text", "another text"])
```"""

# `transformers` 5 has no pipeline for it.
_USE_OF_ANSWERS = """```python
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForQuestionAnswering.from_pretrained(".")
inputs = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
inside = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
offsets = inputs.pop("offset_mapping")[0]
outputs = model(**inputs)
scores = outputs.start_logits[0, :, None] + outputs.end_logits[0]
scores[~(inside[:, None] & inside).triu()] = -torch.inf
start, end = divmod(int(scores.argmax()), len(inside))
answer = context[offsets[start][0] : offsets[end][1]]
```"""


def _use(task: str, pipeline: str, parity: Mapping[str, Any]) -> str:
    """Return how a program uses the model."""
    if task == "answer":
        return _USE_OF_ANSWERS
    return _USE_OF_VECTORS if "pooling" in parity else _USE.format(pipeline=pipeline)


def parse_metadata(words: Sequence[str]) -> dict[str, Any]:
    """Return what `KEY=VALUE`, values as YAML has them, say of a model for a hub.

    Raises `ClozeError` for a word of another form and for a key that the hub does not read.
    """
    found = {}
    for word in words:
        key, mark, value = word.partition("=")
        if not mark or key not in _GIVEN_METADATA:
            forms = " ".join(f"{name}={form}" for name, form in _GIVEN_METADATA.items())
            raise ClozeError(f"--metadata {word!r}: is none of {forms}")
        try:
            # Text alone: to YAML, the language `no` is false.
            found[key] = yaml.load(value, yaml.BaseLoader)
        except yaml.YAMLError as error:
            raise ClozeError(f"--metadata {word!r}: {value!r} is no value of YAML") from error
    return found


def _header(
    name: str,
    pipeline: str,
    evaluations: Sequence[Mapping[str, Any]],
    metadata: Mapping[str, Any],
) -> str:
    """Return the YAML by which a hub finds a model, with its results as `model-index`."""
    header: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": pipeline, **metadata}
    results = [_result(record["metrics"], pipeline) for record in evaluations]
    if results:
        header["model-index"] = [{"name": name, "results": results}]
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---"


def _result(metrics: Mapping[str, Any], pipeline: str) -> dict[str, Any]:
    task, split = metrics.get("task", "task"), metrics.get("split", "split")
    measured = [(key, metrics[key]) for key in METRICS if isinstance(metrics.get(key), float)]
    return {
        "task": {"type": pipeline},
        "dataset": {"name": task, "type": task, "split": split},
        "metrics": [{"type": key, "value": round(value, 6)} for key, value in measured],
    }


def model_card(
    name: str,
    config: EncoderConfig,
    task: str,
    parity: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    evaluations: Sequence[Mapping[str, Any]],
    metadata: Mapping[str, Any],
) -> str:
    """Return the card as Markdown.

    task: what the model's head is for, one of `predictors.TASKS`; training and
    evaluations: the `metrics.json` of the run and of each evaluation; metadata: as
    `parse_metadata` returns it.
    """
    pipeline = _PIPELINES[task]
    sections = [
        _header(name, pipeline, evaluations, metadata),
        f"# {name}",
        f"An encoder of the layout {_LAYOUTS[config.layout]}: {config.num_hidden_layers} layers, "
        f"hidden size {config.hidden_size}, {config.num_attention_heads} heads, "
        f"{config.vocab_size:,} tokens in the vocabulary, texts of up to "
        f"{config.max_length} tokens. Made with Cloze.",
        "## Use",
        _use(task, pipeline, parity),
        "The largest difference between the outputs of `transformers` "
        f"{parity['versions']['transformers']} and those of Cloze is "
        f"{parity['max_abs_difference']:.2g} (`parity.json`).",
        "## Evaluation",
        *(_evaluation(evaluation) for evaluation in evaluations),
    ]
    if not evaluations:
        sections.append("No evaluation was given to this card.")
    sections.append("## Training")
    if training is None:
        sections.append("No `metrics.json` lies beside the model, so nothing is known of it.")
    else:
        sections += [_table("Measured", training["metrics"]), _table("Flag", training["args"])]
        sections.append(_made_by(training))
    return "\n\n".join(sections) + "\n"


def _evaluation(record: Mapping[str, Any]) -> str:
    """A table of what was measured, under the task and its split."""
    metrics = record["metrics"]
    measured = {key: value for key, value in metrics.items() if key not in ("task", "split")}
    heading = f"### {metrics.get('task', 'task')}, {metrics.get('split', 'split')}"
    return f"{heading}\n\n{_table('Measured', measured)}"


def _table(heading: str, values: Mapping[str, Any]) -> str:
    """A row for each single value; lists and tables stay in `metrics.json`."""
    rows = [f"| {heading} | Value |", "|---|---|"]
    for key, value in values.items():
        if value is None or isinstance(value, dict | list):
            continue
        rows.append(f"| {_cell(key.replace('_', ' '))} | {_cell(_number(value))} |")
    return "\n".join(rows)


def _made_by(training: Mapping[str, Any]) -> str:
    environment = training["environment"]
    libraries = ", ".join(f"{name} {v}" for name, v in environment["libraries"].items() if v)
    inputs = "\n".join(
        f"- `{name}`: SHA-256 `{digest}`" for name, digest in training["inputs"].items()
    )
    return (
        f"It took {training['seconds']['wall']:,.0f} seconds on {_cell(environment['platform'])} "
        f"with Python {environment['python']}, {libraries}. It was made from:\n\n{inputs}"
    )


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return short_number(value)


def _cell(text: str) -> str:
    shown = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[: _LONGEST_VALUE - 1]}…"
