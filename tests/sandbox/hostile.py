"""What hostile code tries, and what must come back: our own cases, and the reader of others'.

A block prints HOLE where an attack got through, and "tried" once it has tried everything.
Placeholders, filled in by `hostile_driver`: {KIT}, {INPUT}, {HOME}, {TMP} (folders of the kit),
{ROOT} (the sandbox's own folder), {PACKAGE} (our sources), {FILES} (all that is in there), {PORT},
{PORT6}, {UDP} (the kit's servers), {PARENT} (the kit's process), {PIDS} (the kit, the sandbox, and
another sample's live session), {NEIGHBOUR_HOME} (that session's folder), {SHM} (a file of the kit
in /dev/shm).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from aimo_submit.records import Outcome
from tests import SHARED

GIVEN = SHARED / "cases" / "hostile.json"
OK, ERROR, TIMEOUT, KILLED = Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT, Outcome.KILLED
ANY = (OK, ERROR, TIMEOUT, KILLED)
ENDED = (ERROR, TIMEOUT, KILLED)
OUR_WORDS = {"output_limit": "killed", "memory_limit": "killed", "disk_limit": "killed"}
SECRETS = ("SECRET-",)
LATE_S = 1.5  # past a deadline, on a busy machine
PATIENCE = 3
MORE_S = 1.5  # to clean up after a block
MAX_TEXT = 40_000


@dataclass(frozen=True, slots=True)
class Step:
    """One block and what must come back."""

    code: str
    outcomes: tuple[Outcome, ...] = (OK,)
    shows: tuple[str, ...] = ()  # all of these
    one_of: tuple[str, ...] = ()
    hides: tuple[str, ...] = ("HOLE", *SECRETS)
    limit_s: float = 3.0
    within_s: float = 0.0  # for the whole call; 0: what the limit allows and MORE_S
    max_text: int = MAX_TEXT
    pause_s: float = 0.0  # before the block

    @property
    def patience(self) -> int:
        """How many times its limit a block is given: a busy machine must not end one in time."""
        return 1 if TIMEOUT in self.outcomes else PATIENCE


@dataclass(frozen=True, slots=True)
class Case:
    """Blocks run one after the other, each in an interpreter of its own unless `scope` says."""

    name: str
    steps: tuple[Step, ...]
    scope: str = "fresh"  # or "live", "replay"
    alone: bool = True  # else together with others, which is quicker
    danger: bool = False  # harms the machine if it is not contained


def faults(case: Case, seen: dict[str, Any]) -> list[str]:
    """What a recorded run of the case has that it must not have; empty if the case holds."""
    if "died" in seen:
        return [f"the kit itself ended: {seen['died']}"]
    found = list(seen["left"])
    for number, (step, came) in enumerate(zip(case.steps, seen["steps"], strict=True), start=1):
        found += [f"block {number}: {fault}" for fault in _step_faults(step, came)]
    return found


def _step_faults(step: Step, came: dict[str, Any]) -> list[str]:
    shown, limit_s = came["output"], step.limit_s * step.patience
    within_s = (step.within_s or step.limit_s + MORE_S) * step.patience
    checks = {
        f"outcome {came['outcome']}": came["outcome"] in step.outcomes,
        f"{came['seconds']:.2f} s": came["seconds"] <= max(limit_s + LATE_S, within_s),
        f"returned after {came['call_s']:.2f} s": came["call_s"] <= within_s + LATE_S,
        f"{len(shown)} characters": len(shown) <= step.max_text,
        f"none of {step.one_of}": not step.one_of or any(text in shown for text in step.one_of),
        **{f"lacks {text!r}": text in shown for text in step.shows},
        **{f"holds {text!r}": text not in shown for text in step.hides},
    }
    wrong = [fault for fault, fine in checks.items() if not fine]
    return [f"{fault} in {shown[-600:]!r}" for fault in wrong]


# Cases written by others

HARMFUL = {"fork_bomb", "fork_bomb_sessions", "kill_minus_one", "stop_parent", "rmtree_home"}
ALONE = {"processes", "memory", "files", "secrets", "network", "poisoning"}


def given() -> list[Case]:
    """The cases of shared/cases/hostile.json; none where the file is not."""
    if not GIVEN.exists():
        return []
    return [_given_case(case) for case in json.loads(GIVEN.read_text())["cases"]]


def _given_case(case: dict[str, Any]) -> Case:
    expect = case["expect"]
    step = Step(
        code="".join(piece * times for piece, times in case.get("code_gen") or [[case["code"], 1]]),
        outcomes=tuple(Outcome(OUR_WORDS.get(word, word)) for word in expect["status"]),
        shows=(*expect["out"], *expect["err"]),
        one_of=tuple(expect["any_text"]),
        hides=tuple(expect["not_text"]),
        limit_s=expect["wall_limit"],
        within_s=expect["within"],
        max_text=expect["max_text"],
    )
    name = case["name"]
    return Case(name, (step,), alone=case["group"] in ALONE, danger=name in HARMFUL)


# Our own

TOOLS = """
import ctypes, errno, os, platform, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
def attempt(name, act, *args):
    try: got = act(*args)
    except BaseException: return
    print("HOLE", name, repr(got)[:300])
def syscall(name, number, *args):
    got = libc.syscall(number, *args)
    if got >= 0: print("HOLE", name, got)
def others():
    try: seen = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    except OSError: seen = set()
    return sorted((seen | {PIDS} | {os.getppid()}) - {os.getpid(), 0})
"""


def attack(code: str, *outcomes: Outcome, shows: tuple[str, ...] = (), **expected: Any) -> Step:
    """A block with `TOOLS` that must try everything, unless it may end otherwise than well."""
    source = f"{TOOLS}{code}\nprint('tried')"
    if outcomes:
        return Step(source, outcomes, shows, **expected)
    return Step(source, shows=("tried", *shows), **expected)


def fresh(name: str, *steps: Step, danger: bool = False) -> Case:
    """Every block in an interpreter of its own."""
    return Case(name, steps, danger=danger)


def live(name: str, *steps: Step, danger: bool = False) -> Case:
    """All blocks in one live session."""
    return Case(name, steps, "live", danger=danger)


def again(name: str, *steps: Step, danger: bool = False) -> Case:
    """Each block after the earlier ones, run again before it."""
    return Case(name, steps, "replay", danger=danger)


OTHER_PROCESSES = [
    fresh(
        "environ_of_others",
        attack("""
for pid in others():
    attempt(f"environ {pid}", lambda: open(f"/proc/{pid}/environ").read())
"""),
    ),
    fresh(
        "memory_of_others",
        attack("""
def first_page(pid):
    start = int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(start)
        return memory.read(16)
for pid in others():
    attempt(f"mem {pid}", first_page, pid)
"""),
    ),
    fresh(
        "descriptors_and_folders_of_others",
        attack("""
