"""Runs hostile cases where nothing real can be lost, and writes down what came back.

`record` starts `contain` in PID, mount and IPC namespaces of its own where it may; as root that
lays throw-away overlays over what must not be written and gives up what the surroundings lack.
It starts `drive`, which holds the secrets, serves on the network and runs the cases. A case that
ends the kit is written down as such, and the kit is started again for the rest.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aimo_submit
from aimo_submit.records import Execution, Scope
from aimo_submit.sandbox.client.fork_server import ForkServer
from tests import ROOT
from tests.sandbox import hostile
from tests.sandbox.hostile import Case, Step

WORKERS = 6  # one for another sample's live session, one for the case's own
QUIET_S = 90.0  # for what a block left to be gone: a slow disk takes so long for 20,000 folders
STUCK_S = 180.0  # without a result the kit counts as dead
SETTLE_S = 1.0  # before what is there is counted
PEACE_S = 30.0  # for a block that does nothing
DOCKER = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)  # the capabilities of its default set
PR_CAPBSET_DROP, CAPABILITIES = 24, 64
USER = 1000
LEAKS = "leaks"
SPACES = ("--pid", "--mount", "--ipc", "--fork", "--mount-proc", "--kill-child")
WRAPS = (
    ["unshare", *SPACES],
    ["unshare", "--map-root-user", *SPACES],  # until /dev/shm is laid; the kit is the user again
)
ENVIRONMENT = {"KAGGLE_KEY": "SECRET-ENV-4242", "HF_TOKEN": "SECRET-ENV-4343"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the kit may do on the machine it is on."""

    name: str
    without: tuple[str, ...] = ()
    docker: bool = False  # only the capabilities of Docker's default set
    user: bool = False  # not root
    own: bool = False  # as whoever runs the tests


SURROUNDINGS = (
    Surroundings("root"),
    Surroundings("docker", ("namespaces",), docker=True),
    Surroundings("kaggle", ("namespaces", "landlock>3"), docker=True),
    Surroundings("user", ("namespaces",), user=True),
    Surroundings("user's own", user=True, own=True),
)


# Outside


def wrap() -> list[str]:
    """The command that gives namespaces of its own; empty where none may be had."""
    for command in WRAPS:
        with suppress(OSError):
            if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
                return command
    return []


def obstacle(where: Surroundings) -> str:
    """Why these surroundings cannot be made here; empty if they can."""
    if not where.user and os.geteuid() != 0:
        return "needs root"
    if where.own and os.geteuid() == 0:
        return "needs an ordinary user"
    if where.user and os.geteuid() == 0 and closed_places() and not wrap():
        return f"needs an interpreter that other users can read, not below {closed_places()}"
    return ""


def closed_places() -> set[Path]:
    """The folders that keep other users from the interpreter or from our sources."""
    ours = {Path(sys.executable).absolute(), Path(sys.executable).resolve(), Path(__file__)}
    return {place for path in ours for place in path.parents if not place.stat().st_mode & 0o001}


def record(where: Surroundings, names: list[str], limit_s: float) -> dict[str, dict[str, Any]]:
    """What came back, by the name of the case; the tail of the log under "log"."""
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))  # not pytest's, which is closed to others
    folder.chmod(0o755)
    plan = {"surroundings": dataclasses.asdict(where), "cases": names}
    (folder / "plan.json").write_text(json.dumps(plan))
    driver = ("-m", "tests.sandbox.hostile_driver")
    command = [*wrap(), sys.executable, *driver, "contain", str(folder)]
    try:
        with (folder / "log").open("wb") as log, suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command, cwd=ROOT, env=_environment(), stdout=log, stderr=log, timeout=limit_s
            )
        return _results(folder) | {"log": {"text": (folder / "log").read_text()[-4000:]}}
    finally:
        _shm(folder).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    paths = [str(Path(aimo_submit.__file__).parents[1]), str(ROOT)]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    """The last line on each case: that it was begun, or what came back."""
    path = folder / "results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {seen["name"]: seen for seen in map(json.loads, lines)}


