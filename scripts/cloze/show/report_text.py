"""The report as a person reads it, written from nothing but the report's JSON."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cloze.show.adaptation import adaptation_notes, adaptation_table
from cloze.show.kind_reports import kind_report
from cloze.show.text_layout import (
    METRIC_NAMES,
    WIDTH,
    pairs,
    paragraph,
    percent,
    points,
    settings,
    table,
    unit,
    with_deviation,
)
from cloze.show.verdicts import best_baseline, verdicts

Table = tuple[list[str], list[list[str]]]

_CONTAMINATED_EXAMPLES = 3
_ENCODERS = {
    "ceiling": "ceiling: {name}",
    "unadapted": "the same encoder, not adapted",
    "no_pretraining": "the same encoder, no pretraining",
}


def render_report(report: Mapping[str, Any]) -> str:
    """Return the text of a report that `cloze.show.report.build_report` made."""
    sections: list[tuple[str, Iterable[str]]] = [
        ("RESULT", _result(report)),
        ("BASELINES", _baselines(report)),
        *((f"ON THE {part['split'].upper()} SPLIT", _other(part)) for part in other_splits(report)),
        ("RECIPE", pairs(recipe_pairs(report))),
        ("DATA", pairs(data_pairs(report))),
        ("SEEDS", table(*seed_table(report))),
    ]
    if report["checkpoints"]:
        sections.append(("AS PRETRAINING WENT ON", table(*checkpoint_table(report))))
    if facts := adaptation(report):
        sections.append(("ADAPTATION", _adaptation(facts)))
    if position_tables(report):
        sections.append(("LONG TEXTS", _long_texts(report)))
    sections += kind_report(report["task"]).sections(report)
    sections.append(("HOW TO READ THE INTERVALS", paragraph(interval_notes(report))))
    title = f"{report['name']}: {report['task']['name']}"
    lines = [title, "=" * len(title), *subject_lines(report)]
    for heading, body in sections:
        lines += ["", heading, "-" * len(heading), *body]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _result(report: Mapping[str, Any]) -> Iterator[str]:
    yield from pairs([*result_pairs(report), *(("mind", told) for told in verdicts(report))])


def subject_pairs(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield which recipe the report is of: where its encoder lies, and the names that made it."""
    # Reports that were kept from earlier versions do not say where.
    if report.get("model") is not None:
        yield "model", report["model"]
    names = [f"{key} {name}" for key, name in report["recipe"].items() if key != "task"]
    if names:
        yield "recipe", ", ".join(names)


def subject_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the lines below the title of a report, or of an average, that say what it is of."""
    subject = list(subject_pairs(report))
    return list(pairs(subject)) if subject else []


def headline(report: Mapping[str, Any]) -> str:
    """Return a sentence: the score, what pretraining brought, and the best baseline."""
    score, kind = report["score"], kind_report(report["task"])
    metric = METRIC_NAMES[score["metric"]]
    rows = f"{report['examples']:,} {report['split']} {kind.row_name}"
    parts = [f"{metric} {with_deviation(score)} on {rows}"]
    if report["paired_difference"]:
        parts.append(f"pretraining brings {points(report['paired_difference'])} points")
    if (best := best_baseline(report)) is not None:
        name, facts = best
        parts.append(f"{name} has {percent(facts['score'])}{unit(score['metric'])}")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def result_pairs(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the task, the score with its intervals, and what pretraining brought."""
    score, task, metric = report["score"], report["task"], report["score"]["metric"]
    yield "task", f"{task['name']} ({task['origin'] or 'origin not declared'})"
    times = "" if metric == "accuracy" else f" ({METRIC_NAMES[metric]}, times 100)"
    rows = kind_report(task).row_name
    evaluated = f"on {report['examples']:,} {report['split']} {rows}"
    name = "accuracy" if metric == "accuracy" else "score"
    yield name, f"{with_deviation(score)}{times} {evaluated}"
    if score["ci95"] is None:
        yield "over seeds", "one seed only: no deviation and no interval"
    else:
        bounds = f"{' to '.join(map(percent, score['ci95']))}{unit(metric)}"
        seeds = len(score["per_seed"])
        yield "over seeds", f"mean of {seeds}; 95 % interval of the mean {bounds}"
    if metric == "accuracy":
        bounds = " to ".join(map(percent, report["accuracy"]["wilson_ci95"]))
        yield "over rows", f"95 % interval {bounds} %"
    else:
        measured = (f"{key.replace('_', ' ')} {v:.4f}" for key, v in report["measures"].items())
        yield "measured", ", ".join(measured)
    if report["paired_difference"]:
        yield "pretraining", f"{points(report['paired_difference'])} points"
    if (before := report["baselines"].get("unadapted")) is not None:
        yield "adaptation", f"{points(before['paired_difference'])} points"


