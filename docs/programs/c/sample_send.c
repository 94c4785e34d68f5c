/* Sends three samples, a structure each. */
#include "check.h"
#include <stdint.h>

struct sample {
  uint32_t sensor, number;
  double celsius;
};

int main(void) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *samples;
  uint32_t number;

  options.max_message = sizeof(struct sample);
  check(ipc_queue_open_or_create("samples", &options, NULL, &samples));
  for (number = 1; number <= 3; number++) {
    struct sample sample = {7, number, 20 + number / 2.0};
    check(ipc_queue_send(samples, &sample, sizeof sample, IPC_FOREVER));
  }
  return ipc_queue_close(samples);
}
