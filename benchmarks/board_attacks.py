"""What does a hostile submitter get from a board?

One attack for each kind that a guest of a board may try, on each storage that it concerns, through the command line and HTTP
only; prints a line for each: what it attacks, the attack, the storage, and what happened. `--superbench` is the command that is
attacked, so that the same attacks can be tried on another version. PostgreSQL is tried where `--postgresql` gives the address
of an empty database; it is used for one attack after the other.

    python benchmarks/board_attacks.py
    python benchmarks/board_attacks.py --only name --superbench "python -m superbench"
"""

from __future__ import annotations

import argparse
import copy
import gzip
import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_guest import Guest, served
from server import START, results

from superbench.plugins import task

Record = dict[str, Any]
KS = "ks/result.json"
LINES = "ks/predictions.jsonl.gz"


# ---------------------------------------------------------------- bundles


def zipped(files: dict[str, bytes]) -> bytes:
    """A bundle of these files, with a manifest that fits."""
    manifest = {
        "schema": 1, "superbench": "0.1.0", "upstream": json.loads(files[KS])["upstream"]["name"], "withheld": [],
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }  # fmt: skip
    return archive({"manifest.json": json.dumps(manifest).encode(), **files})


def archive(files: dict[str, bytes]) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return buffer.getvalue()


@dataclass(frozen=True)
class Forger:
    """Makes bundles from the files of an honest one."""

    record: Record
    lines: bytes

    def named(self, name: str, change: Callable[[Record], object] = lambda record: None, lines: bytes | None = None) -> bytes:
        """The bundle of `name` with `change` made to its record."""
        record = copy.deepcopy(self.record)
        record["upstream"] |= {"name": name, "revision": name[:100]}
        record["environment"].pop("seal", None)
        change(record)
        return zipped({KS: json.dumps(record).encode(), LINES: self.lines if lines is None else lines})

    def grouped(self, count: int) -> bytes:
        """Predictions whose first item has `count` groups."""
        first, *rest = gzip.decompress(self.lines).decode().splitlines()
        line = json.loads(first) | {"group": [f"g{n}" for n in range(count)]}
        return gzip.compress("\n".join([json.dumps(line), *rest, ""]).encode())


def forger(root: Path) -> Forger:
    """From results as a run would write them, with a few speakers."""
    place = results(root, "honest", 0.6, speakers=8)
    return Forger(bare(json.loads((place / KS).read_text())), (place / LINES).read_bytes())


def bare(value: Any) -> Any:
    """A record without fields that say nothing: an earlier version may not know them."""
    if not isinstance(value, dict):
        return value
    return {key: bare(inner) for key, inner in value.items() if inner not in (None, "", [], {})}


def settings(record: Record, count: int) -> None:
    """Receipts, each with a setting of its own."""
    record["sweep"] += [record["sweep"][0] | {"seed": 1 + n, "setting": {f"setting {n}": n}} for n in range(count)]


def seeds(record: Record) -> None:
    """Five seeds in place of the recipe's, which no deviation lists, and the third of them chosen."""
    record["sweep"] = [row | {"seed": seed} for seed in range(1, 6) for row in record["sweep"]]
    for chosen in record["chosen"].values():
        chosen["seed"] = 3


def small(record: Record) -> None:
    """Miniature corpora under the official protocol, with the receipts of its sweep."""
    rates = task("ks").card.recipes["superb"].learning_rates
    record["task"]["protocol"] = "superb"
    record["sweep"] = [record["sweep"][0] | {"lr": rate, "dev": 50.0 - place} for place, rate in enumerate(rates)]
    record["chosen"]["all"]["lr"] = rates[0]
    record["data"]["passport"] = {"miniature": "seed 0"}


FORGED: dict[str, tuple[str, str, Callable[[Record], object]]] = {
    "ragged layer weights": ("1 drawing", "odd", lambda r: r.update(layer_weights={"a": [1.0], "b": [0.5, 0.5]})),
    "weights of 1e308": ("1 drawing", "odd", lambda r: r.update(layer_weights={"all": [1e308, 1e308]})),
    "a spec of nobody's folder": ("1 drawing", "odd", lambda r: r["environment"].update(spec="x@~nosuchuser")),
    "a spec without a name": ("1 drawing", "odd", lambda r: r["environment"].update(spec=":")),
    "numbers for a corpus": ("1 drawing", "odd", lambda r: r.update(efficiency={"corpus": [1, 2]})),
    "a text for a speed": ("1 drawing", "odd", lambda r: r.update(efficiency={"real_time_factor": "fast"})),
    "a mapping for a rate": ("1 drawing", "odd", lambda r: r["chosen"]["all"].update(lr={})),
    "400 receipts, 400 settings": ("1 drawing", "odd", lambda r: settings(r, 400)),
    "a false score": ("5 official", "liar", lambda r: r["scores"]["accuracy"].update(value=99.0)),
    "five seeds that nobody lists": ("5 official", "lucky", seeds),
    "an invented interval method": ("5 official", "sure", lambda r: r["scores"]["accuracy"].update(ci_method="certainty")),
    "miniature corpora as official": ("5 official", "small", small),
    "another's predictions": ("5 official", "copy", lambda r: None),
    "a Hangul filler in a name": ("11 names", "apc\u3164", lambda r: None),
    "Cyrillic letters of a row": ("11 names", "\u0430pc", lambda r: None),
    "wide letters of a published row": ("11 names", "\uff28\uff55BERT Base", lambda r: None),
    "a published row's name": ("11 names", "HuBERT Base", lambda r: None),
}
"""Attack -> what it is of, the model's name, what is forged in its record."""


