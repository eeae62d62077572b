#!/bin/bash
# Makes a Debian root disk for `bellhop run` from Debian's packages, as root or as anybody else:
# OUTPUT/debian.img (ext4, no partitions), OUTPUT/vmlinuz and OUTPUT/initrd.img.
# usage: make-debian-disk.sh [OPTION...] OUTPUT-FOLDER
#   --size SIZE       of the image, as truncate(1) takes it (2G; it is sparse)
#   --password TEXT   root's; without it root logs in at the serial port without one
#   --suite NAME      Debian's release (bookworm)
#   --packages A,B    more packages
#   --hostname NAME   (guest)
#   --ssh-key FILE    a public key, with which root may log in over ssh; a server is installed
#   --ssh             likewise with OUTPUT-FOLDER/key, a new key unless it is there
set -euo pipefail

die() {
  echo "make-debian-disk.sh: $1" >&2
  exit "${2-1}"
}

size=2G password='' suite=bookworm packages='' hostname=guest key='' new_key=''
while [[ ${1-} == --* ]]; do
  if [[ $1 == --ssh ]]; then
    new_key=1 packages+=,openssh-server
    shift
    continue
  fi
  [[ $# -ge 2 ]] || die "$1 needs a value" 2
  case $1 in
    --size) size=$2 ;;
    --password) password=$2 ;;
    --suite) suite=$2 ;;
    --packages) packages+=,$2 ;;
    --hostname) hostname=$2 ;;
    --ssh-key) key=$2 packages+=,openssh-server ;;
    *) die "no option $1; $(sed -n '4p' "$0" | cut -c3-)" 2 ;;
  esac
  shift 2
done
[[ $# -eq 1 ]] || { sed -n '2,11s/^# //p' "$0" >&2; exit 2; }
[[ -z $key || -z $new_key ]] || die "either --ssh or --ssh-key" 2
out=$1
PATH=$PATH:/usr/sbin:/sbin
programs=(mmdebstrap:mmdebstrap mke2fs:e2fsprogs)
[[ -z $new_key ]] || programs+=(ssh-keygen:openssh-client)
# Files of the image belong to root, whoever makes it.
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  programs+=(fakeroot:fakeroot newuidmap:uidmap)
  as_root=(fakeroot)
fi
missing=''
for program in "${programs[@]}"; do
  command -v "${program%:*}" >/dev/null || missing+=" ${program#*:}"
done
[[ -z $missing ]] || die "programs are missing; as root: apt-get install$missing"
# The packages' own scripts run as root of a user namespace with these ids.
if [[ $(id -u) -ne 0 ]] && ! grep -q "^\($(id -un)\|$(id -u)\):" /etc/subuid 2>/dev/null; then
  die "$(id -un) has no ids in /etc/subuid; as root: usermod --add-subuids 100000-165535 \
--add-subgids 100000-165535 $(id -un)"
fi
if [[ -n $key ]]; then
  [[ -r $key ]] || die "--ssh-key: cannot read $key; --ssh makes a new key" 2
  grep -q '^\(ssh-\|ecdsa-\|sk-\)' "$key" ||
    die "--ssh-key: $key is no public key: name the one that ends in .pub" 2
fi
mkdir -p "$out"
if [[ -n $new_key ]]; then
  key=$out/key.pub
  [[ -e $out/key ]] || ssh-keygen -q -t ed25519 -N '' -C "for $hostname" -f "$out/key"
fi
work=$(mktemp -d "$out/making.XXXXXX")
trap 'rm -rf "$work"' EXIT

# What the new system is told, before its packages and after. The words go to mmdebstrap themselves:
# in its user namespace nobody may read files in a home folder of mode 0700.
before='mkdir -p "$1/etc/initramfs-tools/conf.d"
# A small RAM disk: all that a virtual machine has for a root disk.
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/bellhop"
printf "%s\n" virtio_pci virtio_mmio virtio_blk >"$1/etc/initramfs-tools/modules"'
after='set -e
echo "$DISK_HOSTNAME" >"$1/etc/hostname"
printf "127.0.0.1\tlocalhost\n127.0.1.1\t%s\n" "$DISK_HOSTNAME" >"$1/etc/hosts"
echo "/dev/vda / ext4 errors=remount-ro 0 1" >"$1/etc/fstab"
printf "[Match]\nType=ether\n[Network]\nDHCP=yes\n" >"$1/etc/systemd/network/80-dhcp.network"
chroot "$1" systemctl -q enable systemd-networkd serial-getty@ttyS0
chroot "$1" systemctl -q disable systemd-networkd-wait-online
if [ -n "$DISK_PASSWORD" ]; then
  printf "root:%s\n" "$DISK_PASSWORD" | chroot "$1" chpasswd
else
  chroot "$1" passwd -q -d root
fi
if [ -n "$DISK_KEY" ]; then
  install -d -m 700 "$1/root/.ssh"
  printf "%s\n" "$DISK_KEY" >"$1/root/.ssh/authorized_keys"
  chmod 600 "$1/root/.ssh/authorized_keys"
fi'
# In the environment, since arguments can be read by everybody.
export DISK_HOSTNAME=$hostname DISK_PASSWORD=$password DISK_KEY=
[[ -z $key ]] || DISK_KEY=$(cat "$key")

echo "Fetching and unpacking Debian $suite ..."
HOME=/ mmdebstrap --quiet --variant=minbase --setup-hook="$before" --customize-hook="$after" \
  --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --include="linux-image-cloud-amd64,initramfs-tools,zstd,systemd-sysv,udev,kmod,dbus,e2fsprogs,\
login,passwd,iproute2,iputils-ping,procps,less,nano$packages" \
  "$suite" "$work/root.tar"

echo "Making $out/debian.img ..."
truncate -s "$size" "$work/debian.img"
"${as_root[@]}" bash -euo pipefail -c '
  mkdir "$1/root"
  tar -x -C "$1/root" -f "$1/root.tar" --exclude="./dev/*"
  rm "$1/root.tar"
  cp "$1"/root/boot/vmlinuz-* "$1/vmlinuz"
  cp "$1"/root/boot/initrd.img-* "$1/initrd.img"
  chmod 644 "$1/vmlinuz" "$1/initrd.img"
  mke2fs -q -F -t ext4 -L root -d "$1/root" "$1/debian.img"' - "$work"
mv "$work"/{debian.img,vmlinuz,initrd.img} "$out/"
cat <<END
Done. To boot it:
  bellhop run --kernel $out/vmlinuz --initrd $out/initrd.img --memory 1G \\
      --cmdline "console=ttyS0 root=/dev/vda rw" --disk $out/debian.img
Log in as root${password:+ with your password}; poweroff ends the machine.
END
[[ -z $key ]] || cat <<END
With --net user,hostfwd=tcp:127.0.0.1:2222-:22 as well:
  ssh${new_key:+ -i $out/key} -p 2222 root@127.0.0.1
END
