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
            shards=shards(name, f"results/{{corpus}}/{{tokenizer}}/{name}"),
            manifest=f"results/{{corpus}}/{{tokenizer}}/{name}/manifest.json",
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
            script=f"scripts/{CONFIG.section('datasets', name)['method']}.py",
            output=f"results/{{corpus}}/{{tokenizer}}/{name}",
            machine=threads_flags,
        shell:
            "python {params.script} --documents results/{wildcards.corpus}/documents"
            " --tokenizer {input.tokenizer} {params.args:q} --output {params.output}"
            " {params.machine:q} --log {log}"
