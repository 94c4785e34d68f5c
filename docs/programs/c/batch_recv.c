/* Receives as many messages as are there, up to 64, in one call. */
#include "check.h"

int main(void) {
  ipc_queue *numbers;
  char bytes[4096], *text = bytes;
  size_t lens[64], count, i;

  check(ipc_queue_open_or_create("numbers", NULL, NULL, &numbers));
  check(ipc_queue_recv_many(numbers, bytes, sizeof bytes, lens, 64, &count, IPC_FOREVER));
  for (i = 0; i < count; i++) {
    printf("%.*s\n", (int)lens[i], text);
    text += lens[i];
  }
  return ipc_queue_close(numbers);
}
