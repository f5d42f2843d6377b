#!/bin/bash
# What the contract tests need beside Python: Ceph's gateway (apt, root) and LocalStack S3 in an environment of its own.
# Idempotent. SPOTGUARD_CI_ENV is where environments go (default .ci-env); PYTHON is the interpreter that makes them.
set -euo pipefail
cd "$(dirname "$0")/../../.."
environments=${SPOTGUARD_CI_ENV:-.ci-env}
python=${PYTHON:-python3}

if ! command -v radosgw >/dev/null || ! command -v ceph-mon >/dev/null || ! command -v ceph-osd >/dev/null || ! command -v ceph >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
  else
    echo "install.sh: Ceph left out: needs root and apt (packages radosgw ceph-mon ceph-osd ceph-common)" >&2
  fi
fi

# 4.9.2 is the last that runs on Python 3.11, 4.14.0 the last that asks for no account. The other pins: without them it does not start.
version=$("$python" -c 'import sys; print("4.14.0" if sys.version_info >= (3, 12) else "4.9.2")')
stamp=$environments/localstack/.installed-$version
if [ ! -e "$stamp" ]; then
  rm -rf "$environments/localstack"
  mkdir -p "$environments"
  "$python" -m venv "$environments/localstack"
  "$environments/localstack/bin/pip" install -q --disable-pip-version-check \
    "localstack-core[base-runtime]==$version" 'cbor2<5.7' 'pyopenssl==25.3.0' 'cryptography<47' 'service-identity==24.2.0'
  touch "$stamp"
fi
echo "install.sh: $(command -v radosgw || echo 'no radosgw'), $environments/localstack/bin/python"
