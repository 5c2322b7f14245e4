# What a corpus is: leaves that nothing is trained on.
#
# Reads documents, tokenizer and shards; writes the page that shows them,
# results/{corpus}/{tokenizer}/{dataset}/corpus.html, with its facts and figures. Reads
# documents and a task; writes results/{corpus}/documents/contamination/{task}.json, which
# only reports read.


rule describe_corpus:
    input:
        documents=expand(
            "results/{{corpus}}/documents/{file}", file=["train.parquet", "metrics.json"]
        ),
        tokenizer="results/{corpus}/{tokenizer}/tokenizer.json",
        dataset=dataset_files,
    output:
        page=report(
            "results/{corpus}/{tokenizer}/{dataset}/corpus.html",
            caption="../report/corpus.rst",
            category="Corpora",
            subcategory="{corpus}",
            labels={"tokenizer": "{tokenizer}", "data set": "{dataset}", "figure": "page"},
        ),
        facts="results/{corpus}/{tokenizer}/{dataset}/corpus.json",
        document_lengths=report(
            "results/{corpus}/{tokenizer}/{dataset}/corpus_document_lengths.svg",
            caption="../report/document_lengths.rst",
            category="Corpora",
            subcategory="{corpus}",
            labels={
                "tokenizer": "{tokenizer}",
                "data set": "{dataset}",
                "figure": "document lengths",
            },
        ),
        sample_lengths=report(
            "results/{corpus}/{tokenizer}/{dataset}/corpus_sample_lengths.svg",
            caption="../report/sample_lengths.rst",
            category="Corpora",
            subcategory="{corpus}",
            labels={
                "tokenizer": "{tokenizer}",
                "data set": "{dataset}",
                "figure": "sample lengths",
            },
        ),
        row_fill=report(
            "results/{corpus}/{tokenizer}/{dataset}/corpus_row_fill.svg",
            caption="../report/row_fill.rst",
            category="Corpora",
            subcategory="{corpus}",
            labels={"tokenizer": "{tokenizer}", "data set": "{dataset}", "figure": "row fill"},
        ),
        token_frequencies=report(
            "results/{corpus}/{tokenizer}/{dataset}/corpus_token_frequencies.svg",
            caption="../report/token_frequencies.rst",
            category="Corpora",
            subcategory="{corpus}",
            labels={
                "tokenizer": "{tokenizer}",
                "data set": "{dataset}",
                "figure": "token frequencies",
            },
        ),
    log:
        "logs/{corpus}/{tokenizer}/{dataset}/describe_corpus.log",
    benchmark:
        "logs/{corpus}/{tokenizer}/{dataset}/describe_corpus.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60, per_gb=30),
    params:
        args=corpus_page_flags,
        code=code("describe_corpus.py"),
    shell:
        "python scripts/describe_corpus.py --documents results/{wildcards.corpus}/documents"
        " --tokenizer {input.tokenizer} --dataset $(dirname {output.page}) {params.args:q}"
        " --output $(dirname {output.page}) --log {log}"


rule find_contamination:
    input:
        documents="results/{corpus}/documents/train.parquet",
        task="results/tasks/{task}/task.json",
    output:
        "results/{corpus}/documents/contamination/{task}.json",
    log:
        "logs/{corpus}/contamination/{task}.log",
    benchmark:
        "logs/{corpus}/contamination/{task}.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60, per_gb=30),
    params:
        code=code("find_contamination.py"),
    shell:
        "python scripts/find_contamination.py --documents $(dirname {input.documents})"
        " --task $(dirname {input.task}) --output {output} --log {log}"