# Between: as root where possible, the first process of its namespace


def contain(folder: Path) -> None:
    """Starts the kit as often as it takes for every case to have its result."""
    plan = json.loads((folder / "plan.json").read_text())
    where = Surroundings(**plan["surroundings"])
    lent = _uid_map()[1] != "0"  # root's name, and not its power
    if os.getpid() == 1 and os.geteuid() == 0:
        _lay_overlays(folder, open_up=where.docker or where.user, all_of_them=not lent)
    drop = where.user and os.geteuid() == 0 and not lent
    for name in ("results.jsonl", "left.json"):
        (folder / name).touch()
    _make_scene(folder, (USER, USER) if drop else (os.geteuid(), os.getegid()))
    while left := [name for name in plan["cases"] if name not in _results(folder)]:
        reason = _drive_once(folder, where, left, drop)
        begun = [name for name, seen in _results(folder).items() if "begun" in seen]
        for name in begun or ([] if reason == "0" else left):
            _write(folder, {"name": name, "died": reason, "steps": [], "left": []})
        if reason == "0" and not begun:
            break


def _uid_map() -> list[str]:
    """The first user of this namespace, the user that it is outside, and how many there are."""
    return Path("/proc/self/uid_map").read_text().split()[:3]


def _drive_once(folder: Path, where: Surroundings, left: list[str], drop: bool) -> str:
    (folder / "left.json").write_text(json.dumps(left))
    inside, outside, _ = _uid_map()
    again = ["unshare", f"--map-user={outside}", f"--map-group={outside}"]
    kit = subprocess.Popen(
        [
            *(again if inside != outside else []),
            *(sys.executable, "-m", "tests.sandbox.hostile_driver", "drive", str(folder)),
        ],
        env=dict(os.environ) | ENVIRONMENT | _folders(folder),
        preexec_fn=_drop_capabilities if where.docker else None,
        **({"user": USER, "group": USER, "extra_groups": []} if drop else {}),
    )
    status = _wait(kit.pid, folder / "results.jsonl")
    if os.getpid() == 1:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with suppress(ChildProcessError):
            while True:
                os.wait()
    if status != "0":  # what a kit that died could not remove is nobody's fault
        roots = (folder / "tmp").glob("aimo-*")
        subprocess.run(["rm", "-rf", *map(str, roots)], check=False)
    return status


def _wait(kit: int, results: Path) -> str:
    """How the kit ended, as a text; ends it when nothing comes any more."""
    size, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)  # orphans of others too, as process 1 must
        if ended == kit:
            return str(os.waitstatus_to_exitcode(status))
        if ended:
            continue
        now = results.stat().st_size if results.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > STUCK_S:
            os.kill(kit, signal.SIGKILL)
            os.waitpid(kit, 0)
            return f"nothing came for {STUCK_S} s"
        time.sleep(0.05)


