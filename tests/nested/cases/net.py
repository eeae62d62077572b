"""NICs on a tap: ping and checked streams both ways, several pairs of queues, the kernel's vhost."""

import functools
import gzip
import hashlib
import json
import re
import shutil
import subprocess

import bed
from case import Case


def streams(run):
    """What arrived is what was sent, both ways."""
    sums = dict(re.findall(r"^(\S+-(?:sent|came)) (\w{64})", run.text, re.MULTILINE))
    for way in ("up", "down"):
        assert sums[f"{way}-sent"] == sums[f"{way}-came"], f"{way}: {sums}"


def by_exit(run):
    streams(run)
    run.by_exit("net0")


def by_eventfd(run):
    streams(run)
    run.by_eventfd("net0")


def both_pairs(run, counts=by_eventfd):
    counts(run)
    frames = [int(count) for count in run.values(r"^pair \d+ interrupts (\d+)")]
    assert len(frames) == 2 and min(frames) > 0, f"interrupts of the pairs: {frames}"


def by_vhost(run):
    """The kernel carried the frames: its thread has worked, and we have seen no kick."""
    streams(run)
    ran = [int(ns) for ns in run.values(r"^vhost thread ran (\d+) ns")]
    assert ran and max(ran) > 1_000_000, f"vhost threads ran for {ran} ns"
    figures = run.device("net0")
    assert figures["kicks_by_exit"] == 0, f"kicks by exit: {figures['kicks_by_exit']}"
    assert figures.get("tx_frames", 0) == 0, f"frames in user space: {figures['tx_frames']}"


def fallback(run):
    streams(run)
    assert run.device("net0")["kicks"] > 0


def net(name, options="", setup="", job="net", **other):
    """The host's end in the outer machine: an address, and one stream each way."""
    other.setdefault("check", by_eventfd)
    return Case(
        f"net.{name}",
        f"{setup}\n"
        "give_address tap0 10.9.0.1/24 &\n"
        "streams &\n"
        f"machine {job} --net tap=tap0{options}",
        [r"job net ok", r" 0% packet loss", *other.pop("want", [])], **other)


