"""What runs out is an exception that says what, and what failed succeeds once there is more."""

from processes import run


def test_no_descriptor_left() -> None:
    text = """
        import errno, resource
        queue = rsipc.Queue.create('q', capacity=4, max_message=100)
        permits = rsipc.Semaphore.create_permits('p', 1)
        server = rsipc.Endpoint.open('server')
        server.send(server.address, b'first')
        server.recv(0)
        calls = [
            lambda: rsipc.Queue.open('q'),
            lambda: rsipc.Mutex.create('m'),
            lambda: rsipc.Region.anonymous(100),
            lambda: rsipc.Endpoint.open(),
            lambda: rsipc.list(),
            lambda: server.find('server'),
            lambda: queue.fileno(),
            lambda: permits.fileno(),
        ]
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
        for number, call in enumerate(calls):
            try:
                call()
            except rsipc.TooManyFiles as error:
                assert isinstance(error, OSError) and error.errno == errno.EMFILE
                assert 'ulimit -n' in str(error), error
            else:
                sys.exit(f'call {number} had a descriptor')
        # What is open needs none.
        queue.send(b'x')
        with permits:
            assert queue.recv(0) == b'x'
        server.send(server.address, b'y')
        assert server.recv(0).data == b'y'
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for call in calls:
            call()
        queue.send(b'z')
        assert queue.recv(0) == b'z'
    """
    run(text)


def test_no_thread_left_to_watch() -> None:
    text = """
        import resource, select
        queue = rsipc.Queue.create('q', capacity=4, max_message=100)
        if os.geteuid() == 0:
            os.setresuid(65533, 65533, 65533)
        _, most = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, most))
        try:
            queue.fileno()
        except rsipc.NoMemory as error:
            assert 'ulimit -u' in str(error), error
        else:
            sys.exit('there was a thread')
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        descriptor = queue.fileno()
        try:
            queue.recv(0)
        except rsipc.WouldBlock:
            pass
        queue.send(b'x')
        assert select.select([descriptor], [], [], 60)[0]
    """
    run(text)
