"""The nested test bed: an emulated outer machine with SVM in which a stock Debian kernel has
/dev/kvm, and the monitor under test inside it.

Everything is made from Debian's packages, unpacked below the cache folder; nothing is installed.
A root image (kernel modules, busybox, the guest's kernels) is made once; what changes from run to
run (the monitor with its libraries, the guest's initial RAM disk, the jobs) is a small second disk.
"""

import ctypes
import functools
import hashlib
import os
import pathlib
import re
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("BELLHOP_NESTED_CACHE", PROJECT / "build" / "nested"))

PROGRAMS = {  # program: Debian package; all of these are needed
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "lz4": "lz4",
    "xz": "xz-utils",
    "zstd": "zstd",
    "dpkg": "dpkg",
    "apt-get": "apt",
    "g++": "g++",
}
PACKAGES = {}  # the same of programs that single cases ask for
OUTER_MODULES = ["kvm-amd", "tun", "vhost_net", "vhost_vsock"]
GUEST_MODULES = ["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio-rng",
                 "virtio_console", "virtio_balloon", "vmw_vsock_virtio_transport", "virtiofs",
                 "button", "pvpanic-mmio"]
OUTER_CMDLINE = ("console=ttyS0 quiet root=/dev/nvme0n1 rw init=/init panic=-1 mitigations=off "
                 "tsc=reliable no_timer_check")
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Missing(Exception):
    """The host lacks something that a package would bring; this says which."""


def program(name):
    found = shutil.which(name, path=PATH)
    if not found:
        raise Missing(f"{name} is missing: install the package "
                      f"{(PROGRAMS | PACKAGES).get(name, name)}")
    return found


def command(*words, **options):
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.stdout}")
    return done.stdout


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- Debian's kernel ---------------------------------------------------------------------------

def kernel_package():
    """The package behind Debian's current cloud kernel."""
    text = command("apt-cache", "depends", "linux-image-cloud-amd64")
    found = re.search(r"Depends: (linux-image-\S+)", text)
    if not found:
        raise Missing("apt knows no package linux-image-cloud-amd64: run apt-get update")
    return found.group(1)


