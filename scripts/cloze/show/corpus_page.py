"""The page that shows a corpus: one HTML file with its figures, for a phone and a desktop."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cloze.files import resource
from cloze.show.corpus_figures import FIGURES
from cloze.show.html_parts import escape, fill, join, table, tile
from cloze.show.themed_svg import for_a_page

_CAPTIONS = {
    "document_lengths": "The lower axis is logarithmic.",
    "sample_lengths": "A sample is at most as long as the data set's max_length.",
    "row_fill": "A row holds whole samples; what they leave free is padding.",
    "token_frequencies": "Both axes are logarithmic; natural text is close to a straight line.",
}


def render_page(facts: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Return the page for what `describe_corpus` and `draw_figures` returned."""
    vocabulary = facts["vocabulary"]
    parts = {
        "title": escape(" · ".join(facts["recipe"].values()) or "A corpus"),
        "tiles": join(tile(*shown) for shown in _tiles(facts)),
        "splits": _splits(facts["splits"]),
        "lengths": _lengths(facts),
        "figures": join(_figure(name, figures[name]) for name in FIGURES),
        "used": f"{vocabulary['used']:,}",
        "size": f"{vocabulary['size']:,}",
        "never_used": f"{vocabulary['never_used']:,}",
        "most_frequent": _bars(vocabulary["most_frequent"]),
        "least_frequent": _chips(vocabulary["least_frequent"]),
        "unused": _chips(vocabulary["never_used_examples"]),
        "dropped": _dropped(facts["dropped"]),
        "examples": join(_example(example) for example in facts["examples"]),
    }
    return fill(resource("show/corpus_page.html"), parts)


def _tiles(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    splits = facts["splits"].values()
    yield "documents", _total(splits, "documents"), "in all splits"
    yield "words", _total(splits, "words"), "between white space"
    yield "bytes", _total(splits, "bytes"), "of UTF-8 text"
    yield "tokens", f"{facts['text_tokens']:,}", "of training text"
    yield "tokens a word", f"{facts['tokens_per_word']:.3f}", "training text"
    yield "bytes a token", f"{facts['bytes_per_token']:.2f}", "training text"
    yield "unknown", _percent(facts["vocabulary"]["unknown_share"], 4), "of the text's tokens"
    yield "rows filled", _percent(facts["row_fill"], 2), f"of {facts['row_length']} tokens"
    yield "duplicates", f"{facts['duplicates']:,}", "documents dropped"


def _splits(splits: Mapping[str, Mapping[str, int]]) -> str:
    counts = dict.fromkeys(count for split in splits.values() for count in split)
    rows = [
        [name, *(f"{split[name]:,}" if name in split else "–" for split in splits.values())]
        for name in counts
    ]
    return table(["", *splits], rows)


def _lengths(facts: Mapping[str, Any]) -> str:
    summaries = {name: lengths["summary"] for name, lengths in facts["lengths"].items()}
    summaries = {name: summary for name, summary in summaries.items() if summary}
    measures = list(dict.fromkeys(measure for s in summaries.values() for measure in s))
    rows = [[name, *(_number(s[name]) for s in summaries.values())] for name in measures]
    page = table(["", *summaries], rows)
    if cut := facts["cut_sentences"]:
        page += f"<p>Samples that go on with a sentence too long for one: {cut:,}.</p>"
    if pairs := facts["pairs"]["count"]:
        page += (
            f"<p>Pairs for next-sentence prediction: {pairs:,}, of which "
            f"{facts['pairs']['is_next']:,} are true; a false one borrows its second text.</p>"
        )
    return page


def _figure(name: str, svg: str) -> str:
    title = FIGURES[name]
    return (
        f"<figure><h3>{title}</h3>{for_a_page(svg, title)}"
        f"<figcaption>{_CAPTIONS[name]}</figcaption></figure>"
    )


def _bars(tokens: Sequence[Mapping[str, Any]]) -> str:
    highest = max((token["count"] for token in tokens), default=1)
    return join(
        f'<li><code>{escape(token["token"])}</code><span class="bar"><i style="width:'
        f'{100 * token["count"] / highest:.1f}%"></i></span><b>{token["count"]:,}</b></li>'
        for token in tokens
    )


def _chips(tokens: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(
        f"<span><code>{escape(token['token'])}</code> <small>{token['count']:,}</small></span>"
        for token in tokens
    )


def _dropped(dropped: Mapping[str, int]) -> str:
    if not any(dropped.values()):
        return "<p>No document was dropped.</p>"
    rows = [[reason.replace("_", " "), f"{count:,}"] for reason, count in dropped.items()]
    counts = table(["reason", "documents"], rows)
    return f"{counts}<p>dropped.tsv.gz beside the documents names each of them.</p>"


def _example(example: Mapping[str, Any]) -> str:
    title = example["title"] or example["source"] or f"document {example['document_id']}"
    more = " …" if example["characters"] > len(example["text"]) else ""
    samples = join(_sample(sample) for sample in example["samples"])
    facts = [
        f"document {example['document_id']} of {escape(example['source'])}",
        f"characters {example['characters']:,}",
        f"tokens {example['tokens']:,}",
        f"samples {example['num_samples']:,}",
    ]
    if len(example["samples"]) < example["num_samples"]:
        facts.append(f"shown: the first {len(example['samples'])}")
    return (
        f'<article><h3>{escape(title)}</h3><p class="about">{"; ".join(facts)}</p>'
        f"<blockquote>{escape(example['text'])}{more}</blockquote>{samples}</article>"
    )


def _sample(sample: Mapping[str, Any]) -> str:
    words = map(_word, _words(sample["tokens"]))
    return (
        f'<div class="sample"><small>row {sample["row"]:,}, sample {sample["place"] + 1}</small>'
        f"<p>{' '.join(words)}</p></div>"
    )


def _words(tokens: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    numbers = itertools.accumulate(int(token["starts_word"]) for token in tokens)
    pairs = zip(numbers, tokens, strict=True)
    for _, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
        yield [token for _, token in group]


def _word(tokens: Sequence[Mapping[str, Any]]) -> str:
    pieces = "".join(
        f'<span title="id {token["id"]}">{escape(str(token["token"]))}</span>' for token in tokens
    )
    kind = "frame" if tokens[0]["is_special"] else "word"
    sentence = " first" if tokens[0]["starts_sentence"] and kind == "word" else ""
    return f'<span class="{kind}{sentence}">{pieces}</span>'


def _number(value: float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def _total(splits: Iterable[Mapping[str, int]], column: str) -> str:
    return f"{sum(split[column] for split in splits):,}"


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"
