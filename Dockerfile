# The daemon as a sidecar container; see docs/containers.md.
#   docker build -t spotguard .
#   docker run --user "$(id -u):$(id -g)" -v /data/out:/out -e SPOTGUARD_DESTINATION__URL=s3://bucket/run1 spotguard
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/spotguard
COPY requirements/runtime.txt requirements/
RUN python -m pip --python /opt/spotguard install --no-cache-dir --disable-pip-version-check --no-compile -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY spotguard spotguard
RUN python -m pip --python /opt/spotguard install --no-cache-dir --disable-pip-version-check --no-compile --no-deps . \
 # of the 400 services that botocore describes these are asked: S3 itself, and who we are
 && cd /opt/spotguard/lib/python3*/site-packages/botocore/data \
 && find . -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name sso ! -name sso-oidc -exec rm -rf {} +

FROM ${PYTHON_IMAGE}
RUN useradd --uid 1000 --create-home spotguard && mkdir -m 0755 /out /run/spotguard && chown spotguard /out /run/spotguard
COPY --from=build /opt/spotguard /opt/spotguard
ENV PATH=/opt/spotguard/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SPOTGUARD_WATCH__DIR=/out RUNTIME_DIRECTORY=/run/spotguard \
    NO_PROXY=169.254.169.254,169.254.170.2,fd00:ec2::254
USER spotguard
VOLUME /out
# Alive, and no error among its problems; a drain is no error.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["spotguard", "status", "--check"]
# Flushes for up to interruption.shutdown_grace_seconds (90): give `docker stop` as much (--stop-timeout 100).
STOPSIGNAL SIGTERM
ENTRYPOINT ["spotguard"]
CMD ["daemon"]
