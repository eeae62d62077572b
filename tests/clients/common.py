"""What the tests with real clients share: the server, and clients from Debian's packages that are not
installed but unpacked in a folder of their own."""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("BELLHOP_CLIENTS_CACHE", ROOT / "build" / "clients"))
SKIPPED = 77  # the exit status of what cannot be tried here


class Skipped(Exception):
    """What this host lacks."""


class Failed(Exception):
    """What was not as it must be."""


def die_with_parent():
    """In a child, before its program: whatever ends us, it does not outlive us."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Server:
    """A `bellhop serve`. Its lines go to `log`, or where ours go."""

    def __init__(self, bellhop, device, at, *arguments, log=None):
        self.at, self.log = at, log
        self.words = [bellhop, "serve", device, "--socket", str(at), *arguments]
        self.start()

    def start(self):
        out = open(self.log, "a") if self.log else None
        self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stderr=out,
                                        preexec_fn=die_with_parent)
        if out:
            out.close()
        deadline = time.monotonic() + 60
        while not self.at.exists():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failed(f"the server does not listen{self.said()}")
            time.sleep(0.05)

    def said(self):
        return ": " + self.log.read_text()[-500:] if self.log and self.log.exists() else ""

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        if status not in (128 + number, -number):
            raise Failed(f"the server ended with {status} after signal {number}{self.said()}")

    def kill(self):
        """However it goes."""
        self.process.kill()
        self.process.wait()


def counters(path, device):
    """Those of a device, as --stats wrote them."""
    return json.loads(path.read_text())["total"]["devices"][device]


def host_end(folder):
    """The program that the bench guest's workloads of the network speak to."""
    program = folder / "net_end"
    sources = [ROOT / "tests/clients/net_end.cc", *(ROOT / "src" / name for name in (
        "bench/net/net_end.cc", "base/unique_fd.cc", "base/kernel_signal.cc"))]
    subprocess.run(["g++", "-std=c++20", "-O2", f"-I{ROOT}", f"-I{ROOT / 'src'}", "-o", program, *sources,
                    "-lfmt"], check=True)
    return program


def within_a_network(script, arguments):
    """Starts the script once more with a network of its own. Skips where there is none to be had."""
    unshare = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    tried = subprocess.run([*unshare, "ip", "tuntap", "add", "try0", "mode", "tap"], check=False,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if tried.returncode != 0:
        raise Skipped(f"no network with a tap to be had: {tried.stderr.strip()}")
    os.environ["BELLHOP_WITHIN"] = "yes"
    os.execvp("unshare", [*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", "python3", "-B",
                          script, *arguments])


def unpacked(name, packages):
    """The folder that stands for / to the programs of `packages`, with the libraries that the machine
    lacks for them, from the mirrors that its apt knows. Later calls find it done."""
    folder = CACHE / name
    if folder.is_dir():
        return folder
    state, part = CACHE / f"{name}.apt", CACHE / f"{name}.part"
    for old in (state, part):
        shutil.rmtree(old, ignore_errors=True)
    (state / "archives/partial").mkdir(parents=True)
    print(f"fetching {' '.join(packages)}", flush=True)
    fetch = ["apt-get", "-q", "-y", "-o", f"Dir::Cache={state}", "-o", "Debug::NoLocking=true", "install",
             "--download-only", "--reinstall", "--no-install-recommends", *packages]
    try:
        done = subprocess.run(fetch, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Skipped(f"apt has no {' '.join(packages)}: {done.stderr.strip().splitlines()[-1:]}")
        for deb in sorted((state / "archives").glob("*.deb")):
            subprocess.run(["dpkg", "-x", deb, part], check=True)
        part.rename(folder)
    finally:
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)
    return folder


def needed(*programs):
    """Skips where one of `programs` is not there."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program in programs:
        if not shutil.which(program, path=path):
            raise Skipped(f"{program} is missing")
