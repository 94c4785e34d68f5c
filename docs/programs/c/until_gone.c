/* Prints what comes out of a queue, until all who have sent are gone. */
#include "check.h"

int main(void) {
  ipc_queue *numbers;
  ipc_result result;
  char text[4096];
  size_t len;

  check(ipc_queue_open_or_create("numbers", NULL, NULL, &numbers));
  check(ipc_queue_end_with_peers(numbers, true));
  while ((result = ipc_queue_recv(numbers, text, sizeof text, &len, IPC_FOREVER)) == IPC_OK) {
    printf("%.*s\n", (int)len, text);
  }
  if (result != IPC_ERR_DISCONNECTED) {
    check(result);
  }
  printf("all senders are gone\n");
  return ipc_queue_close(numbers);
}
