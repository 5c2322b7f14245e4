"""The report as a person reads it, written from nothing but the report's JSON."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WIDTH = 88
_LABEL_WIDTH = 14
_MISTAKE_LINES = 4
_CONTAMINATED_EXAMPLES = 3
_BASELINE_NAMES = {
    "no_pretraining": "the same encoder, no pretraining",
    "tfidf_logistic_regression": "TF-IDF + logistic regression",
    "majority": "majority class",
}


def render_report(report: Mapping[str, Any]) -> str:
    """Return the text of a report that `cloze.report.build.build_report` made."""
    sections = [
        ("RESULT", _result(report)),
        ("BASELINES", _baselines(report)),
        ("RECIPE", _recipe(report)),
        ("DATA", _data(report)),
        ("SEEDS", _seeds(report)),
        ("BY CLASS, mean over seeds", _classes(report)),
        ("CONFUSION MATRIX, mean over seeds (rows: true, columns: predicted)", _confusion(report)),
        ("MOST CONFIDENT MISTAKES, probabilities averaged over seeds", _mistakes(report)),
        ("HOW TO READ THE INTERVALS", _notes(report)),
    ]
    title = f"{report['name']}: {report['task']['name']}"
    lines = [title, "=" * len(title)]
    for heading, body in sections:
        lines += ["", heading, "-" * len(heading), *body]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def percent(share: float | None) -> str:
    """Return a share of 1 as percent with two decimals, or a dash."""
    return "-" if share is None else f"{100 * share:.2f}"


def _points(difference: Mapping[str, Any]) -> str:
    low, high = (100 * bound for bound in difference["ci95"])
    return f"{100 * difference['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"


def _pairs(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield `name  value` lines with the values in one column, wrapped."""
    width = max(len(name) for name, _ in pairs) + 2
    for name, value in pairs:
        hanging = " " * (width + 2)
        first = f"  {name:<{width}}"
        yield from textwrap.wrap(
            value or "-", _WIDTH, initial_indent=first, subsequent_indent=hanging
        )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield aligned lines: the first column to the left, all others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        cells = [f"{row[0]:<{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  " + "  ".join(cells)


def _accuracy(accuracy: Mapping[str, Any]) -> str:
    text = f"{percent(accuracy['mean'])} %"
    return text if accuracy["std"] is None else f"{text} ± {percent(accuracy['std'])}"


def _result(report: Mapping[str, Any]) -> Iterator[str]:
    accuracy, task = report["accuracy"], report["task"]
    seeds = len(accuracy["per_seed"])
    low, high = accuracy["wilson_ci95"]
    pairs = [
        ("task", f"{task['name']} ({task['origin'] or 'origin not declared'})"),
        ("accuracy", f"{_accuracy(accuracy)} on {report['examples']:,} {report['split']} rows"),
    ]
    if accuracy["ci95"] is None:
        pairs.append(("over seeds", "one seed only: no deviation and no interval"))
    else:
        bounds = " to ".join(percent(bound) for bound in accuracy["ci95"])
        pairs.append(("over seeds", f"mean of {seeds}; 95 % interval of the mean {bounds} %"))
    pairs.append(("over rows", f"95 % interval {percent(low)} to {percent(high)} %"))
    if report["paired_difference"]:
        pairs.append(("pretraining", f"{_points(report['paired_difference'])} points"))
    yield from _pairs(pairs)


def _baselines(report: Mapping[str, Any]) -> Iterator[str]:
    rows = [("this encoder, pretrained", _accuracy(report["accuracy"]), "")]
    if report["pretraining"] is None:
        rows = [("this encoder", _accuracy(report["accuracy"]), "")]
    for key, name in _BASELINE_NAMES.items():
        if key in report["baselines"]:
            baseline = report["baselines"][key]
            accuracy = baseline["accuracy"]
            shown = f"{percent(accuracy)} %" if isinstance(accuracy, float) else _accuracy(accuracy)
            rows.append((name, shown, _points(baseline["paired_difference"])))
    yield from _table(("", "accuracy", "this encoder is better by (points)"), rows)
    tfidf = report["baselines"]["tfidf_logistic_regression"]
    hold_out = tfidf["hold_out"]
    yield ""
    yield from _paragraph(
        f"The logistic regression (C {tfidf['C']:g}, {tfidf['num_features']:,} words and word "
        f"pairs) was tuned on {hold_out['rows_held_out']:,} rows of the training split; "
        f"{hold_out['rows_removed']:,} rows that stand inside one of them were left out for that."
    )
    if "no_pretraining" in report["baselines"]:
        scratch = report["baselines"]["no_pretraining"]["finetuning"]
        fitted = ", ".join(percent(value) for value in scratch["train_accuracy"].values())
        yield from _paragraph(
            f"The encoder without pretraining fits its training split to {fitted} % "
            f"({_settings(scratch['recipe'])})."
        )


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _settings(recipe: Mapping[str, Any]) -> str:
    shown = (f"{key.replace('_', ' ')} {_short(recipe[key])}" for key in recipe if key != "seed")
    return ", ".join(shown) or "settings not recorded"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _recipe(report: Mapping[str, Any]) -> Iterator[str]:
    pairs = [(key, str(value)) for key, value in report["recipe"].items()]
    dataset, pretraining = report["dataset"], report["pretraining"]
    if dataset:
        tokens = ", ".join(f"{part['tokens']:,} {name}" for name, part in dataset["splits"].items())
        pairs.append(
            (
                "rows",
                f"{dataset['method'].replace('_', ' ')}, up to {dataset['max_length']} tokens, "
                f"vocabulary {dataset['vocab_size']:,}; tokens: {tokens}",
            )
        )
    if pretraining:
        pairs += _pretraining(pretraining)
    finetuning = report["finetuning"]
    pairs.append(("fine-tuning", _settings(finetuning["recipe"])))
    yield from _pairs(pairs)


def _pretraining(pretraining: Mapping[str, Any]) -> list[tuple[str, str]]:
    shape = pretraining["architecture"]
    architecture = (
        f"{shape['model_type']}, {shape['num_hidden_layers']} layers, hidden size "
        f"{shape['hidden_size']}, {shape['num_attention_heads']} heads, feed-forward "
        f"{shape['intermediate_size']}"
    )
    if "num_parameters" in pretraining:
        architecture += f"; {pretraining['num_parameters']:,} parameters"
    pairs = [("architecture", architecture)]
    if "steps" in pretraining:
        pairs.append(
            (
                "pretraining",
                f"{pretraining['steps']:,} steps, {pretraining['tokens']:,} tokens, "
                f"{pretraining['train_seconds']:,.0f} s, "
                f"{pretraining['tokens_per_second']:,.0f} tokens/s",
            )
        )
    if "validation_loss" in pretraining:
        pairs.append(
            (
                "masked words",
                f"validation loss {pretraining['validation_loss']:.3f} nats where word frequencies "
                f"alone give {pretraining['unigram_entropy']:.3f}; "
                f"{percent(pretraining['validation_accuracy'])} % guessed right; "
                f"{pretraining['bits_per_byte']:.3f} bits a byte",
            )
        )
    return pairs


def _data(report: Mapping[str, Any]) -> Iterator[str]:
    task, pairs = report["task"], []
    if report["corpus"]:
        for split, counts in report["corpus"].get("splits", {}).items():
            shown = ", ".join(f"{value:,} {name}" for name, value in counts.items())
            pairs.append((f"corpus, {split}", shown))
    for split, part in task["splits"].items():
        by_label = ", ".join(f"{count:,} {label}" for label, count in part["rows_by_label"].items())
        pairs.append((f"task, {split}", f"{part['rows']:,} rows ({by_label})"))
    if task["hold_out"]:
        held = task["hold_out"]
        pairs.append(
            (
                "hold-out",
                "the validation rows are a part of the training file, not the published "
                f"validation file; {held['rows_removed_inside_held_out']:,} rows inside them were "
                "removed from the training split",
            )
        )
    pairs += _overlap(report)
    if truncated := report["finetuning"]["truncated_texts"]:
        pairs.append(("cut", f"{truncated:,} training texts were longer than max length"))
    yield from _pairs(pairs)


def _overlap(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    split, overlap = report["split"], report["overlap"]
    if (training := overlap["with_training_split"]) is not None:
        yield (
            "overlap",
            f"{training['equal']:,} of {report['examples']:,} {split} rows equal a training row, "
            f"{training['inside']:,} stand inside one",
        )
    if (corpus := overlap["with_pretraining_text"]) is not None:
        yield from _contamination(corpus)


def _contamination(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        "contamination",
        f"{found['contaminated']:,} of {found['rows']:,} rows ({percent(found['share'])} %) are in "
        f"the pretraining text: {found['long_exact']:,} of 8 words or more stand there whole, "
        f"{found['ngram']:,} share 13 words in a row with it; however short, {found['exact']:,} "
        "stand there",
    )
    for example in found["examples"][:_CONTAMINATED_EXAMPLES]:
        shown = textwrap.shorten(example["text"], _WIDTH, placeholder=" …")
        yield "", f"row {example['row']} in document {example['document_id']}: {shown}"


def _seeds(report: Mapping[str, Any]) -> Iterator[str]:
    fitted = report["finetuning"]["train_accuracy"]
    seconds = report["finetuning"]["train_seconds"]
    rows: list[tuple[str, ...]] = [
        (
            seed,
            f"{percent(accuracy)} %",
            f"{percent(fitted[seed])} %",
            "-" if seconds[seed] is None else f"{seconds[seed]:.0f} s",
        )
        for seed, accuracy in report["accuracy"]["per_seed"].items()
    ]
    scratch = report["baselines"].get("no_pretraining", {}).get("accuracy", {}).get("per_seed", {})
    header: tuple[str, ...] = ("seed", report["split"], "training split", "fine-tuning took")
    if scratch:
        header = (*header, "no pretraining")
        rows = [(*row, f"{percent(scratch.get(row[0]))} %") for row in rows]
    yield from _table(header, rows)


def _classes(report: Mapping[str, Any]) -> Iterator[str]:
    scores = report["classification_report"]
    rows: list[tuple[str, ...]] = [
        (
            label,
            percent(part["precision"]),
            percent(part["recall"]),
            percent(part["f1"]),
            f"{part['support']:,}",
        )
        for label, part in scores["per_class"].items()
    ]
    total = f"{report['examples']:,}"
    rows.append(("macro average", "", "", percent(scores["macro_f1"]), total))
    rows.append(("weighted average", "", "", percent(scores["weighted_f1"]), total))
    yield from _table(("", "precision", "recall", "F1", "support"), rows)


def _confusion(report: Mapping[str, Any]) -> Iterator[str]:
    labels = [textwrap.shorten(label, _LABEL_WIDTH) for label in report["task"]["labels"]]
    rows = [
        (label, *(f"{count:,.1f}".removesuffix(".0") for count in counts))
        for label, counts in zip(labels, report["confusion_matrix"], strict=True)
    ]
    yield from _table(("", *labels), rows)


def _mistakes(report: Mapping[str, Any]) -> Iterator[str]:
    seeds = len(report["accuracy"]["per_seed"])
    if not report["mistakes"]:
        yield "  none"
    for mistake in report["mistakes"]:
        yield (
            f"  {mistake['label']}, taken for {mistake['prediction']} with "
            f"{percent(mistake['probability'])} % ({mistake['seeds_wrong']} of {seeds} seeds wrong)"
        )
        yield from textwrap.wrap(
            mistake["text"],
            _WIDTH,
            initial_indent="      ",
            subsequent_indent="      ",
            max_lines=_MISTAKE_LINES,
            placeholder=" …",
        )


def _notes(report: Mapping[str, Any]) -> list[str]:
    resamples = report["baselines"]["majority"]["paired_difference"]["resamples"]
    return _paragraph(
        "Over seeds: Student's t interval of the mean; it knows of the seeds, not of the choice "
        "of rows. Over rows: Wilson's score interval; it knows of the rows, not of the seeds. "
        f"Differences: paired bootstrap over rows ({resamples:,} resamples), each row counting "
        "with its mean over seeds. An interval that holds 0 shows no difference."
    )
