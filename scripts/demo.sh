#!/bin/bash
# The main job, on real input: makes an ext4 image from real files, has a guest read and check all
# of it, and prints the table of synchronous against ioeventfd notification.
# usage: demo.sh [OUTPUT-FOLDER]        (build/demo by default)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1-build/demo}
bellhop=build/release/bin/bellhop
guest=build/release/bin/bench-guest.elf
PATH=$PATH:/usr/sbin:/sbin  # mke2fs, for who is not root

scripts/build.sh demo
cmake --build --preset release --target image_digest

mkdir -p "$out/files"
image=$out/files.ext4
if [[ ! -s $image ]]; then
  echo "Making $image from this source tree and /usr/share/doc ..."
  git ls-files -z | xargs -0 cp --parents -t "$out/files"
  if [[ -d /usr/share/doc ]]; then
    cp -rL /usr/share/doc "$out/files/doc" 2>/dev/null || true  # dangling links are of no interest
  fi
  kilobytes=$(du -sk --apparent-size "$out/files" | cut -f1)
  inodes=$(find "$out/files" | wc -l)
  # Room for the data, a block's loss for each file, and the file system's own tables.
  mke2fs -q -F -t ext4 -b 4096 -N $((inodes + 1000)) -d "$out/files" "$image.new" \
    $((kilobytes + inodes * 4 + 32768))k
  mv "$image.new" "$image"
fi
rm -rf "$out/files"

echo
"$bellhop" probe
echo
echo "The guest reads all of $image and prints its digest:"
"$bellhop" run --kernel "$guest" --cpus 1 --memory 256M --cmdline "workload=verify bs=131072" \
  --disk "path=$image,readonly" | tee "$out/verify.log"
seen=$(grep -o '"digest": *"0x[0-9a-f]*"' "$out/verify.log" | grep -o '0x[0-9a-f]*' || true)
real=$(build/release/bin/image_digest "$image")
if [[ $seen != "$real" ]]; then
  echo "demo.sh: the guest read digest '${seen:-none}', the host $real" >&2
  exit 1
fi
echo "The host's digest of the file is the same: $real"
echo
"$bellhop" bench blk --quick --medium "$out" --csv "$out/report.csv" --html "$out/report.html"
echo
echo "The report: $out/report.html and $out/report.csv"
