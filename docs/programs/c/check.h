/* Ends the program, and says what was wrong, unless a call has succeeded. */
#ifndef CHECK_H
#define CHECK_H

#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>

static inline void check(ipc_result result) {
  if (result < 0) {
    fprintf(stderr, "%s\n", ipc_error_detail());
    exit(1);
  }
}

#endif
