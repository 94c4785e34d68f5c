/* Prints three samples. */
#include "check.h"
#include <stdint.h>

struct sample {
  uint32_t sensor, number;
  double celsius;
};

int main(void) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *samples;
  struct sample sample;
  size_t len;
  int count;

  options.max_message = sizeof sample;
  check(ipc_queue_open_or_create("samples", &options, NULL, &samples));
  for (count = 0; count < 3; count++) {
    check(ipc_queue_recv(samples, &sample, sizeof sample, &len, IPC_FOREVER));
    if (len != sizeof sample) {
      fprintf(stderr, "%zu bytes are no sample\n", len);
      continue;
    }
    printf("sensor %u, sample %u: %.1f degrees\n", (unsigned)sample.sensor, (unsigned)sample.number, sample.celsius);
  }
  return ipc_queue_close(samples);
}
