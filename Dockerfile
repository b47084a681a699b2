# One image for every process: headrace worker, headrace scheduler, headrace migrate.

FROM python:3.12-slim AS wheels
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY requirements.lock ./
# every wheel that may be used, by its hash: what runs and what builds
RUN pip wheel --require-hashes --requirement requirements.lock --wheel-dir /wheels
COPY . ./
RUN pip install --no-index --find-links /wheels hatchling editables \
 && pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.12-slim
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
# what headrace itself asks for, and nothing that only tests or builds need
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-index --find-links /wheels headrace
# the providers' clients trust the system's certificates
RUN test -s /etc/ssl/certs/ca-certificates.crt
RUN useradd --system --uid 10001 --create-home --home-dir /srv/headrace headrace
USER 10001
WORKDIR /srv/headrace
ENTRYPOINT ["headrace"]
CMD ["--help"]
