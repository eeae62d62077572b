#!/bin/bash
# Installs what is missing, builds, and runs all tests. The last line but the times is ctest's own
# "N% tests passed, N tests failed out of N".
# usage: test.sh                 the release build and every test
#        test.sh --unit          the release build and the unit tests alone
#        test.sh --sanitizers    all unit tests but the command line's under the address and
#                                undefined sanitizers, those of the rooms where threads meet
#                                under the thread sanitizer
#        test.sh --fuzz [SECS [NAME]]
#                                each fuzz target, or one, by libFuzzer, SECS seconds each (20)
#        test.sh --fuzz-tsan [SECS [SEED]]
#                                the whole machine under the thread sanitizer, without libFuzzer
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
threaded=(base_test memory_test bus_test event_test virtio_test block_test net_test vhost_test
          vhost_user_test transport_test devices_test hypervisor_test config_test machine_test
          control_test)
# Of these rooms what one thread does alone, takes long, and is looked at by the address sanitizer.
one_thread='DeviceLimits|RateLimitTest|AllocateNothing|/RawFileTest\.(Keeps|Splits|Zeroe|Discard|Tells)'

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
  local seconds=$1 only=${2-} target name corpus report limits found=0 faults=0
  configure_and_build asan --target "${only:-fuzz_targets}"
  for target in build/asan/bin/*_fuzz; do
    [[ -x $target ]] || continue
    name=$(basename "$target")
    [[ -z $only || $name == "$only" ]] || continue
    found=1
    limits=(-timeout=10 -rss_limit_mb=2048)
    # Dozens of threads wait for each other there, and each has a deadline of its own.
    [[ $name != machine_fuzz ]] || limits=(-timeout=120 -rss_limit_mb=4096 -max_len=600)
    corpus=build/asan/corpus/$name
    mkdir -p "$corpus"
    seeds=()
    [[ -d tests/fuzz/corpus/$name ]] && seeds=("tests/fuzz/corpus/$name")
    report=build/asan/$name.log
    if "$target" -max_total_time="$seconds" "${limits[@]}" -verbosity=0 \
      -print_final_stats=1 -artifact_prefix="build/asan/$name-" "$corpus" "${seeds[@]}" \
      >"$report" 2>&1; then
      echo "fuzz: $name: no fault in $(awk '/number_of_executed_units/ { print $2 }' "$report") runs"
    else
      tail -n 60 "$report"
      echo "fuzz: $name: ***Failed, see $report"
      faults=1
    fi
  done
  if [[ $found -eq 0 ]]; then
    echo "test.sh: no fuzz target was built" >&2
    return 1
  fi
  return "$faults"
}

run_fuzz_tsan() {
  configure_and_build tsan --target machine_fuzz
  echo "fuzz-tsan: seed $2"
  mkdir -p build/tsan/fuzz
  (cd build/tsan/fuzz &&
    TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS-}" ../bin/machine_fuzz --seconds "$1" --seed "$2" \
      ../../../tests/fuzz/corpus/machine_fuzz) && return
  echo "fuzz-tsan: ***Failed; the input is build/tsan/fuzz/machine_fuzz.input"
  return 1
}

case "${1-}" in
  "")
    scripts/install-packages.sh build test demo
    configure_and_build release
    run_tests release
    ;;
  --unit)
    scripts/install-packages.sh build test
    configure_and_build release --target unit_tests
    run_tests release -L unit
    ;;
  --sanitizers)
    scripts/install-packages.sh build test lint  # clang is among lint's
    echo "unit tests under asan"
    configure_and_build asan --target unit_tests
    faults=0  # one run tells all
    # Devices and transports with packed rings take as long again; the rings' own tests are here.
    run_tests asan -L unit -LE "tools|packed" || faults=1
    echo "rooms with threads under tsan"
    configure_and_build tsan --target "${threaded[@]}"
    for suite in "${threaded[@]}"; do
      # One by one: a suite without tests is an error.
      run_tests tsan -R "^$suite\\." -LE packed -E "$one_thread" || faults=1
    done
    run_fuzz_tsan 20 20100401 || faults=1
    exit "$faults"
    ;;
  --fuzz)
    scripts/install-packages.sh build test lint
    run_fuzz "${2-20}" "${3-}"
    ;;
  --fuzz-tsan)
    scripts/install-packages.sh build test
    run_fuzz_tsan "${2-20}" "${3-$RANDOM}"
    ;;
  *)
    sed -n '2,12s/^# //p' "$0" >&2
    exit 2
    ;;
esac
