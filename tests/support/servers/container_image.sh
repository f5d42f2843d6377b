#!/bin/bash
# Builds the project's image for tests/e2e/containers, without a registry: its base is a small Debian with its own Python, made here.
# Needs root and apt. Idempotent per content. SPOTGUARD_CI_ENV is where it goes (default .ci-env). Prints the size of each layer.
set -euo pipefail
cd "$(dirname "$0")/../../.."
home=$(realpath -m "${SPOTGUARD_CI_ENV:-.ci-env}")/containers
stamp=$home/built-$(find Dockerfile pyproject.toml README.md LICENSE requirements/runtime.txt spotguard "$0" -type f ! -name '*.pyc' | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-12)
[ -e "$stamp" ] && { echo "container_image.sh: $home"; exit 0; }
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "container_image.sh: left out: needs root and apt" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -q -y --no-install-recommends podman buildah runc catatonit mmdebstrap >/dev/null
mkdir -p "$home"
cat > "$home/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
CONF
export CONTAINERS_CONF=$home/containers.conf
podman=(podman --root "$home/store" --runroot "$home/run" --storage-driver overlay)

if ! "${podman[@]}" image exists localhost/python-slim; then
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip,libpython3-stdlib \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$home/base"
  ln -sf python3 "$home/base/usr/bin/python"
  tar -C "$home/base" -c . | "${podman[@]}" import -q - localhost/python-slim >/dev/null
  rm -rf "$home/base"
fi
# pip inside asks as pip outside does: its settings, and the certificates that they trust.
mounts=()
for path in /etc/pip.conf /etc/xdg/pip "$HOME/.config/pip" "$HOME/.pip" /etc/ssl/certs /usr/local/share/ca-certificates ${PIP_FIND_LINKS:-}; do
  [ -e "$path" ] && mounts+=(-v "$path:$path:ro")
done
"${podman[@]}" build -q --format docker --pull=never --network host --isolation chroot "${mounts[@]}" \
  --build-arg PYTHON_IMAGE=localhost/python-slim -t localhost/spotguard . >/dev/null
rm -f "$home"/built-*
touch "$stamp"
"${podman[@]}" images
"${podman[@]}" history --format '{{.Size}} {{.CreatedBy}}' localhost/spotguard | cut -c1-120
