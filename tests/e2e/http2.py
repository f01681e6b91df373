"""Common HTTP/2 clients: httpx against the probe listener, and grpcio with an application behind it.

Usage: http2.py BINARY
"""

import concurrent.futures
import contextlib
import json
import threading
import time

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc
from running import PROBE, metric, service


def plan(**rule):
    """A plan of one rule."""
    return json.dumps({"faults": [{"name": "drill", "target": "liveness", **rule}]})


def error(client, path="/healthz"):
    """The class and the text of the exception of httpx."""
    try:
        response = client.get(path)
    except httpx.HTTPError as raised:
        return f"{type(raised).__name__}: {raised}"
    return f"{response.http_version} {response.status_code} {response.text.strip()}"


def httpx_sees_each_mode():
    expected = {
        "status": "HTTP/2 503 ",
        "hang": "ReadTimeout",
        "close": "RemoteProtocolError: <StreamReset stream_id:1, error_code:8, remote_reset:True>",
        "reset": "RemoteProtocolError: <StreamReset stream_id:1, error_code:2, remote_reset:True>",
        "garbage": "RemoteProtocolError",
        "truncate": "LocalProtocolError",
        "body-hang": "ReadTimeout",
        "body-reset": "RemoteProtocolError: <StreamReset stream_id:1, error_code:2, remote_reset:True>",
        "malformed": "LocalProtocolError",
        "grpc": "HTTP/2 200 ",
    }
    for mode, sees in expected.items():
        status = {"status": 503} if mode == "status" else {}
        status |= {"grpc_status": "UNAVAILABLE"} if mode == "grpc" else {}
        with service(FAULTS=plan(mode=mode, **status)):
            with httpx.Client(http1=False, http2=True, base_url=PROBE, timeout=1.5) as client:
                seen = error(client)
                assert seen.startswith(sees), f"{mode}: {seen}"
                assert error(client, "/readyz") == "HTTP/2 200 ok", mode
            assert metric("probesim_faults_injected_total", 'fault="drill"') == 1, mode


def a_hundred_requests_share_a_connection():
    with service(FAULTS=plan(delay="200ms")), httpx.Client(http1=False, http2=True, base_url=PROBE) as client:
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            seen = list(pool.map(lambda _: client.get("/healthz").status_code, range(50)))
        assert seen == [200] * 50 and time.monotonic() - began < 5
        assert metric("probesim_connections") == 1
        assert metric("probesim_requests_total", 'code="200"', 'target="liveness"') == 50


def grpc_status_of(path, deadline=2.0):
    """The result of a unary call."""
    with grpc.insecure_channel("127.0.0.1:18930") as channel:
        call = channel.unary_unary(path)
        try:
            return call(b"ping", timeout=deadline)
        except grpc.RpcError as raised:
            return raised.code().name


def grpcio_sees_each_mode():
    for mode, sees in {
        "close": {"CANCELLED"},
        "reset": {"INTERNAL", "UNAVAILABLE"},
        "hang": {"DEADLINE_EXCEEDED"},
        "garbage": {"UNAVAILABLE", "INTERNAL", "UNKNOWN"},
        "status": {"UNAVAILABLE"},
        "grpc": {"RESOURCE_EXHAUSTED"},
    }.items():
        rule = {"status": 503} if mode == "status" else {}
        rule |= {"grpc_status": "RESOURCE_EXHAUSTED"} if mode == "grpc" else {}
        with service(FAULTS=plan(**({"mode": mode, **rule, "target": "traffic"})), TRAFFIC_PATHS="/a.B/*"):
            seen = grpc_status_of("/a.B/C")
            assert seen in sees, f"{mode}: {seen}"


def health(service, deadline=1.5):
    """The result of a health check with grpcio: the status of the service, or of the call."""
    with grpc.insecure_channel("127.0.0.1:18930") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=deadline)
        except grpc.RpcError as raised:
            return raised.code().name
        # grpcio returns no message that it cannot parse.
        return answer and health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def health_checks_of_grpcio_see_each_mode():
    with service():
        for name in ("", "liveness", "readiness", "startup", "dependency"):
            assert health(name) == "SERVING", name
        assert health("traffic") == "NOT_FOUND"
        with grpc.insecure_channel("127.0.0.1:18930") as channel:
            answer = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=5)
        assert {name: state.status for name, state in answer.statuses.items()} == dict.fromkeys(
            ("", "liveness", "readiness", "startup", "dependency"), health_pb2.HealthCheckResponse.SERVING
        )
    for rule, sees in (
        ({"mode": "status", "status": 503}, {"NOT_SERVING"}),
        ({"mode": "status", "status": 204}, {"SERVING"}),
        ({"mode": "redirect"}, {"UNKNOWN"}),
        ({"mode": "hang"}, {"DEADLINE_EXCEEDED"}),
        ({"mode": "close"}, {"CANCELLED"}),
        ({"mode": "reset"}, {"INTERNAL"}),
        ({"mode": "garbage"}, {"UNAVAILABLE", "UNKNOWN"}),
        ({"mode": "truncate"}, {"UNKNOWN"}),
        ({"mode": "body-hang"}, {"DEADLINE_EXCEEDED"}),
        ({"mode": "body-reset"}, {"INTERNAL"}),
        ({"mode": "malformed"}, {"UNAVAILABLE"}),
        ({"mode": "drip", "drip": "500ms"}, {"SERVING"}),
        ({"mode": "drip", "drip": "60s"}, {"DEADLINE_EXCEEDED"}),
        ({"mode": "throttle"}, {"SERVING"}),
        ({"mode": "corrupt"}, {None, "INTERNAL", "RESOURCE_EXHAUSTED"}),
        ({"mode": "grpc", "grpc_status": "ABORTED"}, {"ABORTED"}),
    ):
        with service(FAULTS=plan(**rule)):
            seen = health("liveness")
            assert seen in sees, f"{rule}: {seen}"
            assert metric("probesim_faults_injected_total", 'fault="drill"') == 1, rule


