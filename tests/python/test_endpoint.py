"""Endpoints: direct messages, calls and their replies, and what happens when a peer dies."""

import copy
import gc
import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import rsipc
from processes import BOUND, Program, run

SERVER = """
    server = rsipc.Endpoint.open('server', capacity=4, max_message=1 << 20)
    print('open', flush=True)
"""
ECHO = (
    SERVER
    + """
    while True:
        request = server.recv()
        if not request.wants_reply:
            break
        request.reply(request.data[::-1])
"""
)


def test_messages_say_who_sent_them() -> None:
    endpoint = rsipc.Endpoint.open("me")
    text = """
        mine = rsipc.Endpoint.open()
        print(mine.address, flush=True)
        for number in range(5):
            mine.send(mine.find('me'), b'x' * number)
        answer = mine.recv(60)
        print(answer.data, answer.from_ == mine.find('me'), flush=True)
    """
    with Program(text) as sender:
        address = sender.line()
        for number in range(5):
            message = endpoint.recv(BOUND)
            assert (message.data, message.wants_reply) == (b"x" * number, False)
            assert (str(message.from_), message.from_.pid, message.from_.serial) == (address, sender.pid, 0)
        assert message.from_ == endpoint.address_of(sender.pid)
        endpoint.send(message.from_, memoryview(b"hello"))
        assert sender.succeeds() == "b'hello' True\n"


def test_addresses() -> None:
    one, other = rsipc.Endpoint.open(), rsipc.Endpoint.open()
    assert one.address == one.address != other.address
    assert one.address != "something else"
    assert len({one.address, one.address, other.address}) == 2
    assert {one.address: 1}[one.address] == 1
    assert (one.address.pid, one.address.serial, other.address.serial) == (os.getpid(), 0, 1)
    assert str(other.address) == f"{os.getpid()}.1"
    assert str(other.address) in repr(other.address)
    assert one.address_of(os.getpid()) == one.address
    with pytest.raises(TypeError):
        rsipc.Address()


def test_calls() -> None:
    with Program(ECHO) as server, rsipc.Endpoint.open() as mine:
        server.is_at("open")
        to = mine.find("server")
        assert mine.call(to, b"abc", BOUND) == b"cba"
        assert mine.call(to, bytearray(b"")) == b""
        long = os.urandom(1 << 20)
        assert mine.call(to, long, BOUND) == long[::-1]
        with ThreadPoolExecutor() as threads:
            requests = [str(number).encode() for number in range(200)]
            replies = threads.map(lambda request: mine.call(to, request, BOUND), requests)
            assert list(replies) == [request[::-1] for request in requests]
        mine.send(to, b"end")
        server.succeeds()


def test_replies_in_any_order_by_any_thread() -> None:
    server, mine = rsipc.Endpoint.open(), rsipc.Endpoint.open()
    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(mine.call, server.address, bytes([number]), BOUND) for number in range(4)]
        requests = [server.recv(BOUND) for _ in calls]
        server.close()
        for request in reversed(requests):
            threads.submit(request.reply, request.data * 2).result(BOUND)
            assert not request.wants_reply
            with pytest.raises(rsipc.InvalidArgument):
                request.reply(b"again")
        assert [call.result(BOUND) for call in calls] == [bytes([number]) * 2 for number in range(4)]


def test_a_forgotten_request_ends_its_callers_wait() -> None:
    server, mine = rsipc.Endpoint.open(), rsipc.Endpoint.open()
    with ThreadPoolExecutor() as threads:
        call = threads.submit(mine.call, server.address, b"1", BOUND)
        request = server.recv(BOUND)
        assert request.wants_reply
        assert "wants a reply" in repr(request)
        del request
        gc.collect()
        with pytest.raises(rsipc.NoReply):
            call.result(BOUND)
        call = threads.submit(mine.call, server.address, b"2", BOUND)
        while not rsipc.wait([server], BOUND):
            pass
        server.close()
        with pytest.raises((rsipc.NoReply, rsipc.PeerGone)):
            call.result(BOUND)


@pytest.mark.parametrize("call", ["call(to, b'1')", "call(to, b'1', 1000)", "send(to, b'1', 1000)", "send(to, b'1')"])
def test_a_death_ends_the_waits_for_it(call: str) -> None:
    text = f"""
        mine = rsipc.Endpoint.open()
        to = mine.find('server')
        try:
            for _ in range(4):
                mine.send(to, b'fill')
            print('waits', flush=True)
            mine.{call}
        except rsipc.PeerGone as error:
            assert isinstance(error, ConnectionError) and error.errno == 104 and error.code == -24
            print('gone')
    """
    with Program(SERVER + "    time.sleep(1000)") as server:
        server.is_at("open")
        with Program(text) as waiter:
            waiter.waits()
            server.kill()
            assert waiter.succeeds() == "gone\n"
    mine = rsipc.Endpoint.open()
    with pytest.raises(rsipc.NotFound):
        mine.find("server")
    with pytest.raises(rsipc.NotFound):
        mine.address_of(server.pid)
    # The name is free.
    assert rsipc.Endpoint.open("server").address == mine.find("server")


