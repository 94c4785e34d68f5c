/* Two processes and the same memory: what one writes the other reads, and either can make it grow. */
#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(ipc_result result, const char *doing) {
  if (result != IPC_OK) {
    fprintf(stderr, "%s: %s\n", doing, result < 0 ? ipc_error_detail() : ipc_strerror(result));
    exit(1);
  }
}

static void write_to_it(void) {
  ipc_region *region;
  void *bytes;
  size_t len;
  check(ipc_region_open("example-table", NULL, &region), "opening the region");
  check(ipc_region_grow(region, 100000), "growing the region");
  check(ipc_region_map(region, &bytes, &len), "mapping the region");
  strcpy((char *)bytes + 90000, "hello from the child");
  check(ipc_region_close(region), "closing the region");
}

int main(void) {
  ipc_region *region;
  void *bytes;
  size_t len;
  int heard;

  check(ipc_region_create("example-table", 4096, NULL, &region), "creating the region");
  if (fork() == 0) {
    write_to_it();
    _exit(0);
  }
  wait(NULL);

  /* Map it (again) to see what has been added. The pointer is good until the region is closed. */
  check(ipc_region_map(region, &bytes, &len), "mapping the region");
  printf("%lu bytes: %s\n", (unsigned long)len, (char *)bytes + 90000);
  heard = strcmp((char *)bytes + 90000, "hello from the child") == 0;
  check(ipc_region_close(region), "closing the region");
  check(ipc_unlink("example-table", NULL), "unlinking the region");
  return heard ? 0 : 1;
}