SAID = {
    "same predictions as": ("same predictions", 0),
    '"namesake":"': ("not the published row", 1),
    "on miniature corpora": ("on miniature corpora", 0),
}
"""What the data of a page contain -> what a reader is told, and how often the page of the honest row, apc, contains it."""


# ---------------------------------------------------------------- attacks on a served board


def unowned(guest: Guest, forge: Forger) -> str:
    """A row that the keeper submitted without a token is submitted by a guest."""
    return guest.sent(forge.named("apc", lambda r: r["upstream"].update(revision="another")))


def groups(guest: Guest, forge: Forger) -> str:
    """One item with 300 000 groups, on data that no other row has."""
    return guest.sent(forge.named("heavy", lambda r: r["data"].update(fingerprint="g"), forge.grouped(300_000)))


def junk(guest: Guest, forge: Forger) -> str:
    """Uploads that are refused, thirty times."""
    codes = [guest.call("POST", "/api/submissions", b"junk")[0] for _ in range(30)]
    return ", ".join(f"{codes.count(code)} × {code}" for code in sorted(set(codes)))


def idle(guest: Guest, forge: Forger) -> str:
    """Six hundred connections that say nothing."""
    with guest.sockets(600):
        began = time.monotonic()
        answers = sum(guest.call("GET", "/healthz")[0] == 200 for _ in range(10))
        seconds = time.monotonic() - began
        time.sleep(12)
        later = guest.call("GET", "/healthz")[0]
        return (
            f"{answers} of 10 readers answered in {seconds:.1f} s; after 12 s {guest.open_sockets()} are open, reader: {later}"
        )


def headers(guest: Guest, forge: Forger) -> str:
    """What a browser is told with an answer, also of what is not there, and HEAD."""
    found = []
    for method, path in (("GET", "/"), ("GET", "/nothing"), ("HEAD", "/")):
        status, head = guest.head(method, path)
        told = [name for name in ("x-content-type-options", "content-security-policy") if name in head]
        found.append(f"{method} {path} {status} with {len(told)} of 2 headers")
    return "; ".join(found)


def withdrawing(guest: Guest, forge: Forger) -> str:
    """A guest without an admin's token takes another's row off."""
    return f"answered {guest.call('DELETE', '/api/models/apc')[0]}"


SERVED: dict[str, tuple[str, Callable[[Guest, Forger], str]]] = {
    "a guest takes the keeper's row": ("3 owners", unowned),
    "300 000 groups in one item": ("4 work", groups),
    "thirty refused uploads": ("4 work", junk),
    "600 idle connections": ("4 work", idle),
    "headers of answers": ("12 server", headers),
    "a guest withdraws a row": ("2 keeper", withdrawing),
}


# ---------------------------------------------------------------- attacks by files and names


def restored(run: Callable[..., str], root: Path, forge: Forger) -> str:
    """A backup whose document leads out of the board."""
    (root / "apc.zip").write_bytes(forge.named("apc"))
    run("submit", str(root / "apc.zip"), "--board", str(root / "board"))
    run("backup", str(root / "board"), str(root / "backup.zip"))
    with zipfile.ZipFile(root / "backup.zip") as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    head = next(name for name in files if name.endswith(".json") and b'"files"' in files[name])
    escaped = "documents/references/../../../escaped"
    listed = json.loads(files[head])
    listed["files"][escaped] = hashlib.sha256(b"out").hexdigest()
    (root / "forged.zip").write_bytes(archive(files | {head: json.dumps(listed).encode(), escaped: b"out"}))
    said = run("restore", str(root / "forged.zip"), str(root / "deep/er/board"))
    return f"{said}; files outside: {len(list(root.rglob('escaped*')))}"


