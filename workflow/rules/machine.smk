# What the machine decides: how many cores a job claims, its threads, device and precision.
#
# Snakemake keeps params out of a stage's key if their function takes input, output, threads or
# resources. The flags here come from functions that take one of these, so that no machine makes
# a stage run again.

import shutil

from snakemake.exceptions import WorkflowError

from cloze.machine import available_cores

CORES = available_cores()
# Of the jobs that lead to pretraining: it takes longest, so it is to begin first.
FIRST = 10
# Two jobs on one card would fight for its memory, so a GPU job claims the machine's one slot.
GPUS = 1 if shutil.which("nvidia-smi") else 0


def core_ratio():
    """Return (cores given, cores there are) where --cores promises more than the machine has.

    Two jobs that keep one core each busy then claim half of --cores each, so that
    `--cores 8` keeps a machine with two cores busy twice, not eight times. (1, 1) otherwise,
    and where other machines run the jobs.
    """
    try:
        given = workflow.cores
    except WorkflowError:
        return 1, 1
    return (given, CORES) if workflow.local_exec and given > CORES else (1, 1)


GIVEN, REAL = core_ratio()
if GIVEN > REAL:
    # Snakemake sets these variables to `threads`, which counts the promised cores.
    shell.prefix(
        f"set -euo pipefail; export OMP_NUM_THREADS=$((OMP_NUM_THREADS * {REAL} / {GIVEN})); "
        "export OPENBLAS_NUM_THREADS=$OMP_NUM_THREADS MKL_NUM_THREADS=$OMP_NUM_THREADS; "
    )


def claim(cores):
    """Return the `threads:` of a job that keeps this many cores busy, or all there are."""
    return -(-min(cores, CORES) * GIVEN // REAL)


def claim_all():
    """Return the `threads:` of a short job that nothing is to run beside on this machine.

    Snakemake keeps no cores free for a job that waits for all of them, as pretraining does: what
    begins beside the last job before it would go first.
    """
    return claim(CORES) if workflow.local_exec else 1


def threads_flags(wildcards, threads):
    """Return --threads in cores of this machine."""
    return ["--threads", str(max(1, threads * REAL // GIVEN))]


def compute_flags(wildcards, threads, resources):
    """Return --threads, --device and --precision."""
    chosen = ["--device", resources.device, "--precision", resources.precision]
    return [*threads_flags(wildcards, threads), *chosen]


def pretraining_compute_flags(wildcards, threads, resources):
    """Return --threads, --device, --precision, --compile, --checkpoint-seconds and memory's flags.

    gradient_accumulation_steps is 0 where pretrain.py finds it by itself.
    """
    parts, saves_memory = resources.gradient_accumulation_steps, resources.gradient_checkpointing
    return [
        *compute_flags(wildcards, threads, resources),
        *("--compile", resources.compile),
        *("--checkpoint-seconds", str(resources.checkpoint_seconds)),
        *(("--gradient-accumulation-steps", str(parts)) if parts else ()),
        *(("--gradient-checkpointing",) if saves_memory else ()),
    ]


def mirror_flags(wildcards, output):
    """Return --mirror, where the configuration names one."""
    return ["--mirror", CONFIG.mirror] if CONFIG.mirror else []
