/* A producer and a consumer: two processes, and a queue between them. */
#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(ipc_result result, const char *doing) {
  if (result != IPC_OK) {
    fprintf(stderr, "%s: %s\n", doing, result < 0 ? ipc_error_detail() : ipc_strerror(result));
    exit(1);
  }
}

static void produce(void) {
  ipc_queue *jobs;
  char job[32];
  int i;
  check(ipc_queue_open("example-jobs", NULL, &jobs), "opening the queue");
  for (i = 1; i <= 20; i++) {
    int len = snprintf(job, sizeof job, "job %d", i);
    /* Waits while the queue is full. */
    check(ipc_queue_send(jobs, job, (size_t)len, IPC_FOREVER), "sending");
  }
  /* Nothing more will come: receivers get what is left, then IPC_ERR_CLOSED. */
  check(ipc_queue_shutdown(jobs), "shutting the queue down");
  check(ipc_queue_close(jobs), "closing the queue");
}

int main(void) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *jobs;
  ipc_result result;
  char job[32];
  size_t len;
  int received = 0;

  options.capacity = 4;
  options.max_message = sizeof job;
  check(ipc_queue_create("example-jobs", &options, NULL, &jobs), "creating the queue");
  if (fork() == 0) {
    produce();
    _exit(0);
  }
  while ((result = ipc_queue_recv(jobs, job, sizeof job, &len, IPC_FOREVER)) == IPC_OK) {
    printf("received: %.*s\n", (int)len, job);
    received++;
  }
  if (result != IPC_ERR_CLOSED) {
    check(result, "receiving");
  }
  wait(NULL);
  check(ipc_queue_close(jobs), "closing the queue");
  check(ipc_unlink("example-jobs", NULL), "unlinking the queue");
  return received == 20 ? 0 : 1;
}
