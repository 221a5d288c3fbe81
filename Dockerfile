# One image for every role: `docker run IMAGE run ingest`. Kafka is not in it; SLUICE_KAFKA names yours.
FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY requirements.txt ./
RUN pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY ingest ingest
COPY consumers consumers
COPY sandbox sandbox
COPY sluice sluice
RUN pip install --no-deps --no-build-isolation . \
 && useradd --create-home --uid 10001 sluice
USER sluice
ENTRYPOINT ["sluice"]
CMD ["--help"]
