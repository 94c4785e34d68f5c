/* Mutexes: one owner at a time, who is a thread, and whose death is told. */
#include "check.h"

static ipc_mutex *mutex;
static volatile uint64_t *total;

static void held_elsewhere(void) {
  ipc_mutex *mine;
  OK(ipc_mutex_open("lock", NULL, &mine));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_mutex_lock(mine, IPC_DONT_WAIT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_mutex_lock(mine, SHORT));
  FAILS(IPC_ERR_NOT_OWNER, ipc_mutex_unlock(mine));
  FAILS(IPC_ERR_NOT_OWNER, ipc_mutex_mark_consistent(mine));
  FAILS(IPC_ERR_NOT_OWNER, ipc_mutex_give_up(mine));
  /* The inherited handle does not make the child the owner of its parent's lock. */
  FAILS(IPC_ERR_NOT_OWNER, ipc_mutex_unlock(mutex));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_mutex_lock(mutex, IPC_DONT_WAIT));
  OK(ipc_mutex_close(mine));
}

static void *unlock_elsewhere(void *unused) {
  FAILS(IPC_ERR_NOT_OWNER, ipc_mutex_unlock(mutex));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_mutex_lock(mutex, IPC_DONT_WAIT));
  return unused;
}

static void one_owner(void) {
  pthread_t thread;
  OK(ipc_mutex_create("lock", NULL, &mutex));
  FAILS(IPC_ERR_NOT_OWNER, ipc_mutex_unlock(mutex));
  OK(ipc_mutex_lock(mutex, IPC_FOREVER));
  FAILS(IPC_ERR_DEADLOCK, ipc_mutex_lock(mutex, IPC_FOREVER));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_mutex_close(mutex));
  CHECK(strstr(ipc_error_detail(), "unlock it first") != NULL);
  wait_for(child(held_elsewhere));
  CHECK(pthread_create(&thread, NULL, unlock_elsewhere, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  OK(ipc_mutex_unlock(mutex));
  FAILS(IPC_ERR_NOT_OWNER, ipc_mutex_unlock(mutex));
  OK(ipc_mutex_lock(mutex, IPC_DONT_WAIT));
  OK(ipc_mutex_unlock(mutex));
}

static void add(void) {
  int i;
  for (i = 0; i < 2000; i++) {
    OK(ipc_mutex_lock(mutex, BOUND));
    *total = *total + 1;
    OK(ipc_mutex_unlock(mutex));
  }
}

static void exclusion(void) {
  ipc_region *region;
  pid_t adders[3];
  void *bytes;
  size_t len, i;
  OK(ipc_region_create_anonymous(sizeof *total, &region));
  OK(ipc_region_map(region, &bytes, &len));
  total = (volatile uint64_t *)bytes;
  for (i = 0; i < 3; i++) {
    adders[i] = child(add);
  }
  add();
  for (i = 0; i < 3; i++) {
    wait_for(adders[i]);
  }
  CHECK(*total == 8000);
  OK(ipc_region_close(region));
}

static int locked[2];

static void lock_and_wait_for_death(void) {
  OK(ipc_mutex_lock(mutex, BOUND));
  CHECK(write(locked[1], "l", 1) == 1);
  for (;;) {
    pause();
  }
}

static void *lock_and_return(void *unused) {
  OK(ipc_mutex_lock(mutex, BOUND));
  return unused;
}

static void death(void) {
  pid_t owner;
  pthread_t thread;
  bool inconsistent;
  char letter;
  CHECK(pipe(locked) == 0);
  owner = child(lock_and_wait_for_death);
  CHECK(read(locked[0], &letter, 1) == 1);
  FAILS(IPC_ERR_TIMED_OUT, ipc_mutex_lock(mutex, SHORT));
  CHECK(kill(owner, SIGKILL) == 0);
  FAILS(IPC_OWNER_DIED, ipc_mutex_lock(mutex, BOUND));
  wait_for_killed(owner);
  OK(ipc_mutex_is_inconsistent(mutex, &inconsistent));
  CHECK(inconsistent);
  OK(ipc_mutex_unlock(mutex));
  /* Nobody has repaired anything: the next owner is told again. */
  FAILS(IPC_OWNER_DIED, ipc_mutex_lock(mutex, BOUND));
  OK(ipc_mutex_mark_consistent(mutex));
  OK(ipc_mutex_is_inconsistent(mutex, &inconsistent));
  CHECK(!inconsistent);
  OK(ipc_mutex_unlock(mutex));
  OK(ipc_mutex_lock(mutex, BOUND));
  OK(ipc_mutex_unlock(mutex));

  /* A thread that ends is dead, too. */
  CHECK(pthread_create(&thread, NULL, lock_and_return, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  FAILS(IPC_OWNER_DIED, ipc_mutex_lock(mutex, BOUND));

  OK(ipc_mutex_give_up(mutex));
  OK(ipc_mutex_unlock(mutex));
  FAILS(IPC_ERR_NOT_RECOVERABLE, ipc_mutex_lock(mutex, IPC_FOREVER));
  OK(ipc_mutex_close(mutex));
  OK(ipc_mutex_open_or_create("lock", NULL, &mutex));
  FAILS(IPC_ERR_NOT_RECOVERABLE, ipc_mutex_lock(mutex, IPC_DONT_WAIT));
  OK(ipc_mutex_close(mutex));
  OK(ipc_unlink("lock", NULL));
  OK(ipc_mutex_create("lock", NULL, &mutex));
  OK(ipc_mutex_lock(mutex, IPC_DONT_WAIT));
  OK(ipc_mutex_unlock(mutex));
  OK(ipc_mutex_close(mutex));
  CHECK(close(locked[0]) == 0 && close(locked[1]) == 0);
}

int main(void) {
  start();
  one_owner();
  exclusion();
  death();
  return 0;
}
