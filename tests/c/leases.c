/* Leases: a message is gone when its work is done, not before. */
#include "check.h"

static ipc_queue *queue;

static ipc_queue *make(const char *name, size_t capacity, size_t leases) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *made;
  options.capacity = capacity;
  options.max_message = 100;
  options.leases = leases;
  options.limit = capacity == IPC_UNBOUNDED ? 1 << 20 : 0;
  OK(ipc_queue_create(name, &options, NULL, &made));
  return made;
}

static void unmake(ipc_queue *made, const char *name) {
  OK(ipc_queue_close(made));
  OK(ipc_unlink(name, NULL));
}

static void send_text(const char *text) {
  OK(ipc_queue_send(queue, text, strlen(text), BOUND));
}

static ipc_lease take(const char *text, uint32_t deliveries) {
  char buffer[100];
  size_t len;
  ipc_lease lease;
  OK(ipc_queue_lease(queue, buffer, sizeof buffer, &len, &lease, BOUND));
  CHECK(len == strlen(text) && memcmp(buffer, text, len) == 0);
  CHECK(lease.deliveries == deliveries && lease.reserved == 0);
  return lease;
}

static void nothing_to_take(ipc_result expected) {
  char buffer[100];
  size_t len;
  ipc_lease lease;
  FAILS(expected, ipc_queue_lease(queue, buffer, sizeof buffer, &len, &lease, IPC_DONT_WAIT));
  CHECK(len == 0 && lease.id[0] == 0 && lease.id[1] == 0 && lease.deliveries == 0 && lease.reserved == 0);
}

static void take_and_die(void) {
  char buffer[100];
  size_t len;
  ipc_lease lease;
  OK(ipc_queue_lease(queue, buffer, sizeof buffer, &len, &lease, BOUND));
  raise(SIGKILL);
}

static void take_and_end(void) {
  char buffer[100];
  size_t len;
  ipc_lease lease;
  OK(ipc_queue_lease(queue, buffer, sizeof buffer, &len, &lease, BOUND));
}

/* A full life: taken, given back, taken by one who is killed, by one who just ends, and finished. */
static void one_message(void) {
  ipc_lease first, second;
  size_t len;
  nothing_to_take(IPC_ERR_WOULD_BLOCK);
  send_text("one");
  send_text("two");
  first = take("one", 1);
  OK(ipc_queue_len(queue, &len));
  CHECK(len == 1);
  OK(ipc_queue_give_back(queue, &first));
  OK(ipc_queue_len(queue, &len));
  CHECK(len == 2);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_finish(queue, &first));
  first = take("one", 2);
  second = take("two", 1);
  OK(ipc_queue_give_back(queue, &second));
  OK(ipc_queue_give_back(queue, &first));
  /* In the order in which they were handed out, whatever the order in which they come back. */
  first = take("one", 3);
  wait_for_killed(child(take_and_die));
  second = take("two", 3);
  OK(ipc_queue_give_back(queue, &second));
  wait_for(child(take_and_end));
  second = take("two", 5);
  nothing_to_take(IPC_ERR_WOULD_BLOCK);
  OK(ipc_queue_finish(queue, &second));
  OK(ipc_queue_finish(queue, &first));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_finish(queue, &first));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_give_back(queue, &second));
  nothing_to_take(IPC_ERR_WOULD_BLOCK);
}

static ipc_lease parents;

static void end_what_is_the_parents(void) {
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_finish(queue, &parents));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_give_back(queue, &parents));
  OK(ipc_queue_close(queue));
}

static void *finish_in_a_thread(void *lease) {
  OK(ipc_queue_finish(queue, (const ipc_lease *)lease));
  return NULL;
}

/* A lease is its process's: not a child's, but any thread's, through any handle. */
static void whose(void) {
  pthread_t thread;
  ipc_queue *other;
  ipc_lease lease;
  send_text("mine");
  parents = take("mine", 1);
  wait_for(child(end_what_is_the_parents));
  CHECK(pthread_create(&thread, NULL, finish_in_a_thread, &parents) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_finish(queue, &parents));

  send_text("stays");
  OK(ipc_queue_open("jobs", NULL, &other));
  lease = take("stays", 1);
  OK(ipc_queue_close(queue));
  queue = other;
  nothing_to_take(IPC_ERR_WOULD_BLOCK);
  OK(ipc_queue_finish(queue, &lease));
}

