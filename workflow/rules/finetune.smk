# From a model folder and labelled texts to predictions.
#
# Reads results/{model}/, a model folder of any kind (pretrained, on the way through pretraining,
# without pretraining, from elsewhere), and what tasks name; writes results/tasks/{task}/
# (normalised splits, baselines), for each seed a classifier in results/{model}/{task}/seed-{seed}/
# and, below it, its evaluation on each split that a report tells of. Finished fine-tuning is kept
# undeclared in its .runs/, so that no input remade costs a step.


rule prepare_task:
    input:
        task_files,
    output:
        train="results/tasks/{task}/train.parquet",
        validation="results/tasks/{task}/validation.parquet",
        task="results/tasks/{task}/task.json",
        metrics="results/tasks/{task}/metrics.json",
    log:
        "logs/tasks/{task}/prepare_task.log",
    benchmark:
        "logs/tasks/{task}/prepare_task.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=2000,
    params:
        args=task_flags,
        code=code_with_kind("prepare_task.py"),
        files=task_file_flags,
    shell:
        "python scripts/prepare_task.py {params.files:q} {params.args:q}"
        " --output results/tasks/{wildcards.task} --log {log}"


rule baselines:
    input:
        train="results/tasks/{task}/train.parquet",
        task="results/tasks/{task}/task.json",
    output:
        "results/tasks/{task}/baselines.json",
    log:
        "logs/tasks/{task}/baselines.log",
    benchmark:
        "logs/tasks/{task}/baselines.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=4000,
    params:
        code=code_with_kind("baselines.py"),
    shell:
        "python scripts/baselines.py --task results/tasks/{wildcards.task} --output {output}"
        " --log {log}"


rule finetune:
    input:
        model=model_files,
        train="results/tasks/{task}/train.parquet",
        task="results/tasks/{task}/task.json",
    output:
        config="results/{model}/{task}/seed-{seed}/config.json",
        weights="results/{model}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/{model}/{task}/seed-{seed}/tokenizer.json",
        metrics="results/{model}/{task}/seed-{seed}/metrics.json",
    log:
        "logs/{model}/{task}/seed-{seed}/finetune.log",
    benchmark:
        "logs/{model}/{task}/seed-{seed}/finetune.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(max(1, CORES // 4))
    resources:
        mem_mb=4000,
        gpu=GPUS,
        device="auto",
        precision="auto",
    params:
        args=finetuning_flags,
        code=code_with_kind("finetune.py", trains=True),
        machine=compute_flags,
    shell:
        "folder=results/{wildcards.model}/{wildcards.task}/seed-{wildcards.seed};"
        " python scripts/finetune.py --model results/{wildcards.model}"
        " --task results/tasks/{wildcards.task} --output $folder --run-dir $folder/.runs"
        " --seed {wildcards.seed} {params.args:q} {params.machine:q} --log {log}"


rule evaluate:
    input:
        config="results/{model}/{task}/seed-{seed}/config.json",
        weights="results/{model}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/{model}/{task}/seed-{seed}/tokenizer.json",
        finetuning="results/{model}/{task}/seed-{seed}/metrics.json",
        task="results/tasks/{task}/task.json",
    output:
        metrics="results/{model}/{task}/seed-{seed}/{split}/metrics.json",
        predictions="results/{model}/{task}/seed-{seed}/{split}/predictions.parquet",
    log:
        "logs/{model}/{task}/seed-{seed}/{split}/evaluate.log",
    benchmark:
        "logs/{model}/{task}/seed-{seed}/{split}/evaluate.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(max(1, CORES // 4))
    resources:
        mem_mb=4000,
        gpu=GPUS,
        device="auto",
        precision="fp32",
    params:
        args=evaluation_flags,
        code=code_with_kind("evaluate.py", trains=True),
        machine=compute_flags,
    shell:
        "folder=results/{wildcards.model}/{wildcards.task}/seed-{wildcards.seed};"
        " python scripts/evaluate.py --model $folder --task results/tasks/{wildcards.task}"
        " --split {wildcards.split} --output $folder/{wildcards.split}"
        " {params.args:q} {params.machine:q} --log {log}"
