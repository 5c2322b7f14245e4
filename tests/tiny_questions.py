"""Questions that a tiny encoder learns: an answer starts and ends with words of its own."""

import json
import random
from pathlib import Path
from typing import Any

FIRST, LAST = "w1", "w2"

# Markup that is text, with an answer that nothing learnt finds.
MARKUP = {
    "title": "<title>",
    "paragraphs": [
        {
            "context": "w5 <script>w6</script> <b>w7</b>",
            "qas": [
                {
                    "id": "markup",
                    "question": "<i>w8</i>",
                    "answers": [{"text": "w7", "answer_start": 26}],
                }
            ],
        }
    ],
}


def squad(num_articles: int, seed: int, *, unanswerable: bool = True, words: int = 12) -> Any:
    """Return questions in the form of SQuAD, a context each; a third has no answer if wanted."""
    rng = random.Random(seed)
    articles = []
    for number in range(num_articles):
        context = [f"w{rng.randrange(10, 59)}" for _ in range(words)]
        answers = []
        if not unanswerable or number % 3:
            place = rng.randrange(words - 3)
            context[place], context[place + 2] = FIRST, LAST
            text = " ".join(context[place : place + 3])
            answers = [{"text": text, "answer_start": " ".join(context).index(text)}]
        question = {"id": f"{seed}-{number}", "question": "w3 w4", "answers": answers}
        paragraph = {"context": " ".join(context), "qas": [question]}
        articles.append({"title": f"article {seed} {number}", "paragraphs": [paragraph]})
    return {"version": "v2.0", "data": articles}


def write_questions(folder: Path, **options: Any) -> list[str]:
    """Write train.json and validation.json, whose last article is `MARKUP`; returns their flags."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size, seed in (("train", 240, 1), ("validation", 60, 2)):
        held = squad(size, seed, **options)
        held["data"] += [MARKUP] if name == "validation" else []
        content = json.dumps(held)
        (folder / f"{name}.json").write_text(content, encoding="utf-8")
    files = [f"--{name}={folder / name}.json" for name in ("train", "validation")]
    return [*files, "--objective=question_answering"]
