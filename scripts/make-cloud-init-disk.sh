#!/bin/bash
# Makes the disk from which cloud-init, as it is in distributions' cloud images, takes a machine's name
# and its user's key: NoCloud, an ISO 9660 file system called CIDATA.
# usage: make-cloud-init-disk.sh [OPTION...] OUTPUT.iso
#   --ssh-key FILE    a public key, with which the image's own user may log in (debian, ubuntu, ...)
#   --password TEXT   that user's, for the serial port; without it no password is set
#   --hostname NAME   (guest)
#   --user-data FILE  for cloud-init as it stands there, in place of the key and the password
# A disk with other contents is taken for another machine: cloud-init does its work once more.
set -euo pipefail

die() {
  echo "make-cloud-init-disk.sh: $1" >&2
  exit "${2-1}"
}

# A string of JSON, which is one of YAML too.
quoted() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

key='' password='' hostname=guest user_data=''
while [[ ${1-} == --* ]]; do
  [[ $# -ge 2 ]] || die "$1 needs a value" 2
  case $1 in
    --ssh-key) key=$2 ;;
    --password) password=$2 ;;
    --hostname) hostname=$2 ;;
    --user-data) user_data=$2 ;;
    *) die "no option $1; without options it prints how it is used" 2 ;;
  esac
  shift 2
done
[[ $# -eq 1 ]] || { sed -n '2,10s/^# //p' "$0" >&2; exit 2; }
out=$1
command -v xorrisofs >/dev/null || die "xorrisofs is missing; as root: apt-get install xorriso"
[[ $hostname =~ ^[A-Za-z0-9][A-Za-z0-9.-]*$ ]] ||
  die "--hostname: '$hostname' is no name of a machine: letters, digits, - and ." 2
[[ $password != *[[:cntrl:]]* ]] || die "--password: no control characters" 2
if [[ -n $user_data ]]; then
  [[ -z $key && -z $password ]] || die "--user-data says all: no --ssh-key and no --password" 2
  [[ -r $user_data ]] || die "--user-data: cannot read $user_data" 2
  # The first line tells cloud-init what the rest is; anything else it leaves alone.
  IFS= read -r first <"$user_data" || true
  [[ $first == '#'* || $first == 'Content-Type: '* ]] ||
    die "--user-data: $user_data does not begin with #cloud-config, #! or the like" 2
fi
if [[ -n $key ]]; then
  [[ -r $key ]] || die "--ssh-key: cannot read $key" 2
  grep -q '^\(ssh-\|ecdsa-\|sk-\)' "$key" ||
    die "--ssh-key: $key is no public key: name the one that ends in .pub" 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ -n $user_data ]]; then
  cp "$user_data" "$work/user-data"
else
  {
    echo '#cloud-config'
    if [[ -n $key ]]; then
      echo 'ssh_authorized_keys:'
      while IFS= read -r line; do
        [[ $line == '' || $line == '#'* ]] || echo "  - $(quoted "$line")"
      done < <(cat "$key"; echo)
    fi
    if [[ -n $password ]]; then
      echo "password: $(quoted "$password")"
      echo 'chpasswd: { expire: false }'
    fi
  } >"$work/user-data"
fi
digest=$(cat "$work/user-data" - <<<"$hostname" | sha256sum)
printf 'instance-id: %s\nlocal-hostname: %s\n' "${digest:0:16}" "$hostname" >"$work/meta-data"
xorrisofs -output "$out" -volid CIDATA -joliet -rational-rock "$work/user-data" "$work/meta-data" \
  2>"$work/log" || { cat "$work/log" >&2; die "$out was not made"; }
