# What the machine decides: what a job asks for, its processes, threads, device and precision.
#
# Snakemake keeps params out of a stage's key if their function takes input, output, threads or
# resources. The flags here come from functions that take one of these, so that no machine makes
# a stage run again. On a cluster, jobs ask for no more than a node of it has.

import shutil

from snakemake.exceptions import WorkflowError

from cloze.machine import available_cores
from cloze.slurm import partition

# With --jobs other machines run the jobs: what is found here then says nothing of them.
IS_LOCAL = workflow.nodes is None
CORES = available_cores()
# Of the jobs that lead to pretraining: it takes longest, so it is to begin first.
FIRST = 10
# What a checkpoint may take after a signal, before torchrun ends its processes.
SECONDS_TO_SAVE = 100


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
    return (given, CORES) if IS_LOCAL and given > CORES else (1, 1)


GIVEN, REAL = core_ratio()
if GIVEN > REAL:
    # Snakemake sets these variables to `threads`, which counts the promised cores.
    shell.prefix(
        f"set -euo pipefail; export OMP_NUM_THREADS=$((OMP_NUM_THREADS * {REAL} / {GIVEN})); "
        "export OPENBLAS_NUM_THREADS=$OMP_NUM_THREADS MKL_NUM_THREADS=$OMP_NUM_THREADS; "
    )


def chosen(rulename, resource):
    """Return a rule's resource as the rule, the profile or --set-resources has it, or None.

    As it was asked for: --resources may since have made it smaller.
    """
    found = workflow.get_rule(rulename).resources.get(resource)
    return None if found.is_evaluable() else found.value


def partition_of(rulename):
    """Return the partition of SLURM that runs the jobs of a rule, None where none is known."""
    if IS_LOCAL:
        return None
    name = workflow.get_rule(rulename).resources.get("slurm_partition").raw
    # Snakemake takes it for Python, which it need not be, so that a profile may quote it.
    return partition(None if name is None else str(name).strip("'\""))


def claim(cores, share=1):
    """Return the `threads:` of a job that keeps this many cores busy, or all there are.

    `share`: on this machine one in so many of its cores, at most.
    """
    if IS_LOCAL:
        return -(-min(cores, max(1, CORES // share)) * GIVEN // REAL)
    return lambda wildcards, rulename: at_most(cores, partition_of(rulename), "cores")


def memory(least_mb, times_input=0):
    """Return the `mem_mb:` of a job that needs so many MB and so many times its input.

    A job that failed for want of it gets as much again.
    """

    def mem_mb(wildcards, input, attempt, rulename):
        needed = least_mb + (int(times_input * megabytes(input)) if times_input else 0)
        return at_most(needed * attempt, partition_of(rulename), "memory_mb")

    return mem_mb


def minutes(least, per_gb=0):
    """Return the `runtime:` of a job that takes so many minutes and so many for a GB of input."""

    def runtime(wildcards, input, attempt, rulename):
        needed = least + (int(per_gb * megabytes(input) / 1000) if per_gb else 0)
        return at_most(needed * attempt, partition_of(rulename), "minutes")

    return runtime


def megabytes(files):
    """Return the size of files. `size_mb` of Snakemake warns where it is asked for by a resource."""
    return sum(os.path.getsize(file) for file in files) / 1e6


def at_most(value, found, limit):
    """Return a value, or the limit of this name that a partition sets, if it is less.

    A job that asked for more would wait for ever.
    """
    return value if found is None else min(value, getattr(found, limit) or value)


def gpus(wildcards, rulename):
    """Return the `gpu:` of a job that computes on one: 1, or nothing where there is none.

    Two jobs on one card would fight for its memory, so a GPU job claims the machine's one slot.
    """
    if IS_LOCAL:
        return 1 if shutil.which("nvidia-smi") else None
    found = partition_of(rulename)
    return 1 if found is not None and found.gpus else None


def processes(wildcards, rulename):
    """Return the `processes:` of a training on each node: one a GPU that was asked for, or one."""
    if (number := chosen(rulename, "processes")) is not None:
        return number
    asked, nodes = chosen(rulename, "gpu") or 0, chosen(rulename, "nodes")
    if nodes > 1 and IS_LOCAL and workflow.is_main_process:
        stop(f"{rulename}:nodes={nodes}: needs a cluster, as --workflow-profile profiles/slurm has")
    if asked % nodes:
        stop(
            f"{rulename}:gpu={asked}: are all GPUs of a job, and do not share out by nodes={nodes}"
        )
    return max(1, asked // nodes)


def if_several_nodes(value):
    """Return a resource that only a job on several nodes has."""

    def resource(wildcards, rulename):
        return value(rulename) if chosen(rulename, "nodes") > 1 else None

    return resource


# What snakemake-executor-plugin-slurm needs to start one task a node, beside `nodes`.
SEVERAL_NODES = {
    "mpi": if_several_nodes(lambda rulename: "srun"),
    "tasks": if_several_nodes(lambda rulename: chosen(rulename, "nodes")),
    "tasks_per_gpu": if_several_nodes(lambda rulename: 0),
}


def launcher(wildcards, threads, resources):
    """Return what starts a training: Python, or torchrun for several processes, once a node."""
    if resources.processes == resources.nodes == 1:
        return "python"
    torchrun = (
        f"python -m torch.distributed.run --nproc-per-node {resources.processes}"
        f" --shutdown-timeout {SECONDS_TO_SAVE}"
    )
    if resources.nodes == 1:
        return f"{torchrun} --standalone --"
    return (
        f"srun --nodes {resources.nodes} --ntasks-per-node 1 --cpus-per-task {threads}"
        f" {torchrun} --nnodes {resources.nodes} --rdzv-backend c10d --rdzv-id $SLURM_JOB_ID"
        " --rdzv-endpoint $(hostname):$((20000 + SLURM_JOB_ID % 10000)) --"
    )


def claim_all():
    """Return the `threads:` of a short job that nothing is to run beside on this machine.

    Snakemake keeps no cores free for a job that waits for all of them, as pretraining does: what
    begins beside the last job before it would go first.
    """
    return claim(CORES) if IS_LOCAL else 1


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
