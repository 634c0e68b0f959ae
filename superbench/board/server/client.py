"""Client of a board's server: submits bundles and waits for the decisions."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from superbench.board.bundles.bundle import one_per_upstream, sendable
from superbench.board.outcome import PRESENT, Outcome
from superbench.errors import BadResult, CommandError, Refusal, SuperbenchError

PATIENCE = 3600.0
PAUSE = 1.0
OF_BUNDLE = {400, 409, 413, 422}
"""The statuses of refusals that concern one bundle; others may be accepted."""


class _SameHostRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to another path on the same host: another host must not receive the token.

    A request with a bundle is not redirected at all.
    """

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Returns the new request; raises `BadResult` if host, port or scheme change, or if the request contains a bundle."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc) or req.data is not None:
            raise BadResult(
                f"{old.scheme}://{old.netloc} redirects to {new.scheme}://{new.netloc}{new.path:.200}; the token was "
                "not sent to that address. If you trust it, give it as --board."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class ServedBoard:
    """The board at `address` (http or https), used with a token from its keeper."""

    def __init__(self, address: str, token: str | None) -> None:
        if not token:
            raise CommandError(
                f"{address} needs a token: --token T, or the variable SUPERBENCH_TOKEN. "
                "The board's keeper can make one: superbench token BOARD"
            )
        self.address, self.token = address.rstrip("/"), token
        self._opener = urllib.request.build_opener(_SameHostRedirects)

    def submit(
        self,
        folder: Path | Sequence[Path],
        *,
        without_references: bool = False,
        hidden: bool = False,
        report: Callable[[str], object] = lambda line: None,
    ) -> Iterator[dict[str, Any]]:
        """Sends the results of every upstream under `folder`; yields the state of each submission that is accepted.

        The state of a bundle that the board has already is `present`, with the `reason`; so is that of a shared baseline, whose
        same results somebody else has submitted. With `hidden`, only members see the rows. `report` is called with a line of
        text at every change.

        A bundle that is refused does not stop the others: at the end a `Refusal` (`BadResult`) names those that are on the
        board and those that are not, with the server's reasons. An error that concerns all bundles (the token, the network, a
        limit of the server) stops at once.
        """
        bundles = one_per_upstream(folder, without_references)
        outcome, path = Outcome(self.address, len(bundles)), f"/api/submissions{'?hidden=true' if hidden else ''}"
        for name, data in bundles:
            try:
                report(f"{name}: sending {len(sendable(data)) / 1e6:.1f} MB")
                state = self._decided(self._call("POST", path, sendable(data)), report)
            except Refusal as error:
                if error.code not in PRESENT:
                    report(f"{name}: refused")
                    outcome.refuse(name, error)
                    continue
                state = {"upstream": name, "state": "present", "tasks": [], "reason": str(error)}
            except SuperbenchError as error:
                outcome.note_in(error)
                raise
            outcome.accepted.append(name)
            yield state
        outcome.require_accepted()

    def withdraw(self, row: str, why: str = "") -> list[str]:
        """Removes a row, or one bundle by its digest; returns the digests. Needs an admin's token. Raises `BadResult`."""
        answer = self._call("DELETE", f"{_path_of(row)}?{urlencode({'because': why})}")
        return list(answer["bundles"])

    def change(self, row: str, why: str = "", **change: str | bool) -> dict[str, Any]:
        """Changes a row: `hidden=`, `name=` or `owner=`. Returns its name, its owner and its bundles. Raises `BadResult`."""
        body = json.dumps(change | {"because": why}).encode()
        return dict(self._call("PATCH", _path_of(row), body, "application/json"))

    def _decided(self, state: dict[str, Any], report: Callable[[str], object]) -> dict[str, Any]:
        until, seen = time.monotonic() + PATIENCE, ""
        while state["state"] in ("queued", "scoring"):
            if state["state"] != seen:
                report(f"{state['upstream']}: {state['state']}")
                seen = state["state"]
            if time.monotonic() > until:
                raise SuperbenchError(
                    f"{state['upstream']} is still {state['state']} after an hour. It stays in the queue; see "
                    f"{self.address}/api/submissions/{state['id']}"
                )
            time.sleep(PAUSE)
            state = self._call("GET", f"/api/submissions/{state['id']}")
        if state["state"] != "accepted":
            raise Refusal(f"{state['status']} {state['code']}: {state['reason']}", state["code"])
        return state

    def _call(self, method: str, path: str, data: bytes | None = None, content: str = "application/zip") -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=300) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            code, reason = _problem(error)
            if error.code in OF_BUNDLE:
                raise Refusal(f"{error.code} {code}: {reason}", code) from error
            raise BadResult(f"{self.address} refuses it ({error.code}). {code}: {reason}") from error
        except (OSError, ValueError) as error:
            raise SuperbenchError(f"{self.address} cannot be reached, or is not a board: {error}.") from error


def _path_of(row: str) -> str:
    return f"/api/models/{quote(row, safe='')}"


def _problem(error: urllib.error.HTTPError) -> tuple[str, str]:
    """Returns the server's code and reason, or the name of the HTTP status."""
    try:
        with error:
            problem = json.load(error)
        return str(problem["code"]), str(problem["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "http", str(error.reason)