/* What was a lease once does not end what is one now. */
static void old_leases(void) {
  ipc_lease old, now, forged;
  send_text("again");
  old = take("again", 1);
  OK(ipc_queue_give_back(queue, &old));
  now = take("again", 2);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_finish(queue, &old));
  OK(ipc_queue_finish(queue, &now));
  send_text("next");
  old = now;
  now = take("next", 1);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_finish(queue, &old));
  memset(&forged, 0, sizeof forged);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_finish(queue, &forged));
  memset(&forged, 0xff, sizeof forged);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_finish(queue, &forged));
  forged = now;
  forged.id[1] += (uint64_t)1 << 32;
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_give_back(queue, &forged));
  OK(ipc_queue_finish(queue, &now));
}

static void small_buffer(void) {
  char buffer[3];
  size_t len;
  ipc_lease lease;
  send_text("four");
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_queue_lease(queue, buffer, 3, &len, &lease, IPC_DONT_WAIT));
  CHECK(len == 4 && lease.deliveries == 0);
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_queue_lease(queue, NULL, 0, &len, &lease, IPC_DONT_WAIT));
  lease = take("four", 1);
  OK(ipc_queue_give_back(queue, &lease));
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_queue_lease(queue, buffer, 3, &len, &lease, IPC_DONT_WAIT));
  CHECK(len == 4);
  lease = take("four", 2);
  OK(ipc_queue_finish(queue, &lease));
}

static void end_after_a_while(void) {
  ipc_lease lease = take("last", 2);
  OK(ipc_queue_finish(queue, &lease));
}

/* Who waits is woken by what is given back, and by a death. */
static void waiters(void) {
  ipc_lease lease;
  pid_t waiter;
  send_text("last");
  lease = take("last", 1);
  waiter = child(end_after_a_while);
  pause_ms(20);
  OK(ipc_queue_give_back(queue, &lease));
  wait_for(waiter);

  send_text("last");
  waiter = child(take_and_die);
  wait_for_killed(waiter);
  end_after_a_while();
}

static void capacities(void) {
  static const size_t kinds[] = {4, IPC_UNBOUNDED};
  size_t i;
  for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    queue = make("jobs", kinds[i], 0);
    one_message();
    whose();
    old_leases();
    small_buffer();
    waiters();
    unmake(queue, "jobs");
  }
}

static void send_one(void) {
  send_text("one");
}

static void rendezvous(void) {
  ipc_lease lease;
  pid_t sender;
  queue = make("meet", IPC_RENDEZVOUS, 0);
  sender = child(send_one);
  lease = take("one", 1);
  /* The sender has done its part. */
  wait_for(sender);
  nothing_to_take(IPC_ERR_WOULD_BLOCK);
  OK(ipc_queue_give_back(queue, &lease));
  wait_for_killed(child(take_and_die));
  lease = take("one", 3);
  OK(ipc_queue_finish(queue, &lease));
  nothing_to_take(IPC_ERR_WOULD_BLOCK);
  unmake(queue, "meet");
}

static void as_many_as_allowed(void) {
  ipc_lease first, second;
  char buffer[100];
  size_t len;
  queue = make("two", 4, 2);
  send_text("a");
  send_text("b");
  send_text("c");
  first = take("a", 1);
  second = take("b", 1);
  nothing_to_take(IPC_ERR_WOULD_BLOCK);
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_lease(queue, buffer, sizeof buffer, &len, &first, SHORT));
  OK(ipc_queue_finish(queue, &second));
  first = take("c", 1);
  OK(ipc_queue_finish(queue, &first));
  unmake(queue, "two");

  queue = make("none", 4, IPC_NO_LEASES);
  send_text("a");
  nothing_to_take(IPC_ERR_UNSUPPORTED);
  OK(ipc_queue_recv(queue, buffer, sizeof buffer, &len, IPC_DONT_WAIT));
  unmake(queue, "none");
}

static void shutting_down(void) {
  ipc_lease mine, other;
  queue = make("closing", 4, 0);
  send_text("a");
  send_text("b");
  mine = take("a", 1);
  wait_for_killed(child(take_and_die));
  OK(ipc_queue_shutdown(queue));
  /* What comes back from the dead, or is given back, is there also now. */
  other = take("b", 2);
  nothing_to_take(IPC_ERR_CLOSED);
  OK(ipc_queue_finish(queue, &other));
  OK(ipc_queue_give_back(queue, &mine));
  mine = take("a", 2);
  OK(ipc_queue_finish(queue, &mine));
  nothing_to_take(IPC_ERR_CLOSED);
  unmake(queue, "closing");
}

int main(void) {
  start();
  capacities();
  rendezvous();
  as_many_as_allowed();
  shutting_down();
  return 0;
}