for pid in others():
    attempt(f"fd {pid}", os.listdir, f"/proc/{pid}/fd")
    attempt(f"cwd {pid}", os.listdir, f"/proc/{pid}/cwd/")
    notes = os.path.join("/proc", str(pid), "root{HOME}/notes.txt")
    attempt(f"root {pid}", lambda: open(notes).read())
"""),
    ),
    fresh(
        "ptrace_others",
        attack("""
libc.ptrace.argtypes = [ctypes.c_long] * 4
for pid in others():
    for request in (16, 0x4206):  # attach, seize
        if libc.ptrace(request, pid, 0, 0) == 0:
            print("HOLE ptrace", pid)
            libc.ptrace(17, pid, 0, 0)
"""),
        danger=True,
    ),
    fresh(
        "vm_readv_and_writev_of_others",
        attack("""
class Part(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(8)
here, there = Part(ctypes.addressof(buffer), 8), Part(0x400000, 8)
for pid in others():
    for call in (libc.process_vm_readv, libc.process_vm_writev):
        got = call(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        if got > 0 or ctypes.get_errno() == errno.EFAULT: print("HOLE vm", pid)
"""),
    ),
    fresh(
        "pidfd_getfd_of_others",
        attack("""
for pid in others():
    try: handle = os.pidfd_open(pid)
    except OSError: continue
    for fd in range(12):
        syscall(f"pidfd_getfd {pid}", 438, handle, fd, 0)
    attempt(f"pidfd_send_signal {pid}", signal.pidfd_send_signal, handle, 0)
"""),
    ),
    *(
        fresh(
            f"{number.lower()}_to_others",
            attack(f"for pid in others(): attempt(f'kill {{pid}}', os.kill, pid, signal.{number})"),
            danger=True,
        )
        for number in ("SIGCONT", "SIGUSR1", "SIGSTOP", "SIGTERM", "SIGKILL")
    ),
    fresh(
        "groups_of_others",
        attack("""
own = os.getpgid(0)
for pid in others():
    try: group = os.getpgid(pid)
    except OSError: group = pid
    if group not in (own, 0): attempt(f"killpg {group}", os.killpg, group, signal.SIGSTOP)
"""),
        danger=True,
    ),
    fresh("stop_everybody", attack("os.kill(-1, signal.SIGSTOP)", OK, ERROR), danger=True),
    fresh(
        "signals_in_the_kits_name",
        attack("""
import fcntl
ours, theirs = socket.socketpair()
for pid in others():
    try:
        fcntl.fcntl(ours, fcntl.F_SETOWN, pid)
        fcntl.fcntl(ours, 10, signal.SIGKILL)  # F_SETSIG
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        theirs.send(b"x")
        ours.recv(1)
    except OSError: pass
"""),
        danger=True,
    ),
    fresh(
        "limits_and_priority_of_others",
        attack("""
import resource
for pid in others():
    attempt(f"prlimit {pid}", resource.prlimit, pid, resource.RLIMIT_CORE)
    attempt(f"renice {pid}", os.setpriority, os.PRIO_PROCESS, pid, 19)
    attempt(f"affinity {pid}", os.sched_setaffinity, pid, {0})
    attempt(f"scheduler {pid}", os.sched_setscheduler, pid, os.SCHED_IDLE, os.sched_param(0))
    attempt(f"oom {pid}", lambda: open(f"/proc/{pid}/oom_score_adj", "w").write("1000"))
for which in (os.PRIO_USER, os.PRIO_PGRP):  # the kit looks at its own priority afterwards
    try: os.setpriority(which, 0, 19)
    except OSError: pass
""", OK),
        danger=True,
    ),
]  # fmt: skip

OWN_LIMITS = [
    fresh(
        "limits_cannot_be_raised",
        attack("""
import resource
for what in range(16):
    soft, hard = resource.getrlimit(what)
    if hard != -1: attempt(f"rlimit {what}", resource.setrlimit, what, (hard + 1, hard + 1))
    if hard != -1: attempt(f"rlimit {what}", resource.setrlimit, what, (-1, -1))
attempt("nice", os.nice, -1)
attempt("fifo", os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))
attempt("realtime", os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(99))
attempt("oom", lambda: open("/proc/self/oom_score_adj", "w").write("-1000"))
attempt("oom 0", lambda: open("/proc/self/oom_score_adj", "w").write("0"))
attempt("autogroup", lambda: open("/proc/self/autogroup", "w").write("-20"))
"""),
    ),
    fresh(
        "root_cannot_be_had",
        attack("""
if os.geteuid() == 0: print("HOLE the block is root")
for call in (os.setuid, os.seteuid, os.setgid, os.setegid):
    attempt(call.__name__, call, 0)
attempt("setgroups", os.setgroups, [0])
for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000, 0x08000000, 0x04000000):
    if libc.unshare(flag) == 0: print("HOLE unshare", hex(flag))
"""),
    ),
    fresh(
        "setuid_programs_give_nothing",
        attack("""
import glob, subprocess
for path in ("/usr/bin/su", "/usr/bin/sudo", "/usr/bin/mount", "/usr/bin/newgrp"):
    try: came = subprocess.run([path, "-c", "id -u"], capture_output=True, timeout=1)
    except (OSError, subprocess.SubprocessError): continue
    if came.stdout.strip() == b"0": print("HOLE", path)
"""),
    ),
    fresh(
        "mounts_devices_and_roots",
        attack("""
attempt("chroot", os.chroot, ".")
os.mkdir("m")
for kind in (b"tmpfs", b"proc"):
    if libc.mount(kind, b"m", kind, 0, None) == 0: print("HOLE mount", kind)
if libc.mount(b"/", b"m", None, 4096, None) == 0: print("HOLE bind")
if libc.umount2(b"/proc", 2) == 0: print("HOLE umount")
import stat
for name, major, minor in (("disk", 254, 0), ("memory", 1, 1), ("kmsg", 1, 11)):
    attempt(name, os.mknod, name, stat.S_IFBLK | 0o600, os.makedev(major, minor))
    attempt(name, os.mknod, name, stat.S_IFCHR | 0o600, os.makedev(major, minor))
for path in ("/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda"):
    attempt(path, os.open, path, os.O_RDONLY)
"""),
    ),
    fresh(
        "clock_name_and_kernel_settings",
        attack("""