def evidence(run: Callable[..., str], root: Path, forge: Forger) -> str:
    """A false bundle, put into a board's folder by hand, with the evidence of an honest one under its name."""
    (root / "apc.zip").write_bytes(forge.named("apc"))
    run("submit", str(root / "apc.zip"), "--board", str(root / "board"))
    bundles = root / "board/bundles"
    (bundles / "liar.zip").write_bytes(forge.named("liar", lambda r: r["scores"]["accuracy"].update(value=99.0)))
    digest = hashlib.sha256((bundles / "liar.zip").read_bytes()).hexdigest()
    for path in [path for path in (root / "board").rglob("*") if ".evidence" in str(path) and path.is_file()]:
        for name in (digest, "liar"):
            shutil.copy(path, path.with_name(name + path.suffix))
    return run("board", str(root / "board"), "--out", str(root / "page.html"))


def scripts(run: Callable[..., str], root: Path, forge: Forger) -> str:
    """Other scripts in a folder: two names of three characters."""
    for name in ("模型甲", "語音乙"):
        (root / "one.zip").write_bytes(forge.named(name))
        said = run("submit", str(root / "one.zip"), "--board", str(root / "board"))
    return said


def printed(run: Callable[..., str], root: Path, forge: Forger) -> str:
    """A model called like markup, or like a formula of a spreadsheet."""
    found = []
    for name, form in (("[/foo]", "table"), ("=cmd|' /C calc'!A0", "csv"), ("a\x1b[2J", "table")):
        place = root / form / "x" / "ks"
        place.mkdir(parents=True, exist_ok=True)
        record = copy.deepcopy(forge.record)
        record["upstream"]["name"] = name
        record["environment"].pop("seal", None)
        (place / "result.json").write_text(json.dumps(record))
        (place / "predictions.jsonl.gz").write_bytes(forge.lines)
        said = run("report", str(root / form), "--format", form, whole=True)
        shown = (
            "a traceback"
            if "Traceback" in said
            else "ESC passes"
            if "\x1b[2J" in said
            else "a formula"
            if "\n=" in said
            else "safe"
        )
        found.append(f"{name!r}: {shown}")
    return "; ".join(found)


def ends(run: Callable[..., str], root: Path, forge: Forger) -> str:
    """A model whose file ends its process when it is imported."""
    (root / "ends.py").write_text("import os\nos._exit(0)\nclass Model: pass\n")
    return run("check", f"{root}/ends.py:Model")


def removed(run: Callable[..., str], root: Path, forge: Forger) -> str:
    """The keeper takes a row off."""
    (root / "apc.zip").write_bytes(forge.named("apc"))
    said = []
    for board in ("board", "board.db"):
        run("submit", str(root / "apc.zip"), "--board", str(root / board))
        said.append(run("board", "withdraw", str(root / board), "apc"))
    return "; ".join(said)


def edited(run: Callable[..., str], root: Path, forge: Forger) -> str:
    """A result that was edited by hand is submitted from its folder."""
    place = results(root / "out", "edited", 0.6, speakers=8)
    text = json.dumps(bare(json.loads((place / KS).read_text())))
    (place / KS).write_text(
        text.replace('"torch"', '"tocrh"')
        if '"torch"' in text
        else text.replace('"extract": 1', '"extract": 2').replace('"params": 10', '"params": 11')
    )
    return run("submit", str(root / "out"), "--board", str(root / "board"))


def schema(run: Callable[..., str], root: Path, forge: Forger) -> str:
    """A database of a later version."""
    import sqlite3

    (root / "apc.zip").write_bytes(forge.named("apc"))
    run("submit", str(root / "apc.zip"), "--board", str(root / "board.db"))
    with sqlite3.connect(root / "board.db") as opened:
        for (table,) in opened.execute("select name from sqlite_master where type = 'table'").fetchall():
            columns = [row[1] for row in opened.execute(f"pragma table_info({table})")]
            for column in ("schema", "version"):
                if column in columns:
                    opened.execute(f"update {table} set {column} = 99")
    return run("board", str(root / "board.db"), "--out", str(root / "page.html"))


BY_FILES: dict[str, tuple[str, str, Callable[[Callable[..., str], Path, Forger], str]]] = {
    "the keeper removes a row": ("2 keeper", "folder, SQLite", removed),
    "an edited result is submitted": ("8 damage", "folder", edited),
    "evidence of another bundle": ("6 evidence", "folder", evidence),
    "a backup with ../ in a name": ("6 evidence", "folder", restored),
    "a file that calls os._exit(0)": ("9 models", "-", ends),
    "markup, a formula, an escape": ("10 printing", "-", printed),
    "names in other scripts": ("11 names", "folder", scripts),
    "a database of a later version": ("12 server", "SQLite", schema),
}


# ---------------------------------------------------------------- the table


