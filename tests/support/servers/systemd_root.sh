#!/bin/bash
# A small Debian with a real systemd for tests/e2e/systemd, with spotguard's dependencies in it. Needs root and apt. Idempotent.
# SPOTGUARD_CI_ENV is where it goes (default .ci-env).
set -euo pipefail
cd "$(dirname "$0")/../../.."
root=$(realpath -m "${SPOTGUARD_CI_ENV:-.ci-env}")/systemd-root
stamp=$root.installed-$(cat requirements/test.txt "$0" | sha256sum | cut -c1-12)
[ -e "$stamp" ] && { echo "systemd_root.sh: $root"; exit 0; }
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "systemd_root.sh: left out: needs root and apt" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -q -y --no-install-recommends systemd-container mmdebstrap python3-venv >/dev/null
rm -rf "$root" "$root".installed-*
mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,python3,procps,ca-certificates \
  "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root"
# Made from outside, with the same interpreter as inside: packages come through this machine's pip settings.
/usr/bin/python3 -m venv "$root/opt/spotguard"
"$root/opt/spotguard/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r requirements/test.txt
echo /src > "$(echo "$root"/opt/spotguard/lib/python3*/site-packages)/spotguard.pth"
printf '#!/bin/sh\nexec /opt/spotguard/bin/python -m spotguard "$@"\n' > "$root/usr/local/bin/spotguard"
chmod 755 "$root/usr/local/bin/spotguard"
touch "$stamp"
echo "systemd_root.sh: $root"
