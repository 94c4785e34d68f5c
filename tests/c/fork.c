/* What vfork, posix_spawn, exec and threads that are cancelled do to those who hold something. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"
#include <errno.h>
#include <spawn.h>

static ipc_mutex *mutex;
static ipc_semaphore *permits;
static ipc_queue *jobs;
static ipc_endpoint *endpoint;
static ipc_lease lease;
static ipc_address address;

static void hold(void) {
  ipc_queue_options small = IPC_QUEUE_OPTIONS_INIT;
  char buffer[8];
  size_t len;
  small.leases = 4;
  small.max_message = 8;
  OK(ipc_mutex_create("m", NULL, &mutex));
  OK(ipc_semaphore_create_permits("p", 1, NULL, &permits));
  OK(ipc_queue_create("jobs", &small, NULL, &jobs));
  OK(ipc_endpoint_open("server", &small, NULL, &endpoint));
  OK(ipc_endpoint_address(endpoint, &address));
  OK(ipc_mutex_lock(mutex, IPC_DONT_WAIT));
  OK(ipc_semaphore_acquire(permits, IPC_DONT_WAIT));
  OK(ipc_queue_send(jobs, "job", 3, IPC_DONT_WAIT));
  OK(ipc_queue_lease(jobs, buffer, sizeof buffer, &len, &lease, IPC_DONT_WAIT));
}

/* Another process, which opens all that is held here: it is held. */
static void sees_all_held(void) {
  ipc_mutex *other_mutex;
  ipc_semaphore *other_permits;
  ipc_queue *other_jobs;
  ipc_endpoint *mine;
  char buffer[8];
  size_t len;
  OK(ipc_mutex_open("m", NULL, &other_mutex));
  OK(ipc_semaphore_open("p", NULL, &other_permits));
  OK(ipc_queue_open("jobs", NULL, &other_jobs));
  OK(ipc_endpoint_open(NULL, NULL, NULL, &mine));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_mutex_lock(other_mutex, IPC_DONT_WAIT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_semaphore_acquire(other_permits, SHORT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_recv(other_jobs, buffer, sizeof buffer, &len, SHORT));
  OK(ipc_endpoint_send(mine, address, "x", 1, BOUND));
  OK(ipc_endpoint_close(mine));
  OK(ipc_queue_close(other_jobs));
  OK(ipc_semaphore_close(other_permits));
  OK(ipc_mutex_close(other_mutex));
}

static void still_held(void) {
  char buffer[8];
  size_t len;
  bool inconsistent;
  wait_for(child(sees_all_held));
  OK(ipc_endpoint_recv(endpoint, buffer, sizeof buffer, &len, NULL, NULL, BOUND));
  OK(ipc_mutex_is_inconsistent(mutex, &inconsistent));
  CHECK(!inconsistent);
}

/* Parents must not change what they share with a child of vfork: all that it does is in here. */
static void vfork_and(int exec) {
  char *arguments[] = {NULL, NULL};
  char name[] = "true";
  pid_t pid;
  arguments[0] = name;
  pid = vfork();
  if (pid == 0) {
    if (exec) {
      execv("/bin/true", arguments);
    }
    _exit(0);
  }
  CHECK(pid > 0);
  wait_for(pid);
}

static void children_without_their_own_memory(void) {
  char name[] = "true";
  char *arguments[] = {NULL, NULL};
  char *environment[] = {NULL};
  pid_t pid;
  int round, error;
  arguments[0] = name;
  hold();
  for (round = 0; round < 3; round++) {
    vfork_and(1);
    still_held();
    vfork_and(0);
    still_held();
    CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environment) == 0);
    wait_for(pid);
    still_held();
    CHECK(system("exit 3") == 3 << 8);
    still_held();
    /* And one that fails to become another program. */
    error = posix_spawn(&pid, "/nowhere", NULL, NULL, arguments, environment);
    CHECK(error == ENOENT || error == 0);
    if (error == 0) {
      /* The child found out (valgrind makes forks of vforks). */
      CHECK(waitpid(pid, &error, 0) == pid && WEXITSTATUS(error) == 127);
    }
    still_held();
  }
  OK(ipc_queue_finish(jobs, &lease));
  OK(ipc_semaphore_release(permits, 1));
  OK(ipc_mutex_unlock(mutex));
  OK(ipc_endpoint_close(endpoint));
  OK(ipc_queue_close(jobs));
  OK(ipc_semaphore_close(permits));
  OK(ipc_mutex_close(mutex));
  OK(ipc_unlink("m", NULL));
  OK(ipc_unlink("p", NULL));
  OK(ipc_unlink("jobs", NULL));
}

