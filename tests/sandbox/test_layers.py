"""The layers of isolation, each by its effect on a process that took them on as a block does."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import aimo_submit
from aimo_submit.errors import UserError
from aimo_submit.sandbox.client.launch import ENVIRONMENT
from aimo_submit.sandbox.linux import landlock, layers

pytestmark = pytest.mark.hostile

KIT = landlock.KIT
UID = 61_234
USER = 61_900  # an ordinary user
ROOT = os.geteuid() == 0

# As the sandbox does it: detect, leave namespaces, be PID 1 of some, then confine a block.
SCRIPT = f"""
import sys, types
kit = sys.modules["aimo_submit"] = types.ModuleType("aimo_submit")
kit.__path__ = [{str(KIT)!r}]
import ctypes, errno, json, os, resource, signal, socket, subprocess, time
from pathlib import Path
from aimo_submit.sandbox import linux
from aimo_submit.sandbox.linux import landlock, layers, privileges, seccomp
home, without, library, code = sys.argv[1:]
home = Path(home)
sys.path += [library] if library else []
on = layers.detect({UID}, without.split())

def within_child(action):
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        os._exit(os.waitstatus_to_exitcode(status) & 255)
    action()

def take_on():
    global taken_s
    started = time.process_time()
    os.chdir(home)
    if on.first_uid is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (64, 64))
        privileges.become(on.first_uid, reads_all=on.reads_all)
    else:
        privileges.drop_capabilities()
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    privileges.no_new_privileges()
    if on.landlock:
        landlock.restrict(rules)
    if on.seccomp:
        seccomp.install(program)
    taken_s = time.process_time() - started

