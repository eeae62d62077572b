"""The unit of docs/systemd.md under a systemd that runs."""

import shutil

import bed
from case import Case
from cases.debian import CMDLINE, debian_folder, kept

MACHINE = f"""
kernel = "vmlinuz"
initrd = "initrd.img"
cmdline = "{CMDLINE}"
memory = "768M"
seccomp = "kill"
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
ExecStart=/usr/bin/bellhop run --config /etc/bellhop/%i.toml --stop-timeout 400s \
    --api-socket /run/bellhop/%i/api.sock
TimeoutStopSec=450
"""

WORK = """
[Service]
ExecStart=/bin/sh /root/work
StandardOutput=append:/root/out
[Install]
WantedBy=multi-user.target
"""


def add_files(stage):
    """`host`: what the Debian system in which systemd runs has beyond its disk."""
    host = stage / "host"
    for to, text in {"etc/bellhop/web.toml": MACHINE, "etc/systemd/system/work.service": WORK,
                     "etc/systemd/system/bellhop@.service.d/test.conf": DROP_IN}.items():
        (host / to).parent.mkdir(parents=True, exist_ok=True)
        (host / to).write_text(text)
    for name in ("usr/bin", "usr/lib/systemd/system", "usr/lib/sysusers.d", "root"):
        (host / name).mkdir(parents=True, exist_ok=True)
    package = bed.PROJECT / "package"
    shutil.copy(package / "bellhop@.service", host / "usr/lib/systemd/system")
    shutil.copy(package / "bellhop.sysusers", host / "usr/lib/sysusers.d/bellhop.conf")
    shutil.copy(bed.HERE / "host/work", host / "root")
    shutil.copy(bed.HERE / "host/enter", stage / "enter")
    folder = debian_folder("bookworm")
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(folder / name, host / "etc/bellhop")
    shutil.copy(folder / "key", host / "root")
    # With the libraries that it needs, in the outer machine's /lib.
    bed.add_program(stage, bed.program("passt"), "/bin/passt")


def stop():
    """`systemctl stop`: the guest's files are in its disk, and the unit has not failed."""
    return Case(
        "systemd.stop",
        "tunctl -t tapup > /dev/null; ip addr add 10.7.0.1/24 dev tapup; ip link set tapup up\n"
        "ip route add default via 10.7.0.2\n"
        "mkdir host; mount -t ext4 /dev/nvme3n1 host; cp -r /job/host/. host; chmod 600 host/root/key\n"
        "cp /job/bin/bellhop /job/bin/passt host/usr/bin\n"
        # Not those that the system has: its own programs want them as they are.
        "for library in /job/lib/x86_64-linux-gnu/*; do\n"
        "  [ -e host/usr/lib/x86_64-linux-gnu/${library##*/} ] || cp $library host/usr/lib/x86_64-linux-gnu\n"
        "done\n"
        "units=host/etc/systemd/system\n"
        "for unit in systemd-networkd.service systemd-networkd.socket console-getty.service ssh.service; do\n"
        "  ln -sf /dev/null $units/$unit\n"
        "done\n"
        "ln -s ../work.service $units/multi-user.target.wants/work.service; : > host/root/out\n"
        "unshare -m -p -u -i -f sh /job/enter host & system=$!\n"
        "tail -f host/root/out & wait $system\n"
        "mkdir disk; mount -t ext4 /dev/nvme2n1 disk; echo \"in the disk: $(sha256sum < disk/root/kept)\"\n"
        "umount disk host; dmesg | grep nvme2n1",
        [r"running as bellhop", r"answer 42 on guest", r"SIGTERM: pressed the guest's power button",
         r"reboot: Power down", r"ActiveState=inactive", r"Result=success", r"ExecMainStatus=0",
         r"@worked", r"EXT4-fs \(nvme2n1\): mounted filesystem"],
        never=[r"nvme2n1\): (recovery|\d+ orphan)"], status=[], limit=900, check=kept,
        extra=add_files,
        outer_disks=lambda: [debian_folder("bookworm") / "debian.img"] * 2)


CASES = [stop()]
