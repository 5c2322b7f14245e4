# What the workflow runs in: Python, a compiler for torch.compile and the locked packages. The
# workflow itself is the folder that is mounted, so that one image serves every change to it.
#   docker build -t cloze .                              # for CPUs
#   docker build -t cloze --build-arg DEVICE=cuda .      # for NVIDIA GPUs
FROM docker.io/library/python:3.12-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git \
    && rm -rf /var/lib/apt/lists/*
ARG DEVICE=cpu
COPY requirements.lock /tmp/
# torch brings CUDA's libraries, 5 GB of them, unless it comes from the index of CPU builds.
RUN case "$DEVICE" in \
        cpu) index="--extra-index-url https://download.pytorch.org/whl/cpu" ;; \
        cuda) index= ;; \
        *) echo "DEVICE is cpu or cuda, not '$DEVICE'" >&2; exit 1 ;; \
    esac \
    && pip install --no-cache-dir $index --requirement /tmp/requirements.lock \
        'snakemake-executor-plugin-kubernetes>=0.4,<1' 'snakemake-storage-plugin-s3>=0.3,<1'
# Caches lie where any user may write, and PyTorch asks for a name that no user of `--user` has.
ENV HOME=/tmp USER=cloze PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home cloze
USER cloze
WORKDIR /work
CMD ["snakemake", "--help"]
