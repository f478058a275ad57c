#!/usr/bin/env bash
# Installs what the tests need beside Go: a MariaDB server, and ffmpeg, sox and lame to make and measure recordings.
# Does nothing when all are there.
set -euo pipefail

declare -A package=(
  [mariadbd]=mariadb-server
  [mariadb-install-db]=mariadb-server
  [ffmpeg]=ffmpeg
  [ffprobe]=ffmpeg
  [sox]=sox
  [lame]=lame
)

# A server's program lies in sbin, which is not everybody's PATH.
PATH="$PATH:/usr/sbin:/usr/local/sbin"

missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
if [ ${#missing[@]} -eq 0 ]; then
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
