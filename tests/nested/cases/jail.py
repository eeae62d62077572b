"""`bellhop jail` with limits, on a kernel whose cgroups are those of version 2."""

from case import Case, ENDED, KILLED

MOUNT = "cg=/sys/fs/cgroup; mount -t cgroup2 cgroup2 $cg\n"

# start WHERE...: a machine of a user that is not root, with limits, in a cgroup `web`. `outer` is the
# process that is to be signalled.
START = (
    "start() {\n"
    "  rm -rf s; mkdir s; chown 5001 s\n"
    "  (echo 0 > $from/cgroup.procs\n"
    "   exec bellhop jail --id web --uid 5001 \"$@\" --cgroup memory.max=200M --cgroup memory.swap.max=0"
    " --cgroup pids.max=60 --cgroup 'cpu.max=80000 100000' --cgroup cpuset.cpus=1"
    " -- run --kernel /job/bin/bench-guest.elf --memory 64M --cmdline 'workload=idle seconds=1000'"
    " --stop-timeout 0 --api-socket /scratch/s/api) > out 2>&1 & outer=$!\n"
    "  until bellhop ctl s/api info > /dev/null 2>&1 || ! kill -0 $outer 2> /dev/null; do sleep 0.5; done\n"
    "  cat out; echo\n"
    "}\n"
    # What the kernel says of the cgroup, and of who is in it.
    "look() {\n"
    "  for file in memory.max memory.swap.max pids.max cpu.max cpuset.cpus cpuset.cpus.effective; do\n"
    "    echo \"$file is $(cat $group/$file)\"\n"
    "  done\n"
    "  for pid in $(cat $group/cgroup.procs); do\n"
    "    grep -q . /proc/$pid/cmdline || continue\n"  # a thread of the kernel's, which KVM has put there
    "    echo \"inside: $(sed -n 's/^\\(Uid\\|Cpus_allowed_list\\):[[:space:]]*\\([0-9-]*\\).*/\\1 \\2/p'"
    " /proc/$pid/status | tr '\\n' ' ')\"\n"
    "  done\n"
    "  [ $(cat $group/memory.current) -gt 1000000 ] && echo 'its memory counts'\n"
    "  [ $(cat $group/pids.current) -gt 4 ] && echo 'its threads count'\n"
    "}\n"
    "end() { kill \"$@\" $outer; wait $outer; echo \"@status $?\"; }\n"
    "left() { echo \"left of $1: $(ls -d $group 2>/dev/null | wc -l)\"; }\n")

LIMITS = [r"^memory\.max is 209715200$", r"^memory\.swap\.max is 0$", r"^pids\.max is 60$",
          r"^cpu\.max is 80000 100000$", r"^cpuset\.cpus is 1$", r"^cpuset\.cpus\.effective is 1$",
          r"^its memory counts$", r"^its threads count$"]


def inside(looks):
    """The first process of the jail, which waits, and the machine: both where the CPUs are."""
    def check(run):
        found = run.values(r"^inside: (.+?) *$")
        assert found == ["Uid 5001 Cpus_allowed_list 1"] * (2 * looks), found
    return check


CASES = [
    # Where --parent-cgroup says; and by the name of a machine that was killed, so that nobody was left to
    # take its cgroup away.
    Case("jail.cgroup",
         MOUNT + START + "from=$cg; group=$cg/vms/web\n"
         "start --parent-cgroup vms; look; end; left 'the first'\n"
         "start --parent-cgroup vms; end -9\n"
         "nobody() { ! grep -q . $group/cgroup.procs; }; until_true nobody; left 'the killed'\n"
         "start --parent-cgroup vms; look; end; left 'the third'",
         [*LIMITS, r"^left of the first: 0$", r"^left of the killed: 1$", r"^left of the third: 0$"],
         status=[ENDED, KILLED, ENDED], check=inside(2), beside=["bench-guest.elf"], short=True),
    # In the caller's own, as a unit of systemd's with Delegate=yes has one: the caller makes room there.
    Case("jail.cgroup-delegated",
         MOUNT + START + "from=$cg/unit; group=$cg/unit/web\n"
         "mkdir $from; echo '+memory +pids +cpu +cpuset' > $cg/cgroup.subtree_control\n"
         "start; look; echo \"of its own: $(cat $cg/unit/supervisor-*/cgroup.procs | wc -l)\"\n"
         "end; left it; echo \"for children: $(cat $from/cgroup.subtree_control)\"\n"
         "rmdir $from && echo 'the unit is empty'",
         [*LIMITS, r"^of its own: 1$", r"^left of it: 0$", r"^for children: $", r"^the unit is empty$"],
         status=[ENDED], check=inside(1), beside=["bench-guest.elf"]),
    # The tests that try to have more than a limit.
    Case("jail.cgroup-attacks",
         MOUNT + "sandbox_test --gtest_filter='JailCgroupTest.*'; echo \"ended with $?\"\n"
         "echo \"left: $(find $cg -mindepth 1 -type d | wc -l)\"",
         [r"^ended with 0$", r"PASSED  \] \S*4 tests", r"^left: 0$"], never=[r"SKIPPED"],
         status=[], beside=["sandbox_test"]),
]
