"""The unit of docs/systemd.md under a systemd that runs."""

import re
import shutil

import bed
from case import Case
from cases.debian import CMDLINE, debian_folder, kept

MACHINE = f"""
kernel = "vmlinuz"
initrd = "initrd.img"
cmdline = "{CMDLINE}"
memory = "768M"
[[disk]]
path = "/dev/nvme2n1"
[[net]]
user = true
hostfwd = ["tcp:127.0.0.1:2222-:22"]
"""

# A disk that is a block device; and a guest that is emulated twice takes its time to shut down.
DROP_IN = """
[Service]
DeviceAllow=/dev/nvme2n1 rw
ExecStart=
{start}
TimeoutStopSec=450
"""

WORK = """
[Service]
ExecStart=/bin/sh /srv/work
StandardOutput=append:/srv/out
[Install]
WantedBy=multi-user.target
"""


def longer_stop(unit):
    """How the unit starts a machine, but for the time that the guest has to shut down."""
    start = re.search(r"^ExecStart=(?:.*\\\n)*.*", unit, re.MULTILINE).group(0)
    assert "--stop-timeout 90s" in start
    return start.replace("--stop-timeout 90s", "--stop-timeout 400s")


def add_files(stage):
    """`host`: what the Debian system in which systemd runs has beyond its disk."""
    host, package = stage / "host", bed.PROJECT / "package"
    drop_in = DROP_IN.format(start=longer_stop((package / "bellhop@.service").read_text()))
    for to, text in {"etc/bellhop/web.toml": MACHINE, "etc/systemd/system/work.service": WORK,
                     "etc/systemd/system/bellhop@.service.d/test.conf": drop_in}.items():
        (host / to).parent.mkdir(parents=True, exist_ok=True)
        (host / to).write_text(text)
    for name in ("usr/bin", "usr/lib/systemd/system", "usr/lib/sysusers.d", "srv"):
        (host / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(package / "bellhop@.service", host / "usr/lib/systemd/system")
    shutil.copy(package / "bellhop.sysusers", host / "usr/lib/sysusers.d/bellhop.conf")
    shutil.copy(bed.HERE / "host/work", host / "srv")
    shutil.copy(bed.HERE / "host/enter", stage / "enter")
    folder = debian_folder("bookworm")
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(folder / name, host / "etc/bellhop")
    shutil.copy(folder / "key", host / "srv")
    # With the libraries that it needs, in the outer machine's /lib.
    bed.add_program(stage, bed.program("passt"), "/bin/passt")


def stop():
    """`systemctl stop`: the guest's files are in its disk, and the unit has not failed."""
    return Case(
        "systemd.stop",
        "way_out; mkdir host; mount -t ext4 /dev/nvme3n1 host; cp -r /job/host/. host; chmod 600 host/srv/key\n"
        "cp /job/bin/bellhop /job/bin/passt host/usr/bin\n"
        # Not those that the system has: its own programs want them as they are.
        "for library in /job/lib/x86_64-linux-gnu/*; do\n"
        "  [ -e host/usr/lib/x86_64-linux-gnu/${library##*/} ] || cp $library host/usr/lib/x86_64-linux-gnu\n"
        "done\n"
        "units=host/etc/systemd/system\n"
        "for unit in systemd-networkd.service systemd-networkd.socket console-getty.service ssh.service; do\n"
        "  ln -sf /dev/null $units/$unit\n"
        "done\n"
        "ln -s ../work.service $units/multi-user.target.wants/work.service; : > host/srv/out\n"
        "unshare -m -p -u -i -f sh /job/enter host & system=$!\n"
        "tail -f host/srv/out & wait $system\n"
        "mkdir disk; mount -t ext4 /dev/nvme2n1 disk; echo \"in the disk: $(sha256sum < disk/srv/kept)\"\n"
        "umount disk host; dmesg | grep nvme2n1",
        [r"running as bellhop", r"answer 42 on guest", r"SIGTERM: pressed the guest's power button",
         r"reboot: Power down", r"ActiveState=inactive", r"Result=success", r"ExecMainStatus=0",
         r"@worked", r"EXT4-fs \(nvme2n1\): mounted filesystem"],
        never=[r"nvme2n1\): (recovery|\d+ orphan)"], status=[], limit=900, check=kept,
        extra=add_files,
        outer_disks=lambda: [debian_folder("bookworm") / "debian.img"] * 2)


CASES = [stop()]
