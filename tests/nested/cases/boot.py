"""Booting, resetting and ending stock kernels."""

import bed
from case import Case, ENDED, OFF, PANIC, RESET, TRIPLE_FAULT


def loops(run):
    assert run.values(r"^round (\d+)") == [str(i) for i in range(1, 6)], "not five rounds"


def median(values):
    return sorted(values)[len(values) // 2]


def no_slower(run):
    """Start to userland, by turns, and exits to user space, beside QEMU's microvm: the same kernel,
    disk, NIC and transport. Times are noisy here: the bound is wide, the figure is printed."""
    notes = []
    for transport in ("mmio", "pci"):
        def figures(name, what, number=transport):
            found = run.values(rf"^{name}_{number} {what} ([0-9.]+)")
            assert len(found) == ROUNDS, f"{name}_{number} {what}: {found}"
            return [float(value) for value in found]
        ratio = median([ours / peer for ours, peer in
                        zip(figures("bellhop", "seconds"), figures("qemu", "seconds"))])
        exits = [int(median(figures(name, "exits"))) for name in ("bellhop", "qemu")]
        notes.append(f"{transport}: {ratio:.2f} of its time, {exits[0]} exits, its {exits[1]}")
        assert ratio < 1.2 and exits[0] < exits[1], notes[-1]
    return "beside QEMU's microvm: " + "; ".join(notes)


def small(run):
    """Of the monitor itself, beside the guest's memory (which is one shared mapping)."""
    anonymous, = map(int, run.values(r"^RssAnon:\s+(\d+) kB"))
    files, = map(int, run.values(r"^RssFile:\s+(\d+) kB"))
    assert anonymous + files < 10 * 1024, f"{anonymous} kB anonymous, {files} kB of files"
    return f"{anonymous} kB anonymous, {files} kB of files"


ROUNDS = 5
PEER = """
trace=/sys/kernel/tracing
mount -t tracefs trace $trace
echo 1 > $trace/events/kvm/kvm_userspace_exit/enable
line="console=ttyS0 quiet panic=-1 mitigations=off reboot=t end=hang"
bellhop_with() {
  exec bellhop run --kernel /guest/vmlinux --initrd /job/initrd --memory 256M --cmdline "$line" \\
    --disk path=a.img --net tap=tap0 --transport $1
}
qemu_with() {
  exec qemu-system-x86_64 -M microvm,pit=off,pic=off,rtc=on,pcie=$1 -accel kvm -cpu host -m 256 \\
    -nodefaults -no-user-config -display none -no-reboot -serial stdio -kernel /guest/vmlinux \\
    -initrd /job/initrd -append "$line" -drive if=none,id=b,file=a.img,format=raw \\
    -device virtio-blk-$2,drive=b -netdev tap,id=n,ifname=tap1,script=no,downscript=no \\
    -device virtio-net-$2,netdev=n$3
}
bellhop_mmio() { bellhop_with mmio; }
bellhop_pci() { bellhop_with pci; }
qemu_mmio() { qemu_with off device; }
qemu_pci() { qemu_with on pci ,romfile=; }
disk a.img
for round in $(seq ROUNDS); do
  for name in bellhop_mmio qemu_mmio bellhop_pci qemu_pci; do
    echo > $trace/trace; : > out
    begin=$(uptime)
    ($name > out 2>&1 < /dev/null) & machine=$!
    until_true grep -q '@guest userland' out
    awk "BEGIN { print \\"$name seconds\\", $(uptime) - $begin }"
    echo "$name exits $(cat $trace/per_cpu/cpu*/stats | awk '/^(entries|overrun):/ { n += $2 } END { print n }')"
    grep -q '@guest userland' out || cat out
    kill -9 $machine; wait $machine
  done
done
true  # the last one was killed on purpose
""".replace("ROUNDS", str(ROUNDS))

CASES = [
    Case("boot.pvh", "machine", [r"@guest ready \S+ cpus 1 clock kvm-clock"], short=True),
    Case("boot.bzimage", "KERNEL=vmlinuz machine", [r"@guest ready \S+ cpus 1 clock kvm-clock"],
         short=True),
    Case("boot.two-vcpus", "machine smp --cpus 2", [r"@guest ready \S+ cpus 2", r"job smp ok"],
         short=True),
    Case("boot.avx", "machine avx --cpus 2", [r"registers: \d+ rounds, 0 lost"], short=True,
         emulator=10),
    Case("boot.off", "WORDS=end=off machine ''", status=[OFF], short=True),
    Case("boot.triple-fault", "WORDS=reboot=t machine ''", status=[TRIPLE_FAULT]),
    Case("boot.acpi-reset", "WORDS=reboot=a machine ''", status=[RESET]),
    Case("boot.panic", "WORDS=end=panic machine ''", status=[PANIC], allow=[r"Call Trace"]),
    # It has a driver of the button, and nothing that obeys it.
    Case("boot.stop-ignored",
         "(until_true grep -q '@guest ignores' out; killall bellhop) &\n"
         "WORDS=end=hang machine ignore --stop-timeout 15s > out 2>&1; cat out",
         [r"SIGTERM: pressed the guest's power button; it has 15 s", r"switch itself off: 5 s left",
          r"not switched itself off within 15 s: the machine is ended"], status=[ENDED], short=True),
    # No driver of the button at all; restarted it is by nobody.
    Case("boot.stop-unheard",
         "(until_true grep -q '@guest done' out; killall bellhop) &\n"
         "WORDS=end=hang machine '' --stop-timeout 5s > out 2>&1; cat out",
         [r"the guest does not listen to its power button", r"off within 5 s"], status=[ENDED]),
    Case("boot.on-reset-restart",
         "disk rounds.img 1M\n"
         "WORDS=end=rounds machine rounds --on-reset restart --disk path=rounds.img",
         status=[OFF], check=loops, limit=400),
    Case("boot.avx-after-restart",
         "disk rounds.img 1M\n"
         "WORDS=end=rounds machine avx,rounds --on-reset restart --disk path=rounds.img",
         status=[OFF], check=loops, limit=400, emulator=10),
    Case("boot.beyond-the-hole", "MEMORY=4G machine memory",
         [r"MemTotal: +(39|4[01])\d{5} kB", r"job memory ok"]),
    Case("boot.typed",
         "mkfifo keys\n"
         "(exec > keys; sleep 1; until_true grep -q '@guest listens' out; echo hello bellhop; "
         "sleep 20) &\n"
         "INPUT=keys machine listen > out 2>&1; cat out", [r"^heard: hello bellhop$"]),
    # The host's end of the terminal is opened late: what was printed before is there.
    Case("boot.typed-at-a-terminal",
         "(machine listen --serial pty > notes 2>&1) & monitor=$!\n"
         "until_true grep -q 'serial port is at' notes\n"
         "terminal=$(sed -n 's/.*the serial port is at //p' notes); sleep 5\n"
         "cat < $terminal > out & reader=$!\n"
         "until_true grep -q '@guest listens' out; echo hello bellhop > $terminal\n"
         "wait $monitor; cat out", [r"^@guest userland", r"^heard: hello bellhop"]),
    Case("boot.peer", PEER, status=[], check=no_slower, limit=900, extra=bed.add_qemu),
    Case("boot.memory-of-its-own",
         "disk a.img\n"
         "MEMORY=256M,shared=on machine '' --disk path=a.img --net tap=tap0 --rng --console null "
         "--balloon size=0 --vsock cid=42,uds=v.sock > out 2>&1 &\n"
         "until_true grep -q '@guest ready' out; grep Rss /proc/$(pidof bellhop)/status; wait; "
         "cat out", check=small),
    Case("boot.look", "machine look --cpus 2 --disk null=64M --net tap=tap0"),
]
