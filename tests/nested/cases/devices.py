"""Entropy, console, balloon, vsock: each used for its purpose, in both notification modes."""

import os

import bed
from case import Case


def kicks(name, notify):
    def check(run):
        (run.by_exit if notify == "sync" else run.by_eventfd)(name)
    return check


def gave_back(run):
    """What the guest has freed is the host's again."""
    held, after = map(int, run.values(r"^resident (\d+)"))
    assert held - after > 48 * 1024, f"{held} kB resident before, {after} kB after"


RNG = [r"^rng_current virtio_rng", r"job rng ok"]

CONSOLE = (
    "mkfifo keys\n"
    "(until_true [ -S c.sock ]; until_true grep -q '@guest listens' out\n"
    " (sleep 2; echo hello port; sleep 2) | bedtool unix-connect c.sock > from-guest\n"
    ") &\n"
    "machine console --console socket=c.sock,name=org.bellhop.test{} > out 2>&1\n"
    "cat out; sed 's/^/host read: /' from-guest")

VSOCK = (
    # Both ways: the guest connects to the host, and the host to the guest.
    "dd if=/dev/urandom of=down.bin bs=64k count=16 2>/dev/null\n"
    "echo \"down-sent $(sha256sum < down.bin)\"\n"
    "{}\n"
    "machine vsock --vsock cid=42,{} > out 2>&1\n"
    "cat out; cat from-guest")

BY_UNIX_SOCKETS = (
    "(bedtool unix-listen v.sock_5000 < /dev/null | sha256sum | sed 's/^/up-came /' > from-guest) &\n"
    "(until_true grep -q '@guest listens' out; "
    "(echo CONNECT 6000; cat down.bin) | bedtool unix-connect v.sock | head -1) &")

BY_VHOST = (
    "(bedtool vsock-listen 5000 < /dev/null | sha256sum | sed 's/^/up-came /' > from-guest) &\n"
    "(until_true grep -q '@guest listens' out; bedtool vsock-connect 42 6000 < down.bin) &")


def vsock_streams(run):
    for way in ("up", "down"):
        sent, came = run.values(f"^{way}-sent (\\w{{64}})"), run.values(f"^{way}-came (\\w{{64}})")
        assert sent and sent == came, f"{way}: sent {sent}, came {came}"


def vsock(notify):
    def check(run):
        vsock_streams(run)
        kicks("vsock0", notify)(run)
    return check


FS = (
    # Both ways: the guest reads what the host has put there, and the host what the guest has.
    "mkdir share; dd if=/dev/urandom of=share/down.bin bs=64k count=64 2>/dev/null\n"
    "echo \"down-sent $(sha256sum < share/down.bin)\"\n"
    "virtiofsd --socket-path=fs.sock -o source=/scratch/share -f > daemon 2>&1 &\n"
    "until_true [ -S fs.sock ]\n"
    "{}machine virtiofs --fs tag=shared,socket=fs.sock{}\n"
    "sync; echo \"up-came $(sha256sum < share/up.bin)\"; ls share; sed 's/^/virtiofsd: /' daemon")


def virtiofsd(stage):
    """Debian's; in the package of what all of its QEMU's programs have in common."""
    daemon = "/usr/lib/qemu/virtiofsd"
    if not os.path.exists(daemon):
        raise bed.Missing(f"{daemon} is missing: install the package qemu-system-common")
    bed.add_program(stage, daemon, "/bin/virtiofsd")


def fs(run):
    vsock_streams(run)
    figures = run.device("fs0")
    assert figures["lost_connections"] == 0, figures
    assert run.values(r"^virtiofs renamed (\w+)") == ["yes"]


# The host's end of guest/jobs/hotplug-*: so often a device comes, is used and goes again.
COMES_AND_GOES = (
    "disk a.img 8M\n"
    "(for round in $(seq {rounds}); do\n"
    "   until_true grep -q \"@guest waits for {what} $round\" out\n"
    "   {before}\n"
    "   bellhop ctl api.sock add {device} >> notes 2>&1\n"
    "   {after}\n"
    "   until_true grep -q \"@guest has used {what} $round\" out\n"
    "   bellhop ctl api.sock remove late >> notes 2>&1 && echo \"removed $round\" >> notes\n"
    " done) &\n"
    "WORDS=rounds={rounds} machine {job} --api-socket api.sock {options} > out 2>&1\n"
    "cat out")


def comes_and_goes(job, device, rounds=3, what="disk", before=":", after=":", options="--rng"):
    return COMES_AND_GOES.format(job=job, device=device, rounds=rounds, what=what, before=before,
                                 after=after, options=options)


def came_and_went(rounds):
    def check(run):
        assert run.values(r"^removed (\d+)") == [str(i + 1) for i in range(rounds)], "not every round"
        assert "late" not in run.stats[0]["total"].get("devices", {})
    return check


