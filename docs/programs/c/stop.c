/* Says that it is time to stop. */
#include "check.h"

int main(void) {
  ipc_semaphore *stop;

  check(ipc_semaphore_open_or_create("stop", 0, NULL, &stop));
  check(ipc_semaphore_release(stop, 1));
  return ipc_semaphore_close(stop);
}
