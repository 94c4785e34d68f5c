/* A process is killed while it holds a mutex; the next owner is told, repairs the data, and goes on. */
#include <ipc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the mutex guards: the two are always equal, unless somebody died in between. */
struct balance {
  long debit, credit;
};

static void check(ipc_result result, const char *doing) {
  if (result != IPC_OK) {
    fprintf(stderr, "%s: %s\n", doing, result < 0 ? ipc_error_detail() : ipc_strerror(result));
    exit(1);
  }
}

int main(void) {
  ipc_region *region;
  ipc_mutex *mutex;
  struct balance *balance;
  void *bytes;
  size_t len;
  ipc_result result;

  /* The mutex lies at the beginning of a region, the data behind it. */
  check(ipc_region_create_anonymous(4096, &region), "creating a region");
  check(ipc_mutex_create_in(region, 0, &mutex), "creating a mutex");
  check(ipc_region_map(region, &bytes, &len), "mapping the region");
  balance = (struct balance *)((char *)bytes + IPC_MUTEX_SIZE);

  if (fork() == 0) {
    check(ipc_mutex_lock(mutex, IPC_FOREVER), "locking");
    balance->debit += 100;
    raise(SIGKILL);
  }
  wait(NULL);

  result = ipc_mutex_lock(mutex, IPC_FOREVER);
  if (result == IPC_OWNER_DIED) {
    printf("the owner died: debit %ld, credit %ld\n", balance->debit, balance->credit);
    balance->debit = balance->credit;
    check(ipc_mutex_mark_consistent(mutex), "marking the data consistent");
  } else {
    check(result, "locking");
  }
  printf("repaired: debit %ld, credit %ld\n", balance->debit, balance->credit);
  check(ipc_mutex_unlock(mutex), "unlocking");
  check(ipc_mutex_close(mutex), "closing the mutex");
  check(ipc_region_close(region), "closing the region");
  return result == IPC_OWNER_DIED ? 0 : 1;
}
