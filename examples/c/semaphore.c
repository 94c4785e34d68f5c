/* Two permits, four workers: no more than two work at a time, and a worker that is killed gives its permit back. */
#include <ipc.h>
#include <signal.h>
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

static void work(int worker) {
  ipc_semaphore *seats;
  check(ipc_semaphore_open("example-seats", NULL, &seats), "opening the semaphore");
  check(ipc_semaphore_acquire(seats, IPC_FOREVER), "acquiring a permit");
  printf("worker %d has a permit\n", worker);
  fflush(stdout);
  if (worker % 2 == 0) {
    raise(SIGKILL); /* The permit comes back by itself. */
  }
  check(ipc_semaphore_release(seats, 1), "releasing the permit");
  check(ipc_semaphore_close(seats), "closing the semaphore");
}

int main(void) {
  ipc_semaphore *seats;
  uint32_t free_seats;
  int worker;

  check(ipc_semaphore_create_permits("example-seats", 2, NULL, &seats), "creating the semaphore");
  for (worker = 0; worker < 4; worker++) {
    if (fork() == 0) {
      work(worker);
      _exit(0);
    }
  }
  while (wait(NULL) > 0) {
  }
  check(ipc_semaphore_value(seats, &free_seats), "asking for the value");
  printf("%u permits are free\n", (unsigned)free_seats);
  check(ipc_semaphore_close(seats), "closing the semaphore");
  check(ipc_unlink("example-seats", NULL), "unlinking the semaphore");
  return free_seats == 2 ? 0 : 1;
}
