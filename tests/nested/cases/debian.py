"""Debian itself: the root disk of scripts/make-debian-disk.sh, a login, and work as its user."""

import functools
import shutil

import bed
from case import Case, OFF

bed.PROGRAMS |= {"ssh": "openssh-client", "ssh-keygen": "openssh-client"}
PASSWORD = "bellhop"
# systemd gives the serial port's device 90 seconds to appear: less is done before that.
CMDLINE = ("console=ttyS0 root=/dev/vda rw mitigations=off systemd.mask=e2scrub_reap.service "
           "modprobe.blacklist=kvm_amd,kvm")


def debian_folder(suite):
    """The disk, made when it is not there yet or its script has changed."""
    folder, script = bed.CACHE / f"debian-{suite}", bed.PROJECT / "scripts/make-debian-disk.sh"
    mark, now = folder / "mark", bed.fingerprint(script.read_bytes())
    if mark.exists() and mark.read_text() == now:
        return folder
    bed.program("mmdebstrap")
    bed.say(f"nested: making a disk of Debian {suite} (some minutes)")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key").unlink(missing_ok=True)
    bed.command(bed.program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    bed.command(script, "--suite", suite, "--password", PASSWORD, "--packages", "fio",
                "--ssh-key", folder / "key.pub", folder)
    mark.write_text(now)
    return folder


def add_kernel(suite, stage):
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(debian_folder(suite) / name, stage / f"{suite}-{name}")


def session(name, options="", work=(), suite="bookworm", **other):
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
        f"bellhop run --kernel /job/{suite}-vmlinuz --initrd /job/{suite}-initrd.img --memory 768M "
        f"--cmdline '{CMDLINE}' --stats stats.json "
        f"--disk path=/dev/nvme2n1 --disk path=b.img {options} < keys > out 2>&1 &\n"
        "machine=$!; tail -f out & wait $machine; status=$?; sleep 1; echo; echo @status $status",
        [r"answer 42 root on guest", *other.pop("want", [])], status=[OFF], limit=900,
        extra=functools.partial(add_kernel, suite),
        outer_disks=lambda: [debian_folder(suite) / "debian.img"], **other)


def stop():
    """A signal: the guest's own service shuts it down, and what it has written is in its disk."""
    work = ("head -c 3M /dev/urandom > /root/kept; sha256sum < /root/kept; "
            "echo written $((6 * 7))")
    typed = ["type_after 'login:' root", f"type_after 'Password:' {PASSWORD}",
             f"type_after '~# $' '{work}'"]
    return Case(
        "debian.stop",
        "mkfifo keys; : > out\n"
        f"({{ {'; '.join(typed)}; sleep 1000; }} > keys) &\n"
        "bellhop run --kernel /job/bookworm-vmlinuz --initrd /job/bookworm-initrd.img "
        f"--memory 768M --cmdline '{CMDLINE}' --stop-timeout 400s "
        "--disk path=/dev/nvme2n1 < keys > out 2>&1 &\n"
        "machine=$!; tail -f out & until grep -q 'written 42' out; do sleep 1; done\n"
        "kill $machine; wait $machine; status=$?; sleep 1; echo; echo @status $status\n"
        "mkdir disk; mount -t ext4 /dev/nvme2n1 disk; echo \"in the disk: $(sha256sum < disk/root/kept)\"\n"
        "umount disk; dmesg | grep nvme2n1",
        [r"SIGTERM: pressed the guest's power button", r"reboot: Power down",
         r"EXT4-fs \(nvme2n1\): mounted filesystem"],
        never=[r"nvme2n1\): (recovery|\d+ orphan)"], status=[OFF], limit=900, check=kept,
        extra=functools.partial(add_kernel, "bookworm"),
        outer_disks=lambda: [debian_folder("bookworm") / "debian.img"])


def add_ssh(stage):
    add_kernel("bookworm", stage)
    for name in ("passt", "ssh"):
        bed.add_program(stage, bed.program(name), f"/bin/{name}")
    shutil.copy(debian_folder("bookworm") / "key", stage / "key")


def ssh():
    """As docs/run-debian.md has it: no rights, no tap, and a key."""
    return Case(
        "debian.ssh",
        "mkdir -p /etc; echo root:x:0:0::/:/bin/sh > /etc/passwd; : > out\n"
        "echo nobody:x:65534:65534::/:/bin/false >> /etc/passwd\n"
        "tunctl -t tapup > /dev/null; ip addr add 10.7.0.1/24 dev tapup; ip link set tapup up\n"
        "ip route add default via 10.7.0.2\n"
        "cp /job/key . && chmod 600 key\n"
        "over_ssh() { timeout 200 ssh -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=known "
        "-p 2222 root@127.0.0.1 \"$@\"; }\n"
        "bellhop run --kernel /job/bookworm-vmlinuz --initrd /job/bookworm-initrd.img "
        f"--memory 768M --cmdline '{CMDLINE}' --disk /dev/nvme2n1 "
        "--net user,hostfwd=tcp:127.0.0.1:2222-:22 < /dev/null > out 2>&1 &\n"
        "machine=$!; tail -f out & until grep -q 'login:' out; do sleep 1; done\n"
        "until over_ssh 'echo answer $((6 * 7)) on $(hostname)'; do sleep 2; done\n"
        "over_ssh poweroff; wait $machine; status=$?; sleep 1; echo; echo @status $status",
        [r"answer 42 on guest", r"reboot: Power down"], status=[OFF], limit=900, extra=add_ssh,
        outer_disks=lambda: [debian_folder("bookworm") / "debian.img"])


def kept(run):
    sums = run.values(r"([0-9a-f]{64})  -$")
    assert len(sums) == 2 and sums[0] == sums[1], f"written and found: {sums}"


FIO = ("fio --name=v --filename=/dev/vdb --size=8M --rw=randwrite --bs=4k --direct=1 "
       "--ioengine=libaio --iodepth=16 --verify=crc32c --output=fio.txt; grep -E err fio.txt")

FILES = ("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && head -c 4M /dev/urandom > /mnt/b && "
         "sha256sum /mnt/b > sum && umount /mnt && mount /dev/vdb /mnt && sha256sum -c sum; "
         "umount /mnt")

CASES = [
    session("login"),
    stop(),
    ssh(),
    # One vCPU: the bed's two processors, emulated on two, starve one of two guests' now and then,
    # whoever the VMM is.
    session("fio", work=[FIO], want=[r"err= 0"]),
    # The next release, whose kernel is the one that backports have for bookworm.
    session("trixie", suite="trixie", options="--rng", work=[
        "echo kernel $(uname -r)", FILES,
        "echo random $(dd if=/dev/hwrng bs=64 count=1 status=none | wc -c)", FIO],
            want=[r"kernel 6\.(1[2-9]|[2-9]\d)\.", r"/mnt/b: OK", r"random 64\b", r"err= 0"]),
]
