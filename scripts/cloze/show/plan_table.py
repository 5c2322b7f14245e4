"""Plans as text for people and as values for JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cloze.show.text_layout import aligned
from cloze.train.planning import Plan


def render_plans(plans: Sequence[Plan]) -> str:
    """Return a table of the plans with what its columns mean, ended by a line break."""
    computes = {
        f"{plan.measured.compute.device}, {plan.measured.compute.precision}, "
        f"{'compiled' if plan.measured.compute.compile else 'not compiled'}, "
        f"{plan.measured.compute.threads} threads"
        for plan in plans
    }
    about = (
        f"Measured here ({'; '.join(sorted(computes))}). 'of peak' is model FLOP/s, by 6N + 12LdT "
        "a token, over the fastest matrix product. Tokens leave padding out, 'tokens/s' does not; "
        "'tokens/weight' counts the layers' weights. Evaluation comes on top."
    )
    rows = [_cells(plan) for plan in plans]
    lines = aligned(list(rows[0]), [list(row.values()) for row in rows])
    return "\n".join([*lines, "", about]) + "\n"


def _cells(plan: Plan) -> dict[str, str]:
    measured = plan.measured
    return {
        "encoder": plan.preset.name,
        "parameters": _short(measured.parameters),
        "step": f"{1e3 * measured.step_seconds:,.1f} ms",
        "tokens/s": f"{measured.tokens_per_second:,.0f}",
        "of peak": f"{100 * measured.utilisation.share:.0f} %",
        "memory": f"{measured.peak_memory_bytes / 1e6:,.0f} MB",
        "run": duration_text(plan.seconds),
        "steps": f"{plan.steps:,}",
        "tokens": _short(plan.tokens),
        "epochs": f"{plan.epochs:,.1f}",
        "tokens/weight": f"{plan.tokens_per_weight:,.1f}",
        "FLOP": f"{plan.flop:.2g}",
    }


def duration_text(seconds: float) -> str:
    """Return a time in the unit that suits it: `45 s`, `12 min`, `3.5 h`, `2.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _short(number: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"


def as_json(plan: Plan) -> dict[str, Any]:
    """Return a plan's figures; seconds, tokens, bytes and floating-point operations."""
    measured = plan.measured
    return {
        "encoder": plan.preset.name,
        "parameters": measured.parameters,
        "layer_weights": measured.layer_weights,
        **asdict(measured.compute),
        "train_batch_size": measured.train_batch_size,
        "step_seconds": measured.step_seconds,
        "startup_seconds": measured.startup_seconds,
        "tokens_per_second": measured.tokens_per_second,
        "peak_memory_bytes": measured.peak_memory_bytes,
        **measured.utilisation.as_dict(),
        "steps": plan.steps,
        "seconds": plan.seconds,
        "tokens": plan.tokens,
        "epochs": plan.epochs,
        "tokens_per_weight": plan.tokens_per_weight,
        "flop": plan.flop,
    }
