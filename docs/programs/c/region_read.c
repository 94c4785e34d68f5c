/* Reads what region_write wrote. */
#include "check.h"

int main(void) {
  ipc_region *board;
  void *bytes;
  size_t len;

  check(ipc_region_open("board", NULL, &board));
  check(ipc_region_map(board, &bytes, &len));
  printf("%s, in %zu bytes\n", (const char *)bytes, len);
  return ipc_region_close(board);
}
