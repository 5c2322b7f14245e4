"""The peer of the pretraining benchmarks: Hugging Face's model in the Trainer's step.

`AutoModelForMaskedLM` with `DataCollatorForLanguageModeling` as `transformers.Trainer` steps
it: fused AdamW (its default), gradient clipping, linear schedule. The Trainer's callbacks,
logging and checks for NaN are left out, so the Trainer itself is no faster.
"""

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pretraining_contenders as contenders
import torch
from contest import FinishedError, Gate
from pretraining_contenders import ADAM_BETAS, ADAM_EPSILON, Setting

sys.path.insert(0, str(measure.SCRIPTS))

from cloze.model.hf_config import config_to_hf
from cloze.tokens.loading import load_rows


def train(gate: Gate, setting: Setting) -> dict[str, Any]:
    """Train as `transformers.Trainer` does until the gate or the last step ends it."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    torch.set_num_threads(setting.threads)
    transformers.set_seed(setting.seed)
    transformers.utils.logging.disable_progress_bar()
    device = torch.device(setting.device)
    model = transformers.AutoModelForMaskedLM.from_config(model_config(setting)).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=setting.learning_rate, weight_decay=0.0, fused=True,
        betas=ADAM_BETAS, eps=ADAM_EPSILON,
    )  # fmt: skip
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, setting.warmup_steps, setting.max_steps
    )
    forward = torch.compile(model) if setting.compile else model
    model.train()
    batches = _batches(setting, device)
    with contextlib.suppress(FinishedError):
        for _ in range(setting.max_steps):
            gate.pass_through()
            batch = next(batches)
            with torch.autocast(device.type, torch.bfloat16, enabled=setting.precision == "bf16"):
                loss = forward(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            model.zero_grad()
    if setting.output is not None:
        model.save_pretrained(setting.output)
    facts: dict[str, Any] = {"attention": model.config._attn_implementation}
    if device.type == "cuda":
        facts["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return facts


def model_config(setting: Setting) -> Any:
    """Return the peer's configuration of the same shape."""
    import transformers

    config = contenders.encoder_config(setting).with_dropout(setting.dropout)
    values = config_to_hf(config)
    return transformers.AutoConfig.for_model(values.pop("model_type"), **values)


def _batches(setting: Setting, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield batches for ever, made by the Trainer's loader with the settings that suit a device."""
    from transformers import DataCollatorForLanguageModeling

    rows = grouped_rows(setting)
    on_gpu = device.type == "cuda"
    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
        [{"input_ids": row} for row in torch.from_numpy(rows)],  # type: ignore[arg-type]
        batch_size=setting.batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=DataCollatorForLanguageModeling(peer_tokenizer(setting), mlm_probability=0.15),
        num_workers=4 if on_gpu else 0,
        persistent_workers=on_gpu,
        pin_memory=on_gpu,
    )
    while True:
        for batch in loader:
            yield {key: value.to(device, non_blocking=True) for key, value in batch.items()}


def peer_tokenizer(setting: Setting) -> Any:
    """Return the tokenizer as the peer's collator wants it."""
    from transformers import PreTrainedTokenizerFast

    names = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_file=str(setting.tokenizer), **names)


def grouped_rows(setting: Setting) -> np.ndarray:
    """Return the training split as run_mlm.py groups it: all tokens in a row, cut evenly.

    int64 [rows, max_length].
    """

    ids = load_rows(setting.dataset, "train", setting.tokenizer).input_ids
    length = setting.shape.max_length
    rows = len(ids) // length
    if rows < setting.batch_size:
        sys.exit(f"{setting.dataset}: {rows} rows of {length} tokens are fewer than one batch")
    return ids[: rows * length].astype(np.int64).reshape(rows, length)


def validation_loss(model_folder: Path, setting: Setting, max_samples: int = 256) -> float:
    """Return a trained model's masked-token loss in nats, the same masks for every model.

    Both contenders' models are read by `transformers` here.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForMaskedLM.from_pretrained(model_folder).eval()
    tokenizer = peer_tokenizer(setting)
    rows = load_rows(setting.dataset, "validation", setting.tokenizer)
    bounds = rows.sample_offsets[: max_samples + 1]
    samples = [
        {"input_ids": rows.input_ids[a:b].astype(np.int64).tolist()}
        for a, b in itertools.pairwise(bounds)
    ]
    collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, seed=0)
    total = predicted = 0.0
    with torch.no_grad():
        for start in range(0, len(samples), 32):
            batch = collate(samples[start : start + 32])
            count = int((batch["labels"] != -100).sum())
            total += model(**batch).loss.item() * count
            predicted += count
    return total / predicted
