#!/bin/bash
# A root file system with nothing in it but a minimal Debian, and commands that run in it. Of this host
# they see the kernel, the devices, the network and the mirrors of its apt. As root. Sourced by
# tests/bare/run and tests/package/run:
#   bare_begin FOLDER [FRESH [KEEP]]  makes ready what roots are made of; FRESH: anew. Some 4 GB, of which
#                                     a minimal root and fetched packages stay there for the next time.
#                                     KEEP: the last root is left behind
#   bare_unpack                       makes the root, $root
#   bare_run FOLDER COMMAND...        runs each in it, there

die() {
  echo "${0#"$repository/"}: $1" >&2
  exit "${2-1}"
}

# The second half, in namespaces of its own: no mount and no process outlives it.
#   --inside ROOT ARCHIVES FOLDER COMMAND...
bare_inside() {
  local root=$1 archives=$2 folder=$3 command
  shift 3
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount --bind "$archives" "$root/var/cache/apt/archives"
  # Not chroot: within one, nobody may make a user namespace, which passt does to lock itself in.
  cd "$root"
  mkdir run/host
  pivot_root . run/host
  umount -l /run/host
  rmdir /run/host
  cd "$folder"
  for command in "$@"; do
    echo "== bare: $command"
    # Signals that a background job of a shell ignores are ignored by all that it starts.
    env -i --default-signal=INT,QUIT HOME=/root LANG=C.UTF-8 \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      $command </dev/null || die "failed on a bare machine: $command"
  done
}

bare_begin() {
  local folder=$1 fresh=${2-} program made_from more
  bare_keep=${3-}
  [[ $(id -u) -eq 0 ]] || die "making a root file system and mounting in it needs root"
  for program in mmdebstrap:mmdebstrap unshare:util-linux setpriv:util-linux git:git; do
    command -v "${program%:*}" >/dev/null || die "${program%:*} is missing: install ${program#*:}"
  done
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  exec {bare_lock}>"$folder/lock"
  flock --nonblock "$bare_lock" || die "another run is at work in $folder"
  root=$folder/root
  bare_archives=$folder/archives

  # apt as it is set up here, whoever set it up: Debian's mirrors, their keys, and the way to them.
  release=bookworm  # the Debian that README.md names
  bare_sources() {
    apt-get indextargets 'Created-By: Packages' 'Origin: Debian' \
      --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' |
      grep -E "^deb [^ ]+ $release(-updates|-security)? " | sort -u
  }
  bare_sources >"$folder/sources.list" ||
    { apt-get update -qq && bare_sources >"$folder/sources.list"; } ||
    die "apt knows no mirror of Debian $release"
  apt-config dump --no-empty --format '%F "%v";%n' Acquire |
    grep -iE '^Acquire::(http|https|socks|Check-|Retries|ForceIPv|Max-|Queue-Mode)' \
      >"$folder/apt.conf" || true

  # Apart from what it is made from, a minimal root is the same every time.
  made_from=$(cat "${BASH_SOURCE[0]}" "$folder/sources.list" "$folder/apt.conf" | sha256sum)
  bare_minimal=$folder/minimal.tar
  [[ -z $fresh ]] || rm -rf "$bare_minimal" "$folder/archives"
  if [[ ! -e $bare_minimal || $(cat "$folder/made-from" 2>/dev/null) != "$made_from" ]]; then
    echo "Making a minimal root of Debian $release ..."
    more=()
    ! grep -q '^deb https:' "$folder/sources.list" || more=(--include=ca-certificates)
    mmdebstrap --quiet --mode=root --variant=minbase --aptopt="$folder/apt.conf" "${more[@]}" \
      "$release" "$folder/minimal.new.tar" "$folder/sources.list"
    mv "$folder/minimal.new.tar" "$bare_minimal"
    echo "$made_from" >"$folder/made-from"
  fi
  mkdir -p "$bare_archives/partial"

  # However this shell ends, the namespaces end with it, and all that runs and is mounted there.
  bare_namespaces=
  trap bare_clean_up EXIT
  for signal in HUP INT TERM; do trap "exit 1" "$signal"; done  # wait ends by them
}

bare_clean_up() {
  if [[ -n $bare_namespaces ]]; then
    kill -KILL "$bare_namespaces" 2>/dev/null || true
    wait "$bare_namespaces" 2>/dev/null || true
  fi
  [[ -n $bare_keep ]] || rm -rf --one-file-system "$root"
}

bare_unpack() {
  rm -rf --one-file-system "$root"
  mkdir "$root"
  tar -x -C "$root" -f "$bare_minimal" --exclude='./dev/*'
  cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/"
  cp -r /etc/apt/trusted.gpg* "$root/etc/apt/"
}

bare_run() {
  local status=0
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
    "${BASH_SOURCE[0]}" --inside "$root" "$bare_archives" "$@" {bare_lock}>&- &
  bare_namespaces=$!
  wait "$bare_namespaces" || status=$?
  bare_namespaces=
  return "$status"
}

if [[ ${1-} == --inside && ${BASH_SOURCE[0]} == "$0" ]]; then
  set -euo pipefail
  repository=$(cd "$(dirname "$0")/../.." && pwd)
  bare_inside "${@:2}"
fi