def unpacked_kernel():
    """The folder with the kernel package's files; fetched with apt when it is not there yet."""
    folder = CACHE / "kernel"
    if (folder / "boot").is_dir() and (folder / "modules.dep").exists():
        return folder
    package = kernel_package()
    say(f"nested: fetching {package}")
    debs = CACHE / "deb"
    debs.mkdir(parents=True, exist_ok=True)
    try:
        command("apt-get", "-q", "download", package, cwd=debs)
    except RuntimeError as error:
        raise Missing(f"cannot fetch {package}: {error}; try apt-get update") from error
    deb = max(debs.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
    shutil.rmtree(folder, ignore_errors=True)
    command("dpkg", "-x", deb, folder)
    release = next((folder / "lib/modules").iterdir()).name
    command(program("depmod"), "-b", folder, release)
    (folder / "modules.dep").symlink_to(f"lib/modules/{release}/modules.dep")
    return folder


def elf_kernel(bzimage):
    """The uncompressed kernel within a bzImage, found by its boot header (setup_sects,
    payload_offset, payload_length)."""
    image = bzimage.read_bytes()
    if image[0x202:0x206] != b"HdrS":
        raise RuntimeError(f"{bzimage} is no bzImage")
    setup = (image[0x1f1] or 4) + 1
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[setup * 512 + offset:][:length]
    unpack = {b"\x1f\x8b": ["gzip", "-dc"], b"\xfd7": ["xz", "-dc", "--single-stream"],
              b"\x28\xb5": ["zstd", "-dcq"], b"\x02\x21": ["lz4", "-dc"]}.get(payload[:2])
    if not unpack:
        raise RuntimeError(f"{bzimage}: a payload of unknown compression {payload[:6].hex()}")
    # The payload ends with its unpacked size, which programs call trailing garbage: what came out
    # counts, not their status.
    out = subprocess.run([program(unpack[0]), *unpack[1:]], input=payload, capture_output=True,
                         check=False).stdout
    size, = struct.unpack("<I", payload[-4:])
    if out[:4] != b"\x7fELF" or len(out) != size:
        raise RuntimeError(f"{bzimage}: {len(out)} bytes came out of the payload, not {size}")
    return out


def put_modules(kernel, wanted, folder):
    """Copies modules and what they need into folder; NAME.list is NAME's loading order."""
    release = next((kernel / "lib/modules").iterdir())
    needs = {}
    for line in (kernel / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[pathlib.Path(path).name.removesuffix(".ko").replace("-", "_")] = (
            path, others.split())
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        path, others = needs[name.replace("-", "_")]
        order = [*reversed(others), path]
        for one in order:
            shutil.copy(release / one, folder)
        (folder / f"{name}.list").write_text(
            "".join(f"{pathlib.Path(one).stem}\n" for one in order))


# ---- the emulator of the outer machine ----------------------------------------------------------

class Emulator:
    """A QEMU: the program, and where its firmware and libraries lie unless it is installed. `version`
    is empty where it does not run."""

    def __init__(self, path, folder=None):
        self.path = str(path)
        self.options, self.environment = [], dict(os.environ)
        if folder:
            libraries = folder / "usr/lib/x86_64-linux-gnu"
            self.options = ["-L", str(folder / "usr/share/qemu"),
                            "-L", str(folder / "usr/share/seabios")]
            self.environment |= {
                "LD_LIBRARY_PATH": f"{libraries}:{folder / 'lib/x86_64-linux-gnu'}",
                "QEMU_MODULE_DIR": str(libraries / "qemu")}
        self.version = self.ask_version()
        self.major = int(self.version.partition(".")[0] or 0)

    def ask_version(self):
        try:
            told = command(self.path, "--version", env=self.environment, timeout=30)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            return ""
        found = re.match(r"QEMU emulator version ([0-9.]+)", told)
        return found.group(1) if found else ""


def private_apt(folder):
    """A state of apt below `folder`, apart from the machine's, that knows Debian's backports too: from
    the mirrors of the machine's own apt, with its keys and its way to them. Returns the words that a
    command of apt needs to use it, and the name of the backports."""
    mirrors = command("apt-get", "indextargets", "Created-By: Packages", "Origin: Debian",
                      "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)")
    sources = sorted(set(mirrors.splitlines()))
    release = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(),
                        re.MULTILINE).group(1)
    backports = f"{release}-backports"
    lines = [f"deb {source}\n" for source in sources]
    lines += [f"deb {source.replace(f' {release} ', f' {backports} ')}\n" for source in sources
              if f" {release} main" in source]
    if not any(backports in line for line in lines):
        raise RuntimeError(f"apt knows no mirror of Debian {release}; try apt-get update")
    for name in ("lists/partial", "archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text("".join(lines))
    # The machine's hooks are for its own state.
    (folder / "apt.conf").write_text(f"""
        #clear APT::Update::Pre-Invoke;
        #clear APT::Update::Post-Invoke;
        #clear APT::Update::Post-Invoke-Success;
        Dir::State::lists "{folder}/lists";
        Dir::Cache "{folder}";
        Dir::Cache::archives "{folder}/archives";
        Dir::Etc::sourcelist "{folder}/sources.list";
        Dir::Etc::sourceparts "{folder}/parts";
        Debug::NoLocking "true";
        """)
    return ["apt-get", "-q", "-y", f"--config-file={folder}/apt.conf"], backports


def fetch_emulator(folder):
    """Unpacks the QEMU of Debian's backports in `folder`, with the libraries that the machine lacks
    for it. It is not installed."""
    state, unpacked = CACHE / "apt", CACHE / "qemu.part"
    for old in (state, unpacked, folder):
        shutil.rmtree(old, ignore_errors=True)
    try:
        apt, backports = private_apt(state)
        say(f"nested: fetching QEMU from {backports}")
        command(*apt, "update", timeout=300)
        command(*apt, "install", "--download-only", "--reinstall", "--no-install-recommends",
                "--target-release", backports, "qemu-system-x86", "qemu-system-common",
                "qemu-system-data", "seabios", timeout=600)
        for deb in (state / "archives").glob("*.deb"):
            command("dpkg", "-x", deb, unpacked)
        unpacked.rename(folder)
    finally:
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(unpacked, ignore_errors=True)


@functools.cache
def emulator():
    """The QEMU that emulates the outer machine: that of Debian's backports, or else the installed
    one, which BELLHOP_NESTED_QEMU=installed asks for."""
    installed = Emulator(program("qemu-system-x86_64"))
    if os.environ.get("BELLHOP_NESTED_QEMU") == "installed":
        return installed
    folder = CACHE / "qemu"
    try:
        if not folder.is_dir():
            fetch_emulator(folder)
        unpacked = Emulator(folder / "usr/bin/qemu-system-x86_64", folder)
        if unpacked.version:
            return unpacked
        reason = f"{unpacked.path} does not run"
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        reason = str(error).strip().splitlines()[-1].rpartition("E: ")[2]
    say(f"nested: no QEMU from backports, so with the installed {installed.version}: {reason}")
    return installed


# ---- images ------------------------------------------------------------------------------------

def cpio(folder, archive):
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    with open(archive, "wb") as out:
        subprocess.run([program("cpio"), "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=folder,
                       input="\n".join([".", *files]).encode(), stdout=out, check=True)


def ext4(folder, image, megabytes):
    image.unlink(missing_ok=True)
    command(program("mke2fs"), "-q", "-t", "ext4", "-O", "^has_journal", "-E",
            "root_owner=0:0,lazy_itable_init=1", "-m", "0", "-d", folder, image, f"{megabytes}m")


def add_program(root, path, to=None):
    """Copies a program to `to` below root (by default where it lies on this host), and the shared
    libraries that it needs to their places."""
    to = root / str(to or path).lstrip("/")
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, to)
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    for library in set(re.findall(r"(/\S+) \(0x", listing)):
        # Debian has one /usr: what ldd finds in /lib is there as well.
        place = root / re.sub(r"^/usr", "", library).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)


def add_qemu(stage):
    """QEMU, for comparisons, at its usual place."""
    add_program(stage, program("qemu-system-x86_64"), "/usr/bin/qemu-system-x86_64")
    for name in ("seabios/bios-256k.bin", "qemu/bios-microvm.bin", "qemu/qboot.rom",
                 "qemu/pvh.bin", "qemu/linuxboot_dma.bin", "qemu/kvmvapic.bin"):
        to = stage / "usr/share" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"/usr/share/{name}", to)


