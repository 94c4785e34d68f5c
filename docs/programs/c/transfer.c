/* Moves 10 from one account to the other. They add up to 0. */
#include "check.h"

int main(int argc, char **argv) {
  ipc_region *region;
  ipc_mutex *mutex;
  void *bytes;
  size_t len;
  int64_t *accounts;
  ipc_result result;

  (void)argv;
  check(ipc_region_open_or_create("accounts", 16, NULL, &region));
  check(ipc_mutex_open_or_create("accounts-lock", NULL, &mutex));
  check(ipc_region_map(region, &bytes, &len));
  accounts = (int64_t *)bytes;

  check(result = ipc_mutex_lock(mutex, IPC_FOREVER));
  if (result == IPC_OWNER_DIED) {
    printf("somebody died: %d and %d\n", (int)accounts[0], (int)accounts[1]);
    accounts[1] = -accounts[0];
    check(ipc_mutex_mark_consistent(mutex));
  }
  accounts[0] -= 10;
  if (argc > 1) {
    abort(); /* dies in the middle, if it is told to */
  }
  accounts[1] += 10;
  printf("%d and %d\n", (int)accounts[0], (int)accounts[1]);
  check(ipc_mutex_unlock(mutex));

  check(ipc_mutex_close(mutex));
  return ipc_region_close(region);
}
