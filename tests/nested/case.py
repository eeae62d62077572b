"""What a case of the nested suite is, and how its log is judged."""

import dataclasses
import json
import re
import typing

# How `bellhop run` ends (its help says so as well).
OFF, RESET, TRIPLE_FAULT, PANIC, KILLED, ENDED = 0, 3, 4, 5, 137, 143

# Never in a log, whatever a case does: what a kernel says when something is wrong with it, and what
# our own scripts say.
NEVER = [r"BUG:", r"Oops", r"Call Trace", r"WARNING: CPU", r"stall", r"lockup", r"@guest cannot",
         r"@guest job \S+ FAILED", r"never true:", r"I/O error", r"EXT4-fs error",
         r"bellhop: .*(internal error|hypervisor gave up)", r"seccomp: thread"]


@dataclasses.dataclass
class Case:
    """One test: a shell script in the outer machine (see outer-lib), and what must come of it.

    name    GROUP.WHAT
    script  runs in /scratch; `machine JOB OPTION...` boots a guest
    want    patterns that the log must have
    never   patterns that it must not have, beyond NEVER
    allow   patterns of NEVER that are to be expected here
    status  the exit statuses of the machines, in their order
    check   check(run) asserts what else must hold, and may return a note; run is a Run
    limit   seconds for all of it, on a busy host
    tries   how often it is tried where the guest ends by a triple fault or stands still; for those
            whose guest is known to end so under the emulation, whichever VMM runs it
    short   one of the group that scripts/test.sh runs
    needs   an option that bellhop must have; without it the case is left out, and that is said
    beside  programs built beside bellhop that it runs; left out without them, as above
    emulator   the first QEMU whose outer machine can do it; left out with an older, as above
    extra   extra(folder) puts more files on the job disk
    outer_disks   returns images for the outer machine, /dev/nvme2n1 and on; it has its own then
    """
    name: str
    script: str
    want: typing.Sequence[str] = ()
    never: typing.Sequence[str] = ()
    allow: typing.Sequence[str] = ()
    status: typing.Sequence[int] = (RESET,)
    check: typing.Callable | None = None
    limit: int = 240
    tries: int = 1
    short: bool = False
    needs: str = ""
    beside: typing.Sequence[str] = ()
    emulator: int = 0
    extra: typing.Callable | None = None
    outer_disks: typing.Callable | None = None

    @property
    def group(self):
        return self.name.partition(".")[0]

    @property
    def alone(self):
        """It has an outer machine of its own, with its own files or disks."""
        return bool(self.extra or self.outer_disks or self.beside)


class Run:
    """What one run of a case has printed."""

    def __init__(self, lines):
        self.text = "\n".join(lines)
        self.statuses = [int(line.split()[1]) for line in lines
                         if re.fullmatch(r"@status \d+", line)]
        self.stats = [json.loads(line.split(" ", 1)[1]) for line in lines
                      if line.startswith("@stats ")]

    def values(self, pattern):
        """All that the pattern's group matches."""
        return re.findall(pattern, self.text, re.MULTILINE)

    def device(self, name, machine=0):
        return self.stats[machine]["total"]["devices"][name]

    def by_exit(self, name, machine=0):
        """All of the device's kicks came as vCPU exits: notify=sync, or an ioeventfd too few."""
        figures = self.device(name, machine)
        assert figures["kicks"] > 0, f"{name}: no kick at all"
        assert figures["kicks_by_exit"] == figures["kicks"], (
            f"{name}: {figures['kicks_by_exit']} of {figures['kicks']} kicks came as exits, not all")

    def by_eventfd(self, name, machine=0):
        figures = self.device(name, machine)
        assert figures["kicks"] > 0, f"{name}: no kick at all"
        assert figures["kicks_by_exit"] == 0, (
            f"{name}: {figures['kicks_by_exit']} of {figures['kicks']} kicks came as exits")


def triple_fault(case, lines):
    """Whether a guest ended by one that was to end otherwise."""
    return TRIPLE_FAULT in Run(lines).statuses and TRIPLE_FAULT not in case.status


def judge(case, lines):
    """Whether the case has passed, and what is wrong or worth a note."""
    run = Run(lines)
    for pattern in [*(one for one in NEVER if one not in case.allow), *case.never]:
        found = re.search(f"^.*(?:{pattern}).*$", run.text, re.MULTILINE)
        if found:
            return False, f"in the log: {found.group(0).strip()}"
    for pattern in case.want:
        if not re.search(pattern, run.text, re.MULTILINE):
            return False, f"not in the log: {pattern}"
    if run.statuses != list(case.status):
        return False, f"exit status {run.statuses}, expected {list(case.status)}"
    if case.check:
        try:
            note = case.check(run)
        except (AssertionError, KeyError, IndexError, ValueError) as error:
            return False, f"{type(error).__name__}: {error}"
        return True, note
    return True, None
