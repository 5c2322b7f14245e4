"""The report as a person reads it, written from nothing but the report's JSON."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cloze.show.text_layout import (
    METRIC_NAMES,
    WIDTH,
    mean_count,
    pairs,
    paragraph,
    percent,
    points,
    settings,
    table,
    unit,
    with_deviation,
)

_CONTAMINATED_EXAMPLES = 3
_LABEL_WIDTH = 14
_MISTAKE_LINES = 4
BASELINE_NAMES = {
    "ceiling": "ceiling: {name}",
    "no_pretraining": "the same encoder, no pretraining",
    "tfidf_logistic_regression": "TF-IDF + logistic regression",
    "majority": "majority class",
}
_OF_SCORES = {
    "tfidf_logistic_regression": "TF-IDF + ridge regression",
    "majority": "mean of the training scores",
}


def render_report(report: Mapping[str, Any]) -> str:
    """Return the text of a report that `cloze.show.report.build_report` made."""
    sections: list[tuple[str, Iterable[str]]] = [
        ("RESULT", pairs(result_pairs(report))),
        ("BASELINES", _baselines(report)),
        ("RECIPE", pairs(recipe_pairs(report))),
        ("DATA", pairs(data_pairs(report))),
        ("SEEDS", table(*seed_table(report))),
    ]
    if report["checkpoints"]:
        sections.append(("AS PRETRAINING WENT ON", table(*checkpoint_table(report))))
    if report["task"]["is_regression"]:
        mistakes = "FURTHEST OFF, predictions averaged over seeds"
    else:
        sections += [
            ("BY CLASS, mean over seeds", table(*class_table(report))),
            (
                "CONFUSION MATRIX, mean over seeds (rows: true, columns: predicted)",
                _confusion(report),
            ),
        ]
        mistakes = "MOST CONFIDENT MISTAKES, probabilities averaged over seeds"
    sections += [
        (mistakes, _mistakes(report)),
        ("HOW TO READ THE INTERVALS", paragraph(interval_notes(report))),
    ]
    title = f"{report['name']}: {report['task']['name']}"
    lines = [title, "=" * len(title)]
    for heading, body in sections:
        lines += ["", heading, "-" * len(heading), *body]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def result_pairs(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the task, the score with its intervals, and what pretraining brought."""
    score, task = report["score"], report["task"]
    seeds, metric = len(score["per_seed"]), score["metric"]
    shown = METRIC_NAMES[metric]
    found = [
        ("task", f"{task['name']} ({task['origin'] or 'origin not declared'})"),
        (
            "accuracy" if metric == "accuracy" else "score",
            f"{with_deviation(score)}{'' if metric == 'accuracy' else f' ({shown}, times 100)'} "
            f"on {report['examples']:,} {report['split']} rows",
        ),
    ]
    if score["ci95"] is None:
        found.append(("over seeds", "one seed only: no deviation and no interval"))
    else:
        bounds = " to ".join(percent(bound) for bound in score["ci95"])
        found.append(
            ("over seeds", f"mean of {seeds}; 95 % interval of the mean {bounds}{unit(metric)}")
        )
    if metric == "accuracy":
        low, high = report["accuracy"]["wilson_ci95"]
        found.append(("over rows", f"95 % interval {percent(low)} to {percent(high)} %"))
    else:
        measured = (
            f"{name.replace('_', ' ')} {value:.4f}" for name, value in report["measures"].items()
        )
        found.append(("measured", ", ".join(measured)))
    if report["paired_difference"]:
        found.append(("pretraining", f"{points(report['paired_difference'])} points"))
    return found


