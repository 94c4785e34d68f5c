"""Messages to one process, and calls that wait for its reply."""

import multiprocessing
import os

import rsipc


def serve(name: str) -> None:
    with rsipc.Endpoint.open(name) as server:
        while True:
            request = server.recv()
            if not request.wants_reply:
                return
            request.reply(str(int(request.data) ** 2).encode())


def main() -> None:
    name = f"squares-{os.getpid()}"
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(name,))
    server.start()
    with rsipc.Endpoint.open() as mine:
        while True:
            try:
                squares = mine.find(name)
                break
            except rsipc.NotFound:  # not open yet
                server.join(0.01)
        print("the square of 7 is", mine.call(squares, b"7", timeout=60).decode())
        mine.send(squares, b"that is all")
        server.join()
        try:
            mine.call(squares, b"8")
        except rsipc.PeerGone:
            print("nobody is there any more")


if __name__ == "__main__":
    main()
