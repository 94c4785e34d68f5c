/* Works while it has one of two licences. */
#include "check.h"

int main(void) {
  ipc_semaphore *licences;

  check(ipc_semaphore_open_or_create_permits("licences", 2, NULL, &licences));
  check(ipc_semaphore_acquire(licences, IPC_FOREVER));
  printf("working\n");
  fflush(stdout);
  getchar(); /* until somebody presses Enter; or kills it */
  check(ipc_semaphore_release(licences, 1));
  return ipc_semaphore_close(licences);
}
