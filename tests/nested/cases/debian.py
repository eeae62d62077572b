"""Debian itself: the root disk of scripts/make-debian-disk.sh, a login, and work as its user."""

import shutil

import bed
from case import Case, OFF

PASSWORD = "bellhop"
# systemd gives the serial port's device 90 seconds to appear: less is done before that.
CMDLINE = ("console=ttyS0 root=/dev/vda rw mitigations=off systemd.mask=e2scrub_reap.service "
           "modprobe.blacklist=kvm_amd,kvm")


def debian_folder():
    """The disk, made when it is not there yet or its script has changed."""
    folder, script = bed.CACHE / "debian", bed.PROJECT / "scripts/make-debian-disk.sh"
    mark, now = folder / "mark", bed.fingerprint(script.read_bytes())
    if mark.exists() and mark.read_text() == now:
        return folder
    bed.program("mmdebstrap")
    bed.say("nested: making a Debian disk (some minutes)")
    bed.command(script, "--password", PASSWORD, "--packages", "fio", folder)
    mark.write_text(now)
    return folder


def add_kernel(stage):
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(debian_folder() / name, stage / f"debian-{name}")


def session(name, options="", work=(), **other):
    """Logs in over the serial port, does some work, and switches the machine off."""
    typed = ["type_after 'login:' root", f"type_after 'Password:' {PASSWORD}"]
    typed += [f"type_after '~# $' '{line}'" for line in work]
    # What is typed is echoed: the answer is what only the shell can know.
    typed += ["type_after '~# $' 'echo answer $((6 * 7)) $(id -un) on $(hostname)'",
              "type_after 'answer 42' 'systemctl is-system-running; systemctl --failed'",
              "type_after 'loaded units listed' poweroff"]
    return Case(
        f"debian.{name}",
        "mkfifo keys; : > out; disk b.img\n"
        f"({{ {'; '.join(typed)}; sleep 1000; }} > keys) &\n"
        "bellhop run --kernel /job/debian-vmlinuz --initrd /job/debian-initrd.img --memory 768M "
        f"--cmdline '{CMDLINE}' --stats stats.json "
        f"--disk path=/dev/nvme2n1 --disk path=b.img {options} < keys > out 2>&1 &\n"
        "machine=$!; tail -f out & wait $machine; status=$?; sleep 1; echo; echo @status $status",
        [r"answer 42 root on guest", *other.pop("want", [])], status=[OFF], limit=900,
        extra=add_kernel, outer_disks=lambda: [debian_folder() / "debian.img"], **other)


FIO = ("fio --name=v --filename=/dev/vdb --size=8M --rw=randwrite --bs=4k --direct=1 "
       "--ioengine=libaio --iodepth=16 --verify=crc32c --output=fio.txt; grep -E err fio.txt")

CASES = [
    session("login"),
    # One vCPU: the bed's two processors, emulated on two, starve one of two guests' now and then,
    # whoever the VMM is.
    session("fio", work=[FIO], want=[r"err= 0"]),
]
