"""Submitting to a board that somebody serves, and waiting for its verdict."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from superbench.board.bundles.bundle import one_per_upstream, open_bundle
from superbench.errors import BadResult, CommandError, SuperbenchError

PATIENCE = 3600.0
PAUSE = 1.0


class _SameHostRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection to another path alone: elsewhere somebody else would get the token, and a bundle is not sent
    twice."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The new request; raises `BadResult` for one that goes to another host, port or scheme, or that loses the bundle."""
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc) or req.data is not None:
            raise BadResult(
                f"{here.scheme}://{here.netloc} sends on to {there.scheme}://{there.netloc}{there.path:.200}; the token was "
                "not sent there. If you trust that address, give it as --board."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class ServedBoard:
    """The board at `address` (http or https), with a token of its keeper's."""

    def __init__(self, address: str, token: str | None) -> None:
        if not token:
            raise CommandError(
                f"{address} wants a token: --token T, or the variable SUPERBENCH_TOKEN. "
                "Its keeper makes one: superbench token BOARD"
            )
        self.address, self.token = address.rstrip("/"), token
        self._opener = urllib.request.build_opener(_SameHostRedirects)

    def submit(
        self, folder: Path, *, without_references: bool = False, told: Callable[[str], object] = lambda state: None
    ) -> Iterator[dict[str, Any]]:
        """Send every upstream's results under `folder`; yields the state of each once it is decided.

        `told` hears of every change. Raises `BadResult` with the server's reason for what is refused.
        """
        for data in one_per_upstream(folder, without_references):
            upstream = open_bundle(data).upstream
            told(f"{upstream}: sending {len(data) / 1e6:.1f} MB")
            yield self._decided(self._call("POST", "/api/submissions", data), told)

    def _decided(self, state: dict[str, Any], told: Callable[[str], object]) -> dict[str, Any]:
        until, seen = time.monotonic() + PATIENCE, ""
        while state["state"] in ("queued", "scoring"):
            if state["state"] != seen:
                told(f"{state['upstream']}: {state['state']}")
                seen = state["state"]
            if time.monotonic() > until:
                raise SuperbenchError(
                    f"{state['upstream']} is still {state['state']} after an hour. It is safe in the queue: "
                    f"{self.address}/api/submissions/{state['id']}"
                )
            time.sleep(PAUSE)
            state = self._call("GET", f"/api/submissions/{state['id']}")
        if state["state"] != "accepted":
            raise BadResult(
                f"{self.address} refuses {state['upstream']} ({state['status']} {state['code']}). {state['reason']}"
            )
        return state

    def _call(self, method: str, path: str, data: bytes | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/zip"}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=300) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise BadResult(f"{self.address} refuses it ({error.code}). {_reason(error)}") from error
        except (OSError, ValueError) as error:
            raise SuperbenchError(f"{self.address} cannot be reached, or is no board: {error}.") from error


def _reason(error: urllib.error.HTTPError) -> str:
    """What the server says, or the name of its status."""
    try:
        problem = json.load(error)
        return f"{problem['code']}: {problem['reason']}"
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.reason)