/* Which thread waits for what, until it is told to go on. */
static ipc_queue *queue;
static int asleep[2];
static int returned;

static void *waits_for_a_message(void *unused) {
  char buffer[8];
  size_t len;
  (void)unused;
  CHECK(write(asleep[1], "x", 1) == 1);
  OK(ipc_queue_recv(queue, buffer, sizeof buffer, &len, IPC_FOREVER));
  returned = 1;
  pthread_testcancel();
  CHECK(0);
  return NULL;
}

static void *waits_for_a_permit(void *unused) {
  (void)unused;
  CHECK(write(asleep[1], "x", 1) == 1);
  OK(ipc_semaphore_acquire(permits, IPC_FOREVER));
  returned = 1;
  pthread_testcancel();
  CHECK(0);
  return NULL;
}

static void *waits_for_a_mutex(void *unused) {
  (void)unused;
  CHECK(write(asleep[1], "x", 1) == 1);
  OK(ipc_mutex_lock(mutex, IPC_FOREVER));
  returned = 1;
  /* It ends with the lock. */
  pthread_testcancel();
  CHECK(0);
  return NULL;
}

static void holds_the_permit(void) {
  char buffer[8];
  size_t len;
  OK(ipc_semaphore_acquire(permits, IPC_DONT_WAIT));
  OK(ipc_queue_send(queue, "held", 4, IPC_DONT_WAIT));
  OK(ipc_queue_recv(jobs, buffer, sizeof buffer, &len, BOUND));
}

static pthread_t cancelled(void *(*run)(void *)) {
  pthread_t thread;
  char byte;
  returned = 0;
  CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
  CHECK(read(asleep[0], &byte, 1) == 1);
  pause_ms(20);
  CHECK(pthread_cancel(thread) == 0);
  /* Longer than any sleep without a look: what a look does is no place to end either. */
  pause_ms(250);
  CHECK(!returned);
  return thread;
}

static void ends(pthread_t thread) {
  void *result;
  CHECK(pthread_join(thread, &result) == 0);
  CHECK(returned && result == PTHREAD_CANCELED);
}

/* A thread that is cancelled inside a call ends after the call, which does what it was called for. */
static void cancelled_threads(void) {
  pthread_t thread;
  pid_t holder;
  char buffer[8];
  size_t len;
  CHECK(pipe(asleep) == 0);
  OK(ipc_queue_create("queue", NULL, NULL, &queue));
  OK(ipc_queue_create("jobs", NULL, NULL, &jobs));
  OK(ipc_semaphore_create_permits("p", 1, NULL, &permits));
  OK(ipc_mutex_create("m", NULL, &mutex));

  thread = cancelled(waits_for_a_message);
  OK(ipc_queue_send(queue, "x", 1, IPC_DONT_WAIT));
  ends(thread);

  holder = child(holds_the_permit);
  OK(ipc_queue_recv(queue, buffer, sizeof buffer, &len, BOUND));
  thread = cancelled(waits_for_a_permit);
  OK(ipc_queue_send(jobs, "x", 1, IPC_DONT_WAIT));
  wait_for(holder);
  ends(thread);
  OK(ipc_semaphore_release(permits, 1));

  OK(ipc_mutex_lock(mutex, IPC_DONT_WAIT));
  thread = cancelled(waits_for_a_mutex);
  OK(ipc_mutex_unlock(mutex));
  ends(thread);
  FAILS(IPC_OWNER_DIED, ipc_mutex_lock(mutex, BOUND));
  OK(ipc_mutex_mark_consistent(mutex));
  OK(ipc_mutex_unlock(mutex));

  OK(ipc_mutex_close(mutex));
  OK(ipc_semaphore_close(permits));
  OK(ipc_queue_close(jobs));
  OK(ipc_queue_close(queue));
}

int main(void) {
  start();
  children_without_their_own_memory();
  cancelled_threads();
  return 0;
}
