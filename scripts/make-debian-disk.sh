#!/bin/bash
# Makes a Debian root disk for `bellhop run` from Debian's packages, as root or as anybody else:
# OUTPUT/debian.img (ext4, no partitions), OUTPUT/vmlinuz and OUTPUT/initrd.img.
# usage: make-debian-disk.sh [OPTION...] OUTPUT-FOLDER
#   --size SIZE       of the image, as truncate(1) takes it (2G; it is sparse)
#   --password TEXT   root's; without it root logs in at the serial port without one
#   --suite NAME      Debian's release (bookworm)
#   --packages A,B    more packages
#   --hostname NAME   (guest)
set -euo pipefail

die() {
  echo "make-debian-disk.sh: $1" >&2
  exit "${2-1}"
}

size=2G password='' suite=bookworm packages='' hostname=guest
while [[ ${1-} == --* ]]; do
  [[ $# -ge 2 ]] || die "$1 needs a value" 2
  case $1 in
    --size) size=$2 ;;
    --password) password=$2 ;;
    --suite) suite=$2 ;;
    --packages) packages=,$2 ;;
    --hostname) hostname=$2 ;;
    *) die "no option $1; $(sed -n '4p' "$0" | cut -c3-)" 2 ;;
  esac
  shift 2
done
[[ $# -eq 1 ]] || { sed -n '2,9s/^# //p' "$0" >&2; exit 2; }
out=$1
PATH=$PATH:/usr/sbin:/sbin
programs=(mmdebstrap:mmdebstrap mke2fs:e2fsprogs)
# Files of the image belong to root, whoever makes it.
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  programs+=(fakeroot:fakeroot newuidmap:uidmap)
  as_root=(fakeroot)
fi
for program in "${programs[@]}"; do
  command -v "${program%:*}" >/dev/null || die "${program%:*} is missing: install ${program#*:}"
done
mkdir -p "$out"
work=$(mktemp -d "$out/making.XXXXXX")
trap 'rm -rf "$work"' EXIT

# What the new system is told, before its packages and after.
cat >"$work/before" <<'HOOK'
mkdir -p "$1/etc/initramfs-tools/conf.d"
# A small RAM disk: all that a virtual machine's root disk takes.
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/bellhop"
printf '%s\n' virtio_pci virtio_mmio virtio_blk >"$1/etc/initramfs-tools/modules"
HOOK
cat >"$work/after" <<HOOK
set -e
echo "$hostname" >"\$1/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n' "$hostname" >"\$1/etc/hosts"
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"\$1/etc/fstab"
printf '[Match]\nType=ether\n[Network]\nDHCP=yes\n' >"\$1/etc/systemd/network/80-dhcp.network"
chroot "\$1" systemctl -q enable systemd-networkd serial-getty@ttyS0
chroot "\$1" systemctl -q disable systemd-networkd-wait-online
HOOK
if [[ -n $password ]]; then
  # In a file, since arguments can be read by everybody.
  (umask 077 && printf 'root:%s\n' "$password" >"$work/password")
  echo "chroot \"\$1\" chpasswd <'$(realpath "$work")/password'" >>"$work/after"
else
  echo "chroot \"\$1\" passwd -q -d root" >>"$work/after"
fi

echo "Fetching and unpacking Debian $suite ..."
chmod 755 "$work" "$work/before" "$work/after"
mmdebstrap --quiet --variant=minbase --setup-hook="sh '$work/before' \"\$1\"" \
  --customize-hook="sh '$work/after' \"\$1\"" --aptopt='Apt::Install-Recommends "false"' \
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
      --cmdline "console=ttyS0 root=/dev/vda rw" --disk path=$out/debian.img
Log in as root${password:+ with your password}; Ctrl-A x ends the machine.
END
