"""What a report says of recipe, data and overlaps, as names with values."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from cloze.show.text_layout import WIDTH, percent, settings

_CONTAMINATED_EXAMPLES = 3


def recipe_pairs(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names of the run, its architecture, pretraining and fine-tuning."""
    found = [(key, str(value)) for key, value in report["recipe"].items()]
    dataset, pretraining = report["dataset"], report["pretraining"]
    if dataset:
        tokens = ", ".join(f"{part['tokens']:,} {name}" for name, part in dataset["splits"].items())
        found.append(
            (
                "rows",
                f"{dataset['method'].replace('_', ' ')}, up to {dataset['max_length']} tokens, "
                f"vocabulary {dataset['vocab_size']:,}; tokens: {tokens}",
            )
        )
    if pretraining:
        found += _pretraining(pretraining)
    finetuning = report["finetuning"]
    found.append(("fine-tuning", settings(finetuning["recipe"])))
    return found


def _pretraining(pretraining: Mapping[str, Any]) -> list[tuple[str, str]]:
    shape = pretraining["architecture"]
    architecture = (
        f"{shape['model_type']}, {shape['num_hidden_layers']} layers, hidden size "
        f"{shape['hidden_size']}, {shape['num_attention_heads']} heads, feed-forward "
        f"{shape['intermediate_size']}"
    )
    if "num_parameters" in pretraining:
        architecture += f"; {pretraining['num_parameters']:,} parameters"
    found = [("architecture", architecture)]
    if "steps" in pretraining:
        found.append(
            (
                "pretraining",
                f"{pretraining['steps']:,} steps, {pretraining['tokens']:,} tokens, "
                f"{pretraining['train_seconds']:,.0f} s, "
                f"{pretraining['tokens_per_second']:,.0f} tokens/s",
            )
        )
    if "validation_loss" in pretraining:
        found.append(
            (
                "masked words",
                f"validation loss {pretraining['validation_loss']:.3f} nats where word frequencies "
                f"alone give {pretraining['unigram_entropy']:.3f}; "
                f"{percent(pretraining['validation_accuracy'])} % guessed right; "
                f"{pretraining['bits_per_byte']:.3f} bits a byte",
            )
        )
    return found


def data_pairs(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the counts of corpus and task, and what of the task stands elsewhere."""
    task, found = report["task"], []
    if report["corpus"]:
        for split, counts in report["corpus"].get("splits", {}).items():
            shown = ", ".join(f"{value:,} {name}" for name, value in counts.items())
            found.append((f"corpus, {split}", shown))
    for split, part in task["splits"].items():
        found.append((f"task, {split}", f"{part['rows']:,} rows ({_labels(part)})"))
    if task["hold_out"]:
        held = task["hold_out"]
        found.append(
            (
                "hold-out",
                "the validation rows are a part of the training file, not the published "
                f"validation file; {held['rows_removed_inside_held_out']:,} rows inside them were "
                "removed from the training split",
            )
        )
    found += overlap_pairs(report)
    if truncated := report["finetuning"]["truncated_texts"]:
        found.append(("cut", f"{truncated:,} training texts were longer than max length"))
    return found


def _labels(part: Mapping[str, Any]) -> str:
    if (scores := part.get("scores")) is not None:
        return f"scores {scores['min']:g} to {scores['max']:g}, mean {scores['mean']:.3f}"
    return ", ".join(f"{count:,} {label}" for label, count in part["rows_by_label"].items())


def overlap_pairs(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how many rows of the split stand in the training split and in the pretraining text."""
    split, overlap = report["split"], report["overlap"]
    if (training := overlap["with_training_split"]) is not None:
        yield (
            "overlap",
            f"{training['equal']:,} of {report['examples']:,} {split} rows equal a training row, "
            f"{training['inside']:,} stand inside one{_same_group(training)}",
        )
    if (corpus := overlap["with_pretraining_text"]) is not None:
        yield from _contamination(corpus)


def _same_group(training: Mapping[str, Any]) -> str:
    if "same_group" not in training:
        return ""
    return f"; {training['same_group']:,} are of a group that has training rows"


def _contamination(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        "contamination",
        f"{found['contaminated']:,} of {found['rows']:,} rows ({percent(found['share'])} %) are in "
        f"the pretraining text: {found['long_exact']:,} of 8 words or more stand there whole, "
        f"{found['ngram']:,} share 13 words in a row with it; however short, {found['exact']:,} "
        "stand there",
    )
    for example in found["examples"][:_CONTAMINATED_EXAMPLES]:
        shown = textwrap.shorten(example["text"], WIDTH, placeholder=" …")
        yield "", f"row {example['row']} in document {example['document_id']}: {shown}"
