/* Prints what has happened to a queue. */
#include "check.h"
#include <inttypes.h>

int main(void) {
  ipc_counters counters = IPC_COUNTERS_INIT;
  ipc_queue *numbers;

  check(ipc_queue_open("numbers", NULL, &numbers));
  check(ipc_queue_counters(numbers, &counters));
  printf("%" PRIu64 " messages of %" PRIu64 " bytes sent, %" PRIu64 " received\n", counters.sent, counters.bytes_sent, counters.received);
  printf("%" PRIu64 " deaths noticed\n", counters.deaths);
  return ipc_queue_close(numbers);
}
