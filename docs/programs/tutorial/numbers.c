/* Sends the numbers from 1 to so many as jobs. */
#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  int last = argc > 1 ? atoi(argv[1]) : 10, number;
  char text[16];
  ipc_queue *jobs;
  ipc_result result = ipc_queue_open_or_create("jobs", NULL, NULL, &jobs);

  for (number = 1; result == IPC_OK && number <= last; number++) {
    int len = snprintf(text, sizeof text, "%d", number);
    /* Waits while 64 jobs are waiting. */
    result = ipc_queue_send(jobs, text, (size_t)len, IPC_FOREVER);
  }
  if (result == IPC_OK) {
    result = ipc_queue_shutdown(jobs); /* nothing more will come */
  }
  if (result != IPC_OK) {
    fprintf(stderr, "%s\n", ipc_error_detail());
    return 1;
  }
  return ipc_queue_close(jobs);
}
