#!/bin/bash
# Installs the packages that are missing, and builds the program with its guest for `bench`:
# build/release/bin/bellhop.
# usage: build.sh [GROUP...]     packages of more groups of packages.txt, such as debian
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-packages.sh build "$@"
cmake --preset release >/dev/null
cmake --build --preset release --target bellhop bench_guest
