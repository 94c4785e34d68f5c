/* Takes jobs on lease, until the queue is shut down. */
#include "check.h"

int main(int argc, char **argv) {
  ipc_queue *jobs;
  ipc_lease lease;
  ipc_result result;
  char job[4096];
  size_t len;

  (void)argv;
  check(ipc_queue_open_or_create("jobs", NULL, NULL, &jobs));
  while ((result = ipc_queue_lease(jobs, job, sizeof job, &len, &lease, IPC_FOREVER)) == IPC_OK) {
    if (argc > 1) {
      abort(); /* dies over its job, if it is told to */
    }
    printf("%.*s (delivery %u)\n", (int)len, job, (unsigned)lease.deliveries);
    check(ipc_queue_finish(jobs, &lease)); /* only now is the job gone */
  }
  if (result != IPC_ERR_CLOSED) {
    check(result);
  }
  return ipc_queue_close(jobs);
}
