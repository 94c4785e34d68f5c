/* Waits for a greeting, which hello_send.c sends, and prints it. */
#include <ipc.h>
#include <stdio.h>

int main(void) {
  ipc_queue *greetings;
  char text[100];
  size_t len;
  if (ipc_queue_open_or_create("greetings", NULL, NULL, &greetings) != IPC_OK ||
      ipc_queue_recv(greetings, text, sizeof text, &len, IPC_FOREVER) != IPC_OK) {
    fprintf(stderr, "%s\n", ipc_error_detail());
    return 1;
  }
  printf("%.*s\n", (int)len, text);
  return ipc_queue_close(greetings);
}