class Attacks:
    """Tries attacks on a command, and prints what happened."""

    def __init__(self, command: list[str], forge: Forger, root: Path, postgresql: str | None) -> None:
        self.command, self.forge, self.root, self.postgresql, self.count = command, forge, root, postgresql, 0
        self.known = self.boards()

    def run(self, *words: str, whole: bool = False) -> str:
        """What a command said, in one line: its status and its last words."""
        done = subprocess.run([*self.command, *words], capture_output=True, text=True, timeout=300, cwd=self.root)
        said = done.stdout + done.stderr
        if whole:
            return said
        lines = [line for line in said.splitlines() if line.strip()] or [""]
        line = f"a traceback, {lines[-1]}" if "Traceback" in said else " ".join(lines[-2:])
        return f"status {done.returncode}: {line.strip()[:230]}"

    def say(self, item: str, attack: str, storage: str, what: str) -> None:
        """One line of the table."""
        print(f"{item:12} {attack:34} {storage:11} {what}".replace(str(self.root), "…"), flush=True)

    def fresh(self) -> Path:
        """A folder that no other attack has used."""
        self.count += 1
        place = self.root / str(self.count)
        place.mkdir()
        return place

    def boards(self) -> dict[str, str]:
        """Storage -> the address of a board with one honest row, which attacks get a copy of."""
        found = {"folder": str(self.root / "board"), "SQLite": str(self.root / "board.db")}
        found |= {"PostgreSQL": self.postgresql} if self.postgresql else {}
        (self.root / "apc.zip").write_bytes(self.forge.named("apc"))
        for address in found.values():
            said = self.run("submit", str(self.root / "apc.zip"), "--board", address)
            if "accepted" not in said and "already" not in said:
                raise SystemExit(f"An honest bundle is not accepted by {address}: {said}")
        return found

    def copied(self, address: str) -> str:
        """A copy of a board; a database on a server is used for all attacks."""
        if "://" in address:
            return address
        place = self.fresh() / Path(address).name
        shutil.copytree(address, place) if Path(address).is_dir() else shutil.copy(address, place)
        return str(place)

    def forged(self, attack: str) -> None:
        """Submit a forged bundle to a board with one honest row, then draw it."""
        item, name, change = FORGED[attack]
        for storage, address in self.known.items():
            place = self.fresh()
            (place / "forged.zip").write_bytes(self.forge.named(name, change))
            self.say(item, attack, storage, self._outcome(place, self.copied(address)))

    def _outcome(self, place: Path, board: str) -> str:
        said = self.run("submit", str(place / "forged.zip"), "--board", board)
        if "accepted" not in said:
            return f"refused, {said}"
        drawn, page = self.run("board", board, "--out", str(place / "page.html")), place / "page.html"
        if not page.is_file():
            return f"accepted, and the board is not drawn any more: {drawn}"
        text = page.read_text()
        words = [said for mark, (said, honest) in SAID.items() if text.count(mark) > honest]
        return f"accepted and drawn, page {len(text) // 1000} kB, {drawn[:9]}" + (
            f", says: {', '.join(words)}" if words else ""
        )

    def over_http(self, attack: str) -> None:
        """The same against a server, or an attack that only a server can meet."""
        with served(self.command, Path(self.copied(self.known["folder"]))) as guest:
            if attack in SERVED:
                item, act = SERVED[attack]
                self.say(item, attack, "server", act(guest, self.forge))
                return
            item, name, change = FORGED[attack]
            said = guest.sent(self.forge.named(name, change))
            page = guest.page_after(said)
        self.say(item, attack, "server", f"{said}; {page}")

    def all(self, only: str) -> None:
        """Every attack whose line begins with, or contains, `only`."""
        for attack, (item, storage, act) in BY_FILES.items():
            if only in f"{item} {attack}":
                self.say(item, attack, storage, act(self.run, self.fresh(), self.forge))
        for attack, (item, _) in SERVED.items():
            if only in f"{item} {attack}":
                self.over_http(attack)
        for attack, (item, _, _) in FORGED.items():
            if only in f"{item} {attack}":
                self.forged(attack)
                self.over_http(attack)


def main(words: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--superbench", help="the command that is attacked [default: the one that is installed here]")
    parser.add_argument("--postgresql", help="postgresql://USER@HOST/NAME of a database that may be filled")
    parser.add_argument("--only", default="", help="attacks whose line has these words")
    arguments = parser.parse_args(words)
    command = shlex.split(arguments.superbench) if arguments.superbench else [sys.executable, "-c", START]
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_CACHE_HOME"] = str(Path(temporary, "cache"))
        root = Path(temporary)
        Attacks(command, forger(root / "made"), root, arguments.postgresql).all(arguments.only)


if __name__ == "__main__":
    main()
