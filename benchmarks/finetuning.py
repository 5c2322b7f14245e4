"""Our fine-tuning on a CPU against Hugging Face's, same encoder and texts, examples a second.

Ours is `scripts/finetune.py` with `--precision auto`. The peers are
`BertForSequenceClassification` in fp32 in the step of `transformers.Trainer` (fused AdamW,
its default; clipping, linear schedule; callbacks, logging and checks for NaN left out), with
texts padded to 128 as run_glue.py does, to the longest of the batch as the Trainer does, and
that with batches of like lengths. Each has a process; they compute in turn, in blocks of
seconds. Tokenising is outside the measured blocks; `startup_s` has it.

Reads FOLDER/sst2/train.parquet (columns `sentence`, `label`) and, as the vocabulary,
FOLDER/bert-base-uncased/vocab.txt. Ends with one JSON line; `ratio` is ours over padding to
128, `ratio_dynamic` over padding to the batch, `ratio_grouped` over that with like lengths.

Needs `pip install transformers psutil`.
Try: python benchmarks/finetuning.py --data FOLDER
"""

import argparse
import contextlib
import dataclasses
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contest
import measure
import pyarrow.parquet as pq
import torch
from contest import FinishedError, Gate

MAX_LENGTH = 128
EPOCHS = 3
LEARNING_RATE = 1e-4
DROPOUT = 0.1


@dataclass(frozen=True)
class Setting:
    """What all train on and how; `padding` is a peer's: `max_length`, `dynamic` or `grouped`."""

    task: Path
    model: Path
    batch_size: int
    threads: int
    padding: str = ""
    flags: tuple[str, ...] = ()
    """More flags for `finetune.py`."""


PEERS = {"ratio": "max_length", "ratio_dynamic": "dynamic", "ratio_grouped": "grouped"}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--num-hidden-layers", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32, help="texts a step")
    parser.add_argument("--repeats", type=int, default=5, help="blocks of each")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a block")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="for finetune.py")
    return parser


def train_ours(gate: Gate, setting: Setting) -> dict[str, Any]:
    """Run `finetune.py` until the gate ends it; returns how it computed."""
    sys.path.insert(0, str(measure.SCRIPTS))
    import finetune
    from cloze.train.step import TrainingStep

    step = TrainingStep.__call__
    facts: dict[str, Any] = {}

    def gated_step(self: TrainingStep, *args: Any) -> Any:
        facts.update(compute=dataclasses.asdict(self.plan.compute))
        gate.pass_through()
        return step(self, *args)

    TrainingStep.__call__ = gated_step  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as output, contextlib.suppress(FinishedError):
        finetune.run(finetune.build_parser().parse_args(_our_flags(setting, output)))
    return facts


def _our_flags(setting: Setting, output: str) -> list[str]:
    return [
        *("--model", str(setting.model), "--task", str(setting.task), "--output", output),
        *("--from-scratch", "--max-length", str(MAX_LENGTH), "--dropout", str(DROPOUT)),
        *("--num-train-epochs", str(EPOCHS), "--train-batch-size", str(setting.batch_size)),
        *("--learning-rate", str(LEARNING_RATE), "--threads", str(setting.threads)),
        *("--checkpoint-seconds", "1e9"),
        *setting.flags,
    ]


def train_peer(gate: Gate, setting: Setting) -> dict[str, Any]:
    """Train as `transformers.Trainer` does until the gate ends it."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    torch.set_num_threads(setting.threads)
    transformers.set_seed(0)
    config = transformers.AutoConfig.from_pretrained(
        setting.model, hidden_dropout_prob=DROPOUT, attention_probs_dropout_prob=DROPOUT
    )
    model = transformers.AutoModelForSequenceClassification.from_config(config).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True
    )
    loader = _loader(setting)
    steps = EPOCHS * len(loader)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.06 * steps), steps)
    with contextlib.suppress(FinishedError):
        for batch in _batches(loader):
            gate.pass_through()
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            model.zero_grad()
    return {"attention": model.config._attn_implementation}


def _batches(loader: torch.utils.data.DataLoader[Any]) -> Iterator[dict[str, torch.Tensor]]:
    for _ in range(EPOCHS):
        yield from loader


def _loader(setting: Setting) -> torch.utils.data.DataLoader[Any]:
    """Return the Trainer's loader over SST-2, tokenised beforehand as run_glue.py does it."""
    import transformers
    from transformers.trainer_pt_utils import LengthGroupedSampler

    transformers.utils.logging.disable_progress_bar()
    names = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(setting.model / "tokenizer.json"), **names
    )
    rows = pq.read_table(setting.task / "train.parquet")
    padding = "max_length" if setting.padding == "max_length" else False
    encoded = tokenizer(
        rows["text"].to_pylist(), padding=padding, max_length=MAX_LENGTH, truncation=True
    )
    examples = [
        {**{key: values[index] for key, values in encoded.items()}, "label": label}
        for index, label in enumerate(rows["label"].to_pylist())
    ]
    sampler = None
    if setting.padding == "grouped":
        lengths = [len(ids) for ids in encoded["input_ids"]]
        sampler = LengthGroupedSampler(setting.batch_size, lengths=lengths)
    return torch.utils.data.DataLoader(
        examples,  # type: ignore[arg-type]
        batch_size=setting.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        collate_fn=transformers.DataCollatorWithPadding(tokenizer),
    )


