/* Prints what comes out of a queue, until it is shut down. */
#include "check.h"

int main(int argc, char **argv) {
  ipc_queue *queue;
  ipc_result result;
  char text[1000];
  size_t len;

  (void)argc;
  check(ipc_queue_open(argv[1], NULL, &queue));
  while ((result = ipc_queue_recv(queue, text, sizeof text, &len, IPC_FOREVER)) == IPC_OK) {
    printf("%.*s\n", (int)len, text);
  }
  if (result != IPC_ERR_CLOSED) {
    check(result);
  }
  return ipc_queue_close(queue);
}
