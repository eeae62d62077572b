"""Debian itself: the root disk of scripts/make-debian-disk.sh, a login, and work as its user."""

import functools
import os
import pathlib
import re
import shutil
import subprocess

import bed
from case import Case, OFF

bed.PROGRAMS |= {"ssh": "openssh-client", "ssh-keygen": "openssh-client"}
bed.PACKAGES |= {"xorrisofs": "xorriso", "sfdisk": "fdisk", "debugfs": "e2fsprogs"}
PASSWORD = "bellhop"
# systemd gives the serial port's device 90 seconds to appear: less is done before that.
CMDLINE = ("console=ttyS0 root=/dev/vda rw mitigations=off systemd.mask=e2scrub_reap.service "
           "modprobe.blacklist=kvm_amd,kvm")


def made_once(folder, scripts, make):
    """`folder`, with what make() puts there when it is not there yet or one of `scripts` has changed."""
    mark = folder / "mark"
    now = bed.fingerprint(b"".join((bed.PROJECT / "scripts" / name).read_bytes() for name in scripts))
    if mark.exists() and mark.read_text() == now:
        return folder
    bed.program("mmdebstrap")
    bed.program("ssh-keygen")
    bed.say(f"nested: making {folder.name} (some minutes)")
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    mark.write_text(now)
    return folder


def debian_folder(suite):
    """A disk of that suite, or that of BELLHOP_NESTED_DEBIAN, as make-debian-disk.sh --ssh made it."""
    given = os.environ.get("BELLHOP_NESTED_DEBIAN")
    if given and suite == "bookworm":
        return pathlib.Path(given)
    script = "make-debian-disk.sh"
    return made_once(bed.CACHE / f"debian-{suite}", [script], lambda folder: bed.command(
        bed.PROJECT / "scripts" / script, "--suite", suite, "--password", PASSWORD,
        "--packages", "fio", "--ssh", folder))


def cloud_folder():
    """What distributions' cloud images are: a disk with partitions and cloud-init, and nobody's key in
    it; with the disk for cloud-init, and a kernel taken out as docs/run-debian.md says."""
    scripts = bed.PROJECT / "scripts"

    def make(folder):
        bed.command(scripts / "make-debian-disk.sh", "--packages", "cloud-init,openssh-server",
                    "--hostname", "unnamed", folder)
        disk, system = folder / "cloud.img", folder / "debian.img"
        first = 1 << 20
        disk.unlink(missing_ok=True)
        disk.touch()
        os.truncate(disk, first + system.stat().st_size + (1 << 20))
        subprocess.run([bed.program("sfdisk"), "-q", disk], input="label: gpt\nstart=2048\n",
                       check=True, text=True, stdout=subprocess.DEVNULL)
        bed.command("dd", f"if={system}", f"of={disk}", "bs=1M", "seek=1", "conv=sparse,notrunc")
        within = f"{disk}?offset={first}"
        names = bed.command(bed.program("debugfs"), "-R", "ls -p /boot", within)
        for name in ("vmlinuz", "initrd.img"):
            whole = re.search(rf"/({re.escape(name)}-[^/]+)/", names).group(1)
            (folder / name).unlink()
            bed.command(bed.program("debugfs"), "-R", f"dump /boot/{whole} {folder / name}", within)
        system.unlink()
        (folder / "key").unlink(missing_ok=True)
        bed.command(bed.program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
        bed.command(scripts / "make-cloud-init-disk.sh", "--ssh-key", folder / "key.pub",
                    "--hostname", "named", folder / "seed.iso")

    return made_once(bed.CACHE / "debian-cloud",
                     ["make-debian-disk.sh", "make-cloud-init-disk.sh"], make)


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


def add_ssh(folder, stage):
    for name in ("passt", "ssh"):
        bed.add_program(stage, bed.program(name), f"/bin/{name}")
    for name in ("vmlinuz", "initrd.img", "key", "seed.iso"):
        if (folder() / name).exists():
            shutil.copy(folder() / name, stage / name)


def over_ssh(name, folder, image, user, options, end, **other):
    """As docs/run-debian.md has it: no rights, no tap, and a key."""
    return Case(
        f"debian.{name}",
        "mkdir -p /etc; echo root:x:0:0::/:/bin/sh > /etc/passwd; : > out\n"
        "echo nobody:x:65534:65534::/:/bin/false >> /etc/passwd\n"
        "way_out; cp /job/key . && chmod 600 key\n"
        "over_ssh() { timeout 200 ssh -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=known "
        f"-p 2222 {user}@127.0.0.1 \"$@\"; }}\n"
        f"bellhop run --kernel /job/vmlinuz --initrd /job/initrd.img --memory 768M {options} "
        "--net user,hostfwd=tcp:127.0.0.1:2222-:22 < /dev/null > out 2>&1 &\n"
        "machine=$!; tail -f out & until grep -q 'login:' out; do sleep 1; done\n"
        "until over_ssh 'echo answer $((6 * 7)) on $(hostname)'; do sleep 2; done\n"
        f"{end}; wait $machine; status=$?; sleep 1; echo; echo @status $status",
        status=[OFF], extra=functools.partial(add_ssh, folder),
        outer_disks=lambda: [folder() / image], **other)


def ssh():
    return over_ssh(
        "ssh", functools.partial(debian_folder, "bookworm"), "debian.img", "root",
        f"--cmdline '{CMDLINE}' --disk /dev/nvme2n1", "over_ssh poweroff",
        want=[r"answer 42 on guest", r"reboot: Power down"], limit=900)


def cloud_init():
    """The image's own user, by a key that only the disk for cloud-init knows."""
    return over_ssh(
        "cloud-init", cloud_folder, "cloud.img", "debian",
        f"--cmdline '{CMDLINE.replace('/dev/vda', '/dev/vda1')}' --disk /dev/nvme2n1 "
        "--disk /job/seed.iso,readonly --stop-timeout 400s", "kill $machine",
        want=[r"answer 42 on named", r"reboot: Power down"], limit=1500)


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
    cloud_init(),
    # One vCPU: the bed's two processors, emulated on two, starve one of two guests' now and then,
    # whoever the VMM is.
    session("fio", work=[FIO], want=[r"err= 0"]),
    # The next release, whose kernel is the one that backports have for bookworm.
    session("trixie", suite="trixie", options="--rng", work=[
        "echo kernel $(uname -r)", FILES,
        "echo random $(dd if=/dev/hwrng bs=64 count=1 status=none | wc -c)", FIO],
            want=[r"kernel 6\.(1[2-9]|[2-9]\d)\.", r"/mnt/b: OK", r"random 64\b", r"err= 0"]),
]
