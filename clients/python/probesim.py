"""Faults of kube-probesim for the length of a test. One file, no dependency; Python 3.9 or newer.

    import probesim

    def test_the_client_tries_again():
        with probesim.start() as service:
            with service.fault("traffic", mode="status", status=503, rate="50%") as fault:
                call_many_times(service.url)
            fault.assert_injected()

`start` runs the program, and `container` runs an image. `Service` is for one that runs elsewhere, such as behind
`kubectl port-forward`.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, TypedDict, Union

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Fault", "ProbesimError", "Rule", "Service", "container", "fault", "start"]

# <rule>
WhenStarts = TypedDict("WhenStarts", {
    "after": int,
    "for": int,
    "every": int,
}, total=False)

WhenRequests = TypedDict("WhenRequests", {
    "after": int,
    "for": int,
    "every": int,
}, total=False)

When = TypedDict("When", {
    "after": Union[str, float],
    "for": Union[str, float],
    "every": Union[str, float],
    "requests": WhenRequests,
    "starts": WhenStarts,
}, total=False)

Match = TypedDict("Match", {
    "path": str,
    "method": Union[str, List[str]],
    "host": str,
    "headers": Dict[str, Any],
    "query": Dict[str, Any],
}, total=False)

Rule = TypedDict("Rule", {
    "name": str,
    "disabled": bool,
    "target": Union[str, List[str]],
    "match": Match,
    "client": str,
    "from": Union[str, List[str]],
    "pods": Union[str, List[int]],
    "when": When,
    "start": str,
    "until": str,
    "stagger": Union[str, float],
    "rate": Union[str, float],
    "burst": float,
    "ramp": Union[str, float],
    "delay": Union[str, float, Dict[str, Any]],
    "mode": str,
    "status": int,
    "location": str,
    "body": Union[int, str],
    "drip": Union[str, float],
    "speed": Union[int, str],
    "share": Union[str, float],
    "grpc_status": Union[str, int],
    "grpc_message": str,
    "alert": Union[str, int],
    "headers": Dict[str, Any],
    "body_text": str,
    "forward": bool,
    "connection": bool,
    "stream": str,
    "after": Union[str, float],
    "close_after": Union[str, float],
    "piece": Union[int, str],
    "piece_jitter": Union[int, str],
    "pause": Union[str, float],
    "code": int,
    "size": Union[int, str],
    "cores": Union[float, str],
    "path": str,
    "allow_node_pressure": bool,
    "ttl": Union[str, float],
}, total=False)
# </rule>

# Limits a fault if the test that set it is killed.
TTL = "15m"


class ProbesimError(Exception):
    """The service refused a request, or did not start. `status` is the status of its answer, and `errors` has the reasons."""

    def __init__(self, message: str, status: int = 0, errors: Sequence[dict] = ()):
        super().__init__(message)
        self.status = status
        self.errors = list(errors)


class Fault:
    """A rule that is in force. After its `with` block, it still has its counts."""

    def __init__(self, service: Service, name: str):
        self.name = name
        self._service = service
        self._last = (0, 0)
        self._ended = False

    def _counts(self) -> tuple[int, int]:
        if not self._ended:
            for rule in self._service.state()["rules"]:
                if rule["name"] == self.name:
                    tallies = rule["tallies"]
                    self._last = (sum(t["eligible"] for t in tallies), sum(t["injected"] for t in tallies))
        return self._last

    @property
    def eligible(self) -> int:
        """How many requests (or connections) the rule could have acted on."""
        return self._counts()[0]

    @property
    def injected(self) -> int:
        """How many it acted on."""
        return self._counts()[1]

    def assert_injected(self, at_least: int = 1, at_most: Optional[int] = None) -> None:
        """Raises AssertionError unless the rule acted that often."""
        eligible, injected = self._counts()
        wanted = f"at least {at_least}" + ("" if at_most is None else f" and at most {at_most}")
        if injected < at_least or (at_most is not None and injected > at_most):
            raise AssertionError(f"fault {self.name} acted on {injected} of {eligible} requests, expected {wanted}")

    def end(self) -> None:
        """Removes the rule. The `with` block calls it."""
        if self._ended:
            return
        self._counts()
        self._ended = True
        try:
            self._service.request("DELETE", f"/v1/faults/{self.name}")
        except ProbesimError as error:
            # Its ttl has passed, or another client has removed it.
            if error.status != 404:
                raise


class Service:
    """A running service. `admin` is the URL of its admin listener, and `url` that of its probe listener."""

    def __init__(self, admin: str, url: str = "", token: Optional[str] = None, timeout: float = 10):
        self.admin = admin.rstrip("/")
        self.url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        # A proxy from the environment would not reach this machine's loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Calls the admin API and returns its JSON. Raises ProbesimError with the reasons if the service refuses."""
        request = urllib.request.Request(self.admin + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("X-Probesim-Token", self._token)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except OSError as error:
            raise ProbesimError(f"no answer from {self.admin}: {error}") from error

    def state(self) -> dict:
        """The answer of `GET /v1/state`: targets, rules and their counts."""
        return self.request("GET", "/v1/state")

    def stop(self) -> dict:
        """Puts every rule of every source out of force, until `resume`."""
        return self.request("POST", "/v1/stop")

    def resume(self) -> dict:
        """Ends a stop."""
        return self.request("POST", "/v1/resume")

    @contextmanager
    def fault(self, *target: str, **fields: Unpack[Rule]) -> Iterator[Fault]:
        """Puts a rule in force for a `with` block. `fields` are the fields of Rule.

        Unless `ttl` is given, the rule ends after 15 minutes even if this process is killed.
        """
        name = fields.get("name") or f"test-{secrets.token_hex(4)}"
        rule = {"ttl": TTL, **fields, "name": name}
        if target:
            rule["target"] = list(target)
        # Never replace another rule of that name.
        if any(known["name"] == name for known in self.state()["rules"]):
            raise ProbesimError(f"a fault named {name} is in force already")
        self.request("PUT", f"/v1/faults/{urllib.parse.quote(name, safe='')}", rule)
        fault = Fault(self, name)
        try:
            yield fault
        finally:
            fault.end()


def fault(*target: str, admin: Optional[str] = None, token: Optional[str] = None, **fields: Unpack[Rule]):
    """Like `Service.fault`, for the service at `admin`, or PROBESIM_ADMIN, or http://127.0.0.1:8081."""
    admin = admin or os.environ.get("PROBESIM_ADMIN") or "http://127.0.0.1:8081"
    return Service(admin, token=token or os.environ.get("PROBESIM_TOKEN")).fault(*target, **fields)


@contextmanager
def start(binary: Optional[str] = None, env: Optional[dict] = None, timeout: float = 10) -> Iterator[Service]:
    """Runs the program on free ports of loopback, for a `with` block.

    `binary` is its path; without it, PROBESIM_BINARY or kube-probesim in PATH. `env` has variables of the service, such
    as {"UPSTREAM": "http://127.0.0.1:3000"}.
    """
    binary = binary or os.environ.get("PROBESIM_BINARY") or "kube-probesim"
    variables = {"PATH": os.environ.get("PATH", ""), "BIND_ADDRESS": "127.0.0.1", "PORT": "0", "ADMIN_ADDRESS": "127.0.0.1:0",
                 **{key: str(value) for key, value in (env or {}).items()}, "LOG_FORMAT": "json"}
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen([binary, "serve"], env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        except OSError as error:
            raise ProbesimError(f"{binary} cannot be run: {error}") from error
        try:
            addresses = _started(process, log, timeout)
            token = variables.get("ADMIN_TOKEN")
            yield Service(f"http://{addresses['admin']}", f"http://{addresses['probe']}", token)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def container(image: str = "kube-probesim", runtime: Sequence[str] = ("docker",), options: Sequence[str] = (),
              env: Optional[dict] = None, timeout: float = 30) -> Iterator[Service]:
    """Runs an image by docker, or another `runtime` with its commands, for a `with` block. `options` are options of `run`."""
    token = secrets.token_hex(16)
    variables = {**(env or {}), "PORT": 8080, "ADMIN_ADDRESS": ":8081", "ADMIN_TOKEN": token}
    command = [*runtime, "run", "--detach", "--rm", "--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::8081", *options]
    for key, value in variables.items():
        command += ["--env", f"{key}={value}"]
    identity = _run([*command, image])
    try:
        ports = {port: _run([runtime[0], "port", identity, port]).splitlines()[0] for port in ("8080/tcp", "8081/tcp")}
        service = Service(f"http://{ports['8081/tcp']}", f"http://{ports['8080/tcp']}", token)
        _eventually(service, timeout)
        yield service
    finally:
        _run([runtime[0], "rm", "--force", identity])


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise ProbesimError(f"{' '.join(command[:3])}: {error.stderr.strip()}") from error
    except OSError as error:
        raise ProbesimError(f"{command[0]} cannot be run: {error}") from error
    return done.stdout.strip()


def _eventually(service: Service, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            service.state()
            return
        except ProbesimError as error:
            if time.monotonic() > deadline:
                raise ProbesimError(f"no service after {timeout} s: {error}") from error
        time.sleep(0.05)


def _started(process: subprocess.Popen, log: Any, timeout: float) -> dict:
    """The log line with the service's addresses."""
    deadline = time.monotonic() + timeout
    while True:
        ended = process.poll() is not None
        log.seek(0)
        # The last line may be incomplete.
        *lines, last = log.read().decode(errors="replace").split("\n")
        for line in lines:
            if '"message":"started"' in line:
                return json.loads(line)
        if ended:
            raise ProbesimError("the service ended at its start:\n" + "\n".join([*lines[-20:], last]))
        if time.monotonic() > deadline:
            raise ProbesimError(f"the service did not start within {timeout} s:\n" + "\n".join(lines[-20:]))
        time.sleep(0.01)


def _refusal(error: urllib.error.HTTPError) -> ProbesimError:
    text = error.read().decode(errors="replace")
    try:
        problem = json.loads(text)
        errors = problem.get("errors", [])
        reasons = [problem.get("detail", problem["title"]), *(each["message"] for each in errors)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ProbesimError(f"{error.code}: {text.strip()[:200]}", error.code)
    return ProbesimError(f"{error.code}: " + "\n  ".join(reasons), error.code, errors)