def watch_of_grpcio_follows_the_windows():
    with service(FAULTS=plan(mode="close", when={"after": "2s", "for": "1s"})), grpc.insecure_channel("127.0.0.1:18930") as channel:
        states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="liveness"), timeout=20)
        assert [next(states).status for _ in range(3)] == [1, 2, 1]
        states.cancel()


class Application(grpc.GenericRpcHandler):
    """A gRPC service of bytes. Each method echoes in its own way, and counts received messages in its trailers."""

    def __init__(self):
        self.cancelled = threading.Event()

    def service(self, call):
        return {
            "/t.Test/Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/t.Test/Down": grpc.unary_stream_rpc_method_handler(self.down),
            "/t.Test/Up": grpc.stream_unary_rpc_method_handler(self.up),
            "/t.Test/Both": grpc.stream_stream_rpc_method_handler(self.both),
            "/t.Test/Wrong": grpc.unary_unary_rpc_method_handler(self.wrong),
            "/t.Test/Slow": grpc.unary_unary_rpc_method_handler(self.slow),
        }.get(call.method)

    @staticmethod
    def unary(request, context):
        context.send_initial_metadata((("x-echo", dict(context.invocation_metadata()).get("x-own", "")),))
        context.set_trailing_metadata((("x-length", str(len(request))),))
        return request

    @staticmethod
    def down(request, context):
        yield from (request * 100 for _ in range(100))

    @staticmethod
    def up(requests, context):
        return str(sum(len(request) for request in requests)).encode()

    @staticmethod
    def both(requests, context):
        for request in requests:
            yield request[::-1]

    @staticmethod
    def wrong(request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100%")

    def slow(self, request, context):
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(20)
        return request


@contextlib.contextmanager
def application():
    """A gRPC server, and the address that the service forwards to."""
    handler = Application()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(20))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield handler, f"h2c://127.0.0.1:{port}"
    finally:
        server.stop(None)


def code_of(call):
    """The status of a call, and its details."""
    try:
        call()
    except grpc.RpcError as raised:
        return raised.code().name, raised.details()
    return "OK", ""


def a_grpc_service_stands_behind_it():
    with application() as (handler, upstream), service(UPSTREAM=upstream), grpc.insecure_channel("127.0.0.1:18930") as channel:
        answer, call = channel.unary_unary("/t.Test/Unary").with_call(b"x" * 1_000_000, metadata=(("x-own", "7"),))
        assert len(answer) == 1_000_000 and ("x-length", "1000000") in [tuple(pair) for pair in call.trailing_metadata()]
        assert ("x-echo", "7") in [tuple(pair) for pair in call.initial_metadata()]
        stream = channel.unary_stream("/t.Test/Down")(b"y" * 100)
        assert sum(len(piece) for piece in stream) == 1_000_000 and stream.code() == grpc.StatusCode.OK
        assert channel.stream_unary("/t.Test/Up")(iter([b"z" * 1000] * 500)) == b"500000"
        # Each answer comes before the next question.
        turn = threading.Semaphore(0)

        def questions():
            for number in range(20):
                yield b"a%d" % number
                assert turn.acquire(timeout=5)

        for number, piece in enumerate(channel.stream_stream("/t.Test/Both")(questions())):
            assert piece == (b"a%d" % number)[::-1]
            turn.release()
        wrong = channel.unary_unary("/t.Test/Wrong")
        assert code_of(lambda: wrong(b"")) == ("FAILED_PRECONDITION", "not today: 100%")
        unknown = channel.unary_unary("/t.Test/Nothing")
        assert code_of(lambda: unknown(b""))[0] == "UNIMPLEMENTED"
        slow = channel.unary_unary("/t.Test/Slow")
        assert code_of(lambda: slow(b"", timeout=0.3))[0] == "DEADLINE_EXCEEDED"
        assert handler.cancelled.wait(5), "the deadline does not reach the application"
        handler.cancelled.clear()
        future = slow.future(b"")
        time.sleep(0.3)
        assert future.cancel() and handler.cancelled.wait(5), "the cancellation does not reach the application"
        assert metric("probesim_upstream_errors_total") == 0
        assert metric("probesim_upstream_requests_total", 'code="200"') >= 6