def test_the_death_of_who_has_the_request_ends_the_call() -> None:
    mine = rsipc.Endpoint.open()
    with Program(SERVER + "    request = server.recv(); print('has', flush=True); time.sleep(1000)") as server:
        server.is_at("open")
        with ThreadPoolExecutor() as threads:
            call = threads.submit(mine.call, mine.find("server"), b"1")
            server.is_at("has")
            server.kill()
            with pytest.raises(rsipc.PeerGone):
                call.result(BOUND)


def test_ctrl_c_ends_a_call_and_a_handler_that_returns_does_not() -> None:
    answers_one = """
    request = server.recv()
    sys.stdin.readline()
    request.reply(b'late')
    request = server.recv()
    time.sleep(1000)
"""
    with Program(SERVER + answers_one) as server:
        server.is_at("open")
        text = """
            signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'handled\\n'))
            mine = rsipc.Endpoint.open()
            print('waits', flush=True)
            print(mine.call(mine.find('server'), b'once'), flush=True)
            print('waits', flush=True)
            mine.call(mine.find('server'), b'twice')
        """
        with Program(text) as client:
            client.waits()
            for _ in range(3):
                client.signal(signal.SIGUSR1)
                client.is_at("handled")
            # The wait is longer than one look for signals; the request goes out once.
            time.sleep(0.3)
            server.say("reply")
            client.is_at("b'late'")
            client.waits()
            client.signal(signal.SIGINT)
            assert "KeyboardInterrupt" in client.end()[2]


def test_other_threads_run_during_a_call() -> None:
    server = rsipc.Endpoint.open()
    mine = rsipc.Endpoint.open()

    def serve() -> None:
        server.recv(BOUND).reply(b"1")

    thread = threading.Thread(target=serve)
    thread.start()
    assert mine.call(server.address, b"x") == b"1"
    thread.join(BOUND)


def test_timeouts() -> None:
    server, mine = rsipc.Endpoint.open(capacity=3), rsipc.Endpoint.open()
    with pytest.raises(rsipc.Empty):
        server.try_recv()
    with pytest.raises(rsipc.RecvTimeout):
        server.recv(0.01)
    for timeout in (0, 0.01):
        with pytest.raises(rsipc.Timeout) as error:
            mine.call(server.address, b"unanswered", timeout)
        assert isinstance(error.value, TimeoutError)
    mine.send(server.address, b"3")
    with pytest.raises(rsipc.Full):
        mine.try_send(server.address, b"4")
    with pytest.raises(rsipc.SendTimeout):
        mine.send(server.address, b"4", 0.01)
    with pytest.raises(rsipc.Timeout):
        mine.call(server.address, b"4", 0.01)
    # A reply that comes too late is thrown away.
    for _ in range(2):
        server.recv(0).reply(b"late")
    assert server.recv(0).data == b"3"
    with ThreadPoolExecutor() as threads:
        call = threads.submit(mine.call, server.address, b"5", BOUND)
        server.recv(BOUND).reply(b"in time")
        assert call.result(BOUND) == b"in time"


def test_names() -> None:
    endpoint = rsipc.Endpoint.open("name", 2, 10)
    assert endpoint.name == "name"
    assert "name" in repr(endpoint)
    other = rsipc.Endpoint.open()
    assert other.name is None
    assert other.find("name") == endpoint.address
    with pytest.raises(rsipc.AlreadyExists):
        rsipc.Endpoint.open("name")
    rsipc.Queue.create("queue")
    with pytest.raises(rsipc.AlreadyExists):
        rsipc.Endpoint.open("queue")
    with pytest.raises(rsipc.WrongKind):
        other.find("queue")
    for wrong in ("", "a/b", "\ud800", "@1.2.0"):
        with pytest.raises(rsipc.InvalidArgument):
            rsipc.Endpoint.open(wrong)
        with pytest.raises(rsipc.InvalidArgument):
            other.find(wrong)
    with pytest.raises(rsipc.NotFound):
        other.find("nobody")
    endpoint.close()
    endpoint.close()
    with pytest.raises(rsipc.NotFound):
        other.find("name")
    with pytest.raises(rsipc.PeerGone):
        other.send(endpoint.address, b"1")


def test_a_namespace_of_its_own(namespace: object) -> None:
    directory = f"{namespace}/elsewhere"
    one, other = rsipc.Endpoint.open("one", dir=directory), rsipc.Endpoint.open(dir=directory)
    assert other.find("one") == one.address
    with pytest.raises(rsipc.NotFound):
        rsipc.Endpoint.open().find("one")