def baseline_rows(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, score and how much better the encoder is, of it and of each baseline."""
    metric = report["score"]["metric"]
    name = "this encoder" if report["pretraining"] is None else "this encoder, pretrained"
    rows = [(name, with_deviation(report["score"]), "")]
    names = BASELINE_NAMES | (_OF_SCORES if report["task"]["is_regression"] else {})
    for key, name in names.items():
        if key in report["baselines"]:
            baseline = report["baselines"][key]
            score = baseline["score"]
            is_number = isinstance(score, float)
            shown = f"{percent(score)}{unit(metric)}" if is_number else with_deviation(score)
            difference = points(baseline["paired_difference"])
            rows.append((name.format(name=baseline.get("name", "")), shown, difference))
    return rows


def _baselines(report: Mapping[str, Any]) -> Iterator[str]:
    metric = report["score"]["metric"]
    column = "accuracy" if metric == "accuracy" else "score"
    yield from table(("", column, "this encoder is better by (points)"), baseline_rows(report))
    yield ""
    for note in baseline_notes(report):
        yield from paragraph(note)


def baseline_notes(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield how the baselines were made, a paragraph each."""
    tfidf = report["baselines"]["tfidf_logistic_regression"]
    hold_out = tfidf["hold_out"]
    kind = "ridge" if report["task"]["is_regression"] else "logistic"
    yield (
        f"The {kind} regression (C {tfidf['C']:g}, {tfidf['num_features']:,} words and word "
        f"pairs) was tuned on {hold_out['rows_held_out']:,} rows of the training split; "
        f"{hold_out['rows_removed']:,} rows that stand inside one of them were left out for that."
    )
    for key, subject in (
        ("no_pretraining", "The encoder without pretraining"),
        ("ceiling", "The ceiling"),
    ):
        if key in report["baselines"]:
            training = report["baselines"][key]["finetuning"]
            fitted = ", ".join(percent(value) for value in training["train_score"].values())
            yield (
                f"{subject} fits its training split to {fitted}{unit(report['score']['metric'])} "
                f"({settings(training['recipe'])})."
            )


def seed_table(report: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows: each seed's scores and the seconds of its fine-tuning."""
    fitted = report["finetuning"]["train_score"]
    seconds = report["finetuning"]["train_seconds"]
    sign = unit(report["score"]["metric"])
    rows: list[tuple[str, ...]] = [
        (
            seed,
            f"{percent(score)}{sign}",
            f"{percent(fitted[seed])}{sign}",
            "-" if seconds[seed] is None else f"{seconds[seed]:.0f} s",
        )
        for seed, score in report["score"]["per_seed"].items()
    ]
    scratch = report["baselines"].get("no_pretraining", {}).get("score", {}).get("per_seed", {})
    header: tuple[str, ...] = ("seed", report["split"], "training split", "fine-tuning took")
    if scratch:
        header = (*header, "no pretraining")
        rows = [(*row, f"{percent(scratch.get(row[0]))}{sign}") for row in rows]
    return header, rows


def checkpoint_table(report: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows: the score at each share of the pretraining budget."""
    rows: list[tuple[str, ...]] = [
        (f"{checkpoint['percent']} %", with_deviation(checkpoint["score"]))
        for checkpoint in report["checkpoints"]
    ]
    return ("share of the budget", "score"), rows


def class_table(report: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows: precision, recall, F1 and support of each class, and averages."""
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
    return ("", "precision", "recall", "F1", "support"), rows


def _confusion(report: Mapping[str, Any]) -> list[str]:
    labels = [textwrap.shorten(label, _LABEL_WIDTH) for label in report["task"]["labels"]]
    rows = [
        (label, *map(mean_count, counts))
        for label, counts in zip(labels, report["confusion_matrix"], strict=True)
    ]
    return table(("", *labels), rows)


def mistake_heading(mistake: Mapping[str, Any], seeds: int) -> str:
    """Return what was said of a row, and what it is."""
    if "probability" not in mistake:
        return f"{mistake['label']:g}, predicted {mistake['prediction']:.2f}"
    return (
        f"{mistake['label']}, taken for {mistake['prediction']} with "
        f"{percent(mistake['probability'])} % ({mistake['seeds_wrong']} of {seeds} seeds wrong)"
    )


def _mistakes(report: Mapping[str, Any]) -> Iterator[str]:
    seeds = len(report["score"]["per_seed"])
    if not report["mistakes"]:
        yield "  none"
    for mistake in report["mistakes"]:
        yield f"  {mistake_heading(mistake, seeds)}"
        for text in (mistake["text"], mistake.get("text_pair")):
            if text is not None:
                yield from textwrap.wrap(
                    text,
                    WIDTH,
                    initial_indent="      ",
                    subsequent_indent="      ",
                    max_lines=_MISTAKE_LINES,
                    placeholder=" …",
                )


def interval_notes(report: Mapping[str, Any]) -> str:
    """Return what the intervals know of and what not."""
    resamples = report["baselines"]["majority"]["paired_difference"]["resamples"]
    is_accuracy = report["score"]["metric"] == "accuracy"
    rows = (
        "Over rows: Wilson's score interval; it knows of the rows, not of the seeds. "
        if is_accuracy
        else ""
    )
    averaged = "each row counting with its mean over seeds" if is_accuracy else "scores averaged"
    return (
        "Over seeds: Student's t interval of the mean; it knows of the seeds, not of the choice "
        f"of rows. {rows}Differences: paired bootstrap over rows ({resamples:,} resamples), "
        f"{averaged}{'' if is_accuracy else ' over seeds'}. An interval that holds 0 shows no "
        "difference."
    )


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
        shown = (
            f"validation loss {pretraining['validation_loss']:.3f} nats where word frequencies "
            f"alone give {pretraining['unigram_entropy']:.3f}; "
            f"{percent(pretraining['validation_accuracy'])} % guessed right"
        )
        # Reports that were kept have it under an older name.
        if "masked_bits_per_byte" in pretraining:
            bits = pretraining["masked_bits_per_byte"]
            shown += f"; masked-LM loss of {bits:.3f} bits a byte (no compression rate)"
        found.append(("masked words", shown))
    found += [("diagnosis", sentence) for sentence in pretraining.get("diagnosis", [])[:1]]
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
    found += _overlap(report)
    if truncated := report["finetuning"]["truncated_texts"]:
        found.append(("cut", f"{truncated:,} training texts were longer than max length"))
    return found


def _labels(part: Mapping[str, Any]) -> str:
    if (scores := part.get("scores")) is not None:
        return f"scores {scores['min']:g} to {scores['max']:g}, mean {scores['mean']:.3f}"
    return ", ".join(f"{count:,} {label}" for label, count in part["rows_by_label"].items())


def _overlap(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
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
