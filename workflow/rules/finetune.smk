# From an encoder and labelled sentences to predictions.
#
# Reads encoders and what tasks name; writes results/tasks/{task}/ (normalised splits,
# baselines) and, for each seed, a classifier with its evaluation: below the encoder that was
# pretrained, and below scratch/{architecture}/ for the same encoder without pretraining.
# Finished fine-tuning is kept undeclared in its .runs/, so that no input remade costs a step.


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
        code=code("prepare_task.py"),
        files=task_file_flags,
    shell:
        "python scripts/prepare_task.py {params.files:q} {params.args:q}"
        " --output results/tasks/{wildcards.task} --log {log}"


rule baselines:
    input:
        train="results/tasks/{task}/train.parquet",
        validation="results/tasks/{task}/validation.parquet",
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
        code=code("baselines.py"),
    shell:
        "python scripts/baselines.py --task results/tasks/{wildcards.task} --output {output}"
        " --log {log}"


rule finetune:
    input:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}/tokenizer.json",
        train="results/tasks/{task}/train.parquet",
        task="results/tasks/{task}/task.json",
    output:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/tokenizer.json",
        metrics="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/metrics.json",
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/finetune.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/finetune.benchmark.tsv"
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
        code=code("finetune.py"),
        switch=[],
        machine=compute_flags,
    shell:
        "python scripts/finetune.py --model $(dirname {input.config}) {params.switch}"
        " --task $(dirname {input.task}) --output $(dirname {output.config})"
        " --run-dir $(dirname {output.config})/.runs --seed {wildcards.seed} {params.args:q} {params.machine:q} --log {log}"


use rule finetune as finetune_from_scratch with:
    input:
        config="results/{corpus}/{tokenizer}/scratch/{architecture}/config.json",
        tokenizer="results/{corpus}/{tokenizer}/scratch/{architecture}/tokenizer.json",
        train="results/tasks/{task}/train.parquet",
        task="results/tasks/{task}/task.json",
    output:
        config="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/config.json",
        weights="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/tokenizer.json",
        metrics="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/metrics.json",
    log:
        "logs/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/finetune.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/finetune.benchmark.tsv"
    params:
        args=scratch_finetuning_flags,
        code=code("finetune.py"),
        switch=["--from-scratch"],
        machine=compute_flags,


rule evaluate:
    input:
        config="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/config.json",
        weights="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/tokenizer.json",
        finetuning="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/metrics.json",
        validation="results/tasks/{task}/validation.parquet",
        task="results/tasks/{task}/task.json",
    output:
        metrics="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/evaluation/metrics.json",
        predictions="results/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/evaluation/predictions.parquet",
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/evaluate.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/{encoder}/{task}/seed-{seed}/evaluate.benchmark.tsv"
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
        code=code("evaluate.py"),
        machine=compute_flags,
    shell:
        "python scripts/evaluate.py --model $(dirname {input.config})"
        " --task $(dirname {input.task}) --output $(dirname {output.metrics})"
        " {params.args:q} {params.machine:q} --log {log}"


use rule evaluate as evaluate_from_scratch with:
    input:
        config="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/config.json",
        weights="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/model.safetensors",
        tokenizer="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/tokenizer.json",
        finetuning="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/metrics.json",
        validation="results/tasks/{task}/validation.parquet",
        task="results/tasks/{task}/task.json",
    output:
        metrics="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/evaluation/metrics.json",
        predictions="results/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/evaluation/predictions.parquet",
    log:
        "logs/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/evaluate.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/scratch/{architecture}/{task}/seed-{seed}/evaluate.benchmark.tsv"
    params:
        args=scratch_evaluation_flags,
        code=code("evaluate.py"),
        machine=compute_flags,
