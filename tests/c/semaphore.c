/* Semaphores: signals that anybody gives, and permits that come back from the dead. */
#include "check.h"

static ipc_semaphore *semaphore;

static uint32_t value(void) {
  uint32_t units;
  OK(ipc_semaphore_value(semaphore, &units));
  return units;
}

static void acquire_three(void) {
  ipc_semaphore *mine;
  int i;
  OK(ipc_semaphore_open("events", NULL, &mine));
  for (i = 0; i < 3; i++) {
    OK(ipc_semaphore_acquire(mine, BOUND));
  }
  OK(ipc_semaphore_close(mine));
}

static void signals(void) {
  ipc_semaphore *other;
  pid_t waiter;
  OK(ipc_semaphore_create("events", 2, NULL, &semaphore));
  CHECK(value() == 2);
  OK(ipc_semaphore_acquire(semaphore, IPC_FOREVER));
  OK(ipc_semaphore_acquire(semaphore, IPC_DONT_WAIT));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_semaphore_acquire(semaphore, IPC_DONT_WAIT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_semaphore_acquire(semaphore, SHORT));
  waiter = child(acquire_three);
  OK(ipc_semaphore_release(semaphore, 1));
  OK(ipc_semaphore_release(semaphore, 2));
  wait_for(waiter);
  CHECK(value() == 0);
  OK(ipc_semaphore_release(semaphore, IPC_SEMAPHORE_MAX_VALUE));
  FAILS(IPC_ERR_LIMIT_REACHED, ipc_semaphore_release(semaphore, 1));
  FAILS(IPC_ERR_LIMIT_REACHED, ipc_semaphore_release(semaphore, UINT32_MAX));
  CHECK(value() == IPC_SEMAPHORE_MAX_VALUE);
  OK(ipc_semaphore_open_or_create("events", 9, NULL, &other));
  OK(ipc_semaphore_close(other));
  FAILS(IPC_ERR_WRONG_KIND, ipc_semaphore_open_or_create_permits("events", 9, NULL, &other));
  OK(ipc_semaphore_close(semaphore));
  OK(ipc_unlink("events", NULL));
}

static int held[2];

static void hold_and_wait_for_death(void) {
  /* A child of fork holds none of its parent's permits. */
  FAILS(IPC_ERR_NOT_OWNER, ipc_semaphore_release(semaphore, 1));
  OK(ipc_semaphore_acquire(semaphore, BOUND));
  OK(ipc_semaphore_acquire(semaphore, BOUND));
  CHECK(write(held[1], "h", 1) == 1);
  for (;;) {
    pause();
  }
}

static void permits(void) {
  ipc_semaphore *other;
  pid_t holder;
  char letter;
  OK(ipc_semaphore_create_permits("seats", 3, NULL, &semaphore));
  FAILS(IPC_ERR_NOT_OWNER, ipc_semaphore_release(semaphore, 1));
  OK(ipc_semaphore_acquire(semaphore, IPC_DONT_WAIT));
  CHECK(value() == 2);
  FAILS(IPC_ERR_NOT_OWNER, ipc_semaphore_release(semaphore, 2));
  CHECK(pipe(held) == 0);
  holder = child(hold_and_wait_for_death);
  CHECK(read(held[0], &letter, 1) == 1);
  CHECK(value() == 0);
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_semaphore_acquire(semaphore, IPC_DONT_WAIT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_semaphore_acquire(semaphore, SHORT));
  CHECK(kill(holder, SIGKILL) == 0);
  OK(ipc_semaphore_acquire(semaphore, BOUND));
  wait_for_killed(holder);
  CHECK(value() == 1);
  OK(ipc_semaphore_release(semaphore, 2));
  CHECK(value() == 3);
  OK(ipc_semaphore_open_or_create_permits("seats", 9, NULL, &other));
  OK(ipc_semaphore_close(other));
  FAILS(IPC_ERR_WRONG_KIND, ipc_semaphore_open_or_create("seats", 9, NULL, &other));
  OK(ipc_semaphore_close(semaphore));
  OK(ipc_unlink("seats", NULL));
  CHECK(close(held[0]) == 0 && close(held[1]) == 0);
}

int main(void) {
  start();
  signals();
  permits();
  return 0;
}
