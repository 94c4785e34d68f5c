/* A pool of two workers: one is killed in the middle of a job, and the other does it. */
#include <ipc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS = 6 };

static void check(ipc_result result, const char *doing) {
  if (result != IPC_OK) {
    fprintf(stderr, "%s: %s\n", doing, result < 0 ? ipc_error_detail() : ipc_strerror(result));
    exit(1);
  }
}

static void work(void) {
  ipc_queue *jobs;
  ipc_semaphore *done;
  ipc_lease lease;
  ipc_result result;
  char job[32];
  size_t len;
  check(ipc_queue_open("example-lease-jobs", NULL, &jobs), "opening the queue");
  check(ipc_semaphore_open("example-lease-done", NULL, &done), "opening the semaphore");
  while ((result = ipc_queue_lease(jobs, job, sizeof job, &len, &lease, IPC_FOREVER)) == IPC_OK) {
    if (len == 5 && memcmp(job, "job 3", len) == 0 && lease.deliveries == 1) {
      /* As the out-of-memory killer might do at any time. */
      kill(getpid(), SIGKILL);
    }
    printf("%.*s is done%s\n", (int)len, job, lease.deliveries > 1 ? ", after somebody died over it" : "");
    fflush(stdout);
    /* Only now is the job gone from the queue. */
    check(ipc_queue_finish(jobs, &lease), "finishing a job");
    check(ipc_semaphore_release(done, 1), "counting it");
  }
  if (result != IPC_ERR_CLOSED) {
    check(result, "waiting for a job");
  }
  check(ipc_semaphore_close(done), "closing the semaphore");
  check(ipc_queue_close(jobs), "closing the queue");
}

int main(void) {
  ipc_queue *jobs;
  ipc_semaphore *done;
  char job[32];
  int i, status, killed = 0, ended = 0;

  check(ipc_queue_create("example-lease-jobs", NULL, NULL, &jobs), "creating the queue");
  check(ipc_semaphore_create("example-lease-done", 0, NULL, &done), "creating the semaphore");
  for (i = 0; i < 2; i++) {
    if (fork() == 0) {
      work();
      _exit(0);
    }
  }
  for (i = 1; i <= JOBS; i++) {
    int len = snprintf(job, sizeof job, "job %d", i);
    check(ipc_queue_send(jobs, job, (size_t)len, IPC_FOREVER), "sending");
  }
  for (i = 1; i <= JOBS; i++) {
    check(ipc_semaphore_acquire(done, IPC_FOREVER), "waiting for a job to be done");
  }
  /* The workers that are left end. */
  check(ipc_queue_shutdown(jobs), "shutting the queue down");
  while (wait(&status) > 0) {
    killed += WIFSIGNALED(status);
    ended += WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  printf("all %d jobs are done; %d worker was killed\n", JOBS, killed);

  check(ipc_semaphore_close(done), "closing the semaphore");
  check(ipc_queue_close(jobs), "closing the queue");
  check(ipc_unlink("example-lease-jobs", NULL), "unlinking the queue");
  check(ipc_unlink("example-lease-done", NULL), "unlinking the semaphore");
  return killed == 1 && ended == 1 ? 0 : 1;
}
