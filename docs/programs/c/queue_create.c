/* Creates a queue of each capacity. */
#include "check.h"

int main(void) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *bounded, *unbounded, *rendezvous;

  options.max_message = 1000;
  options.capacity = 4;
  check(ipc_queue_open_or_create("bounded", &options, NULL, &bounded));
  options.capacity = IPC_UNBOUNDED;
  check(ipc_queue_open_or_create("unbounded", &options, NULL, &unbounded));
  options.capacity = IPC_RENDEZVOUS;
  check(ipc_queue_open_or_create("rendezvous", &options, NULL, &rendezvous));

  check(ipc_queue_close(bounded));
  check(ipc_queue_close(unbounded));
  return ipc_queue_close(rendezvous);
}
