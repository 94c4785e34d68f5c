/* Long messages without a copy: the sender writes them where the receiver reads them. */
#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FRAMES = 3, FRAME = 8 << 20 };

static void check(ipc_result result, const char *doing) {
  if (result != IPC_OK) {
    fprintf(stderr, "%s: %s\n", doing, result < 0 ? ipc_error_detail() : ipc_strerror(result));
    exit(1);
  }
}

static void show(void) {
  ipc_queue *frames;
  ipc_message_view frame;
  int i;
  check(ipc_queue_open("example-frames", NULL, &frames), "opening the queue");
  for (i = 0; i < FRAMES; i++) {
    check(ipc_queue_recv_view(frames, &frame, IPC_FOREVER), "receiving");
    printf("%s of %zu bytes\n", (const char *)frame.data, frame.len);
    check(ipc_queue_release_view(frames, &frame), "giving the memory back");
  }
  check(ipc_queue_close(frames), "closing the queue");
}

int main(void) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *frames;
  ipc_loan frame;
  int i, status = 1;

  /* Two wait, one is filled, and one is read. */
  options.capacity = 2;
  options.max_message = FRAME;
  options.leases = 2;
  check(ipc_queue_create("example-frames", &options, NULL, &frames), "creating the queue");
  if (fork() == 0) {
    show();
    fflush(stdout);
    _exit(0);
  }
  for (i = 1; i <= FRAMES; i++) {
    check(ipc_queue_loan(frames, FRAME, &frame, IPC_FOREVER), "waiting for memory");
    snprintf((char *)frame.data, frame.len, "frame %d", i);
    check(ipc_queue_send_loan(frames, &frame, frame.len, IPC_FOREVER), "sending");
  }
  wait(&status);
  check(ipc_queue_close(frames), "closing the queue");
  check(ipc_unlink("example-frames", NULL), "unlinking the queue");
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}
