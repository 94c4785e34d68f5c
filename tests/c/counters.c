/* What is counted of an object, in all processes. */
#include <stddef.h>

#include "check.h"

#define ROUNDS 10

static ipc_queue *queue;
static ipc_mutex *mutex;
static ipc_semaphore *semaphore;

static ipc_counters of_queue(void) {
  ipc_counters counters = IPC_COUNTERS_INIT;
  OK(ipc_queue_counters(queue, &counters));
  return counters;
}

static ipc_counters of_mutex(void) {
  ipc_counters counters = IPC_COUNTERS_INIT;
  OK(ipc_mutex_counters(mutex, &counters));
  return counters;
}

static ipc_counters of_semaphore(void) {
  ipc_counters counters = IPC_COUNTERS_INIT;
  OK(ipc_semaphore_counters(semaphore, &counters));
  return counters;
}

static void make_queue(size_t capacity) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  options.capacity = capacity;
  /* Valgrind's leak check gives memory to all that there may be. */
  options.limit = capacity == IPC_UNBOUNDED ? 1 << 20 : 0;
  OK(ipc_queue_create("q", &options, NULL, &queue));
}

static void unmake_queue(void) {
  OK(ipc_queue_close(queue));
  OK(ipc_unlink("q", NULL));
}

static void receive_rounds(void) {
  char buffer[5000];
  size_t len;
  int i;
  for (i = 0; i < ROUNDS; i++) {
    OK(ipc_queue_recv(queue, buffer, sizeof buffer, &len, BOUND));
  }
}

/* Messages, bytes and waits are exact; it may find a message before it sleeps, so that not every wait needs a wake-up. */
static void messages_and_waits(size_t capacity) {
  char message[4096] = {0};
  ipc_counters counters;
  pid_t receiver;
  int i;
  make_queue(capacity);
  counters = of_queue();
  CHECK(counters.size == sizeof counters && counters.sent == 0 && counters.waits == 0);
  receiver = child(receive_rounds);
  for (i = 0; i < ROUNDS; i++) {
    while (of_queue().waits <= (uint64_t)i) {
      pause_ms(1);
    }
    OK(ipc_queue_send(queue, message, i % 2 == 0 ? 11 : 4096, BOUND));
  }
  wait_for(receiver);
  counters = of_queue();
  CHECK(counters.sent == ROUNDS && counters.received == ROUNDS);
  CHECK(counters.bytes_sent == ROUNDS / 2 * (11 + 4096) && counters.bytes_received == counters.bytes_sent);
  /* In a rendezvous the sender may wait, too, until its message was taken. */
  CHECK(counters.waits >= ROUNDS && counters.waits <= (capacity == IPC_RENDEZVOUS ? 2 * ROUNDS : ROUNDS));
  CHECK(counters.recoveries == 0 && counters.deaths == 0);
  unmake_queue();
}

static void lock_and_die(void) {
  OK(ipc_mutex_lock(mutex, BOUND));
  raise(SIGKILL);
}

static void dead_owners(void) {
  ipc_counters counters;
  OK(ipc_mutex_create("m", NULL, &mutex));
  wait_for_killed(child(lock_and_die));
  counters = of_mutex();
  CHECK(counters.recoveries == 0 && counters.deaths == 0);
  FAILS(IPC_OWNER_DIED, ipc_mutex_lock(mutex, BOUND));
  OK(ipc_mutex_mark_consistent(mutex));
  OK(ipc_mutex_unlock(mutex));
  counters = of_mutex();
  CHECK(counters.recoveries == 1 && counters.deaths == 1);
  CHECK(counters.sent == 0 && counters.bytes_received == 0 && counters.waits == 0);
  OK(ipc_mutex_close(mutex));
  OK(ipc_unlink("m", NULL));
}

static void acquire_and_die(void) {
  OK(ipc_semaphore_acquire(semaphore, BOUND));
  raise(SIGKILL);
}

