/* Opens a queue that a group of users shares, or creates it for them. */
#include "check.h"

int main(int argc, char **argv) {
  ipc_options options = IPC_OPTIONS_INIT;
  ipc_queue *jobs;

  options.dir = argc > 1 ? argv[1] : "/dev/shm/team";
  options.mode = 0660;
  check(ipc_queue_open_or_create("jobs", NULL, &options, &jobs));
  check(ipc_queue_send(jobs, "for the team", 12, IPC_FOREVER));
  return ipc_queue_close(jobs);
}
