#!/bin/bash
# Makes the Debian package from the release build, in build/package, and prints its path. The same
# commit makes the same package.
# usage: make-package.sh
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh package >&2
SOURCE_DATE_EPOCH=$(git -c safe.directory='*' log -1 --format=%ct)
export SOURCE_DATE_EPOCH
umask 022
rm -rf build/package
mkdir -p build/package
if ! cpack --config build/release/CPackConfig.cmake -G DEB -B "$PWD/build/package" \
  >build/package/log 2>&1; then
  cat build/package/log >&2
  exit 1
fi
rm -rf build/package/_CPack_Packages
ls "$PWD"/build/package/*.deb
