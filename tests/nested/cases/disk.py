"""Disks: file systems, checked random writes, flushes, discards, crashes, and how kicks arrive."""

import itertools

from case import Case, KILLED, PANIC, RESET


def by_exit(run):
    run.by_exit("disk0")


def by_eventfd(run):
    run.by_eventfd("disk0")


def six_eventfds(run):
    """Of eight queues, six have got an ioeventfd and two kick by exits; all are used."""
    for index in range(6):
        run.by_eventfd(f"disk{index}")
    for index in range(6, 8):
        run.by_exit(f"disk{index}")


def gave_back(run):
    """Discarding has made the image smaller on its host's disk."""
    full, after = map(int, run.values(r"^kilobytes (\d+)"))
    assert full > 16 * 1024 > after + 8 * 1024, f"{full} kB before, {after} kB after"


def combination(transport, notify, aio, cache, queues):
    check = by_exit if notify == "sync" else by_eventfd
    return Case(
        f"disk.{transport}-{notify}-{aio}-{cache}-{queues}q",
        "disk a.img\n"
        f"machine randwrite,fs --cpus {queues} --transport {transport} --disk "
        f"path=a.img,notify={notify},aio={aio},cache={cache},queues={queues}",
        [r"job randwrite ok", r"job fs ok"], check=check, limit=300,
        # One in four or five of such guests ends early here, under QEMU as well: docs/testing.md.
        tries=4 if (notify, queues) == ("sync", 2) else 1)


CASES = [
    Case("disk.fs", "disk a.img; machine fs --disk path=a.img",
         [r"job fs ok", r"^checked 8 files$"], check=by_eventfd, short=True),
    Case("disk.sync", "disk a.img; machine randwrite,fs --disk path=a.img,notify=sync",
         [r"randwrite: \d+ writes by 4 threads, 0 blocks wrong", r"job fs ok"], check=by_exit,
         short=True),
    Case("disk.mmio",
         "disk a.img; machine randwrite,fs --transport mmio --disk path=a.img,notify=ioeventfd",
         [r"randwrite: \d+ writes by 4 threads, 0 blocks wrong", r"job fs ok"], check=by_eventfd,
         short=True),
    Case("disk.queues",
         "disk a.img; machine randwrite --cpus 2 --disk path=a.img,queues=2",
         [r"0 blocks wrong", r"^queues 2$"], check=by_eventfd),
    Case("disk.queue-threads",
         "disk a.img; machine randwrite --cpus 2 --iothread a --iothread b "
         "--disk path=a.img,queues=2,iothread=a:b",
         [r"0 blocks wrong", r"^queues 2$"], check=by_eventfd),
    # The bench guest: Linux resets the queues of disks only by the whole device.
    Case("disk.queue-reset",
         "disk a.img 16M\n"
         "for words in workload=prepare 'workload=randread queue_resets=20' "
         "'workload=randwrite queue_resets=20 ring=packed'; do\n"
         "  bellhop run --kernel /job/bin/bench-guest.elf --memory 64M --stop-timeout 0 "
         "--cmdline \"$words threads=8 seconds=0.5\" "
         "--disk path=a.img,queue-reset=on,packed=on,cache=writeback,aio=threads || exit 1\n"
         "done\n"
         "echo \"@status 0\"",
         [r'"workload":"randread".*"verified":true.*"queue_resets":20',
          r'"workload":"randwrite".*"verified":true.*"queue_resets":20'], never=[r'"verified":false'], status=(0,),
         beside=["bench-guest.elf"]),
    Case("disk.max-ioeventfds",
         "for i in 0 1 2 3 4 5 6 7; do disk $i.img 8M; set -- \"$@\" --disk path=$i.img; done\n"
         "WORDS=blocks=256 machine many --max-ioeventfds 6 \"$@\"",
         # Two of its disks are kicked by exits; once in 27 it ended early, and the log was gone.
         [r"job many ok"], check=six_eventfds, short=True, tries=2),
    Case("disk.transitional",
         # The driver for devices older than virtio 1.0, on a device that can be both.
         "disk a.img; WORDS=virtio_pci.force_legacy=1 machine legacy,randwrite,fs "
         "--transport pci-transitional --disk path=a.img",
         [r"job legacy ok", r"0 blocks wrong", r"job fs ok"], check=by_eventfd, short=True),
    Case("disk.transitional-sync",
         "disk a.img; WORDS=virtio_pci.force_legacy=1 machine legacy,randwrite,fs "
         "--transport pci-transitional --disk path=a.img,notify=sync",
         [r"job legacy ok", r"0 blocks wrong", r"job fs ok"], check=by_exit),
    Case("disk.transitional-modern",
         "disk a.img; machine modern,fs --transport pci-transitional --disk path=a.img",
         [r"job modern ok", r"job fs ok"], check=by_eventfd),
    Case("disk.packed",
         "disk a.img; machine packed,randwrite,fs --disk path=a.img,packed=on",
         [r"job packed ok", r"0 blocks wrong", r"job fs ok"], check=by_eventfd),
    Case("disk.packed-mmio",
         "disk a.img; machine packed,randwrite,fs --transport mmio --disk path=a.img,packed=on",
         [r"job packed ok", r"0 blocks wrong", r"job fs ok"], check=by_eventfd),
    Case("disk.packed-sync",
         "disk a.img; machine packed,randwrite,fs --disk path=a.img,packed=on,notify=sync",
         [r"job packed ok", r"0 blocks wrong", r"job fs ok"], check=by_exit),
    Case("disk.discard",
         "disk a.img; dd if=/dev/zero of=a.img bs=1M count=64 2>/dev/null\n"
         "echo kilobytes $(du -k a.img | cut -f1)\n"
         "machine discard --disk path=a.img\n"
         "echo kilobytes $(du -k a.img | cut -f1)",
         [r"job discard ok"], check=gave_back),
    Case("disk.readonly",
         "disk a.img; machine readonly --disk path=a.img,readonly", [r"job readonly ok"]),
    Case("disk.driver-again",
         "disk a.img; WORDS=blocks=256 machine driver-again --disk path=a.img",
         [r"job driver-again ok"], check=by_eventfd),
    Case("disk.vmm-killed",
         # What fsync has returned for is there after a SIGKILL of the monitor.
         "disk a.img\n"
         "(until_true grep -q '@guest synced' out; killall -9 bellhop) &\n"
         "WORDS=end=hang machine write-synced --disk path=a.img > out 2>&1; cat out\n"
         "machine check-synced --disk path=a.img",
         [r"@guest synced", r"job check-synced ok"], status=[KILLED, RESET], limit=300,
         short=True),
    Case("disk.guest-crashed",
         # The same for a guest that dies; the journal is replayed.
         "disk a.img\n"
         "WORDS=end=panic machine write-synced --disk path=a.img\n"
         "machine check-synced --disk path=a.img",
         [r"@guest synced", r"job check-synced ok"], status=[PANIC, RESET], allow=[r"Call Trace"],
         limit=300),
    *(combination(*one) for one in itertools.product(
        ("pci", "mmio"), ("ioeventfd", "sync"), ("io_uring", "native", "threads"),
        ("none", "writeback"), (1, 2)) if one[2:4] != ("native", "writeback")),
]
