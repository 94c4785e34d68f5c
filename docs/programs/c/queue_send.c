/* Sends its arguments to the queue that the first of them names. */
#include "check.h"
#include <string.h>

int main(int argc, char **argv) {
  ipc_queue *queue;
  int i;

  check(ipc_queue_open(argv[1], NULL, &queue));
  for (i = 2; i < argc; i++) {
    check(ipc_queue_send(queue, argv[i], strlen(argv[i]), IPC_FOREVER));
  }
  check(ipc_queue_shutdown(queue)); /* nothing more will come */
  return ipc_queue_close(queue);
}
