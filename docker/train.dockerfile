# Every command of fraudlab, with PyTorch as its index has it: with CUDA, so that a GPU needs the host's driver alone.
# From the repository's root:
#   docker build -f docker/train.dockerfile -t fraudlab-train .
#   docker run --gpus all -v fraud:/work fraudlab-train fraudlab.train experiment=handbook trainer=gpu
FROM debian:12-slim AS base
# Debian keeps no older versions of its packages, so that pinned ones could not be installed later.
# libgomp1: OpenMP of LightGBM.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY pyproject.toml constraints.txt ./
COPY docker/requirements.py docker/requirements.py
# What it depends on first: a change of the code does not install that again.
RUN python3 -m venv /opt/fraudlab \
    && python3 docker/requirements.py train export serve tune gbdt data > requirements.txt \
    && /opt/fraudlab/bin/pip install --no-cache-dir -c constraints.txt -r requirements.txt hatchling
COPY README.md LICENSE hatch_build.py ./
COPY fraudlab fraudlab
COPY conf conf
COPY sweeps sweeps
# With TabNet's encoder compiled: the image below has no compiler.
RUN HATCH_BUILD_HOOK_ENABLE_CUSTOM=true /opt/fraudlab/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/fraudlab/bin/pip uninstall -y hatchling pluggy trove-classifiers pip

FROM base AS train
# Data and outputs; a volume that is mounted there takes its owner.
RUN install -d -o 10001 -g 10001 /work
COPY --from=build /opt/fraudlab /opt/fraudlab
ENV PATH=/opt/fraudlab/bin:$PATH \
    HOME=/tmp \
    USER=fraudlab \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /work
USER 10001:10001
ENTRYPOINT ["python", "-m"]
CMD ["fraudlab.train", "--help"]