def refused(action, *args):
    try:
        action(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"

if on.namespaces:
    privileges.leave_network(user=on.user_namespace)
    privileges.own_processes()
    within_child(lambda: privileges.own_mounts(home, on.first_uid, 2**24))
elif on.first_uid is not None:
    os.chown(home, on.first_uid, on.first_uid)
privileges.bound(reads_all=on.reads_all)
readable, listable = landlock.interpreter_paths()
rules = on.landlock and landlock.ruleset(
    readable, listable, [home, Path("/dev/shm"), Path("/dev/null")], on.landlock)
program = on.filter()
within_child(take_on)
exec(code)
sys.stdout.flush()
os._exit(0)
"""

# The sets of a Docker container, but for those that its seccomp filter makes useless.
DOCKER = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_raw,mknod".split(",")
KAGGLE = "like a container's root, Landlock 3"
WITHOUT_EFFECT = ("could be", "can be seen", "still there")  # our fault, not the machine's
SURROUNDINGS = {
    "all layers": ("", ""),
    **{f"ABI {abi}": ("", f"landlock>{abi}") for abi in (1, 2, 3, 4, 5)},
    "no namespaces": ("", "namespaces"),
    "no uid": ("", "uid"),
    "uid alone": ("", "namespaces landlock seccomp"),
    "seccomp alone": ("", "uid namespaces landlock"),
    KAGGLE: ("docker", "landlock>3"),
    "ordinary user": ("user", ""),
    "ordinary user, no namespaces": ("user", "namespaces"),
}


def setpriv(how: str) -> list[str]:
    """The command that puts its arguments into the surroundings."""
    if not how or (how == "user" and not ROOT):
        return []
    if not ROOT:
        pytest.skip("needs root: only it can drop to a container's capabilities")
    if not (tool := shutil.which("setpriv")):
        pytest.skip("there is no setpriv here")
    if how == "docker":
        kept = ",".join(("-all", *(f"+{name}" for name in DOCKER)))
        return [tool, "--bounding-set", kept, "--inh-caps", "-all"]
    return [tool, f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


def python(how: str) -> str:
    """An interpreter that the surroundings can read."""
    folder = Path(sys.base_prefix).resolve()
    if not how or not ROOT or all(path.stat().st_mode & 1 for path in (folder, *folder.parents)):
        return sys.executable
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("this interpreter is closed to others, and there is no /usr/bin/python3.11")
    return "/usr/bin/python3.11"


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="aimo-layers-"))  # tmp_path is closed to others
    yield folder
    shutil.rmtree(folder)


def confined(home: Path, where: str, code: str, library: str = "") -> list[str]:
    """The lines that the code printed, run in the surroundings after taking on the layers."""
    how, without = SURROUNDINGS[where]
    if how == "user" and ROOT:
        os.chown(home, USER, USER)
    command = [*setpriv(how), python(how), "-s", "-P", "-c", SCRIPT]
    command += [str(home), without, library, code]
    done = subprocess.run(
        command, cwd="/", env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def needs(home: Path, where: str, *names: str) -> None:
    """Skips where a layer that the test is about cannot be had."""
    show = "print(json.dumps(on.reasons))"
    reasons = json.loads(confined(home, where, show)[0])
    for name in names:
        if name in reasons:
            assert not any(words in reasons[name] for words in WITHOUT_EFFECT)
            pytest.skip(f"{where}: no {name}: {reasons[name]}")


USES = """
import asyncio, multiprocessing
print(asyncio.run(asyncio.sleep(0, 1)))
context = multiprocessing.get_context("fork")
if on.landlock or os.access("/dev/shm", os.W_OK):
    with context.Pool(2) as pool:
        print(sum(pool.map(abs, [-1, -2])))
worker = context.Process(target=time.sleep, args=(60,))
worker.start()
worker.terminate()
worker.join()
print(worker.exitcode)
a, b = socket.socketpair()
a.send(b"x")
print(b.recv(1))
print(subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True).stdout)
Path("file").write_text("text")
print(Path("file").read_text())
"""


@pytest.mark.parametrize("where", SURROUNDINGS)
def test_ordinary_code_works(home: Path, where: str) -> None:
    expected = ["1", "3", "-15", "b'x'", "b'42\\n'", "text"]
    if where == "uid alone" and python("user") != sys.executable:
        pytest.skip("this interpreter is closed to others")
    assert confined(home, where, USES) == expected


@pytest.mark.parametrize("where", [w for w in SURROUNDINGS if w != "uid alone"])
def test_the_network_and_dangerous_calls_are_refused(home: Path, where: str) -> None:
    needs(home, where, "seccomp")
    code = """
    print(refused(socket.socket, socket.AF_INET, socket.SOCK_STREAM))
    print(refused(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW))
    print(refused(linux.syscall, 101, 16, os.getppid(), 0, 0))
    print(refused(linux.unshare, privileges.CLONE_NEWUSER))
    print(refused(linux.mount, "none", "/", "tmpfs"))
    print(refused(linux.syscall, 56, privileges.CLONE_NEWUSER | 17, 0, 0, 0, 0))
    print(refused(linux.syscall, 435, 0, 0), refused(linux.syscall, 5000))
    print(refused(linux.syscall, 425, 8, 0))
    print(refused(resource.prlimit, os.getppid(), resource.RLIMIT_CPU, (1, 1)))
    print(resource.prlimit(0, resource.RLIMIT_CORE) is not None)
    """
    expected = ["EACCES"] * 2 + ["EPERM"] * 4 + ["ENOSYS ENOSYS"] + ["EPERM"] * 2 + ["True"]
    assert confined(home, where, dedent(code)) == expected


def test_another_architecture_is_killed(home: Path) -> None:
    """`int 0x80` reaches the calls by the numbers of i386, which the filter does not know."""
    needs(home, "all layers", "seccomp")
    code = """
    import mmap
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    pid = os.fork()
    if pid == 0:
        call()
        os._exit(0)
    print(signal.Signals(os.waitpid(pid, 0)[1] & 127).name)
    """
    assert confined(home, "all layers", dedent(code)) == ["SIGSYS"]


@pytest.mark.parametrize(
    "where", ["all layers", "ABI 1", "ABI 3", "ABI 5", "no uid", KAGGLE, "ordinary user"]
)
def test_no_file_but_the_libraries_can_be_opened(home: Path, where: str) -> None:
    needs(home, where, "landlock")
    code = f"""
    print(refused(open, "/etc/passwd"), refused(os.listdir, "/"))
    print(refused(open, {str(KIT / "answers.py")!r}))
    print(refused(open, os.__file__, "ab"), refused(os.mkdir, "/tmp/made"))
    print(open(os.__file__).read(1) != "")
    """
    lines = confined(home, where, dedent(code))
    assert [set(line.split()) for line in lines[:3]] == [{"EACCES"}] * 3
    assert lines[3] == "True"


@pytest.mark.parametrize("where", ["all layers", "ABI 3", "no uid"])
def test_sympy_can_be_imported_although_the_kit_cannot(home: Path, where: str) -> None:
    code = """
    import sympy
    print(sympy.factorint(91))
    try:
        import aimo_submit.competition
    except ImportError:
        print("not found")
    except PermissionError:
        print("not readable")
    """
    needs(home, where, "landlock")
    assert confined(home, where, dedent(code)) == ["{7: 1, 13: 1}", "not readable"]


@pytest.mark.parametrize("package", ["aimo_submit", "aimo_submit-0.1.0.dist-info"])
def test_the_kit_is_left_out_of_the_folder_it_is_installed_in(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (package, "sympy", "numpy-2.dist-info"):
        (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    readable, listable = landlock.interpreter_paths()
    assert tmp_path in listable
    assert tmp_path / "sympy" in readable
    assert {tmp_path, tmp_path / package}.isdisjoint(readable)


def test_what_is_hidden_is_the_kit() -> None:
    assert Path(aimo_submit.__file__).resolve().parent == KIT


@pytest.mark.parametrize("where", SURROUNDINGS)
def test_no_file_of_the_kit_can_be_opened(home: Path, where: str) -> None:
    """With the library of the code under test on the path, as a checkout's is."""
    needs(home, where, "landlock")
    files = [str(path) for path in (KIT, *KIT.rglob("*"))]
    assert str(KIT / "competition.py") in files
    code = f"""
    print({{refused(os.open, path, os.O_RDONLY) for path in {files!r}}})
    print(refused(os.open, os.__file__, os.O_RDONLY))
    """
    lines = confined(home, where, dedent(code), str(KIT.parent))
    assert lines == ["{'EACCES'}", "allowed"]


