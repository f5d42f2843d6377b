# The daemon as a sidecar container. Configuration by environment (SPOTGUARD_DESTINATION__URL=…) or a file at /etc/spotguard/config.yaml.
#   docker build -t spotguard .
#   docker run --user "$(id -u):$(id -g)" -v /data/out:/out -e SPOTGUARD_DESTINATION__URL=s3://bucket/run1 spotguard
# The user must be the one that writes the checkpoints. To signal a trainer, share its process namespace (--pid).
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/spotguard
COPY requirements/runtime.txt requirements/
RUN /opt/spotguard/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY spotguard spotguard
RUN /opt/spotguard/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.12-slim
RUN useradd --uid 1000 --create-home spotguard && mkdir /out && chown spotguard /out
COPY --from=build /opt/spotguard /opt/spotguard
ENV PATH=/opt/spotguard/bin:$PATH PYTHONUNBUFFERED=1 SPOTGUARD_WATCH__DIR=/out
USER spotguard
VOLUME /out
# Alive and without an error among its problems; a drain is no error.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["spotguard", "status", "--check"]
# shutdown_grace_seconds is 90: give `docker stop` as much (--stop-timeout 100).
STOPSIGNAL SIGTERM
ENTRYPOINT ["spotguard"]
CMD ["daemon"]
