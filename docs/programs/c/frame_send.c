/* Fills a frame where the receiver will read it, and sends it. */
#include "check.h"
#include <string.h>

int main(void) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *frames;
  ipc_loan frame;

  options.capacity = 2;
  options.max_message = 8 << 20;
  options.leases = 2; /* one that is filled, and one that is read */
  check(ipc_queue_open_or_create("frames", &options, NULL, &frames));
  check(ipc_queue_loan(frames, 8 << 20, &frame, IPC_FOREVER));
  memset(frame.data, 7, frame.len);
  check(ipc_queue_send_loan(frames, &frame, frame.len, IPC_FOREVER));
  return ipc_queue_close(frames);
}
