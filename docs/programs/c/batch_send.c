/* Sends three messages in one call. */
#include "check.h"

int main(void) {
  const ipc_bytes batch[] = {{"one", 3}, {"two", 3}, {"three", 5}};
  ipc_queue *numbers;
  size_t sent;

  check(ipc_queue_open_or_create("numbers", NULL, NULL, &numbers));
  check(ipc_queue_send_many(numbers, batch, 3, &sent, IPC_FOREVER));
  printf("%zu sent\n", sent);
  return ipc_queue_close(numbers);
}