def baseline_names(report: Mapping[str, Any]) -> dict[str, str]:
    """Return what may stand beside the encoder, by key, in the order of the tables."""
    return {**_ENCODERS, **kind_report(report["task"]).baseline_names}


def baseline_rows(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, score and how much better the encoder is, of it and of each baseline."""
    metric = report["score"]["metric"]
    name = "this encoder" if report["pretraining"] is None else "this encoder, pretrained"
    name = "this encoder, adapted" if adaptation(report) else name
    rows = [(name, with_deviation(report["score"]), "")]
    for key, name in baseline_names(report).items():
        if key in report["baselines"]:
            baseline = report["baselines"][key]
            score = baseline["score"]
            is_number = isinstance(score, float)
            shown = f"{percent(score)}{unit(metric)}" if is_number else with_deviation(score)
            difference = points(baseline["paired_difference"])
            rows.append((name.format(name=baseline.get("name", "")), shown, difference))
    return rows


def other_splits(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield for each split besides that of the headline the report as it is there."""
    # Reports that were kept from earlier versions are of one split.
    for part in report.get("other_splits", {}).values():
        yield {**report, **part}


def _other(report: Mapping[str, Any]) -> Iterator[str]:
    _, *results = result_pairs(report)
    yield from pairs([*results, *overlap_pairs(report)])
    yield ""
    yield from _beside(report)


def _beside(report: Mapping[str, Any]) -> Iterator[str]:
    metric = report["score"]["metric"]
    column = "accuracy" if metric == "accuracy" else "score"
    yield from table(("", column, "this encoder is better by (points)"), baseline_rows(report))


def _baselines(report: Mapping[str, Any]) -> Iterator[str]:
    yield from _beside(report)
    yield ""
    for note in baseline_notes(report):
        yield from paragraph(note)


def baseline_notes(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield how the baselines were made, a paragraph each."""
    yield from kind_report(report["task"]).baseline_notes(report)
    for key, subject in (
        ("unadapted", "The encoder that was not adapted"),
        ("no_pretraining", "The encoder without pretraining"),
        ("ceiling", "The ceiling"),
    ):
        if key in report["baselines"]:
            training = report["baselines"][key]["finetuning"]
            found = [score for score in training["train_score"].values() if score is not None]
            fitted = ", ".join(map(percent, found))
            # Texts alone that are trained on have nothing to be judged by.
            fits = f"fits its training split to {fitted}{unit(report['score']['metric'])}"
            verb = fits if found else "was fine-tuned alike"
            yield f"{subject} {verb} ({settings(training['recipe'])})."


def seed_table(report: Mapping[str, Any]) -> Table:
    """Return header and rows: each seed's scores and the seconds of its fine-tuning."""
    sign, finetuning = unit(report["score"]["metric"]), report["finetuning"]
    scratch = report["baselines"].get("no_pretraining", {}).get("score", {}).get("per_seed", {})
    header = ["seed", report["split"], "training split", "fine-tuning took"]
    header += ["no pretraining"] if scratch else []
    rows = []
    for seed, score in report["score"]["per_seed"].items():
        seconds = finetuning["train_seconds"][seed]
        took = "-" if seconds is None else f"{seconds:.0f} s"
        shown = [f"{percent(value)}{sign}" for value in (score, finetuning["train_score"][seed])]
        compared = [f"{percent(scratch.get(seed))}{sign}"] if scratch else []
        rows.append([seed, *shown, took, *compared])
    return header, rows


def checkpoint_table(report: Mapping[str, Any]) -> Table:
    """Return header and rows: the score at each share of the pretraining budget."""
    shares = report["checkpoints"]
    rows = [[f"{share['percent']} %", with_deviation(share["score"])] for share in shares]
    return ["share of the budget", "score"], rows


def adaptation(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what an adaptation changed, None where there was none."""
    # Reports that were kept from earlier versions do not say.
    found: Mapping[str, Any] | None = report.get("adaptation")
    return found


def _adaptation(facts: Mapping[str, Any]) -> Iterator[str]:
    yield from table(*adaptation_table(facts))
    yield ""
    for note in adaptation_notes(facts):
        yield from paragraph(note)


def position_tables(report: Mapping[str, Any]) -> list[Table]:
    """Return a table of the loss by position for each phase of pretraining, the last one first."""
    shown = []
    phases = _phases(report)
    for name, facts in reversed(phases):
        # Reports that were kept from earlier versions have none.
        if bins := facts.get("loss_by_position"):
            where = f"position, {name}" if len(phases) > 1 else "position"
            header = [where, "masked tokens", "loss (nats)"]
            shown.append((header, [_position_row(part) for part in bins]))
    return shown


def _position_row(part: Mapping[str, Any]) -> list[str]:
    loss, error = part["loss"], part["standard_error"]
    shown = "-" if loss is None else f"{loss:.3f}" + ("" if error is None else f" ± {error:.3f}")
    return [f"{part['first']:,} to {part['last']:,}", f"{part['predictions']:,}", shown]


def repeated_word_table(report: Mapping[str, Any]) -> Table:
    """Return what it brings to have seen a rare word before, by the distance in tokens."""
    header = ["tokens apart", "pairs", "guessed right", "not seen before", "gain (nats)"]
    rows = []
    for part in (report["pretraining"] or {}).get("repeated_words", []):
        interval = ""
        if part["ci95"] is not None:
            interval = " [{:+.2f}, {:+.2f}]".format(*part["ci95"])
        shares = [f"{percent(part[key])} %" for key in ("seen", "masked")]
        apart = f"{part['first']:,} to {part['last']:,}"
        rows.append([apart, f"{part['pairs']:,}", *shares, f"{part['gain']:+.2f}{interval}"])
    return header, rows


POSITION_NOTE = (
    "Loss of masked tokens of the validation split by their position in a sample; ± the standard "
    "error, which knows of the tokens, not of the training."
)
REPEATED_WORD_NOTE = (
    "Rare words of one token that stand twice in a held-out text: the second one is masked and "
    "guessed, once with the first one there to be seen and once with it masked as well. The "
    "difference of the two losses, with its 95 % interval over pairs, is what seeing it brings."
)


def _long_texts(report: Mapping[str, Any]) -> Iterator[str]:
    yield from paragraph(POSITION_NOTE)
    for shown in position_tables(report):
        yield ""
        yield from table(*shown)
    header, rows = repeated_word_table(report)
    if rows:
        yield ""
        yield from paragraph(REPEATED_WORD_NOTE)
        yield ""
        yield from table(header, rows)


def interval_notes(report: Mapping[str, Any]) -> str:
    """Return what the intervals know of and what not."""
    rows_drawn = kind_report(report["task"]).row_name
    resamples = next(
        (part["paired_difference"]["resamples"] for part in report["baselines"].values()), 0
    )
    is_accuracy = report["score"]["metric"] == "accuracy"
    rows, averaged = "", "scores averaged over seeds"
    if is_accuracy:
        rows = "Over rows: Wilson's score interval; it knows of the rows, not of the seeds. "
        averaged = "each row counting with its mean over seeds"
    return (
        "Over seeds: Student's t interval of the mean; it knows of the seeds, not of the choice "
        f"of {rows_drawn}. {rows}Differences: paired bootstrap over {rows_drawn} ({resamples:,} "
        f"resamples), "
        f"{averaged}. An interval that holds 0 shows no difference."
    )


def recipe_pairs(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of the run, its architecture, pretraining and fine-tuning."""
    yield from ((key, str(value)) for key, value in report["recipe"].items())
    if dataset := report["dataset"]:
        tokens = ", ".join(f"{part['tokens']:,} {name}" for name, part in dataset["splits"].items())
        shown = (
            f"{dataset['method'].replace('_', ' ')}, up to {dataset['max_length']} tokens, "
            f"vocabulary {dataset['vocab_size']:,}; tokens: {tokens}"
        )
        yield "rows", shown
    if phases := _phases(report):
        *earlier, (_, last) = phases
        for name, facts in earlier:
            loss = f"validation loss {facts['validation_loss']:.3f} nats"
            yield name, f"on {facts['dataset']}: {_effort(facts)}; {loss}"
        yield from _pretraining(last, is_later=bool(earlier))
    yield "fine-tuning", settings(report["finetuning"]["recipe"])


def _phases(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return each phase of the pretraining, the last one too, and what it is called."""
    # Reports that were kept from earlier versions are of one phase.
    phases = [facts for facts in (*report.get("phases", ()), report["pretraining"]) if facts]
    return [(f"phase {number}", facts) for number, facts in enumerate(phases, start=1)]


def _effort(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts['steps']:,} steps, {facts['tokens']:,} tokens, "
        f"{facts['train_seconds']:,.0f} s, {facts['tokens_per_second']:,.0f} tokens/s"
    )


def _pretraining(facts: Mapping[str, Any], *, is_later: bool) -> Iterator[tuple[str, str]]:
    shape = facts["architecture"]
    count = f"; {facts['num_parameters']:,} parameters" if "num_parameters" in facts else ""
    shown = (
        f"{shape['model_type']}, {shape['num_hidden_layers']} layers, hidden size "
        f"{shape['hidden_size']}, {shape['num_attention_heads']} heads, feed-forward "
        f"{shape['intermediate_size']}{count}"
    )
    yield "architecture", shown
    if "steps" in facts:
        where = f"last phase, on {facts['dataset']}: " if is_later else ""
        yield "pretraining", f"{where}{_effort(facts)}"
    if "validation_loss" in facts:
        # Reports that were kept have it under an older name.
        bits, by_bytes = facts.get("masked_bits_per_byte"), ""
        if bits is not None:
            by_bytes = f"; masked-LM loss of {bits:.3f} bits a byte (no compression rate)"
        shown = (
            f"validation loss {facts['validation_loss']:.3f} nats where word frequencies "
            f"alone give {facts['unigram_entropy']:.3f}; "
            f"{percent(facts['validation_accuracy'])} % guessed right{by_bytes}"
        )
        yield "masked words", shown
    yield from (("diagnosis", sentence) for sentence in facts.get("diagnosis", [])[:1])


def data_pairs(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the counts of corpus and task, and what of the task stands elsewhere."""
    task, counts = report["task"], kind_report(report["task"]).split_counts
    for split, found in (report["corpus"] or {}).get("splits", {}).items():
        yield f"corpus, {split}", ", ".join(f"{value:,} {name}" for name, value in found.items())
    for split, part in task["splits"].items():
        yield f"task, {split}", f"{part['rows']:,} rows ({counts(part)})"
    for split, found in task.get("left_out", {}).items():
        shown = f"{found['unlabelled']:,} rows without a label, {found['bad']:,} bad ones"
        yield f"left out, {split}", shown
    if held := task["hold_out"]:
        shown = (
            "the validation rows are a part of the training file, not the published validation "
            f"file; {held['rows_removed_inside_held_out']:,} rows inside them were removed from "
            "the training split"
        )
        yield "hold-out", shown
    yield from overlap_pairs(report)
    if truncated := report["finetuning"]["truncated_texts"]:
        yield "cut", f"{truncated:,} training texts were longer than max length"


def overlap_pairs(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how many rows of the split stand in the training split and in the pretraining text."""
    split, overlap = report["split"], report["overlap"]
    if (training := overlap["with_training_split"]) is not None:
        groups = ""
        if "same_group" in training:
            groups = f"; {training['same_group']:,} are of a group that has training rows"
        shown = (
            f"{training['equal']:,} of {report['examples']:,} {split} rows equal a training row, "
            f"{training['inside']:,} stand inside one{groups}"
        )
        yield "overlap", shown
    if (corpus := overlap["with_pretraining_text"]) is not None:
        yield from _contamination(corpus)


def _contamination(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    shown = (
        f"{found['contaminated']:,} of {found['rows']:,} rows ({percent(found['share'])} %) are in "
        f"the pretraining text: {found['long_exact']:,} of 8 words or more stand there whole, "
        f"{found['ngram']:,} share 13 words in a row with it; however short, {found['exact']:,} "
        "stand there"
    )
    yield "contamination", shown
    for example in found["examples"][:_CONTAMINATED_EXAMPLES]:
        shown = textwrap.shorten(example["text"], WIDTH, placeholder=" …")
        yield "", f"row {example['row']} in document {example['document_id']}: {shown}"