def rules_strike_calls_to_a_grpc_service():
    rules = [
        {"name": "down", "target": "traffic", "match": {"path": "/t.Test/Unary"}, "mode": "grpc", "grpc_status": "UNAVAILABLE"},
        {"name": "cut", "target": "traffic", "match": {"path": "/t.Test/Down"}, "mode": "body-reset", "body": 50_000},
    ]
    plan = json.dumps({"faults": rules})
    with application() as (_, upstream), service(UPSTREAM=upstream, FAULTS=plan), grpc.insecure_channel("127.0.0.1:18930") as channel:
        unary = channel.unary_unary("/t.Test/Unary")
        assert code_of(lambda: unary(b""))[0] == "UNAVAILABLE"
        pieces = 0
        try:
            for _ in channel.unary_stream("/t.Test/Down")(b"y" * 100):
                pieces += 1
        except grpc.RpcError as raised:
            assert raised.code().name == "INTERNAL", raised
        assert 0 < pieces < 10, pieces
        assert channel.stream_unary("/t.Test/Up")(iter([b"z"])) == b"1"
        assert metric("probesim_faults_injected_total") == 2


def each_mode_strikes_calls_to_a_grpc_service():
    """What a unary call sees, and one whose answer is a stream."""
    # After the head, grpcio may report the end of the stream instead of the status.
    answered = {"UNAVAILABLE", "UNKNOWN"}
    expected = {
        "status": (answered, {"status": 503}),
        "redirect": ({"UNKNOWN"}, {}),
        "hang": ({"DEADLINE_EXCEEDED"}, {}),
        "close": ({"CANCELLED"}, {}),
        "reset": ({"INTERNAL"}, {}),
        "garbage": ({"UNAVAILABLE", "UNKNOWN", "INTERNAL"}, {}),
        "truncate": ({"UNKNOWN"}, {}),
        "body-hang": ({"DEADLINE_EXCEEDED"}, {}),
        "body-reset": ({"INTERNAL"}, {}),
        "malformed": ({"UNAVAILABLE"}, {}),
        "drip": ({"OK"}, {"drip": "200ms"}),
        "throttle": ({"OK"}, {"speed": "10MiB"}),
        "corrupt": ({"OK"}, {"share": "0.001%"}),
        "grpc": ({"ABORTED"}, {"grpc_status": "ABORTED"}),
        "delay": ({"OK"}, {"delay": "100ms"}),
    }
    rules = []
    for mode, (_, fields) in expected.items():
        fields |= {} if mode == "delay" else {"mode": mode}
        rules.append({"name": mode, "target": "traffic", "match": {"headers": {"x-mode": mode}}, **fields})

    def call(kind, mode):
        # Not the connection of an earlier call, which is about to end.
        own = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel("127.0.0.1:18930", own) as channel:
            options = {"metadata": (("x-mode", mode),), "timeout": 1 if "hang" in mode else 10}
            if kind == "stream":
                return code_of(lambda: list(channel.unary_stream("/t.Test/Down")(b"y" * 100, **options)))
            return code_of(lambda: channel.unary_unary("/t.Test/Unary")(b"x" * 1000, **options))

    with application() as (_, upstream), service(UPSTREAM=upstream, FAULTS=json.dumps({"faults": rules})):
        for mode, (sees, _) in expected.items():
            for kind in ("unary", "stream"):
                code, details = call(kind, mode)
                assert code in sees, f"{mode}, {kind}: {code}, {details}"
            injected = metric("probesim_faults_injected_total", f'fault="{mode}"')
            assert injected == 2, f"{mode}: {injected}"
            assert call("stream", "none")[0] == "OK", mode


def a_grpc_service_that_is_gone_is_unavailable():
    with service(UPSTREAM="h2c://127.0.0.1:9"), grpc.insecure_channel("127.0.0.1:18930") as channel:
        call = channel.unary_unary("/t.Test/Unary")
        assert code_of(lambda: call(b""))[0] == "UNAVAILABLE"
        assert metric("probesim_upstream_errors_total", 'reason="refused"') == 1


for check in (
    httpx_sees_each_mode,
    a_hundred_requests_share_a_connection,
    grpcio_sees_each_mode,
    health_checks_of_grpcio_see_each_mode,
    watch_of_grpcio_follows_the_windows,
    a_grpc_service_stands_behind_it,
    rules_strike_calls_to_a_grpc_service,
    each_mode_strikes_calls_to_a_grpc_service,
    a_grpc_service_that_is_gone_is_unavailable,
):
    check()
    print(f"{check.__name__}: ok")
