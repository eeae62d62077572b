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