now = time.clock_gettime(time.CLOCK_REALTIME)
attempt("clock", time.clock_settime, time.CLOCK_REALTIME, now)
attempt("hostname", socket.sethostname, socket.gethostname())
for path in ("/proc/sys/vm/drop_caches", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"):
    attempt(path, os.open, path, os.O_WRONLY)
"""),
    ),
    fresh(
        "rare_system_calls",
        attack("""
pad = ctypes.create_string_buffer(256)
syscall("io_uring_setup", 425, 4, pad)
syscall("fsopen", 430, b"tmpfs", 0)
syscall("open_tree", 428, -100, b"/", 1)
syscall("memfd_secret", 447, 0)
if X86:
    syscall("bpf", 321, 5, pad, 120)
    syscall("perf_event_open", 298, pad, 0, -1, -1, 0)
    syscall("userfaultfd", 323, 0)
    syscall("kexec_load", 246, 0, 0, 0, 0)
    syscall("fanotify_init", 300, 0, 0)
    syscall("add_key", 248, b"user", b"left", b"x", 1, -3)
    syscall("keyctl session", 250, 1, b"mine")
    syscall("personality", 135, 0x0040000)
    syscall("process_madvise", 440, -1, 0, 0, 0, 0)
    syscall("kcmp", 312, os.getpid(), os.getppid(), 0, 0, 0)
"""),
    ),
    fresh(
        "calls_of_another_architecture",
        attack("""
import mmap
if not X86: os.abort()
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(b"\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3")  # getpid, the way of i386
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print("HOLE", call())
""", KILLED),
        attack('X86 and syscall("x32", 0x40000000 + 39)'),
    ),
    fresh(
        "keys_are_not_left_for_the_next",
        attack('X86 and libc.syscall(248, b"user", b"aimo-left", b"x", 1, -4)'),
        attack('if X86: syscall("request_key", 249, b"user", b"aimo-left", None, 0)'),
    ),
]  # fmt: skip

DISK_AND_MEMORY = [
    fresh(
        "disk_filled_by_many_files",
        attack("""
total = 0
try:
    for k in range(40):
        fd = os.open(f"f{k}", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(fd, 0, 100 * 2**20); os.close(fd)
        total += 100; time.sleep(0.04)
except OSError as e: print("stopped", e)
print("HOLE" if total > 2048 else "held", total, "MiB")
""", *ANY, limit_s=6, within_s=9),
    ),
    fresh(
        "disk_filled_by_files_deleted_but_open",
        attack("""
total = 0
try:
    for k in range(40):
        fd = os.open("f", os.O_CREAT | os.O_RDWR); os.unlink("f")
        os.posix_fallocate(fd, 0, 100 * 2**20)
        total += 100; time.sleep(0.04)
except OSError as e: print("stopped", e)
print("HOLE" if total > 2048 else "held", total, "MiB")
""", *ANY, limit_s=6, within_s=9),
    ),
    fresh(
        "disk_filled_at_once",
        attack("""
total = 0
try:
    for k in range(40):
        fd = os.open(f"f{k}", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(fd, 0, 100 * 2**20); os.close(fd); total += 100
except OSError as e: print("stopped", e)
print("HOLE" if total > 2048 else "held", total, "MiB")
""", *ANY),
    ),
    fresh(
        "folders_in_dev_shm",
        attack("""
try:
    for k in range(3):
        os.makedirs(f"/dev/shm/hostile-{k}/in"); open(f"/dev/shm/hostile-{k}/in/f", "w").close()
    open("/dev/shm/hostile-z", "w").close()
except OSError: pass
"""),
    ),
    fresh(
        "one_file_grows_for_ever",
        attack("""
f = open("f", "wb")
while f.tell() < 2**30: f.write(bytes(2**22))
print("HOLE", f.tell())
""", ERROR, KILLED, shows=("OSError",)),
    ),
    fresh(
        "holes_larger_than_the_disk",
        attack("""
for k in range(1000):
    with open(f"f{k}", "wb") as f: f.truncate(40 * 2**20)
attempt("huge", os.truncate, "f0", 2**50)
"""),
    ),
    fresh(
        "folders_without_end",
        attack("""
for k in range(20000): os.mkdir(f"d{k}")
""", OK, ERROR, TIMEOUT, within_s=9),
    ),
    fresh(
        "names_and_kinds_that_are_hard_to_remove",
        attack("""
for name in (b"-rf", b"a\\nb", b"\\xff\\xfe", b"*", b" ", b"x" * 255, "\\u202e".encode()):
    os.mkdir(name); open(name + b"/" + name, "w").close()
os.mkfifo("fifo"); os.symlink("loop", "loop"); os.symlink("/", "top"); os.symlink("..", "up")
try: socket.socket(socket.AF_UNIX).bind("sock")
except OSError: pass
os.makedirs("shut/in"); open("shut/in/f", "w").close(); os.chmod("shut/in", 0); os.chmod("shut", 0)
os.chmod(".", 0)
"""),
    ),
    fresh(
        "a_folder_3000_deep_with_no_way_in",
        attack("""
for k in range(3000): os.mkdir("d"); os.chdir("d"); os.chmod(".", 0o100)
""", OK, ERROR),
    ),
    fresh(
        "immutable_files",
        attack("""
import fcntl
with open("stuck", "w") as f:
    attempt("immutable", fcntl.ioctl, f, 0x40086602, struct.pack("l", 0x10))
with open("stuck2", "w") as f:
    attempt("append only", fcntl.ioctl, f, 0x40086602, struct.pack("l", 0x20))
"""),
    ),
    fresh(
        "memory_through_many_processes",
        attack("""
import mmap
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
r, w = os.pipe()
for _ in range(8):
    if os.fork() == 0:
        try:
            held = []
            for _ in range(24): held.append(mmap.mmap(-1, 2**26, FLAGS)); os.write(w, b".")
            time.sleep(30)
        finally: os._exit(0)
os.close(w)
taken = 0
while taken < 5 * 2**30 and os.read(r, 1): taken += 2**26
print("HOLE" if taken >= 5 * 2**30 else "held", taken)
""", *ANY, limit_s=6, within_s=12),
        danger=True,
    ),
    fresh(
        "memory_shared_between_processes",
        attack("""
import mmap
FLAGS = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
r, w = os.pipe()
for _ in range(5):
    if os.fork() == 0:
        try:
            held = []
            for _ in range(16): held.append(mmap.mmap(-1, 2**26, FLAGS)); os.write(w, b".")
            time.sleep(30)
        finally: os._exit(0)
os.close(w)
taken = 0
while taken < 4 * 2**30 and os.read(r, 1): taken += 2**26
print("HOLE" if taken >= 4 * 2**30 else "held", taken)
""", *ANY, limit_s=6, within_s=12),
        danger=True,
    ),
    fresh(
        "memory_in_sockets",
        attack("""
r, w = os.pipe()
def fill():
    for _ in range(120):
        for end in socket.socketpair():
            ends.append(end)
            try: end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**30)
            except OSError: pass
            end.setblocking(False)
        sent = 0
        for end in ends[-2:]:
            try:
                while True: sent += end.send(piece)
            except OSError: pass
        os.write(w, struct.pack("I", sent))
ends, piece = [], bytes(2**17)
for _ in range(60):
    if os.fork() == 0:
        try: fill(); time.sleep(30)
        finally: os._exit(0)
os.close(w)
taken = 0
while taken < 4 * 2**30 and (got := os.read(r, 4)): taken += struct.unpack("I", got)[0]
print("HOLE" if taken >= 4 * 2**30 else "held", taken)
""", *ANY, limit_s=6, within_s=12),
        danger=True,
    ),
    fresh(
        "memory_in_files_without_a_name",
        attack("""
taken, piece = 0, bytes(2**23)
try:
    while taken < 4 * 2**30:
        fd = os.memfd_create("m")
        for _ in range(24): taken += os.write(fd, piece)
except OSError as e: print("stopped", e)
print("HOLE" if taken >= 4 * 2**30 else "held", taken)
""", *ANY, limit_s=6, within_s=12),
        danger=True,
    ),
    fresh(
        "memory_in_dev_shm",
        attack("""
taken, piece = 0, bytes(2**23)
try:
    for k in range(24):
        fd = os.open(f"/dev/shm/hostile-m{k}", os.O_CREAT | os.O_RDWR, 0o600)
        for _ in range(24): taken += os.write(fd, piece)
except OSError as e: print("stopped", e)
print("HOLE" if taken >= 4 * 2**30 else "held", taken)
""", *ANY, limit_s=6, within_s=12),
        danger=True,
    ),
    fresh(
        "system_v_memory_is_not_left",
        attack("""
libc.shmat.restype = ctypes.c_void_p
memory = libc.shmget(0x4242, 2**20, 0o1666)
libc.semget(0x4242, 1, 0o1666); libc.msgget(0x4242, 0o1666)
libc.mq_open(b"/hostile-left", os.O_CREAT | os.O_RDWR, 0o666, None)
"""),
        attack("""
if libc.shmget(0x4242, 2**20, 0) >= 0: print("HOLE shm")
if libc.semget(0x4242, 1, 0) >= 0: print("HOLE sem")
if libc.msgget(0x4242, 0) >= 0: print("HOLE msg")
if libc.mq_open(b"/hostile-left", os.O_RDWR) >= 0: print("HOLE mq")
"""),
    ),
    fresh(
        "shared_memory_of_the_library_is_not_left",
        attack("""
from multiprocessing import resource_tracker, shared_memory
resource_tracker.register = lambda *a: None
shared_memory.SharedMemory("hostile_left", create=True, size=2**20)
""", OK, ERROR),
        attack("""
from multiprocessing import shared_memory
attempt("posix shm", shared_memory.SharedMemory, "hostile_left")
"""),
    ),
]  # fmt: skip

IGNORE_SIGNALS = """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
"""

PROCESSES = [
    fresh(
        "forks_that_sleep",
        attack("""
made = 0
for _ in range(3000):
    try: pid = os.fork()
    except OSError: break
    if pid == 0:
        time.sleep(60); os._exit(0)
    made += 1
print("HOLE" if made > 1000 else "held", made)
""", limit_s=8, within_s=9),
        danger=True,
    ),
    *(
        fresh(
            f"processes_that_fork_and_die{suffix}",
            attack(IGNORE_SIGNALS + """
for _ in range(4):
    if os.fork() == 0:
        while True:
            try:
                if os.fork(): os._exit(0)
            except OSError: continue
""" + more, within_s=9),
            danger=True,
        )
        for suffix, more in (("", ""), ("_in_sessions_of_their_own", "            os.setsid()\n"))
    ),
    fresh(
        "daemon_that_ignores_signals_and_holds_the_pipe",
        attack(IGNORE_SIGNALS + """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(4); os.write(1, b"HOLE late"); time.sleep(60)
    os._exit(0)
""", within_s=2.5),
    ),
    fresh(
        "daemon_that_stopped_itself",
        attack("""
for _ in range(5):
    if os.fork() == 0: os.setsid(); os.kill(os.getpid(), signal.SIGSTOP); os._exit(0)
""", within_s=2.5),
    ),
    fresh(
        "a_subreaper_of_its_own",
        attack("""
libc.prctl(36, 1, 0, 0, 0)
for _ in range(5):
    if os.fork() == 0:
        libc.prctl(36, 1, 0, 0, 0); libc.prctl(1, 0, 0, 0, 0)
        if os.fork() == 0: os.setsid(); time.sleep(60)
        os._exit(0)
""", within_s=2.5),
    ),
    fresh(
        "a_child_given_to_the_parent",
        attack("""
CLONE = 56 if X86 else 220
for signal_number in (17, 0, 10):
    if libc.syscall(CLONE, 0x8000 | signal_number, 0, 0, 0, 0) == 0:  # CLONE_PARENT
        libc.sleep(60); libc._exit(0)
    if libc.syscall(CLONE, signal_number, 0, 0, 0, 0) == 0:
        libc.setsid(); libc.sleep(60); libc._exit(0)
""", within_s=2.5),
    ),
    fresh(
        "processes_that_stop_and_kill_each_other_and_their_killer",
        *(
            attack(IGNORE_SIGNALS + f"""
for _ in range(9):
    if os.fork() == 0:
        os.setsid()
        while True:
            try: os.kill(-1, signal.{number})
            except OSError: pass
time.sleep(0.3)
""", *ANY, limit_s=1.5)
            for number in ("SIGSTOP", "SIGKILL")
        ),
        danger=True,
    ),
    fresh(
        "programs_without_end",
        attack("""
while True:
    try: os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 60 & sleep 60"], {})
    except OSError: time.sleep(0.001)
""", TIMEOUT, KILLED, limit_s=1),
        danger=True,
    ),
    fresh(
        "exit_handlers_that_fork",
        attack("""
import atexit
def late():
    while True:
        try: os.fork()
        except OSError: pass
atexit.register(late)
""", TIMEOUT, KILLED, ERROR, limit_s=1, within_s=6),
        danger=True,
    ),
    fresh(
        "no_descriptor_is_inherited",
        attack("""
for fd in range(3, 4096):
    try: os.fstat(fd)
    except OSError: continue
    try: what = os.readlink(f"/proc/self/fd/{fd}")
    except OSError: what = ""
    print("HOLE", fd, what)
"""),
    ),
    fresh(
        "the_exit_is_taken_away",
        attack("os._exit = os.kill = os.close = sys.exit = lambda *a: None", *ANY,
               hides=("HOLE", "aimo_submit", *SECRETS)),
        attack("print(6 * 7)", shows=("42",)),
    ),
    fresh(
        "every_function_is_taken_away",
        attack("""
import builtins, threading, atexit, io, select, json, traceback, linecache, gc
for module in (threading, atexit, io, select, json, traceback, linecache, gc, signal, os, sys):
    for name in dir(module):
        if not name.startswith("__"):
            try: setattr(module, name, None)
            except Exception: pass
builtins.__dict__.clear()
""", *ANY, limit_s=2),
        attack("print(6 * 7)", shows=("42",)),
    ),
]  # fmt: skip

FILES = [
    fresh(
        "folders_of_the_kit_cannot_be_listed",
        attack("""
for folder in ("{KIT}", "{INPUT}", "{HOME}", "{HOME}/.kaggle", "{NEIGHBOUR_HOME}"):
    attempt(folder, os.listdir, folder)
for folder in ("{TMP}", "/tmp", ".."):
    try: names = os.listdir(folder)
    except OSError: continue
    if "canary1" in names or len([n for n in names if n.startswith("aimo-sandbox")]) > 1:
        print("HOLE", folder, names)
"""),
    ),
    fresh(
        "secrets_cannot_be_read",
        attack("""
names = ["{KIT}/kit_module.py", "{KIT}/answers.csv", "{KIT}/sub/deep.txt", "{INPUT}/answers.csv",
    "{HOME}/notes.txt", "{HOME}/.kaggle/kaggle.json", "{TMP}/canary1", "{SHM}",
    "{NEIGHBOUR_HOME}/own.txt", os.path.expanduser("~root/.bash_history"), "/etc/shadow"]
for name in names:
    attempt(name, lambda: open(name).read())
    attempt(name, lambda: os.sendfile(1, os.open(name, os.O_RDONLY), 0, 99))
    attempt(name, os.open, name, os.O_WRONLY)
    attempt(name, os.listxattr, name) if False else None
"""),
    ),
    fresh(
        "no_file_of_the_kit_can_be_opened_or_imported",
        attack("""
import importlib
roots = {"{PACKAGE}", *sys.modules["aimo_submit"].__path__} if "aimo_submit" in sys.modules else \\
    {"{PACKAGE}"}
sys.path += ["{PACKAGE}/.."]
for name in {FILES}:
    for root in roots:
        attempt(name, os.open, f"{root}/{name}", os.O_RDONLY)
        attempt(name, os.open, f"{root}/{name}", os.O_WRONLY)
    module = f"aimo_submit/{name}".removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if name.endswith(".py") and module not in sys.modules:  # those there are the sandbox's own
        attempt(module, importlib.import_module, module)
from importlib import resources
attempt("resources", lambda: resources.files("aimo_submit").joinpath("data").iterdir().__next__())
"""),
    ),
    fresh(
        "writing_outside",
        attack("""
import sysconfig
import sympy
paths = sysconfig.get_paths()
places = [paths["purelib"], paths["stdlib"], paths["scripts"], os.path.dirname(sympy.__file__),
    os.path.dirname(sympy.__file__) + "/__pycache__", "/", "/etc", "/usr", "/var/tmp", "/run",
    "/opt", "/tmp", "/home", os.sep + "root", "{ROOT}", "{PACKAGE}", "{TMP}", "{HOME}", "{KIT}",
    "..", "{NEIGHBOUR_HOME}"]
for place in places:
    path = f"{place}/zz_hostile.py"
    try: open(path, "x").close()
    except OSError: continue
    try: seen = os.stat(place)
    except OSError: seen = None
    os.unlink(path)
    if place not in ("/tmp", "{TMP}", "/var/tmp"): print("HOLE", place)
"""),
    ),
    fresh(
        "changing_what_is_there",
        attack("""
import shutil
def quietly(change, *args):  # it may seem to work: what has changed is looked at from outside
    try: change(*args)
    except OSError: pass
for path in ("{KIT}", "{KIT}/kit_module.py", "{INPUT}/answers.csv", "{HOME}/notes.txt",
        "{TMP}/canary1", "{SHM}", "{NEIGHBOUR_HOME}", "{NEIGHBOUR_HOME}/own.txt", "{ROOT}"):
    quietly(os.chmod, path, 0o777)
    quietly(os.chown, path, os.getuid(), os.getgid())
    quietly(os.utime, path, (1, 1))
    attempt(f"truncate {path}", os.truncate, path, 0)
    attempt(f"rename {path}", os.rename, path, path + ".gone")
    quietly(os.setxattr, path, "user.x", b"1")
    attempt(f"unlink {path}", os.unlink, path)
    shutil.rmtree(path, ignore_errors=True)
"""),
        danger=True,
    ),
    fresh(
        "links_out_of_the_folder",
        attack("""
for k, path in enumerate(("{KIT}", "{HOME}", "{INPUT}", "{TMP}", "{NEIGHBOUR_HOME}", "/")):
    os.symlink(path, f"s{k}")
    attempt(path, os.listdir, f"s{k}") if path != "/" and path != "{TMP}" else None
    attempt(path, lambda: open(f"s{k}/zz_hostile", "x"))
for path in ("{KIT}/kit_module.py", "{INPUT}/answers.csv", "{TMP}/canary1"):
    try: os.link(path, "hard")
    except OSError: continue
    attempt(path, lambda: open("hard").read())
    attempt(path, os.chmod, "hard", 0)
    os.unlink("hard")
"""),
        danger=True,
    ),
    fresh(
        "its_folder_becomes_a_link",
        attack("""
home = os.getcwd()
try: os.rename(home, home + "x")
except OSError: pass
try: os.rmdir(home)
except OSError: pass
try: os.symlink("{HOME}", home)
except OSError: pass
""", OK, ERROR),
        attack("open('f', 'w').close()"),
        danger=True,
    ),
    fresh(
        "its_folder_becomes_a_file",
        attack("""
home = os.getcwd()
try: os.rmdir(home); open(home, "w").close()
except OSError: pass
""", OK, ERROR),
        attack("open('f', 'w').close()"),
    ),
    fresh(
        "up_and_into_the_folders_of_others",
        attack("""
import shutil
for place in ("..", "{ROOT}"):
    try: names = os.listdir(place)
    except OSError: continue
    for name in names:
        path = os.path.join(place, name)
        if os.path.realpath(path) == os.getcwd(): continue
        attempt(path, os.listdir, path) if os.path.isdir(path) else None
        attempt(path, lambda: open(path).read()) if os.path.isfile(path) else None
        shutil.rmtree(path, ignore_errors=True)
attempt("beside", lambda: open("../zz_hostile", "x"))
"""),
        danger=True,
    ),
    fresh(
        "modules_are_not_left_for_the_next",
        attack("""
for name in ("sitecustomize.py", "usercustomize.py", "math.py", "numpy.py", "hostile_left.py"):
    open(name, "w").write("print('HOLE', __name__)")
open("zz.pth", "w").write("import hostile_left\\n")
os.makedirs("__pycache__"); os.makedirs("lib/python3/site-packages")
"""),
        attack("""
print(sorted(os.listdir(".")))
attempt("left", __import__, "hostile_left")
import sitecustomize
""", ERROR, OK, shows=("[]",)),
    ),
    fresh(
        "shared_memory_of_the_kit",
        attack("""
name = "{SHM}"
attempt("read", lambda: open(name).read())
attempt("write", lambda: open(name, "r+").write("x"))
attempt("unlink", os.unlink, name)
"""),
    ),
]  # fmt: skip

NETWORK = [
    fresh(
        "servers_of_the_kit",
        attack("""
def ask(family, kind, address):
    s = socket.socket(family, kind); s.settimeout(1)
    s.connect(address)
    if kind == socket.SOCK_DGRAM: s.send(b"?")
    return s.recv(50)
attempt("tcp", ask, socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {PORT}))
attempt("tcp6", ask, socket.AF_INET6, socket.SOCK_STREAM, ("::1", {PORT6}))
attempt("udp", ask, socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", {UDP}))
attempt("abstract", ask, socket.AF_UNIX, socket.SOCK_STREAM, "\\0kit-abstract")
attempt("path", ask, socket.AF_UNIX, socket.SOCK_STREAM, "{TMP}/kit.sock")
def send(address):
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", address)
def send_unix(address):
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", address)
attempt("send", send, ("127.0.0.1", {UDP}))
attempt("send unix", send_unix, "{TMP}/kit.dgram")
""", limit_s=8, within_s=9),
    ),
    fresh(
        "families_of_sockets",
        attack("""
for family in (16, 17, 40, 38, 31, 30, 44, 1 + 8):  # netlink packet vsock alg bluetooth tipc xdp
    for kind in (1, 2, 3, 5):
        try: got = socket.socket(family, kind, 0)
        except OSError: continue
        print("HOLE family", family, kind); break
attempt("raw", socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
attempt("raw6", socket.socket, socket.AF_INET6, socket.SOCK_RAW, 58)
attempt("interfaces", socket.if_nameindex)
"""),
    ),
    fresh("a_pair_of_sockets_works", attack("a, b = socket.socketpair(); a.send(b'x'); b.recv(1)")),
]  # fmt: skip

OUTPUT = [
    fresh(
        "prints_without_a_line_break",
        attack("for _ in range(10**9): print('x', end='')", TIMEOUT, KILLED, limit_s=2),
    ),
    fresh(
        "output_after_the_end_of_output",
        attack("os.close(1); os.close(2)\nfor fd in (1, 2):\n"
               "    try: os.write(fd, b'x')\n    except OSError: pass", OK, ERROR),
    ),
    fresh(
        "output_that_cannot_be_written",
        attack("sys.stdout.buffer.raw.write = None; os.dup2(0, 1); print('x' * 10**6)", OK, ERROR),
    ),
    fresh(
        "an_enormous_error",
        attack("raise ValueError('x' * 10**8)", ERROR, shows=("ValueError",), max_text=6000),
        attack("e = KeyError(); e.add_note('n' * 10**7); raise e", ERROR, max_text=6000),
        attack("raise SyntaxError('m', ('<block>', 10**9, 10**9, 'y' * 10**7))", ERROR,
               max_text=6000),
    ),
    fresh(
        "an_error_that_cannot_be_shown",
        *(
            Step(f"import os, time\nclass E(Exception):\n    def __str__(self):\n        {body}\n"
                 "print('so far')\nraise E", outcomes, shows=("so far",), limit_s=1)
            for body, outcomes in (
                ("while True: pass", (TIMEOUT,)),
                ("raise SystemExit(0)", (ERROR,)),
                ("raise KeyboardInterrupt", (ERROR,)),
                ("os._exit(0)", (OK, ERROR)),
                ("return 7", (ERROR,)),
                ("raise self", (ERROR,)),
            )
        ),
    ),
    fresh(
        "chains_and_groups_of_errors",
        attack("""
last = None
for k in range(100_000):
    e = ValueError(k); e.__cause__ = last; last = e
raise last
""", *ENDED, max_text=10_000),
        attack("""
e = ValueError()
for _ in range(3000): e = ExceptionGroup("g", [e])
raise e
""", *ENDED, max_text=10_000),
        attack("""
a, b = ValueError(1), ValueError(2)
a.__context__, b.__context__ = b, a
raise a
""", ERROR, max_text=10_000),
    ),
    fresh(
        "code_that_runs_at_the_end",
        attack("""
import atexit
class D:
    def __del__(self): print("del"); time.sleep(60)
d = D()
atexit.register(lambda: print("at exit"))
""", OK, TIMEOUT, shows=("tried", "at exit"), limit_s=1),
        attack("""
import atexit
def again(): atexit.register(again); print("again"); time.sleep(0.01)
atexit.register(again)
""", OK, TIMEOUT, limit_s=1),
    ),
    fresh(
        "hooks_of_the_interpreter",
        attack("sys.excepthook = sys.unraisablehook = None; 1 / 0", ERROR,
               shows=("ZeroDivisionError",)),
        attack("def t(*a):\n    while True: pass\nsys.settrace(t)\n(lambda: 0)()", TIMEOUT,
               limit_s=1),
        attack("sys.setprofile(lambda *a: time.sleep(0.1))\nwhile True: len('')", TIMEOUT,
               limit_s=1),
        attack("sys.displayhook = lambda *a: os.abort()", KILLED, shows=("SIGABRT",)),
        attack("sys.audit_hooks = sys.addaudithook(lambda *a: 1 / 0)", *ANY),
    ),
    fresh(
        "crashes_in_c",
        attack("print('far', flush=True); ctypes.string_at(0)", KILLED, shows=("far", "SIGSEGV")),
        attack("import faulthandler; faulthandler._stack_overflow()", KILLED, ERROR),
        attack("""
import faulthandler
faulthandler.enable(); faulthandler.dump_traceback_later(0.1, repeat=True); time.sleep(0.5)
"""),
        attack("""
sys.setrecursionlimit(2**30)
def f(x): return [f(x)]
f(0)
""", *ENDED),
        attack("libc.memset(id(None), 255, 64)", *ANY),
    ),
    fresh(
        "carrying_on_past_the_deadline",
        attack("""
def on(*a): pass
for number in (signal.SIGALRM, signal.SIGXCPU, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, on)
while True:
    try:
        while True: pass
    except BaseException: continue
""", TIMEOUT, limit_s=1.5),
        attack("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass", TIMEOUT,
               limit_s=1),
        attack("""
for _ in range(100):
    try: pid = os.fork()
    except OSError: break
    if pid == 0: break
while True:
    try: time.sleep(9)
    except BaseException: continue
""", TIMEOUT, limit_s=1),
    ),
    fresh(
        "a_poisoned_interpreter_is_not_the_next_ones",
        attack("""
import builtins, decimal, linecache, math, random, warnings
import numpy as np, sympy
builtins.print = None; builtins.len = lambda x: 0; math.gcd = None; np.arange = None
sympy.factorint = None; linecache.cache["<block>"] = (1, None, ["poison\\n"], "<block>")
warnings.simplefilter("error"); decimal.getcontext().prec = 2; np.seterr(all="raise")
np.set_printoptions(precision=1); random.seed(9); sys.setrecursionlimit(100)
sys.modules["json"] = None; sys.path[:] = []; sys.meta_path[:] = []; os.environ["PATH"] = "x"
socket.setdefaulttimeout(0.001); signal.signal(signal.SIGINT, signal.SIG_IGN)
os.write(1, b"tried")
sys.exit(0)
"""),
        attack("""
import decimal, json, math, warnings
import numpy as np, sympy
warnings.warn("only a warning")
print(len("ab"), math.gcd(4, 6), np.arange(2), sympy.factorint(6), decimal.Decimal(1) / 3)
""", shows=("2 2 [0 1] {2: 1, 3: 1} 0.3333333333333333333333333333",)),
    ),
]  # fmt: skip

KEEP = Step("x = 41")
KEPT = Step("print(x + 1)", shows=("42",))
KEPT_OR_LOST = Step("print(x + 1)", ANY, one_of=("42", "is lost", "NameError"))
SERVES = Step("print('still', 6 * 7)", shows=("still 42",))

LIVE = [
    live(
        "live_endless_loop_keeps_the_state",
        KEEP,
        Step("x = 0\nwhile True: pass", (TIMEOUT,), limit_s=0.5),
        KEPT,
        Step("x = 0\nimport re\nre.match(r'(a+)+$', 'a' * 40 + 'b')", (TIMEOUT,), limit_s=0.5),
        KEPT,
    ),
    live(
        "live_deaths_keep_the_state",
        KEEP,
        *(
            step
            for code in ("os._exit(0)", "os._exit(3)", "os.abort()", "os.kill(os.getpid(), 9)",
                         "import ctypes; ctypes.string_at(0)")
            for step in (Step(f"import os\nx = 0\n{code}", ANY), KEPT)
        ),
    ),
    live(
        "live_descriptors_are_closed",
        KEEP,
        Step("import os\nos.closerange(0, 4096)", ANY),
        KEPT,
        Step("import sys\nsys.stdout.close()\nsys.stderr = None\nx = 41", ANY),
        Step("print(x + 1)", ANY, one_of=("42", "ValueError")),
    ),
    live(
        "live_garbage_for_the_channel",
        KEEP,
        attack("""
for fd in range(3, 1024):
    for junk in (b"\\xff" * 64, b"\\0" * 4, b"{}", struct.pack(">I", 2**31) + b"x"):
        try: os.set_blocking(fd, False); os.write(fd, junk)
        except OSError: break
""", *ANY),
        KEPT_OR_LOST,
        SERVES,
    ),
    live(
        "live_forged_replies",
        KEEP,
        attack("""
import json
for reply in ({"outcome": "ok", "output": "forged", "seconds": 0.0}, {"pid": 1, "protections": {}},
        {"status": 0, "output": "forged"}, {"code": "print('forged')", "timeout_s": 60}, {}):
    body = json.dumps(reply).encode()
    for fd in range(3, 1024):
        for frame in (struct.pack(">I", len(body)) + body, body + b"\\n", struct.pack(">i", 0)):
            try: os.set_blocking(fd, False); os.write(fd, frame)
            except OSError: break
            try: socket.send_fds(socket.socket(fileno=os.dup(fd)), [frame], [0, 1])
            except (OSError, ValueError): pass
""", *ANY, hides=("forged", "HOLE", *SECRETS)),
        Step("print(x + 1)", ANY, one_of=("42", "is lost", "NameError"), hides=("forged",)),
        SERVES,
    ),
    *(
        live(
            f"live_says_it_ended_with_{status}".replace("-", "minus_"),
            KEEP,
            attack(f"""
libc.prctl(1, 0, 0, 0, 0)  # else it ends with the true head
for fd in range(3, 1024):
    try: os.write(fd, struct.pack(">i", {status}))
    except OSError: pass
time.sleep(0.2)
""", *ANY, limit_s=1),
            Step("print('still', 6 * 7)", ANY, limit_s=0.5),
            Step("print('still', 6 * 7)", ANY, limit_s=0.5,
                 one_of=("still 42", "Timeout", "Killed")),
        )
        for status in (0, 77, -1, -1000, 2**31 - 1)
    ),
    live(
        "live_a_false_head_that_forks_and_lies",
        KEEP,
        attack("""
libc.prctl(1, 0, 0, 0, 0)  # else it ends with the true head
def say():
    for fd in range(3, 32):
        try: os.set_blocking(fd, False); os.write(fd, struct.pack(">i", 0))
        except OSError: pass
say()
while True:
    try:
        if os.fork() == 0:
            while True: say()
    except OSError: say()
""", *ANY, limit_s=1),
        Step("1", ANY, limit_s=0.5),
        Step("1", ANY, limit_s=0.5),
        danger=True,
    ),
    live(
        "live_a_child_says_that_the_block_ended",
        KEEP,
        attack("""
if os.fork() == 0:
    for fd in range(3, 32):
        try: os.write(fd, struct.pack(">i", 0))
        except OSError: pass
    os._exit(0)
time.sleep(0.3)
""", *ANY),
        Step("1", ANY, limit_s=0.5),
        Step("1", ANY, limit_s=0.5),
    ),
    live(
        "live_disk_filled_by_short_blocks",
        *(
            attack(f"""
total = 0
try:
    for k in range(10):
        fd = os.open(f"f{part}-{{k}}", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(fd, 0, 100 * 2**20); os.close(fd)
except OSError: pass
try: total = sum(os.stat(name).st_size for name in os.listdir("."))
except OSError: pass
if total > 2**31: print("HOLE", total)
""", *ANY)
            for part in range(4)
        ),
    ),
    live(
        "live_a_flood_for_the_channel",
        KEEP,
        attack("""
def writable(fd):
    try: os.set_blocking(fd, False); os.write(fd, b""); return True
    except OSError: return False
fds = [fd for fd in range(3, 1024) if writable(fd)]
while True:
    for fd in fds:
        try: os.write(fd, b"\\xff" * 65536)
        except OSError: pass
""", TIMEOUT, KILLED, ERROR, limit_s=0.5),
        KEPT_OR_LOST,
        SERVES,
    ),
    live(
        "live_descriptors_are_read",
        KEEP,
        attack("""
for fd in range(3, 1024):
    try: os.set_blocking(fd, False); got = os.read(fd, 65536)
    except OSError: continue
    if got: print("HOLE", fd, got[:99])
""", *ANY),
        KEPT_OR_LOST,
        SERVES,
    ),
    *(
        live(
            f"live_{number.lower()}_to_its_head",
            KEEP,
            attack(f"""
for pid in {{os.getppid()}} - {{0}}:
    try: os.kill(pid, signal.{number})
    except OSError: pass
""", *ANY),
            Step("print('still', 6 * 7)", ANY, one_of=("still 42", "Killed", "Timeout")),
            Step("print('still', 6 * 7)", ANY, one_of=("still 42", "Killed")),
            danger=True,
        )
        for number in ("SIGSTOP", "SIGKILL", "SIGUSR1", "SIGTERM")
    ),
    live(
        "live_children_do_not_outlive_their_block",
        KEEP,
        attack("""
for _ in range(5):
    if os.fork() == 0:
        os.setsid(); time.sleep(0.5); open("ghost", "w").close(); os.write(1, b"HOLE ghost")
        time.sleep(60)
"""),
        Step("import os\nprint(x + 1, os.listdir('.'))", shows=("42 []",), pause_s=1.0),
    ),
    live(
        "live_threads_do_not_run_between_blocks",
        attack("""
import threading
n, x = 0, 41
def count():
    global n
    while True: n += 1; time.sleep(0.001)
threading.Thread(target=count, daemon=True).start()
before = time.monotonic()
"""),
        Step("if n > 500: print('HOLE', n)\nprint(x + 1)", shows=("42",), pause_s=1.5),
    ),
    live(
        "live_timers_do_not_fire_between_blocks",
        KEEP,
        Step("import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.3)\nx = 41", ANY),
        Step("print('still', 6 * 7)", ANY, one_of=("still 42", "Killed"), pause_s=0.8),
        SERVES,
    ),
    live(
        "live_every_function_is_taken_away",
        attack("""
import builtins, threading, atexit, io, select, json, traceback, linecache, gc, ast, resource
for module in (threading, atexit, io, select, json, traceback, linecache, gc, ast, resource,
        signal, socket, struct, os, sys):
    for name in dir(module):
        if not name.startswith("__"):
            try: setattr(module, name, None)
            except Exception: pass
""", *ANY, limit_s=1),
        Step("1", ANY, limit_s=1),
        Step("2", ANY, limit_s=1),
    ),
    live(
        "live_exit_and_fork_are_replaced",
        KEEP,
        Step("import os\nos._exit = os.fork = os.waitpid = lambda *a: 0", ANY, limit_s=1),
        Step("1", ANY, limit_s=1),
        Step("1", ANY, limit_s=1),
    ),
    live(
        "live_builtins_are_replaced",
        Step("import builtins\nbuiltins.exec = builtins.compile = builtins.open = None", ANY),
        Step("1", ANY, limit_s=1),
        Step("import builtins\nbuiltins.__dict__.clear()", ANY),
        Step("1", ANY, limit_s=1),
    ),
    live(
        "live_limits_are_lowered_to_nothing",
        KEEP,
        Step("import resource\nfor k in range(16):\n    try: resource.setrlimit(k, (0, 0))\n"
             "    except (OSError, ValueError): pass", ANY),
        Step("1", ANY, limit_s=1),
        Step("1", ANY, limit_s=1),
    ),
    live(
        "live_signals_are_ignored_and_blocked",
        Step("x = 41\nimport signal\nfor k in range(1, 65):\n"
             "    try: signal.signal(k, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
             "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))", ANY),
        KEPT,
        Step("while True: pass", (TIMEOUT,), limit_s=0.5),
        Step("print('x' in globals())", ANY),
        SERVES,
    ),
    live(
        "live_folder_is_gone",
        Step("import os, shutil\nx = 41\nhere = os.getcwd()\nos.chdir('/')\n"
             "shutil.rmtree(here, ignore_errors=True)", ANY),
        KEPT,
        Step("open('f', 'w').write('x')\nx = 41", ANY),
        KEPT,
    ),
    live(
        "live_folder_3000_deep",
        Step("import os\nx = 41\nfor k in range(3000): os.mkdir('d'); os.chdir('d')", (OK, ERROR)),
        KEPT,
    ),
    live(
        "live_memory_is_held",
        Step("x = 41\nheld = [b'x' * 2**26 for _ in range(8)]", limit_s=8, within_s=9),
        KEPT,
        Step("more = [b'x' * 2**26 for _ in range(40)]\nprint('HOLE')", ENDED, limit_s=5),
        KEPT,
    ),
    live(
        "live_objects_that_hang_at_the_end",
        Step("import time, atexit\nx = 41\nclass D:\n    def __del__(self): time.sleep(60)\n"
             "d = D()\natexit.register(time.sleep, 60)", ANY, limit_s=1),
        SERVES,
    ),
    live(
        "live_a_flood_of_output",
        KEEP,
        Step("x = 0\nwhile True: print('x' * 1000)", (KILLED, TIMEOUT), limit_s=2),
        KEPT,
    ),
    live(
        "live_forks_without_end",
        KEEP,
        Step("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", ENDED,
             limit_s=1, within_s=6),
        KEPT,
        danger=True,
    ),
    live(
        "live_block_of_another_sample",
        attack("""
import shutil
attempt("file", lambda: open("{NEIGHBOUR_HOME}/own.txt").read())
attempt("list", os.listdir, "{NEIGHBOUR_HOME}")
attempt("write", lambda: open("{NEIGHBOUR_HOME}/zz", "w"))
shutil.rmtree("{NEIGHBOUR_HOME}", ignore_errors=True)
head = os.getppid()
for pid in set(others()) - {head}:
    attempt(f"kill {pid}", os.kill, pid, signal.SIGKILL)
    attempt(f"environ {pid}", lambda: open(f"/proc/{pid}/environ").read())
    attempt(f"fd {pid}", os.listdir, f"/proc/{pid}/fd")
"""),
        danger=True,
    ),
]  # fmt: skip


REPLAY = [
    again("replay_keeps_names", KEEP, KEPT, Step("print('earlier output')\nx = 5"),
           Step("print(x)", shows=("5",), hides=("earlier output",))),
    again("replay_of_an_endless_loop", KEEP, Step("while True: pass", (TIMEOUT,), limit_s=0.5),
           Step("print(x + 1)", ANY, limit_s=1)),
    again("replay_of_a_flood", Step("for _ in range(10**6): print('x' * 50)", ANY),
           Step("print(6 * 7)", ANY, limit_s=2)),
    again("replay_of_an_exit", Step("import os\nos._exit(0)", ANY), Step("print(6 * 7)", ANY)),
    again("replay_of_forks", Step("import os, time\nif os.fork() == 0: time.sleep(60)", ANY),
           Step("print(6 * 7)", ANY, limit_s=2), danger=True),
]  # fmt: skip

HEAVY = {"live_memory_is_held", "live_disk_filled_by_short_blocks", "live_folder_3000_deep"}


def _side_by_side(cases: list[Case]) -> list[Case]:
    return [replace(case, alone=case.danger or case.name in HEAVY) for case in cases]


OURS: Sequence[Case] = (
    *OTHER_PROCESSES,
    *OWN_LIMITS,
    *DISK_AND_MEMORY,
    *PROCESSES,
    *FILES,
    *NETWORK,
    *_side_by_side(OUTPUT + LIVE + REPLAY),
)