def test_the_folders_of_the_kit_are_never_readable() -> None:
    readable, listable = landlock.interpreter_paths()
    assert not {KIT, *KIT.parents}.intersection(readable)
    assert KIT not in listable


def test_a_project_folder_on_the_path_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(KIT.parent))
    readable, listable = landlock.interpreter_paths()
    assert KIT.parent not in readable
    assert KIT.parent not in listable


@pytest.mark.parametrize("where", ["all layers", "no namespaces", KAGGLE])
def test_an_own_user_has_no_capability_and_counts_its_own_processes(home: Path, where: str) -> None:
    code = """
    print(os.getresuid() == os.getresgid() == (on.first_uid,) * 3, os.getgroups())
    held = (ctypes.c_uint * 6)()
    linux.library.capget(privileges._HEADER, held)
    print([sets & ~(4 if on.reads_all else 0) for sets in held])
    print([n for n in range(64) if linux.library.prctl(linux.PR_CAPBSET_READ, n, 0, 0, 0) == 1
           and not (n == 2 and on.reads_all)])
    print(refused(os.setuid, 0), refused(os.chown, ".", 0, 0), refused(os.kill, 1, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    print(refused(os.fork))
    """
    needs(home, where, "uid")
    lines = confined(home, where, dedent(code))
    assert lines[:2] == ["True []", "[0, 0, 0, 0, 0, 0]"]
    assert lines[2] == "[]"
    assert lines[3:] == ["EPERM EPERM EPERM", "EAGAIN"]


def test_a_closed_library_is_read_and_nothing_else_of_its_folder(home: Path, closed: Path) -> None:
    needs(home, "no namespaces", "uid", "landlock")
    code = f"""
    closed = Path({str(closed)!r})
    print(refused(open, closed / "secret"), refused(open, closed / "library" / "module.py", "w"))
    print(open(closed / "library" / "module.py").read())
    cat = ["/bin/cat", closed / "library" / "module.py"]
    print(subprocess.run(cat, capture_output=True, text=True).stdout)
    """
    lines = confined(home, "no namespaces", dedent(code), str(closed / "library"))
    assert lines == ["EACCES EACCES", "VALUE = 7", "VALUE = 7"]


@pytest.fixture
def closed() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="aimo-closed-"))
    (folder / "library").mkdir()
    (folder / "library" / "module.py").write_text("VALUE = 7")
    (folder / "secret").write_text("42")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("where", ["all layers", "no uid", "uid alone", KAGGLE, "ordinary user"])
def test_a_setuid_program_gains_nothing(home: Path, where: str) -> None:
    if not ROOT:
        pytest.skip("needs root: only it can make a setuid program")
    tool = Path("/usr/local/bin", home.name)  # where Landlock lets a block execute
    shutil.copy("/usr/bin/id", tool)
    tool.chmod(0o4755)
    code = f"""
    print(os.getuid())
    print(subprocess.run([{str(tool)!r}, "-u"], capture_output=True, text=True).stdout.strip())
    """
    try:
        before, after = confined(home, where, dedent(code))
    finally:
        tool.unlink()
    assert before == after