def prepare(args: argparse.Namespace, work: Path) -> Setting:
    """Make the task's folder and that of the encoder, with BERT's vocabulary."""
    train = args.data / "sst2" / "train.parquet"
    measure.run(
        measure.python(
            "prepare_task.py", "--train", train, "--hold-out-fraction", "0.01",
            *("--text-column", "sentence", "--label-column", "label", "--output", work / "task"),
        )
    )  # fmt: skip
    measure.run(
        measure.python(
            "train_tokenizer.py", "--vocab", args.data / "bert-base-uncased" / "vocab.txt",
            *("--lowercase", "--strip-accents", "--output", work / "tokenizer"),
        )
    )  # fmt: skip
    measure.run(
        measure.python(
            "init_encoder.py", "--tokenizer", work / "tokenizer" / "tokenizer.json",
            *("--layout", "bert", "--hidden-size", str(args.hidden_size)),
            *("--num-hidden-layers", str(args.num_hidden_layers)),
            *("--num-attention-heads", str(max(1, args.hidden_size // 64))),
            *("--intermediate-size", str(4 * args.hidden_size)),
            *("--max-position-embeddings", str(MAX_LENGTH), "--output", work / "model"),
        )
    )  # fmt: skip
    return Setting(work / "task", work / "model", args.batch_size, args.threads)


def compare(setting: Setting, args: argparse.Namespace) -> dict[str, Any]:
    """Measure all in turn; the first block of each does not count."""
    ours = dataclasses.replace(setting, flags=tuple(args.flags))
    sides = {"ours": contest.Contender("ours", train_ours, ours)}
    for padding in PEERS.values():
        peer = dataclasses.replace(setting, padding=padding)
        sides[padding] = contest.Contender(padding, train_peer, peer)
    startup: dict[str, float] = {}
    blocks: dict[str, list[contest.Block]] = {name: [] for name in sides}
    for name, side in sides.items():
        started = time.perf_counter()
        side.block(args.seconds)
        startup[name] = round(time.perf_counter() - started, 1)
    for repeat, (name, side) in itertools.product(range(args.repeats), sides.items()):
        blocks[name].append(side.block(args.seconds))
        speed = contest.tokens_per_second(blocks[name][-1:], setting.batch_size)
        print(f"{repeat + 1}/{args.repeats} {name}: {speed:,.1f} examples/s", file=sys.stderr)
    tokens = mean_tokens(setting)
    result: dict[str, Any] = {}
    for name, side in sides.items():
        speed = contest.tokens_per_second(blocks[name], setting.batch_size)
        result[name] = {
            "examples_per_second": speed,
            "tokens_per_second": round(speed * tokens, 1),
            "step_ms": round(1e3 * setting.batch_size / speed, 1),
            "steps": sum(block.steps for block in blocks[name]),
            "startup_s": startup[name],
            **side.finish(),
        }
    speeds = {name: result[name]["examples_per_second"] for name in sides}
    ratios = {ratio: round(speeds["ours"] / speeds[padding], 2) for ratio, padding in PEERS.items()}
    return {**ratios, "tokens_per_example": round(tokens, 2), **result}


def mean_tokens(setting: Setting) -> float:
    """Return the tokens of a text on the mean, its special ones too: the padding is no work."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(setting.model / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    texts = pq.read_table(setting.task / "train.parquet", columns=["text"])["text"].to_pylist()
    return statistics.fmean(len(encoding) for encoding in tokenizer.encode_batch(texts))


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    with tempfile.TemporaryDirectory() as work:
        setting = prepare(args, Path(work))
        result = compare(setting, args)
    shape = {"hidden_size": args.hidden_size, "num_hidden_layers": args.num_hidden_layers}
    facts = {**shape, "batch_size": args.batch_size, "threads": args.threads}
    measure.report({**result, "setting": facts})


if __name__ == "__main__":
    main()
