"""Entities by our fine-tuning and by Hugging Face's: F1, and sentences a second, on one encoder.

The peer is `AutoModelForTokenClassification` in a loop as `transformers.Trainer` has it: batches
padded to their longest sentence, the first piece of a word labelled, fused AdamW, clipping, a
linear schedule, fp32, and a dropout of 0.1 wherever the layout has one, as ours has. Ours is
`scripts/finetune.py` with the same settings, its precision that of --precision. Both start from
one imported encoder and see one task folder, which `scripts/prepare_task.py` made; the seeds run
in turn. Both predict the test split and are judged by `seqeval`, which must agree with our own
figures to the last digit. After each seed the peer does some steps with sentences padded to
--max-length too, as `run_ner.py --pad_to_max_length`.
Ends with one JSON line: F1 by seed, mean and deviation, sentences a second of training, and
`ratio` and `ratio_padded`, the medians of ours over theirs.

Needs `pip install transformers psutil`.
Try: python benchmarks/token_classification.py --encoder MODEL_FOLDER --task TASK_FOLDER
"""

import argparse
import itertools
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch

sys.path.insert(0, str(measure.SCRIPTS))

from cloze.files import read_json
from cloze.tasks.tag_scores import tags_outcome
from cloze.tasks.task import Task, TaskSplit, load_task

