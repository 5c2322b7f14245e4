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
        mem_mb=memory(2000, times_input=4),
        runtime=minutes(30, per_gb=30),
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
        mem_mb=memory(4000, times_input=4),
        runtime=minutes(60, per_gb=60),
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
    threads: claim(8, share=4)
    resources:
        **SEVERAL_NODES,
        mem_mb=memory(4000, times_input=4),
        runtime=minutes(240, per_gb=1000),
        nodes=1,
        gpu=gpus,
        processes=processes,
        device="auto",
        precision="auto",
    params:
        args=finetuning_flags,
        code=code_with_kind("finetune.py", trains=True),
        launcher=launcher,
        machine=compute_flags,
    shell:
        "{params.launcher} scripts/finetune.py --model results/{wildcards.model}"
        " --task $(dirname {input.task}) --output $(dirname {output.config})"
        " --run-dir $(dirname {output.config})/.runs"
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
    threads: claim(8, share=4)
    resources:
        mem_mb=memory(4000, times_input=4),
        runtime=minutes(60, per_gb=60),
        gpu=gpus,
        device="auto",
        precision="fp32",
    params:
        args=evaluation_flags,
        code=code_with_kind("evaluate.py", trains=True),
        machine=compute_flags,
    shell:
        "python scripts/evaluate.py --model $(dirname {input.config}) --task $(dirname {input.task})"
        " --split {wildcards.split} --output $(dirname {output.metrics})"
        " {params.args:q} {params.machine:q} --log {log}"
