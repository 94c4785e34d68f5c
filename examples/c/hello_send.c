/* Sends a greeting, which hello_recv.c prints: whichever of the two is started first. */
#include <ipc.h>
#include <stdio.h>

int main(void) {
  ipc_queue *greetings;
  if (ipc_queue_open_or_create("greetings", NULL, NULL, &greetings) != IPC_OK ||
      ipc_queue_send(greetings, "Hello, world!", 13, IPC_FOREVER) != IPC_OK) {
    fprintf(stderr, "%s\n", ipc_error_detail());
    return 1;
  }
  return ipc_queue_close(greetings);
}