def _drop_capabilities() -> None:
    prctl = ctypes.CDLL(None).prctl
    for capability in set(range(CAPABILITIES)) - set(DOCKER):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def _lay_overlays(folder: Path, *, open_up: bool, all_of_them: bool) -> None:
    """What is written under these folders is gone afterwards; the way to ours may be opened.

    Not under /run: the leases of uids there are for the whole machine, and whoever leases a range
    ends all that runs under it.
    Without `all_of_them` it is /dev/shm alone, where others on the machine leave their files.
    """
    scratch = folder / "overlays"
    scratch.mkdir()
    for place in (str(scratch), "/dev/shm"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    Path("/dev/shm").chmod(0o1777)
    if not all_of_them:
        return
    mounted = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    tops = {top for top in Path("/").iterdir() if top.is_dir() and not top.is_symlink()}
    safe = {top for top in tops if not any(place.is_relative_to(top) for place in mounted)}
    closed = closed_places()
    ours = {*closed, Path(sysconfig.get_paths()["purelib"])}
    places = (safe - {Path("/tmp"), Path("/run")}) | ours
    for number, place in enumerate(sorted(places)):
        _overlay(place, scratch / str(number))
    for place in closed if open_up else ():
        place.chmod(place.stat().st_mode | 0o011)


def _overlay(place: Path, scratch: Path) -> None:
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    options = f"lowerdir={place},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(place)])


def _folders(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}


def _make_scene(folder: Path, owner: tuple[int, int]) -> None:
    """The folders of the kit, all readable by everybody: nothing but the sandbox closes them."""
    _make_files(folder)
    (folder / "tmp").chmod(0o1777)
    for path in (folder, *folder.rglob("*"), _shm(folder)):
        if "overlays" not in path.parts:
            os.chown(path, *owner)


def _make_files(folder: Path) -> None:
    os.umask(0o022)
    secret = "SECRET-" + "FILE-4242"
    _shm(folder).write_text("SECRET-" + "SHM-4242")
    _shm(folder).chmod(0o600)  # as engines make theirs
    for name, text in {
        "kit/kit_module.py": f'ANSWERS = "{secret}"\n',
        "kit/answers.csv": f"id,answer\n1,{secret}\n",
        "kit/sub/deep.txt": secret,
        "input/answers.csv": f"id,answer\n1,{secret}\n",
        "home/notes.txt": secret,
        "home/.kaggle/kaggle.json": f'{{"key": "{secret}"}}',
        "tmp/canary1": secret,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _shm(folder: Path) -> Path:
    return Path("/dev/shm", folder.name)


# Inside: the kit


def _write(folder: Path, seen: dict[str, Any]) -> None:
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(seen) + "\n")


def drive(folder: Path) -> None:
    """Runs the cases that are left and writes a line for each."""
    held = {"answer": "-".join(("SECRET", "MEMORY", "4242"))}  # for a block to find
    left = json.loads((folder / "left.json").read_text())
    where = Surroundings(**json.loads((folder / "plan.json").read_text())["surroundings"])
    with serving(folder) as ports:
        asyncio.run(_drive(Scene(folder, ports), where, left))
    del held


async def _drive(scene: Scene, where: Surroundings, left: list[str]) -> None:
    cases = {case.name: case for case in (*hostile.given(), *hostile.OURS)}
    async with ForkServer(WORKERS, without=where.without) as server:
        _write(scene.folder, {"name": "layers", "rows": await server.layers()})
        kit = Kit(server, scene)
        await kit.settle()
        together = [cases[name] for name in left if name in cases and not cases[name].alone]
        for start in range(0, len(together), WORKERS - 1):
            await kit.run_together(together[start : start + WORKERS - 1])
        for name in left:
            if name in cases and cases[name].alone:
                await kit.run_together([cases[name]])
        if LEAKS in left:
            _write(scene.folder, {"name": LEAKS, **await kit.leaks()})
        await kit.close_neighbour()
    _write(scene.folder, {"name": "closed", "left": [*scene.homes(), *map(str, descendants())]})


class Scene:
    """The folders and servers of the kit, and what changed in them."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder = folder
        self.shm = _shm(folder)
        package = Path(aimo_submit.__file__).parent
        files = sorted(str(path.relative_to(package)) for path in package.rglob("*"))
        assert {"data", "competition.py"} <= set(files)
        self.places = {
            **{place.upper(): str(folder / place) for place in ("kit", "input", "home", "tmp")},
            **{name: str(port) for name, port in ports.items()},
            "PACKAGE": str(package),
            "FILES": repr(files),
            "PARENT": str(os.getpid()),
            "SHM": str(self.shm),
        }
        self.before = self.files()
        self.leavings = self.left_behind()

    def fill_in(self, code: str, more: dict[str, str]) -> str:
        """The code with its placeholders filled in."""
        for name, value in (self.places | more).items():
            code = code.replace("{" + name + "}", value)
        return code

    def files(self) -> dict[str, str]:
        """Every file of the kit: what it is, its mode and a digest of what it holds."""
        roots = [self.folder / name for name in ("kit", "input", "home")]
        paths = [path for root in roots for path in (root, *root.rglob("*"))]
        paths += [p for p in (self.folder / "tmp").glob("*") if not p.name.startswith("aimo-")]
        return {str(path): _digest(path) for path in (*paths, self.shm)}

    def changes(self) -> list[str]:
        """What is not as it was."""
        now = self.files()
        changed = sorted(
            p for p in now.keys() | self.before.keys() if now.get(p) != self.before.get(p)
        )
        return [f"changed: {path}" for path in changed]

    def homes(self) -> list[str]:
        """What lies in the sandbox's own folders, two levels of it."""
        found: list[str] = []
        for pattern in ("aimo-*/*", "aimo-*/*/*"):
            found += [str(path) for path in (self.folder / "tmp").glob(pattern)]
        return found

    def left_behind(self) -> set[str]:
        """What outlives processes elsewhere: shared memory of both kinds, odd files.

        Nothing where others share them: they come and go as they please.
        """
        if not alone():
            return set()
        found = {f"/dev/shm/{name}" for name in os.listdir("/dev/shm")}  # noqa: PTH208
        for kind in ("shm", "sem", "msg"):
            lines = Path("/proc/sysvipc", kind).read_text().splitlines()[1:]
            found |= {f"{kind} {line.split()[1]}" for line in lines}
        return found


def _digest(path: Path) -> str:
    try:
        state = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        return repr(error)
    return f"{state.st_mode:o} {state.st_uid} {hashlib.sha256(data).hexdigest()}"


class Kit:
    """The sandbox under test, another sample's live session in it, and how it was in peace."""

    def __init__(self, server: ForkServer, scene: Scene) -> None:
        self.server, self.scene = server, scene
        self.peace: set[str] = set()

    async def settle(self) -> None:
        """Fills every worker and opens the other sample's session."""
        self.neighbour = self.server.session(Scope.LIVE)
        code = "import os\nmine = 'kept'\nopen('own.txt', 'w').write('NEIGHBOUR-FILE')\nos.getcwd()"
        self.neighbour_home = (await self.neighbour.run(code, 20)).output.strip().strip("'")
        await self._broken()
        self._note_peace()

    def _note_peace(self) -> None:
        self.peace = set(self.scene.homes())
        self.nice = os.getpriority(os.PRIO_PROCESS, 0)
        self.workers = len(self.server.wardens)
        # The other sample's interpreter leaves one dead process, its former self, at a time.
        self.quiet = sum(not text.startswith("Z") for text in processes().values()) - self.workers
        self.scene.before = self.scene.files()
        self.scene.leavings = self.scene.left_behind()

    async def close_neighbour(self) -> None:
        """Ends the other sample's session."""
        await self.neighbour.aclose()

    async def run_together(self, cases: list[Case]) -> None:
        """Runs the cases side by side and writes down what came back and what was left."""
        for case in cases:
            _write(self.scene.folder, {"name": case.name, "begun": True})
        steps = await asyncio.gather(*map(self._run, cases))
        left = await self._left()
        for case, seen in zip(cases, steps, strict=True):
            _write(self.scene.folder, {"name": case.name, "steps": seen, "left": left})

    async def _run(self, case: Case) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        earlier: list[str] = []
        async with self._runner(case, earlier) as run:
            for step in case.steps:
                code = self.scene.fill_in(step.code, self._places())
                await asyncio.sleep(step.pause_s)
                start = time.monotonic()
                execution = await run(code, step.limit_s * step.patience)
                call_s = time.monotonic() - start
                seen.append({**dataclasses.asdict(execution), "call_s": call_s})
                earlier.append(code)
        return seen

    @asynccontextmanager
    async def _runner(self, case: Case, earlier: list[str]) -> AsyncIterator[Any]:
        if case.scope == "replay":
            yield lambda code, limit_s: self.server.run(code, limit_s, tuple(earlier))
        elif case.scope == "fresh":
            yield self.server.run
        else:
            session = self.server.session(Scope.LIVE)
            try:
                yield session.run
            finally:
                await session.aclose()

    def _places(self) -> dict[str, str]:
        roots = sorted((self.scene.folder / "tmp").glob("aimo-*"))
        pids = {os.getpid(), os.getppid(), *descendants()} - {0}
        return {
            "ROOT": str(roots[-1]) if roots else str(self.scene.folder / "tmp"),
            "NEIGHBOUR_HOME": self.neighbour_home,
            "PIDS": "{" + ", ".join(map(str, sorted(pids))) + "}",
        }

    async def _left(self) -> list[str]:
        """What the cases left or broke, given a moment; empty if all is as before."""
        left = await self._broken()
        until, pause = time.monotonic() + QUIET_S, 0.02
        while (now := self._traces()) and time.monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(1.0, 1.5 * pause)  # a look takes the time of those who tidy up
        if now:
            _make_files(self.scene.folder)
            self._note_peace()
        return left + now

    async def _broken(self) -> list[str]:
        left = [
            f"next block: {seen}" for seen in await self._fill_workers() if seen.output != "42 []\n"
        ]
        code = "print(mine, open('own.txt').read(), __import__('os').listdir('.'))"
        seen = await self.neighbour.run(code, PEACE_S)
        if seen.output != "kept NEIGHBOUR-FILE ['own.txt']\n":
            left.append(f"the other sample's session: {seen}")
            await self.close_neighbour()
            await self.settle()
        return left

    async def _fill_workers(self) -> list[Execution]:
        code = "import os, time\ntime.sleep(0.02)\nprint(6 * 7, os.listdir('.'))"
        runs = [self.server.run(code, PEACE_S) for _ in range(WORKERS - 1)]
        return list(await asyncio.gather(*runs))

    def _traces(self) -> list[str]:
        homes, workers = self.scene.homes(), len(self.server.wardens)
        new = [path for path in homes if path not in self.peace]
        inside = [path for path in new if path.count("/") > str(self.scene.folder).count("/") + 3]
        found = [f"file {path}" for path in inside]
        if len(homes) - len(inside) - workers > len(self.peace) - self.workers:
            found.append(f"{len(homes)} folders for {workers} workers: {new}")
        now = sorted(processes().values())
        dead = [text for text in now if text.startswith("Z")]
        if len(now) - len(dead) - workers > self.quiet or len(dead) > 1:
            found.append(f"{len(now)} processes, not {self.quiet + workers}: {now[:20]}")
        found += sorted(self.scene.left_behind() - self.scene.leavings)
        if (nice := os.getpriority(os.PRIO_PROCESS, 0)) != self.nice:
            found.append(f"the kit's priority is {nice}")
        return found[:5] + self.scene.changes()

    async def leaks(self) -> dict[str, Any]:
        """What three hundred blocks of every kind leave: descriptors, processes, files."""
        await self._mixed(30)
        await asyncio.sleep(SETTLE_S)
        before = self._counts()
        await self._mixed(300)
        await asyncio.sleep(SETTLE_S)
        until = time.monotonic() + QUIET_S
        while grown(before, after := self._counts()) and time.monotonic() < until:
            await asyncio.sleep(0.1)
        return {"grown": grown(before, after), "broken": await self._broken()}

    def _counts(self) -> dict[str, int]:
        wardens = self.server.wardens
        zombies = [text for text in processes().values() if text.startswith("Z")]
        return {  # of what there is for every worker, without the workers themselves
            "descriptors of the kit": _open_files(os.getpid()) - len(wardens),
            "descriptors of the fork server": _open_files(self.server.pid),
            "descriptors of a warden": max(map(_open_files, wardens)),
            "processes": len(processes()) - len(zombies) - len(wardens),
            "zombies": max(1, len(zombies)),  # the other sample's former interpreter
            "files": len(self.scene.homes()) - len(wardens),
        }

    async def _mixed(self, blocks: int) -> None:
        rng = random.Random(blocks)
        for _ in range(blocks // 10):
            kinds = [rng.choice(KINDS) for _ in range(10)]
            await asyncio.gather(*(self._one(kind) for kind in kinds))
        await self._fill_workers()

    async def _one(self, kind: Step | str) -> None:
        if isinstance(kind, Step):
            await self.server.run(kind.code, kind.limit_s)
        elif kind == "cancelled":
            with suppress(TimeoutError):
                run = self.server.run("import os, time\nos.fork()\ntime.sleep(9)", 9)
                await asyncio.wait_for(run, random.uniform(0.01, 0.1))
        else:
            session = self.server.session(Scope.LIVE)
            for code in ("x = 1\nopen('f', 'w').close()", "while True: pass", "x"):
                await session.run(code, 0.2)
            await session.aclose()


KINDS: tuple[Step | str, ...] = (
    Step("print(6 * 7)"),
    Step("1 / 0"),
    Step("import os, time\nfor _ in range(3): os.fork()\ntime.sleep(9)", limit_s=0.2),
    Step("import os\nos.kill(os.getpid(), 9)"),
    Step("import os\nopen('f', 'w').close()\nif os.fork() == 0:\n    os.setsid()\n    os.pause()"),
    "cancelled",
    "live",
)


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """What there is more of than before."""
    return {what: (before[what], n) for what, n in after.items() if n > before[what]}


def alone() -> bool:
    """Whether the namespaces around this process are its own."""
    return os.getppid() == 1


def descendants() -> set[int]:
    """The processes of the sandbox."""
    return set(processes())


def processes() -> dict[int, str]:
    """State, parent, user and command of every process below this one.

    In a namespace of our own that is all there is but process 1, orphans too.
    """
    everything = _everything()
    if alone():
        return everything
    found: set[int] = set()
    new = {os.getpid()}
    while new:
        new = {pid for pid, text in everything.items() if int(text.split()[1]) in new} - found
        found |= new
    return {pid: everything[pid] for pid in found}


def _everything() -> dict[int, str]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name not in ("1", str(os.getpid())):
            with suppress(OSError):
                _, _, rest = (entry / "stat").read_text().rpartition(")")
                state, parent = rest.split()[:2]
                name = (entry / "comm").read_text().strip()
                found[int(entry.name)] = f"{state} {parent} {entry.stat().st_uid} {name}"
    return found


def _open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    except OSError:  # ours no more, or gone
        return 0


@contextmanager
def serving(folder: Path) -> Iterator[dict[str, int]]:
    """The kit's servers, each answering a secret; their ports."""
    kinds: dict[str, tuple[int, int, Any, bytes]] = {
        "PORT": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), b"NET-1"),
        "PORT6": (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0), b"NET-6"),
        "UDP": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0), b"UDP-1"),
        "ABSTRACT": (socket.AF_UNIX, socket.SOCK_STREAM, "\0kit-abstract", b"UNIX-1"),
        "PATH": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "tmp" / "kit.sock"), b"UNIX-2"),
        "DGRAM": (socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "tmp" / "kit.dgram"), b"UNIX-3"),
    }
    ports = {}
    with ExitStack() as stack:
        for name, (family, kind, address, secret) in kinds.items():
            ports[name] = 9
            with suppress(OSError):  # no IPv6 here
                server = stack.enter_context(_bound(family, kind, address))
                ports[name] = server.getsockname()[1] if family != socket.AF_UNIX else 0
                answer = b"SECRET-" + secret
                threading.Thread(target=_answer, args=(server, answer), daemon=True).start()
        yield ports


def _bound(family: int, kind: int, address: Any) -> socket.socket:
    server = socket.socket(family, kind)
    if isinstance(address, str) and not address.startswith("\0"):
        Path(address).unlink(missing_ok=True)
    server.bind(address)
    if isinstance(address, str) and not address.startswith("\0"):
        Path(address).chmod(0o777)
    if kind == socket.SOCK_STREAM:
        server.listen()
    return server


def _answer(server: socket.socket, secret: bytes) -> None:
    while server.fileno() != -1:
        with suppress(OSError):  # a caller without an address, or one that is gone
            if server.type == socket.SOCK_DGRAM:
                server.sendto(secret, server.recvfrom(99)[1] or "nobody")
                continue
            with server.accept()[0] as caller:
                caller.sendall(secret)


if __name__ == "__main__":
    {"contain": contain, "drive": drive}[sys.argv[1]](Path(sys.argv[2]))
