# Shell functions for the guest's jobs.
uptime() { cut -d' ' -f1 /proc/uptime; }
# word NAME [DEFAULT]: the kernel command line's NAME=...
word() {
  value=$(sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline)
  echo "${value:-$2}"
}
# until_true COMMAND...: tries it for a while.
until_true() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "never true: $*"; return 1; }
    sleep 0.1
  done
}
# load MODULE: with what it needs, and its parameters from the command line (MODULE.NAME=VALUE).
load() {
  for module in $(cat "/modules/$1.list"); do
    name=$(echo "$module" | tr - _)
    [ ! -d "/sys/module/$name" ] || continue
    insmod "/modules/$module.ko" $(tr ' ' '\n' < /proc/cmdline | sed -n "s/^$name\.//p") ||
      echo "@guest cannot load $module"
  done
}