def linux_guest(folder):
    """What scripts/make-linux-guest.sh makes, on the job disk; the iperf3 in its initial RAM disk
    serves the outer machine too."""
    sources = sorted((bed.PROJECT / "scripts").glob("*linux-guest*"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    made = bed.CACHE / f"linux-guest-{digest[:12]}"
    if not (made / "initrd.img").exists():
        bed.command(bed.PROJECT / "scripts/make-linux-guest.sh", made)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(made / name, folder / f"linux-{name}")
    files = bed.CACHE / "linux-files"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir()
    subprocess.run([bed.program("cpio"), "-id", "--quiet"], cwd=files, check=True,
                   input=gzip.decompress((made / "initrd.img").read_bytes()))
    shutil.copy(files / "bin/iperf3", folder / "bin")
    libraries = "lib/x86_64-linux-gnu"
    for path in (files / libraries).iterdir():
        if not (folder / libraries / path.name).exists():
            shutil.copy(path, folder / libraries)
    shutil.rmtree(files)


def linux_guest_and_peer(folder):
    linux_guest(folder)
    bed.add_qemu(folder)


def bench(options):
    return (f"bellhop bench net {options} --quick --placement other-core --json figures.json\n"
            "echo \"@status $?\"\n"
            "echo \"@figures $(tr -d '\\n' < figures.json)\"")


def every_cell(run, guest, count, vmms=("bellhop",)):
    """Each cell has a figure, and what vhost should carry was not ours. Notes Bellhop's throughput
    over its peer's."""
    figures = json.loads(run.values(r"^@figures (.*)$")[0])
    assert not figures["not_run"], f"not run: {figures['not_run']}"
    cells = {(one["vmm"], one["workload"], one["direction"], one["message_bytes"], one["notify"]):
             one for one in figures["runs"]}
    assert len(cells) == count * len(vmms), f"cells: {sorted(map(str, cells))}"
    notes = []
    for cell, one in cells.items():
        assert one["guest"] == guest and one["operations"] > 0, f"{cell}: no figure"
        assert one["host_cpu_s"] > 0, f"{cell}: no CPU time"
        assert guest == "linux" or one["verified"], f"{cell}: not verified"
        if cell[0] != "bellhop":
            continue
        calls = one["counters"]["system_calls"]
        assert (calls == 0) == (cell[4] == "vhost-net"), f"{cell}: {calls} system calls of ours"
        words = " ".join(str(word) for word in cell[1:] if word)
        notes.append(f"{words}: {one['mb_per_s'] * 8:.2f} Mb/s")
        peer = cells.get(("qemu", *cell[1:]))
        if peer:
            efficiency = one["bytes_per_host_cpu_s"] / peer["bytes_per_host_cpu_s"]
            notes[-1] += (f", {one['mb_per_s'] / peer['mb_per_s']:.2f} times QEMU's, for each CPU "
                          f"second {efficiency:.2f}")
    return "\n    ".join(["", *notes])


VHOST = "watch_vhost &"
LINUX = "--guest linux --linux-kernel /job/linux-vmlinuz --linux-initrd /job/linux-initrd.img"

CASES = [
    net("tap", short=True),
    net("sync", ",notify=sync", check=by_exit, short=True),
    net("mmio", " --transport mmio"),
    net("mmio-sync", ",notify=sync --transport mmio", check=by_exit),
    net("queues", ",queues=2 --cpus 2", job="net,net-pairs", check=both_pairs, limit=300),
    Case("net.vhost-user-queues",
         "bellhop serve net --socket net.sock --net tap=tap0,queues=2 &\n"
         "give_address tap0 10.9.0.1/24 &\n"
         "streams &\n"
         "until_true [ -S net.sock ]\n"
         "machine net,net-pairs --cpus 2 --net vhost-user=net.sock,queues=2",
         [r"job net ok", r" 0% packet loss", r"^pairs 2$"], limit=300,
         check=functools.partial(both_pairs, counts=streams)),
    net("packed", ",packed=on", job="packed,net", want=[r"job packed ok"]),
    net("max-ioeventfds", ",id=net0 --max-ioeventfds 1", check=streams),
    net("mac-mtu", ",mac=02:00:00:12:34:56,mtu=4000", want=[r"^mac 02:00:00:12:34:56 mtu 4000"]),
    net("transitional", " --transport pci-transitional",
        "export WORDS=virtio_pci.force_legacy=1", job="legacy,net", want=[r"job legacy ok"]),
    net("driver-again", job="net-again,net", want=[r"job net-again ok"]),
    net("vhost", ",vhost=on", VHOST, check=by_vhost, short=True),
    net("vhost-force", ",vhost=force", VHOST, check=by_vhost),
    net("vhost-queues", ",vhost=on,queues=2 --cpus 2", VHOST, check=by_vhost, limit=300),
    net("vhost-mmio", ",vhost=on --transport mmio", VHOST, check=by_vhost),
    net("vhost-again", ",vhost=on", VHOST, job="net-again,net", check=by_vhost),
    net("vhost-missing", ",vhost=on", "rm /dev/vhost-net", check=fallback,
        want=[r"^bellhop: .*vhost"]),
    # No guest: the driver is the test's. It pauses, resets and unplugs; none of 2.2 million numbered
    # frames may be lost.
    Case("net.vhost-frames",
         "devices_test --gtest_brief=1 --gtest_color=no --gtest_filter='*NetTap*/vhost'\n"
         "echo \"@status $?\"",
         [r"PASSED  \] 4 tests"], never=["SKIPPED"], status=(0,), limit=600, beside=["devices_test"]),
    # The bench guest over the kernel's vhost: every byte of the streams is checked.
    Case("net.bench-vhost", bench("--notify ioeventfd,vhost --message-bytes 65536,1024"),
         status=(0,), check=functools.partial(every_cell, guest="bench", count=14), limit=900,
         beside=["bench-guest.elf"]),
    Case("net.bench-linux", bench(f"{LINUX} --message-bytes 65536"), [r"TCP_STREAM"], status=(0,),
         check=functools.partial(every_cell, guest="linux", count=6), limit=900,
         extra=linux_guest),
    Case("net.bench-linux-peer", bench(f"{LINUX} --peer qemu"), [r"TCP_STREAM"], status=(0,),
         check=functools.partial(every_cell, guest="linux", count=24, vmms=("bellhop", "qemu")),
         limit=3600, extra=linux_guest_and_peer),
    # No rights, no tap: an address from passt, the host by its own ports, and back by one of ours.
    Case("net.user",
         "mkdir -p /etc; echo nobody:x:65534:65534::/:/bin/false > /etc/passwd\n"
         "tunctl -t tapup > /dev/null; ip addr add 10.7.0.1/24 dev tapup; ip link set tapup up\n"
         "ip route add default via 10.7.0.2\n"
         "streams &\n"
         "while sleep 2; do echo hello | bedtool tcp-connect 127.0.0.1 2222; done 2>/dev/null &\n"
         "machine net-user --net user,hostfwd=tcp::2222-:22",
         [r"job net-user ok", r"^address 10\.7\.0\.1/24", r"^heard: hello$"], check=by_eventfd,
         extra=lambda folder: bed.add_program(folder, bed.program("passt"), "/bin/passt")),
]
