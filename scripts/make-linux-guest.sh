#!/bin/bash
# Makes the Linux guest of `bellhop bench net --guest linux` from Debian's packages, as root or as
# anybody else: OUTPUT/vmlinuz and OUTPUT/initrd.img (busybox and iperf3). Nothing is installed.
# usage: make-linux-guest.sh OUTPUT-FOLDER
set -euo pipefail

die() {
  echo "make-linux-guest.sh: $1" >&2
  exit 1
}

[[ $# -eq 1 && $1 != -* ]] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
out=$1
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
for program in apt-get:apt dpkg:dpkg depmod:kmod cpio:cpio gzip:gzip gcc:gcc; do
  command -v "${program%:*}" >/dev/null || die "${program%:*} is missing: install ${program#*:}"
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/making.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The package behind the current cloud kernel.
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-\)/\1/p')
[[ -n $kernel ]] || die "apt knows no package linux-image-cloud-amd64: run apt-get update"
mkdir "$work/debs" "$work/unpacked" "$work/kernel" "$work/root"
echo "Fetching $kernel, busybox and iperf3 ..."
(cd "$work/debs" && apt-get -q -q download "$kernel" busybox-static iperf3 libiperf0 libssl3 \
  libsctp1 libc6) || die "cannot fetch the packages: try apt-get update"
for deb in "$work"/debs/*.deb; do
  to=$work/unpacked
  [[ $deb != */linux-image-* ]] || to=$work/kernel
  dpkg -x "$deb" "$to"
done

release=$(ls "$work/kernel/lib/modules")
depmod -b "$work/kernel" "$release"
modules=$work/kernel/lib/modules/$release
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,modules,lib64}
# What a module needs stands behind it, the first to be loaded last.
for module in virtio_pci virtio_mmio virtio_net; do
  line=$(grep "/$module\.ko:" "$modules/modules.dep") || die "$kernel has no module $module"
  for path in $(tr ' ' '\n' <<<"${line/:/}" | sed '/^$/d' | tac); do
    cp "$modules/$path" "$root/modules/"
    name=$(basename "$path" .ko)
    grep -qsx "$name" "$root/modules/order" || echo "$name" >>"$root/modules/order"
  done
done
cp "$(find "$work/unpacked" -path '*/bin/busybox')" "$root/bin/busybox"
cp "$work/unpacked/usr/bin/iperf3" "$root/bin/iperf3"
libraries=$root/lib/x86_64-linux-gnu
mkdir -p "$libraries"
for name in libiperf.so.0 libssl.so.3 libcrypto.so.3 libsctp.so.1 libc.so.6 libm.so.6 \
  libpthread.so.0 libdl.so.2; do
  found=$(find "$work/unpacked" -name "$name" | head -n 1)
  [[ -n $found ]] || die "no $name in the packages"
  cp -L "$found" "$libraries/$name"
done
cp -L "$(find "$work/unpacked" -path '*x86_64-linux-gnu/ld-linux-x86-64.so.2' | head -n 1)" \
  "$root/lib64/"
gcc -static -O1 -o "$root/bin/mark" "$here/linux-guest-mark.c" || die "gcc needs libc6-dev"
cp "$here/linux-guest-init" "$root/init"
chmod 755 "$root/init" "$root/bin/busybox" "$root/bin/iperf3"
(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$work/initrd.img"
mv "$work/initrd.img" "$out/initrd.img"
cp "$work/kernel/boot/vmlinuz-$release" "$out/vmlinuz"
chmod 644 "$out/vmlinuz" "$out/initrd.img"
cat <<END
Done. To measure with it:
  bellhop bench net --guest linux --linux $out
END
