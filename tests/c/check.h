/* What the test programs share: checks that say where they failed, child processes, and an end to everything that hangs. */
#ifndef CHECK_H
#define CHECK_H

#include <ipc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A bound for waits that must not last: reaching it is a failure. */
#define BOUND INT64_C(60000000000)
/* For waits that must reach their end. */
#define SHORT INT64_C(30000000)

#define CHECK(condition) check((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define OK(call) check_result(IPC_OK, (call), #call, __FILE__, __LINE__)
#define FAILS(expected, call) check_result((expected), (call), #call, __FILE__, __LINE__)

static inline void check(int holds, const char *what, const char *file, int line) {
  if (!holds) {
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
    exit(1);
  }
}

static inline void check_result(ipc_result expected, ipc_result got, const char *what, const char *file, int line) {
  if (got != expected) {
    fprintf(stderr, "%s:%d: %s: expected \"%s\", got %d \"%s\": %s\n", file, line, what, ipc_strerror(expected), (int)got,
            ipc_strerror(got), ipc_error_detail());
    exit(1);
  }
  if (expected < 0 && expected != IPC_ERR_REENTRANT) {
    check(ipc_error_detail()[0] != 0, "an error has a detail", file, line);
  }
}

/* Ends the program if it hangs, and its children with it. */
static inline void start(void) {
  alarm(240);
}

/* A child that runs `run`, and exits with 0 if nothing failed there. */
static inline pid_t child(void (*run)(void)) {
  pid_t pid;
  fflush(stdout);
  pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    start();
    run();
    _exit(0);
  }
  return pid;
}

static inline void wait_for(pid_t pid) {
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline void wait_for_killed(pid_t pid) {
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static inline void pause_ms(long ms) {
  struct timespec time;
  time.tv_sec = ms / 1000;
  time.tv_nsec = ms % 1000 * 1000000;
  nanosleep(&time, NULL);
}

#endif
