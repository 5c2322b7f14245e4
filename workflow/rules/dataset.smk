# From documents to shards of tokens.
#
# Reads results/{corpus}/documents/ and results/{corpus}/{tokenizer}/tokenizer.json; writes
# results/{corpus}/{tokenizer}/DATASET/: shards, their manifest, metrics. One rule a data set,
# because each declares its own number of shards.

for name in CONFIG.names("datasets"):

    rule:
        name:
            f"{CONFIG.section('datasets', name)['method']}_{name}"
        input:
            documents=expand(
                "results/{{corpus}}/documents/{split}.parquet", split=["train", "validation"]
            ),
            tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        output:
            files=[
                f"results/{{corpus}}/{{tokenizer}}/{name}/{file}"
                for file in CONFIG.dataset_files(name)
            ],
            metrics=f"results/{{corpus}}/{{tokenizer}}/{name}/metrics.json",
        log:
            f"logs/{{corpus}}/{{tokenizer}}/{name}/dataset.log",
        benchmark:
            f"logs/{{corpus}}/{{tokenizer}}/{name}/dataset.benchmark.tsv"
        conda:
            "../envs/pipeline.yaml"
        threads: claim(4)
        resources:
            mem_mb=4000,
        params:
            args=CONFIG.flags("datasets", name),
            code=code(f"{CONFIG.section('datasets', name)['method']}.py"),
            method=CONFIG.section("datasets", name)["method"],
            machine=threads_flags,
        shell:
            "python scripts/{params.method}.py --documents results/{wildcards.corpus}/documents"
            " --tokenizer {input.tokenizer} {params.args:q} --output $(dirname {output.metrics})"
            " {params.machine:q} --log {log}"
