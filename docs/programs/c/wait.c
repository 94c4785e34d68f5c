/* Prints what comes out of a queue, until it is told to stop. */
#include "check.h"

int main(void) {
  ipc_queue *numbers;
  ipc_semaphore *stop;
  ipc_waitable items[2];
  char text[4096];
  size_t len;

  check(ipc_queue_open_or_create("numbers", NULL, NULL, &numbers));
  check(ipc_semaphore_open_or_create("stop", 0, NULL, &stop));
  items[0].handle = numbers;
  items[0].events = IPC_WAIT_RECV;
  items[1].handle = stop;
  items[1].events = IPC_WAIT_ACQUIRE;
  for (;;) {
    check(ipc_wait(items, 2, IPC_FOREVER));
    if (items[0].ready && ipc_queue_recv(numbers, text, sizeof text, &len, IPC_DONT_WAIT) == IPC_OK) {
      printf("%.*s\n", (int)len, text);
    } else if (items[1].ready && ipc_semaphore_acquire(stop, IPC_DONT_WAIT) == IPC_OK) {
      break;
    }
  }
  printf("stopped\n");
  check(ipc_semaphore_close(stop));
  return ipc_queue_close(numbers);
}
