#!/bin/bash
# Installs what is missing, builds, and runs all tests. The last line but the times is ctest's own
# "N% tests passed, N tests failed out of N".
# usage: test.sh                 the release build and every test
#        test.sh --sanitizers    the engine's unit tests under the address, undefined and thread
#                                sanitizers
#        test.sh --fuzz [SECS]   each fuzz target by libFuzzer, SECS seconds each (20)
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
# The engine: what threads, guests and drivers meet.
sanitized=(event_test virtio_test block_test transport_test devices_test)

configure_and_build() {
  local preset=$1
  shift
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" -j "$jobs" "$@"
}

run_tests() {
  local preset=$1
  shift
  # Tests that want the machine for themselves are marked RUN_SERIAL where they are declared.
  ctest --preset "$preset" -j "$jobs" --no-tests=error "$@"
}

run_fuzz() {
  local seconds=$1 target name corpus found=0
  configure_and_build fuzz
  for target in build/fuzz/bin/*_fuzz; do
    [[ -x $target ]] || continue
    found=1
    name=$(basename "$target")
    corpus=build/fuzz/corpus/$name
    mkdir -p "$corpus"
    seeds=()
    [[ -d tests/fuzz/corpus/$name ]] && seeds=("tests/fuzz/corpus/$name")
    echo "fuzz: $name for $seconds s"
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
      -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" "$corpus" "${seeds[@]}"
  done
  if [[ $found -eq 0 ]]; then
    echo "test.sh: no fuzz target was built" >&2
    return 1
  fi
}

case "${1-}" in
  "")
    scripts/install-packages.sh build test demo
    configure_and_build release
    run_tests release
    ;;
  --sanitizers)
    scripts/install-packages.sh build test
    for preset in asan tsan; do
      echo "unit tests under $preset"
      configure_and_build "$preset" --target "${sanitized[@]}"
      for suite in "${sanitized[@]}"; do
        run_tests "$preset" -R "^$suite\\."  # one by one: a suite without tests is an error
      done
    done
    ;;
  --fuzz)
    scripts/install-packages.sh build lint
    run_fuzz "${2-20}"
    ;;
  *)
    sed -n '2,7s/^# //p' "$0" >&2
    exit 2
    ;;
esac
