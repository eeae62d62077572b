"""Booting, resetting and ending stock kernels."""

from case import Case, OFF, PANIC, RESET, TRIPLE_FAULT


def loops(run):
    assert run.values(r"^round (\d+)") == [str(i) for i in range(1, 6)], "not five rounds"


CASES = [
    Case("boot.pvh", "machine", [r"@guest ready \S+ cpus 1 clock kvm-clock"], short=True),
    Case("boot.bzimage", "KERNEL=vmlinuz machine", [r"@guest ready \S+ cpus 1 clock kvm-clock"],
         short=True),
    Case("boot.two-vcpus", "machine smp --cpus 2", [r"@guest ready \S+ cpus 2", r"job smp ok"],
         short=True),
    Case("boot.off", "WORDS=end=off machine ''", status=[OFF], short=True),
    Case("boot.triple-fault", "WORDS=reboot=t machine ''", status=[TRIPLE_FAULT]),
    Case("boot.acpi-reset", "WORDS=reboot=a machine ''", status=[RESET]),
    Case("boot.panic", "WORDS=end=panic machine ''", status=[PANIC], allow=[r"Call Trace"]),
    Case("boot.on-reset-restart",
         "disk rounds.img 1M\n"
         "WORDS=end=rounds machine rounds --on-reset restart --disk path=rounds.img",
         status=[OFF], check=loops, limit=400),
    Case("boot.beyond-the-hole", "MEMORY=4G machine memory",
         [r"MemTotal: +(39|4[01])\d{5} kB", r"job memory ok"]),
    Case("boot.typed",
         "mkfifo keys\n"
         "(exec > keys; sleep 1; until_true grep -q '@guest listens' out; echo hello bellhop; "
         "sleep 20) &\n"
         "INPUT=keys machine listen > out 2>&1; cat out", [r"^heard: hello bellhop$"]),
    Case("boot.look", "machine look --cpus 2 --disk null=64M --net tap=tap0"),
]
