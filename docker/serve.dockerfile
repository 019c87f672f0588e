# The server of a bundle: no torch, no compiler. From the repository's root, with the bundle in ./bundle:
#   docker build -f docker/serve.dockerfile -t fraudlab-serve .
# Without a bundle, for one at gs://: --target server, and bundle=gs://... behind the image's name.
FROM debian:12-slim AS base
# Debian keeps no older versions of its packages, so that pinned ones could not be installed later.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY pyproject.toml constraints.txt ./
COPY docker/requirements.py docker/requirements.py
# What it depends on first: a change of the code does not install that again.
RUN python3 -m venv /opt/fraudlab \
    && python3 docker/requirements.py serve > requirements.txt \
    && /opt/fraudlab/bin/pip install --no-cache-dir -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY fraudlab fraudlab
COPY conf conf
COPY sweeps sweeps
# What builds it stands in an environment of its own, which pip takes away.
RUN PIP_CONSTRAINT=constraints.txt /opt/fraudlab/bin/pip install --no-cache-dir --no-deps . \
    && /opt/fraudlab/bin/pip uninstall -y setuptools pip \
    && find /opt/fraudlab -type d -name tests -prune -exec rm -rf {} +

FROM base AS server
# /record: a volume that is mounted there takes its owner.
RUN install -d -o 10001 -g 10001 -m 0700 /record
COPY --from=build /opt/fraudlab /opt/fraudlab
ENV PATH=/opt/fraudlab/bin:$PATH \
    HOME=/tmp \
    OMP_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FRAUDLAB_SERVING_HOST=0.0.0.0
WORKDIR /srv
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as ask; ask.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/health/ready', timeout=2)"]
ENTRYPOINT ["python", "-m", "fraudlab.serve"]

FROM server
COPY bundle /bundle
CMD ["bundle=/bundle"]