@pytest.mark.parametrize("where", ["all layers", "ordinary user"])
def test_namespaces_hide_the_processes_and_bound_the_files(home: Path, where: str) -> None:
    needs(home, where, "namespaces")
    code = """
    print(os.getpid(), os.getppid())
    def fill():
        with open("big", "wb") as big:
            for _ in range(64):
                big.write(bytes(2**20))
    print(refused(fill), oct(os.stat(".").st_mode & 0o777))
    print(refused(os.kill, -1, 0) != "allowed" or os.getpid() != 1)
    """
    assert confined(home, where, dedent(code)) == ["2 1", "ENOSPC 0o700", "True"]
    assert not any(home.iterdir())


@pytest.mark.parametrize("where", ["seccomp alone", "ABI 3", "ordinary user", KAGGLE])
def test_the_kit_cannot_be_signalled(home: Path, where: str) -> None:
    # Without a user of its own, before Landlock's sixth version, a block in namespaces reaches
    # its warden, which is not the kit.
    needs(home, where, "seccomp", *(["uid"] if where == "ABI 3" else []))
    code = """
    print(refused(os.kill, os.getppid(), 0))
    print(refused(os.kill, os.getpid(), 0), refused(os.kill, 0, 0))
    """
    assert confined(home, where, dedent(code)) == ["EPERM", "allowed allowed"]


def test_the_filter_alone_closes_every_way_to_signal(home: Path) -> None:
    needs(home, "seccomp alone", "seccomp")
    code = """
    import fcntl
    kit = os.getppid()
    print(refused(os.kill, -1, 0), refused(os.kill, -kit, 0))
    print(refused(signal.pidfd_send_signal, os.pidfd_open(kit), 0))
    print(refused(fcntl.fcntl, 0, fcntl.F_SETOWN, kit))
    print(refused(linux.syscall, 200, kit, 0), refused(linux.syscall, 234, kit, kit, 0))
    """
    lines = confined(home, "seccomp alone", dedent(code))
    assert set(" ".join(lines).split()) == {"EPERM"}


@pytest.mark.parametrize("where", ["seccomp alone", "no uid", "all layers", KAGGLE])
def test_no_unix_socket_of_others_can_be_reached(home: Path, where: str) -> None:
    """By an abstract name, or by a path: neither namespaces nor Landlock close the latter."""
    needs(home, where, "seccomp")
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        abstract.bind(f"\0{home.name}")
        path = home.with_name(home.name + ".sock")
        named.bind(str(path))
        path.chmod(0o700)
        abstract.listen()
        named.listen()
        code = f"""
        def reach(address):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(address)
        print(refused(reach, {chr(0) + home.name!r}), refused(reach, {str(path)!r}))
        """
        lines = confined(home, where, dedent(code))
        path.unlink()
    assert "allowed" not in lines[0]


def test_a_pair_of_sockets_sends_to_no_address(home: Path) -> None:
    """A datagram socket may, connected or not, and seccomp cannot see the address."""
    needs(home, "seccomp alone", "seccomp")
    code = """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        print(refused(socket.socketpair, socket.AF_UNIX, kind))
    """
    assert confined(home, "seccomp alone", dedent(code)) == ["EACCES", "EACCES"]


def test_the_layers_cost_a_block_little(home: Path) -> None:
    """Measured 0.5 ms; rules or a filter built anew for every block would cost ten times that."""
    lines = confined(home, "all layers", "print(taken_s)")
    assert float(lines[0]) < 0.01


def test_a_layer_left_out_is_off_with_the_reason() -> None:
    found = layers.detect(UID, ["uid", "namespaces", "landlock", "seccomp"])
    assert [state for _, state, _ in layers.rows(found)] == ["off"] * 4
    assert set(found.reasons) == set(layers.NAMES)
    assert found.filter() is None


def test_the_filter_guards_signals_where_nothing_else_does() -> None:
    alone = layers.detect(UID, ["uid", "namespaces", "landlock"]).filter()
    assert alone is None or alone.guard_signals


def test_an_older_kernel_can_be_acted() -> None:
    assert layers.detect(UID, ["landlock>2", "uid", "namespaces"]).landlock in (0, 2)


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(UserError, match='no layer "apparmor"'):
        layers.detect(UID, ["apparmor"])


def test_seccomp_names_the_machine_it_is_written_for() -> None:
    if platform.machine() == "x86_64":
        pytest.skip("this is such a machine")
    assert "x86-64" in layers.detect(UID).reasons["seccomp"]