CASES = [
    Case("devices.rng", "machine rng --rng", RNG, check=kicks("rng0", "ioeventfd"), short=True),
    Case("devices.rng-sync", "machine rng --rng notify=sync", RNG, check=kicks("rng0", "sync")),
    Case("devices.rng-mmio", "machine rng --rng --transport mmio", RNG,
         check=kicks("rng0", "ioeventfd")),
    Case("devices.console", CONSOLE.format(""),
         [r"^heard at the port: hello port$", r"^host read: hello host$"],
         check=kicks("console0", "ioeventfd"), short=True, needs="--console"),
    Case("devices.console-sync", CONSOLE.format(",notify=sync"),
         [r"^heard at the port: hello port$", r"^host read: hello host$"],
         check=kicks("console0", "sync"), needs="--console"),
    Case("devices.balloon", "machine balloon --balloon size=64M,statistics=on",
         [r"job balloon ok"], check=kicks("balloon0", "ioeventfd"), short=True,
         needs="--balloon"),
    Case("devices.balloon-sync", "machine balloon --balloon size=64M,notify=sync",
         [r"job balloon ok"], check=kicks("balloon0", "sync"), needs="--balloon"),
    Case("devices.balloon-reporting",
         "WORDS=end=hang machine reporting --balloon size=0,free-page-reporting=on > out 2>&1 &\n"
         "until_true grep -q '@guest holds' out; resident\n"
         "until_true grep -q '@guest let go' out; sleep 5; resident\n"
         "cat out; killall -9 bellhop; wait",
         [r"@guest let go"], status=[], check=gave_back, needs="--balloon"),
    Case("devices.vsock", VSOCK.format(BY_UNIX_SOCKETS, "uds=v.sock"), [r"job vsock ok"],
         check=vsock("ioeventfd"), short=True),
    Case("devices.vsock-sync", VSOCK.format(BY_UNIX_SOCKETS, "uds=v.sock,notify=sync"),
         [r"job vsock ok"], check=vsock("sync")),
    Case("devices.vsock-mmio", VSOCK.format(BY_UNIX_SOCKETS, "uds=v.sock --transport mmio"),
         [r"job vsock ok"], check=vsock("ioeventfd")),
    Case("devices.vsock-vhost", VSOCK.format(BY_VHOST, "vhost=on"), [r"job vsock ok"],
         check=vsock_streams),
    Case("devices.fs", FS.format("", ""), [r"job virtiofs ok"], check=fs, extra=virtiofsd),
    Case("devices.fs-mmio", FS.format("", " --transport mmio"), [r"job virtiofs ok"], check=fs,
         extra=virtiofsd),
    # The daemon goes while the guest holds its files: the machine stays.
    Case("devices.fs-dies",
         FS.format("(until_true grep -q '@guest has mounted' out; killall -9 virtiofsd) &\n"
                   "WORDS=dies=yes ", " > out 2>&1; cat out"),
         [r"fs0: the connection to its back end has ended", r"@guest goes on"],
         extra=virtiofsd),
    Case("devices.hotplug",
         comes_and_goes("hotplug-files", "disk a.img,id=late", rounds=1),
         [r"^id +late$", r"^bdf +0000:00:02.0$", r"checked 8 files", r"job hotplug-files ok"],
         check=came_and_went(1), short=True),
    # Every second time while the guest reads as fast as it can: what it then reads fails.
    Case("devices.hotplug-disk",
         comes_and_goes("hotplug-disk", "disk a.img,id=late", rounds=100),
         [r"job hotplug-disk ok"], allow=[r"I/O error"], check=came_and_went(100), limit=1200),
    Case("devices.hotplug-disk-adaptive",
         comes_and_goes("hotplug-disk", "disk a.img,notify=adaptive,aio=threads,id=late", rounds=10),
         [r"job hotplug-disk ok"], allow=[r"I/O error"], check=came_and_went(10), limit=400),
    Case("devices.hotplug-disk-transitional",
         comes_and_goes("hotplug-disk", "disk a.img,notify=sync,id=late", rounds=10,
                        options="--rng --transport pci-transitional"),
         [r"job hotplug-disk ok"], allow=[r"I/O error"], check=came_and_went(10), limit=400, tries=4),
    Case("devices.hotplug-net",
         comes_and_goes("hotplug-net", "net tap=tap0,id=late", rounds=10, what="NIC",
                        after="give_address tap0 10.9.0.1/24"),
         [r"job hotplug-net ok"], check=came_and_went(10), limit=400),
    Case("devices.all",
         "disk a.img; give_address tap0 10.9.0.1/24 & streams &\n"
         "WORDS=blocks=256 machine fs,rng,net --disk path=a.img --net tap=tap0 --rng "
         "--console null --balloon size=0 --vsock cid=42,uds=v.sock",
         [r"job fs ok", r"job rng ok", r"job net ok"], limit=300, needs="--balloon"),
]
