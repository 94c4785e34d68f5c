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


def test_no_memory_for_the_objects_of_a_batch() -> None:
    text = """
        import resource
        batch = [b'x' * (1 << 20)] * 32
        queue = rsipc.Queue.anonymous(capacity=64, max_message=1 << 20)
        with open('/proc/self/statm') as statm:
            used = int(statm.read().split()[0]) * os.sysconf('SC_PAGE_SIZE')
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + (80 << 20), most))
        kept = []
        try:
            for _ in range(3):
                queue.send_many(batch)
                kept.append(queue.recv_many())
        except MemoryError:
            pass
        else:
            sys.exit('there was memory')
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        while len(queue):
            queue.recv_many()
        queue.send_many([b'y', b'z'])
        assert queue.recv_many() == [b'y', b'z']
    """
    run(text)
