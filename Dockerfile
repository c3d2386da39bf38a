# The served captioner, on a CPU or a CUDA GPU. scripts/image builds it; see docs/operate.md.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
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
# The image serves the archive in its model store; the checkpoint that it was made from is removed.
RUN pip install --no-deps --no-build-isolation .; \
    shipped=$(python -I -c 'from captioner.paths import SHIPPED; print(SHIPPED)'); \
    captioner package "$shipped" --version 1.0 --out /model-store/captioner.mar; \
    rm -r "$shipped"
# Serving never imports these: fonts for PDFs, downloads of models, tests, pip itself.
RUN pip uninstall --yes fonttools huggingface-hub hf-xet setuptools pip; \
    find /opt/captioner/lib -type d -name tests -prune -exec rm -r {} +

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="captioner" \
      org.opencontainers.image.description="Captions for your own photos on your own machines" \
      org.opencontainers.image.licenses="Apache-2.0"
# nginx is the gate that lets the server finish its requests; tini reaps child processes that ended.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nginx-light tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 captioner \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin captioner
COPY --from=build /opt/captioner /opt/captioner
COPY --from=build --chown=10001:10001 /model-store /model-store
ENV PATH=/opt/captioner/bin:$PATH CAPTIONER_MODEL_STORE=/model-store PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
VOLUME /model-store
EXPOSE 8080 8081 8082
HEALTHCHECK --interval=10s --timeout=15s --start-period=180s --retries=3 CMD ["captioner", "health"]
ENTRYPOINT ["tini", "--", "python", "-m", "captioner.operations.container"]
