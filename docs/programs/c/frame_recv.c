/* Reads a frame where the sender has written it. */
#include "check.h"

int main(void) {
  ipc_queue *frames;
  ipc_message_view frame;

  check(ipc_queue_open("frames", NULL, &frames));
  check(ipc_queue_recv_view(frames, &frame, IPC_FOREVER));
  printf("%zu bytes, the last of them %d\n", frame.len, ((const unsigned char *)frame.data)[frame.len - 1]);
  check(ipc_queue_release_view(frames, &frame)); /* another frame may be put there */
  return ipc_queue_close(frames);
}
