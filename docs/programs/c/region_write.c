/* Writes a text where region_read finds it. */
#include "check.h"
#include <string.h>

int main(void) {
  ipc_region *board;
  void *bytes;
  size_t len;

  check(ipc_region_open_or_create("board", 4096, NULL, &board));
  check(ipc_region_map(board, &bytes, &len));
  strcpy((char *)bytes, "written in C");
  return ipc_region_close(board);
}
