/* Prints what comes out of a queue, in a loop that could wait for other descriptors as well. */
#include "check.h"
#include <poll.h>

int main(int argc, char **argv) {
  ipc_queue *queue;
  ipc_result result;
  struct pollfd events = {-1, POLLIN, 0};
  char text[1000];
  size_t len;

  (void)argc;
  check(ipc_queue_open(argv[1], NULL, &queue));
  check(ipc_queue_readiness_fd(queue, &events.fd));
  do {
    if (poll(&events, 1, -1) < 0) {
      perror("poll");
      return 1;
    }
    /* Readable until an attempt finds nothing. */
    while ((result = ipc_queue_recv(queue, text, sizeof text, &len, IPC_DONT_WAIT)) == IPC_OK) {
      printf("%.*s\n", (int)len, text);
    }
  } while (result == IPC_ERR_WOULD_BLOCK);
  if (result != IPC_ERR_CLOSED) {
    check(result);
  }
  return ipc_queue_close(queue);
}
