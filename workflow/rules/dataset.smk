# From documents to shards of tokens.
#
# Reads results/{corpus}/documents/ and results/{corpus}/{tokenizer}/tokenizer.json; writes
# results/{corpus}/{tokenizer}/DATASET/: shards, each with its entry, then their manifest and
# metrics. Two rules a data set, because each has its own method, format and number of shards.

for name in CONFIG.names("datasets"):
    method, extension = CONFIG.dataset_method(name), CONFIG.dataset_extension(name)

    rule:
        name:
            f"{method}_{name}"
        input:
            documents=split_of_shard,
            tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        output:
            shard=f"results/{{corpus}}/{{tokenizer}}/{name}/{{shard}}.{extension}",
            entry=f"results/{{corpus}}/{{tokenizer}}/{name}/{{shard}}.json",
        log:
            f"logs/{{corpus}}/{{tokenizer}}/{name}/{{shard}}.log",
        benchmark:
            f"logs/{{corpus}}/{{tokenizer}}/{name}/{{shard}}.benchmark.tsv"
        wildcard_constraints:
            shard=one_of(CONFIG.shard_names(name)),
        priority: FIRST
        group:
            "shards"
        conda:
            "../envs/pipeline.yaml"
        threads: claim(1)
        resources:
            mem_mb=memory(1000),
            runtime=minutes(10),
            jobs_at_a_time=1,
        params:
            args=CONFIG.flags("datasets", name),
            code=code(f"{method}.py"),
            method=method,
        shell:
            "python scripts/{params.method}.py --documents results/{wildcards.corpus}/documents"
            " --tokenizer {input.tokenizer} {params.args:q} --shard {wildcards.shard}"
            " --output $(dirname {output.shard}) --threads 1 --log {log}"

    rule:
        name:
            f"collect_{name}"
        input:
            expand(
                f"results/{{{{corpus}}}}/{{{{tokenizer}}}}/{name}/{{shard}}.{{end}}",
                shard=CONFIG.shard_names(name),
                end=[extension, "json"],
            ),
        output:
            manifest=f"results/{{corpus}}/{{tokenizer}}/{name}/manifest.json",
            metrics=f"results/{{corpus}}/{{tokenizer}}/{name}/metrics.json",
        log:
            f"logs/{{corpus}}/{{tokenizer}}/{name}/collect.log",
        benchmark:
            f"logs/{{corpus}}/{{tokenizer}}/{name}/collect.benchmark.tsv"
        priority: FIRST
        conda:
            "../envs/pipeline.yaml"
        threads: claim_all()
        resources:
            mem_mb=memory(500),
            runtime=minutes(30),
        params:
            args=["--num-shards", str(CONFIG.section("datasets", name)["num_shards"])],
            code=code("collect_shards.py"),
        shell:
            "python scripts/collect_shards.py --dataset $(dirname {output.manifest})"
            " {params.args:q} --log {log}"