def test_bad_input() -> None:
    endpoint = rsipc.Endpoint.open(max_message=10)
    with pytest.raises(rsipc.MessageTooLong):
        endpoint.send(endpoint.address, b"x" * 11)
    with pytest.raises(rsipc.InvalidArgument, match="limit"):
        rsipc.Endpoint.open(limit=100)
    for wrong in (None, 1, "1.0", endpoint):
        with pytest.raises(TypeError):
            endpoint.send(wrong, b"")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            endpoint.call(wrong, b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        endpoint.send(endpoint.address, "text")  # type: ignore[arg-type]
    endpoint.send(endpoint.address, b"1")
    message = endpoint.recv(0)
    with pytest.raises(rsipc.InvalidArgument, match="reply"):
        message.reply(b"nobody waits")
    for thing in (endpoint, message):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            copy.copy(thing)
    endpoint.close()
    assert "closed" in repr(endpoint)
    for call in (
        endpoint.recv,
        endpoint.try_recv,
        endpoint.fileno,
        endpoint.recv_async,
        endpoint.__enter__,
        lambda: endpoint.send(endpoint.address, b""),
        lambda: endpoint.call(endpoint.address, b""),
        lambda: endpoint.find("x"),
        lambda: endpoint.address_of(1),
    ):
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            call()
    assert message.data == b"1"


def test_a_child_of_fork_opens_its_own() -> None:
    endpoint = rsipc.Endpoint.open("parent")
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(rsipc.Endpoint.open().call, endpoint.address, b"x", BOUND)
        request = endpoint.recv(BOUND)
        if (child := os.fork()) == 0:
            status = 1
            try:
                for use in (lambda: endpoint.try_recv(), lambda: request.reply(b"child's")):
                    try:
                        use()
                    except rsipc.NotOwner:
                        continue
                    os._exit(2)
                del request
                endpoint.close()
                mine = rsipc.Endpoint.open()
                mine.send(mine.find("parent"), str(mine.address).encode(), BOUND)
                status = 0
            finally:
                os._exit(status)
        message = endpoint.recv(BOUND)
        assert message.from_.pid == child
        assert message.data == str(message.from_).encode()
        assert os.waitpid(child, 0)[1] == 0
        request.reply(b"parent's")
        assert call.result(BOUND) == b"parent's"


def test_servers_on_one_mailbox() -> None:
    mailbox, mine = rsipc.Queue.create("mailbox"), rsipc.Endpoint.open()
    text = """
        mailbox, server = rsipc.Queue.open('mailbox'), rsipc.Endpoint.open()
        print('ready', flush=True)
        while True:
            request = server.recv_mailbox(mailbox)
            if request.data == b'die':
                os.kill(os.getpid(), signal.SIGKILL)
            request.reply(request.data * 2)
    """
    with Program(text) as one:
        one.is_at("ready")
        assert mine.call_mailbox(mailbox, b"1", BOUND) == b"11"
        with pytest.raises(rsipc.PeerGone):
            mine.call_mailbox(mailbox, b"die")
        with pytest.raises(rsipc.Timeout):
            mine.call_mailbox(mailbox, b"2", 0.01)
        with Program(text) as other:
            other.is_at("ready")
            assert mine.call_mailbox(mailbox, b"3", BOUND) == b"33"
    mailbox.send(b"from nobody")
    message = mine.recv_mailbox(mailbox, BOUND)
    assert (message.data, message.wants_reply, message.from_.pid) == (b"from nobody", False, 0)
    with pytest.raises(rsipc.PeerGone):
        mine.send(message.from_, b"")
    with pytest.raises(rsipc.Empty):
        mine.recv_mailbox(mailbox, 0)


def test_waits_that_end_with_the_peers() -> None:
    queue = rsipc.Queue.create("q", capacity=1)
    queue.end_with_peers()
    run("rsipc.Queue.open('q').send(b'last')")
    assert queue.recv(BOUND) == b"last"
    with pytest.raises(rsipc.Disconnected) as error:
        queue.recv(BOUND)
    assert isinstance(error.value, ConnectionError)
    queue.end_with_peers(False)
    with pytest.raises(rsipc.RecvTimeout):
        queue.recv(0.01)
    queue.end_with_peers(True)
    with Program(
        "queue = rsipc.Queue.open('q'); queue.will_send(); queue.will_recv(); print('there', flush=True); time.sleep(1000)"
    ) as peer:
        peer.is_at("there")
        with pytest.raises(rsipc.RecvTimeout):
            queue.recv(0.01)
        peer.kill()
    with pytest.raises(rsipc.Disconnected):
        queue.recv(BOUND)