def fingerprint(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def build_root():
    """The outer machine's root image and kernel, and the fixed half of the guest's initial RAM
    disk; made anew when one of their sources has changed."""
    for name in PROGRAMS:
        program(name)
    kernel = unpacked_kernel()
    release = next((kernel / "lib/modules").iterdir()).name
    root, base, vmlinux = CACHE / "root.img", CACHE / "initrd-base.cpio", CACHE / "vmlinux"
    mark = CACHE / "root.mark"
    now = fingerprint(release, pathlib.Path(program("busybox")).read_bytes(),
                      *((HERE / name).read_bytes() for name in ("bed.py", "outer-init",
                                                                "bedtool.cc")))
    if mark.exists() and mark.read_text() == now and root.exists():
        return
    say(f"nested: making the images of kernel {release}")
    stage = CACHE / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    vmlinuz = kernel / "boot" / f"vmlinuz-{release}"
    vmlinux.write_bytes(elf_kernel(vmlinuz))
    outer, guest = stage / "outer", stage / "guest"
    stage.mkdir()
    tool = stage / "bedtool"
    command(program("g++"), "-std=c++20", "-O2", "-static", "-o", tool, HERE / "bedtool.cc")
    for folder in (outer, guest):
        for name in ("bin", "dev", "proc", "sys", "tmp"):
            (folder / name).mkdir(parents=True)
        shutil.copy(program("busybox"), folder / "bin/busybox")
        shutil.copy(tool, folder / "bin/bedtool")
    for name in ("mke2fs", "e2fsck"):
        add_program(guest, program(name), f"/sbin/{name}")
    put_modules(kernel, OUTER_MODULES, outer / "modules")
    put_modules(kernel, GUEST_MODULES, guest / "modules")
    cpio(guest, base)
    for name in ("job", "guest", "scratch", "lib"):
        (outer / name).mkdir()
    # Programs of the job disk find their loader and libraries where they look for them.
    (outer / "lib64").symlink_to("/job/lib64")
    (outer / "lib/x86_64-linux-gnu").symlink_to("/job/lib/x86_64-linux-gnu")
    (outer / "usr").symlink_to("/job/usr")
    shutil.copy(vmlinux, outer / "guest")
    shutil.copy(vmlinuz, outer / "guest/vmlinuz")
    shutil.copy(HERE / "outer-init", outer / "init")
    (outer / "init").chmod(0o755)
    ext4(outer, root, 1024)
    shutil.rmtree(stage)
    mark.write_text(now)


def build_initrd(folder, image):
    """The guest's initial RAM disk: the fixed half, and behind it what `folder` holds."""
    cpio(folder, image.with_suffix(".part"))
    image.write_bytes((CACHE / "initrd-base.cpio").read_bytes() +
                      image.with_suffix(".part").read_bytes())
    image.with_suffix(".part").unlink()


def build_job(name, programs, script, extra=None):
    """The second disk: programs (their paths here by their names there), the guest's initial RAM
    disk, the job. Returns its path. extra(root) may add more to it."""
    stage, image = CACHE / f"job-{name}", CACHE / f"job-{name}.img"
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "bin").mkdir(parents=True)
    for folder in ("lib64", "lib/x86_64-linux-gnu", "usr/bin"):
        (stage / folder).mkdir(parents=True)
    for to, path in programs.items():
        add_program(stage, path, f"/bin/{to}")
    guest = stage / "initrd-files"
    shutil.copytree(HERE / "guest", guest)
    for path in (guest / "init", *(guest / "jobs").glob("*")):
        path.chmod(0o755)
    if extra:
        extra(stage)
    build_initrd(guest, stage / "initrd")
    shutil.rmtree(guest)
    shutil.copy(HERE / "outer-lib", stage / "lib.sh")
    (stage / "job").write_text(script)
    size = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file())
    ext4(stage, image, size // 2**20 * 5 // 4 + 16)
    shutil.rmtree(stage)
    return image


# ---- the outer machine -------------------------------------------------------------------------

def processor(qemu):
    """QEMU 7.2 loses what guests do with XSETBV, so that KVM does not know what a guest has switched
    on, and guests lose registers, or die: no XSAVE there, and so no AVX. 10.0 does it right."""
    lost = ("xsave", "avx", "avx2", "f16c", "fma", "vaes", "vpclmulqdq") if qemu.major < 10 else ()
    return ",".join(["max", *(f"{feature}=off" for feature in lost)])


def outer_command(job_image, disks, memory=2048):
    def nvme(path, tag):
        return ["-drive", f"if=none,id={tag},file={path},format=raw,snapshot=on",
                "-device", f"nvme,drive={tag},serial={tag}"]
    qemu = emulator()
    return [qemu.path, *qemu.options, "-accel", "tcg,thread=multi", "-cpu", processor(qemu), "-smp", "2",
            "-m", str(memory), "-M", "q35,hpet=off", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-serial", "stdio",
            "-kernel", str(CACHE / "vmlinux"), "-append", OUTER_CMDLINE,
            *nvme(CACHE / "root.img", "root"), *nvme(job_image, "job"),
            *(word for number, disk in enumerate(disks) for word in nvme(disk, f"disk{number}"))]


def die_with_parent():
    """In a child, before its program: whatever ends us, the machine does not outlive us."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def end_by_signal(number, _frame):
    raise SystemExit(128 + number)


class OuterMachine:
    """One run of the outer machine. Its serial port comes line by line; it ends by itself when the
    job has, or at the deadline."""

    def __init__(self, job_image, log, disks=()):
        self.log = open(log, "wb")
        # A session of its own: the terminal's Ctrl-C is for us, who then end it.
        self.process = subprocess.Popen(
            outer_command(job_image, disks), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent,
            env=emulator().environment)
        signal.signal(signal.SIGTERM, end_by_signal)
        self.timed_out = False
        self.deadline = 0.0

    def allow(self, seconds):
        """From now on; for lines()."""
        self.deadline = time.monotonic() + seconds

    def lines(self):
        """Yields the serial port's lines until the machine ends or its time is over (then timed_out
        is set)."""
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                left = self.deadline - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    break
                if not selector.select(left):
                    continue
                data = os.read(self.process.stdout.fileno(), 65536)
                if not data:
                    break
                data = data.replace(b"\r", b"")
                self.log.write(data)
                self.log.flush()
                *whole, pending = (pending + data).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
        if pending:
            yield pending.decode(errors="replace")

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
