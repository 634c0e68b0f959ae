"""Do the engines give the same results, byte for byte, also when a worker, a machine or the command is killed?

Runs tasks on miniature corpora for two upstreams with one local process, then with Ray on a cluster of two nodes of two CPUs:
undisturbed, and with SIGKILL of an actor, of a node, and of the command (which is then repeated) at random moments. Every
result must equal that of the local process (timings aside). With `--engine slurm`, tasks are those of submitit's `local`
executor, of which one is killed, or the command; a run that fails then is repeated.

    python benchmarks/engines.py --rounds 3
    python benchmarks/engines.py --tasks ks,pr,sid --steps 10 --store-per-node
    python benchmarks/engines.py --engine slurm
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kills import differing, record_of

from superbench import plugins
from superbench.data.synthesis import synthesize
from superbench.results import find_results
from superbench.system.progress import Silence

UPSTREAMS = ("apc:untrained", "fbank")
TARGETS = {"ray": ("nothing", "actor", "node", "command"), "slurm": ("nothing", "task", "command")}
PROCESSES = {"actor": b"ray::Actor", "task": b"submitit.core._submit"}
"""What the command line of a worker contains, by target."""
CPUS = 2


def results(root: Path) -> dict[str, Any]:
    """Returns every result without its times, with the bytes of its predictions, by `upstream/task`."""
    found = {f"{folder.parent.name}/{folder.name}": record_of(folder) for folder in find_results(root / "out")}
    for record in found.values():
        del record["environment"]["outputs"]  # names of files, one for each store
    return found


class Run:
    """A command in a process group of its own."""

    def __init__(self, data: Path, root: Path, tasks: str, steps: int, *more: str) -> None:
        places = ["--data", str(data), "--out", str(root / "out"), "--max-steps", str(steps), "--device", "cpu"]
        command = [sys.executable, "-m", "superbench", "run", *UPSTREAMS, "--tasks", tasks, *places, *more]
        self.log = (root / "log.txt").open("a")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)

    def wait(self, seconds: float | None = None, *, may_fail: bool = False) -> bool:
        """Waits for the end, at most so long; returns whether the command has ended. Raises `SystemExit` if it failed; with
        `may_fail`, it has then not ended."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self.log.close()
        if status and may_fail:
            return False
        if status:
            sys.exit(f"a run failed: {Path(self.log.name).read_text()[-2000:]}")
        return True

    def kill(self) -> None:
        """Kills the command without warning."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


def kill_worker(target: str) -> None:
    """Kills the process of one worker."""
    commands = {path.name: path / "cmdline" for path in Path("/proc").glob("[0-9]*")}
    workers = []
    for number, command in commands.items():
        try:
            workers += [int(number)] if PROCESSES[target] in command.read_bytes().replace(b"\0", b" ") else []
        except OSError:  # it has ended
            continue
    if workers:
        os.kill(random.choice(workers), signal.SIGKILL)


def cluster(folder: Path, per_node: bool) -> Any:
    """Returns a Ray cluster of two nodes; with `per_node`, each has a cache folder of its own."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args=node(folder / "first", per_node))
    nodes.add_node(**node(folder / "second", per_node))
    nodes.wait_for_nodes()
    return nodes


def node(cache: Path, per_node: bool) -> dict[str, Any]:
    """Returns the arguments of a node."""
    environment = {"XDG_CACHE_HOME": str(cache)} if per_node else {}
    return {"num_cpus": CPUS, "include_dashboard": False, "env_vars": environment}


def disturbed(start: Callable[[], Run], nodes: Any, target: str, moment: float) -> bool:
    """Runs to the end, with one kill after `moment` seconds; returns whether the kill came before the end."""
    run = start()
    if target == "nothing" or run.wait(moment):
        run.wait()
        return False
    if target in PROCESSES:
        kill_worker(target)
    elif target == "node":
        nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
    else:
        run.kill()
    if target == "command" or not run.wait(may_fail=target == "task"):
        start().wait()
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(plugins.tasks()), help="tasks, by default all")
    parser.add_argument("--steps", type=int, default=20, help="updates of each head")
    parser.add_argument("--engine", choices=TARGETS, default="ray")
    parser.add_argument("--data", type=Path, help="folder of existing miniature corpora")
    parser.add_argument("--rounds", type=int, default=1, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store-per-node", action="store_true", help="as if the nodes shared no file system")
    options = parser.parse_args(arguments)
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="superbench-engines-") as temporary:
        root = Path(temporary)
        options.data = options.data or root / "data"
        if not options.data.is_dir():
            synthesize(options.data, 0, options.tasks.split(","), Silence())
        (root / "local").mkdir()
        local = ("--workers", "1", "--store", str(root / "local/store"))
        Run(options.data, root / "local", options.tasks, options.steps, *local).wait()
        expected = results(root / "local")
        assert len(expected) == len(UPSTREAMS) * len(options.tasks.split(",")), "the local run failed"
        compare(root, options, expected)


def compare(root: Path, options: argparse.Namespace, expected: dict[str, Any]) -> None:
    """Runs with the engine, and compares each result."""
    kills, took = 0, 0.0
    targets = TARGETS[options.engine]
    for number, target in enumerate([targets[0], *targets[1:] * options.rounds]):
        folder = root / f"round{number}"
        folder.mkdir()
        began, nodes = time.monotonic(), cluster(folder, options.store_per_node) if options.engine == "ray" else None
        store = ("--store-per-node",) if options.store_per_node else ("--store", str(folder / "store"))
        where = ("--slurm", "cluster=local") if nodes is None else ("--address", nodes.address)
        more = ("--engine", options.engine, *where, *store)

        def start(folder: Path = folder, more: tuple[str, ...] = more) -> Run:
            return Run(options.data, folder, options.tasks, options.steps, *more)

        try:
            hit = disturbed(start, nodes, target, took * random.uniform(0.2, 0.8))
        finally:
            if nodes is not None:
                nodes.shutdown()
        took, kills = took or time.monotonic() - began, kills + hit
        unlike = differing(results(folder), expected)
        assert not unlike, f"{target} killed: {', '.join(unlike)} differ"
        print(f"{target} killed: equal after {time.monotonic() - began:.0f} s{'' if hit else ' (not disturbed)'}", flush=True)
    print(f"{kills} kills, {len(expected)} results a run: every result equals that of one local process")


if __name__ == "__main__":
    sys.exit(main())