static void permits_of_the_dead(void) {
  ipc_counters counters;
  OK(ipc_semaphore_create_permits("s", 1, NULL, &semaphore));
  OK(ipc_semaphore_acquire(semaphore, IPC_DONT_WAIT));
  /* On a slow machine the time may have passed before it sleeps. */
  do {
    FAILS(IPC_ERR_TIMED_OUT, ipc_semaphore_acquire(semaphore, SHORT));
  } while (of_semaphore().waits == 0);
  CHECK(of_semaphore().waits == 1);
  OK(ipc_semaphore_release(semaphore, 1));
  wait_for_killed(child(acquire_and_die));
  OK(ipc_semaphore_acquire(semaphore, BOUND));
  counters = of_semaphore();
  CHECK(counters.recoveries == 1 && counters.deaths == 1);
  OK(ipc_semaphore_close(semaphore));
  OK(ipc_unlink("s", NULL));
}

static void lease_and_die(void) {
  char buffer[5000];
  size_t len;
  ipc_lease lease;
  OK(ipc_queue_lease(queue, buffer, sizeof buffer, &len, &lease, BOUND));
  raise(SIGKILL);
}

static void leases_of_the_dead(void) {
  char buffer[5000];
  size_t len;
  ipc_counters counters;
  make_queue(8);
  OK(ipc_queue_send(queue, "job", 3, BOUND));
  wait_for_killed(child(lease_and_die));
  OK(ipc_queue_recv(queue, buffer, sizeof buffer, &len, BOUND));
  counters = of_queue();
  CHECK(counters.recoveries == 1 && counters.deaths == 1);
  CHECK(counters.sent == 1 && counters.received == 1 && counters.bytes_received == 3);
  unmake_queue();
}

static void endpoints(void) {
  ipc_endpoint *endpoint;
  ipc_address address;
  ipc_counters counters = IPC_COUNTERS_INIT;
  OK(ipc_endpoint_open(NULL, NULL, NULL, &endpoint));
  OK(ipc_endpoint_address(endpoint, &address));
  OK(ipc_endpoint_send(endpoint, address, "12345", 5, BOUND));
  OK(ipc_endpoint_counters(endpoint, &counters));
  CHECK(counters.sent == 1 && counters.bytes_sent == 5 && counters.received == 0);
  OK(ipc_endpoint_close(endpoint));
}

/* A program that was compiled with the header of another release has a structure of another length. */
static void releases(void) {
  struct {
    ipc_counters counters;
    uint64_t later[2];
  } longer;
  ipc_counters counters = IPC_COUNTERS_INIT;
  make_queue(8);
  OK(ipc_queue_send(queue, "x", 1, BOUND));
  memset(&longer, 0xff, sizeof longer);
  longer.counters.size = sizeof longer;
  OK(ipc_queue_counters(queue, &longer.counters));
  CHECK(longer.counters.size == sizeof longer && longer.counters.sent == 1 && longer.counters.deaths == 0);
  CHECK(longer.later[0] == 0 && longer.later[1] == 0);
  longer.later[0] = 7;
  longer.counters.size = offsetof(ipc_counters, deaths) + sizeof longer.counters.deaths;
  OK(ipc_queue_counters(queue, &longer.counters));
  CHECK(longer.later[0] == 7);
  counters.size = sizeof counters - 8;
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_counters(queue, &counters));
  CHECK(strstr(ipc_error_detail(), "ipc_counters") != NULL);
  counters.size = sizeof counters;
  counters.sent = 7;
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_counters(NULL, &counters));
  CHECK(counters.sent == 0 && counters.size == sizeof counters);
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_counters(queue, NULL));
  unmake_queue();
}

int main(void) {
  start();
  messages_and_waits(64);
  messages_and_waits(IPC_UNBOUNDED);
  messages_and_waits(IPC_RENDEZVOUS);
  dead_owners();
  permits_of_the_dead();
  leases_of_the_dead();
  endpoints();
  releases();
  return 0;
}
