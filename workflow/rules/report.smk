# From evaluations to what a person reads.
#
# Reads the evaluations of every seed, with and without pretraining, the baselines and the
# metrics of every stage before them; writes results/{model}/{task}/{report}_report.txt, .json and
# .html, and the page's main figure. Reads the reports that an entry of `averages` names; writes
# results/{model}/{average}_report.txt and .json. {place} is all of such a path up to _report, so
# that the recipe's folder alone decides which recipe a report is of. What was asked for last lies
# also in results/{report}_report.txt and so on, as a copy.


rule report:
    input:
        unpack(report_sources),
    output:
        text="results/{place}_report.txt",
        json="results/{place}_report.json",
        html="results/{place}_report.html",
        figure="results/{place}_figure.svg",
    log:
        "logs/{place}_report.log",
    benchmark:
        "logs/{place}_report.benchmark.tsv"
    wildcard_constraints:
        place=one_of(PLACES[report] for report in CONFIG.reports),
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        args=report_flags,
        code=code("report.py"),
        sources=report_source_flags,
    shell:
        "python scripts/report.py {params.args:q} {params.sources:q}"
        " --output-text {output.text} --output-json {output.json}"
        " --output-html {output.html} --output-figure {output.figure} --log {log}"


rule average_report:
    input:
        average_reports,
    output:
        text="results/{place}_report.txt",
        json="results/{place}_report.json",
    log:
        "logs/{place}_report.log",
    benchmark:
        "logs/{place}_report.benchmark.tsv"
    wildcard_constraints:
        place=one_of(PLACES[average] for average in CONFIG.averages),
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=memory(1000),
        runtime=minutes(30),
    params:
        args=average_flags,
        code=code("average_report.py"),
    shell:
        "python scripts/average_report.py {params.args:q}"
        " --output-text {output.text} --output-json {output.json} --log {log}"


rule copy_report:
    input:
        text=report_file("_report.txt"),
        json=report_file("_report.json"),
        html=report_file("_report.html"),
        figure=report_file("_figure.svg"),
    output:
        text=report(
            "results/{report}_report.txt",
            caption="../report/report.rst",
            category="Reports",
            labels={"report": "{report}", "content": "text"},
        ),
        json="results/{report}_report.json",
        html=report(
            "results/{report}_report.html",
            caption="../report/page.rst",
            category="Reports",
            labels={"report": "{report}", "content": "page"},
        ),
        figure=report(
            "results/{report}_figure.svg",
            caption="../report/figure.rst",
            category="Reports",
            labels={"report": "{report}", "content": "figure"},
        ),
    log:
        "logs/{report}_report.log",
    benchmark:
        "logs/{report}_report.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=100,
    shell:
        "cp {input} results/ 2> {log}"


rule copy_average:
    input:
        text=report_file("_report.txt"),
        json=report_file("_report.json"),
    output:
        text=report(
            "results/{average}_report.txt",
            caption="../report/average.rst",
            category="Reports",
            labels={"report": "{average}", "content": "average"},
        ),
        json="results/{average}_report.json",
    log:
        "logs/{average}_report.log",
    benchmark:
        "logs/{average}_report.benchmark.tsv"
    conda:
        "../envs/pipeline.yaml"
    threads: claim(1)
    resources:
        mem_mb=100,
    shell:
        "cp {input} results/ 2> {log}"