IGNORED = -100
DROPOUT = 0.1
_PADDED_STEPS = 20


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", type=Path, required=True, help="model folder to start from")
    parser.add_argument("--task", type=Path, required=True, help="task folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--num-train-epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--train-batch-size", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser


def ours(args: argparse.Namespace, seed: int, folder: Path) -> tuple[float, float]:
    """Fine-tune and evaluate with the scripts; returns F1 and sentences a second."""
    model, evaluation = folder / f"ours-{seed}", folder / f"ours-{seed}-evaluation"
    common = ["--max-length", str(args.max_length), "--threads", str(args.threads)]
    training: measure.Command = [
        *("--model", str(args.encoder), "--task", str(args.task), "--output", str(model)),
        *("--num-train-epochs", str(args.num_train_epochs), "--seed", str(seed)),
        *("--learning-rate", str(args.learning_rate), "--precision", args.precision),
        *("--train-batch-size", str(args.train_batch_size), *common),
        *("--dropout", str(DROPOUT), "--classifier-dropout", str(DROPOUT)),
    ]
    evaluating: measure.Command = [
        *("--model", str(model), "--task", str(args.task), "--split", str(args.split)),
        *("--output", str(evaluation), *common),
    ]
    measure.run(measure.python("finetune.py", *training))
    measure.run(measure.python("evaluate.py", *evaluating))
    trained = read_json(model / "metrics.json")["metrics"]
    speed = args.num_train_epochs * trained["train_examples"] / trained["train_seconds"]
    return read_json(evaluation / "metrics.json")["metrics"]["entity_f1"], speed


def peer(args: argparse.Namespace, task: Task, seed: int) -> tuple[float, float, float]:
    """Do the same with `transformers`; returns F1 and sentences a second, those padded last."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    torch.set_num_threads(args.threads)
    transformers.set_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.encoder)
    # Left to the folder's config.json it may be 0, which learns and computes faster.
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        args.encoder,
        num_labels=len(task.labels),
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        classifier_dropout=DROPOUT,
    ).train()
    encoded = _encoded(tokenizer, task.split("train"), args.max_length)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.learning_rate, weight_decay=0.01, fused=True
    )
    steps = args.num_train_epochs * math.ceil(len(encoded) / args.train_batch_size)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.06 * steps), steps)

    def train(steps: int, **padding: Any) -> float:
        """Return sentences a second."""
        collate = transformers.DataCollatorForTokenClassification(tokenizer, **padding)
        loader: Any = torch.utils.data.DataLoader(
            encoded,  # type: ignore[arg-type]
            batch_size=args.train_batch_size,
            shuffle=True,
            collate_fn=collate,
        )
        started, sentences = time.perf_counter(), 0
        epochs = itertools.chain.from_iterable(itertools.repeat(loader))
        for batch in itertools.islice(epochs, steps):
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            model.zero_grad()
            sentences += len(batch["labels"])
        return sentences / (time.perf_counter() - started)

    speed = train(steps)
    split = task.split(args.split)
    f1 = _f1(task, split, _predictions(model.eval(), tokenizer, split, args))
    model.train()
    return f1, speed, train(_PADDED_STEPS, padding="max_length", max_length=args.max_length)


def _encoded(tokenizer: Any, split: TaskSplit, max_length: int) -> list[dict[str, list[int]]]:
    """Tokenise as `run_ner.py` does: what is too long is cut, the first piece has the label."""
    words = split.columns["tokens"].to_pylist()
    found = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
    rows = []
    for number, tags in enumerate(split.labels):
        numbers = found.word_ids(number)
        before = [None, *numbers[:-1]]
        labels = [
            IGNORED if word is None or word == last else int(tags[word])
            for word, last in zip(numbers, before, strict=True)
        ]
        rows.append({**{key: found[key][number] for key in found}, "labels": labels})
    return rows


@torch.inference_mode()
def _predictions(
    model: Any, tokenizer: Any, split: TaskSplit, args: argparse.Namespace
) -> list[np.ndarray]:
    """Return the tag of each word; one that was cut off has the first."""
    rows, found = _encoded(tokenizer, split, args.max_length), []
    for row, tags in zip(rows, split.labels, strict=True):
        inputs = {key: torch.tensor([row[key]]) for key in row if key != "labels"}
        best = model(**inputs).logits[0].argmax(-1).numpy()
        judged = np.array(row["labels"]) != IGNORED
        words = np.zeros(len(tags), dtype=np.int64)
        words[: judged.sum()] = best[judged]
        found.append(words)
    return found


def _f1(task: Task, split: TaskSplit, predictions: list[np.ndarray]) -> float:
    """Return F1 by `seqeval`; ours of the same predictions must be the same number."""
    from seqeval.metrics import f1_score

    sides = [[[task.labels[tag] for tag in row] for row in rows]
             for rows in (split.labels, predictions)]  # fmt: skip
    expected = float(f1_score(*sides))
    words = split.columns["tokens"].to_pylist()
    own = tags_outcome(task, words, split.labels, predictions).metrics["entity_f1"]
    if own != expected:
        sys.exit(f"seqeval says {expected}, ours says {own}")
    return expected


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    task = load_task(args.task)
    scores: dict[str, list[float]] = {"ours": [], "peer": []}
    speeds: dict[str, list[float]] = {"ours": [], "peer": [], "peer_padded": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in args.seeds:
            f1, speed = ours(args, seed, Path(folder))
            peer_f1, peer_speed, padded_speed = peer(args, task, seed)
            scores["ours"].append(f1)
            scores["peer"].append(peer_f1)
            speeds["ours"].append(speed)
            speeds["peer"].append(peer_speed)
            speeds["peer_padded"].append(padded_speed)
            print(f"seed {seed}: {scores} {speeds}", file=sys.stderr, flush=True)

    def ratio(name: str) -> float:
        pairs = zip(speeds["ours"], speeds[name], strict=True)
        return round(statistics.median(one / other for one, other in pairs), 2)

    deviations = {name: statistics.stdev(found) if len(found) > 1 else None
                  for name, found in scores.items()}  # fmt: skip
    measure.report(
        {
            "entity_f1": scores,
            "mean": {name: statistics.mean(found) for name, found in scores.items()},
            "deviation": deviations,
            "sentences_per_second": {n: round(statistics.median(s), 1) for n, s in speeds.items()},
            "ratio": ratio("peer"),
            "ratio_padded": ratio("peer_padded"),
        }
    )


if __name__ == "__main__":
    main()
