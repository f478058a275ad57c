#!/usr/bin/env bash
# Installs what the tests need beside Go: MariaDB and MinIO servers, ffmpeg, sox and lame to make and measure recordings, and node with the packages
# of test/b24jssdk.
# Does nothing when all are there.
set -euo pipefail

declare -A package=(
  [mariadbd]=mariadb-server
  [mariadb-install-db]=mariadb-server
  [ffmpeg]=ffmpeg
  [ffprobe]=ffmpeg
  [sox]=sox
  [lame]=lame
  [node]=nodejs
  [npm]=npm
)

# MinIO is no package of Debian. Building it takes two minutes, once.
minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
if ! command -v minio >/dev/null && [ ! -x "$(go env GOPATH | cut -d: -f1)/bin/minio" ]; then
  echo "Building $minio, which the tests need" >&2
  GOBIN="$(go env GOPATH | cut -d: -f1)/bin" go install "$minio"
fi

# A server's program lies in sbin, which is not everybody's PATH.
PATH="$PATH:/usr/sbin:/usr/local/sbin"

# The packages of node are those of the lock file: they are fetched once, and again when it changes.
node_packages() {
  local dir
  dir="$(dirname "${BASH_SOURCE[0]}")/../test/b24jssdk"
  if [ "$dir/node_modules/.package-lock.json" -nt "$dir/package-lock.json" ]; then
    return
  fi
  echo "Fetching the node packages of test/b24jssdk, which the tests need" >&2
  (cd "$dir" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  touch "$dir/node_modules/.package-lock.json"
}

missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
if [ ${#missing[@]} -eq 0 ]; then
  node_packages
  exit 0
fi
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if ! command -v apt-get >/dev/null; then
  echo "The tests need ${missing[*]} (names of Debian packages), and this system has no apt-get: install them by hand and run this again." >&2
  exit 1
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "The tests need ${missing[*]}. Run as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  root=(sudo)
fi

install() {
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}
echo "Installing ${missing[*]}, which the tests need" >&2
# The lists of a fresh machine are empty or old: fetch them when the packages are not found.
install >&2 || { "${root[@]}" apt-get update -q >&2 && install >&2; }
node_packages
