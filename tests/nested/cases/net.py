"""NICs on a tap: ping and checked streams both ways, several pairs of queues, the kernel's vhost."""

import re

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


def both_pairs(run):
    by_eventfd(run)
    frames = [int(count) for count in run.values(r"^pair \d+ interrupts (\d+)")]
    assert len(frames) == 2 and min(frames) > 0, f"interrupts of the pairs: {frames}"


def by_vhost(run):
    """The kernel carried the frames: its thread has worked, and we have seen no kick."""
    streams(run)
    ticks = [int(ticks) for ticks in run.values(r"^vhost thread ticks (\d+)")]
    assert ticks and max(ticks) > 0, "no vhost thread has worked"
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


VHOST = "watch_vhost &"

CASES = [
    net("tap", short=True),
    net("sync", ",notify=sync", check=by_exit, short=True),
    net("mmio", " --transport mmio"),
    net("mmio-sync", ",notify=sync --transport mmio", check=by_exit),
    net("queues", ",queues=2 --cpus 2", job="net,net-pairs", check=both_pairs, limit=300),
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
]
