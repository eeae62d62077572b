#!/bin/bash
# Installs the Debian packages of packages.txt that are missing.
# usage: install-packages.sh [GROUP...]     (all groups by default; quick when nothing is missing)
set -euo pipefail
cd "$(dirname "$0")/.."

groups="$*"
known=$(awk '!/^#/ && NF == 2 { print $1 }' packages.txt | sort -u | tr '\n' ' ')
for group in $groups; do
  if [[ " $known" != *" $group "* ]]; then
    echo "install-packages.sh: no group '$group' in packages.txt; there are: $known" >&2
    exit 2
  fi
done

mapfile -t wanted < <(awk -v groups=" $groups " \
  '!/^#/ && NF == 2 && (groups ~ /^ *$/ || index(groups, " " $1 " ")) { print $2 }' packages.txt |
  sort -u)
missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

echo "installing: ${missing[*]}"
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "install-packages.sh: not root, and no sudo; as root run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
