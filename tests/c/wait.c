/* Waiting for several: what is ready is told, all of it and nothing else; and descriptors for event loops. */
#include "check.h"
#include <poll.h>

static ipc_queue *letters, *parcels;
static ipc_semaphore *stop;
static ipc_endpoint *endpoint;

enum { AGAIN, ROOM, PARCELS, STOP, ENDPOINT, ITEMS };

static ipc_waitable items[ITEMS];

static void set(size_t index, const void *handle, uint32_t events) {
  items[index].handle = handle;
  items[index].events = events;
  items[index].ready = UINT32_MAX;
}

static void expect(uint32_t first, uint32_t second, uint32_t third, uint32_t fourth, uint32_t fifth) {
  CHECK(items[AGAIN].ready == first);
  CHECK(items[ROOM].ready == second);
  CHECK(items[PARCELS].ready == third);
  CHECK(items[STOP].ready == fourth);
  CHECK(items[ENDPOINT].ready == fifth);
}

static void open_all(void) {
  ipc_queue_options one = IPC_QUEUE_OPTIONS_INIT;
  one.capacity = 1;
  OK(ipc_queue_create("letters", &one, NULL, &letters));
  OK(ipc_queue_create("parcels", &one, NULL, &parcels));
  OK(ipc_semaphore_create("stop", 0, NULL, &stop));
  OK(ipc_endpoint_open(NULL, &one, NULL, &endpoint));
  OK(ipc_queue_send(letters, "x", 1, IPC_DONT_WAIT));
  set(AGAIN, parcels, IPC_WAIT_RECV);
  set(ROOM, letters, IPC_WAIT_SEND);
  set(PARCELS, parcels, IPC_WAIT_RECV);
  set(STOP, stop, IPC_WAIT_ACQUIRE);
  set(ENDPOINT, endpoint, IPC_WAIT_RECV);
}

static void nothing(void) {
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_wait(items, ITEMS, IPC_DONT_WAIT));
  expect(0, 0, 0, 0, 0);
  FAILS(IPC_ERR_TIMED_OUT, ipc_wait(items, ITEMS, SHORT));
  expect(0, 0, 0, 0, 0);
}

static void send_a_parcel(void) {
  pause_ms(30);
  OK(ipc_queue_send(parcels, "p", 1, BOUND));
}

static void take_a_letter(void) {
  char byte;
  size_t len;
  pause_ms(30);
  OK(ipc_queue_recv(letters, &byte, 1, &len, BOUND));
}

static void release(void) {
  pause_ms(30);
  OK(ipc_semaphore_release(stop, 1));
}

static void write_to_the_endpoint(void) {
  ipc_endpoint *own;
  ipc_address parent;
  pause_ms(30);
  OK(ipc_endpoint_open(NULL, NULL, NULL, &own));
  OK(ipc_endpoint_address_of(own, (uint32_t)getppid(), &parent));
  OK(ipc_endpoint_send(own, parent, "e", 1, BOUND));
  OK(ipc_endpoint_close(own));
}

/* Each alone ends the wait, and nothing is taken by it. */
static void each(void) {
  char byte;
  size_t len;
  pid_t other = child(send_a_parcel);
  OK(ipc_wait(items, ITEMS, BOUND));
  expect(IPC_WAIT_RECV, 0, IPC_WAIT_RECV, 0, 0);
  OK(ipc_wait(items, ITEMS, IPC_FOREVER));
  expect(IPC_WAIT_RECV, 0, IPC_WAIT_RECV, 0, 0);
  OK(ipc_queue_recv(parcels, &byte, 1, &len, IPC_DONT_WAIT));
  wait_for(other);

  other = child(take_a_letter);
  OK(ipc_wait(items, ITEMS, BOUND));
  expect(0, IPC_WAIT_SEND, 0, 0, 0);
  OK(ipc_queue_send(letters, "x", 1, IPC_DONT_WAIT));
  wait_for(other);

  other = child(release);
  OK(ipc_wait(items, ITEMS, BOUND));
  expect(0, 0, 0, IPC_WAIT_ACQUIRE, 0);
  OK(ipc_semaphore_acquire(stop, IPC_DONT_WAIT));
  wait_for(other);

  other = child(write_to_the_endpoint);
  OK(ipc_wait(items, ITEMS, BOUND));
  expect(0, 0, 0, 0, IPC_WAIT_RECV);
  OK(ipc_endpoint_recv(endpoint, &byte, 1, &len, NULL, NULL, IPC_DONT_WAIT));
  wait_for(other);
  nothing();
}

static void both_events_of_a_queue(void) {
  ipc_waitable item;
  char byte;
  size_t len;
  item.handle = letters;
  item.events = IPC_WAIT_RECV | IPC_WAIT_SEND;
  OK(ipc_wait(&item, 1, IPC_FOREVER));
  CHECK(item.ready == IPC_WAIT_RECV);
  OK(ipc_queue_recv(letters, &byte, 1, &len, IPC_DONT_WAIT));
  OK(ipc_wait(&item, 1, IPC_FOREVER));
  CHECK(item.ready == IPC_WAIT_SEND);
  OK(ipc_queue_send(letters, "x", 1, IPC_DONT_WAIT));
}

static void all_at_once(void) {
  char byte;
  size_t len;
  ipc_address own;
  OK(ipc_endpoint_address(endpoint, &own));
  OK(ipc_endpoint_send(endpoint, own, "e", 1, IPC_DONT_WAIT));
  OK(ipc_semaphore_release(stop, 1));
  OK(ipc_queue_shutdown(letters));
  OK(ipc_queue_send(parcels, "p", 1, IPC_DONT_WAIT));
  OK(ipc_wait(items, ITEMS, IPC_FOREVER));
  expect(IPC_WAIT_RECV, IPC_WAIT_SEND, IPC_WAIT_RECV, IPC_WAIT_ACQUIRE, IPC_WAIT_RECV);
  OK(ipc_endpoint_recv(endpoint, &byte, 1, &len, NULL, NULL, IPC_DONT_WAIT));
  OK(ipc_semaphore_acquire(stop, IPC_DONT_WAIT));
  OK(ipc_queue_recv(parcels, &byte, 1, &len, IPC_DONT_WAIT));
}

static ipc_semaphore *permits;

static void hold_a_permit_and_die(void) {
  OK(ipc_semaphore_acquire(permits, IPC_DONT_WAIT));
  OK(ipc_semaphore_release(stop, 1));
  pause_ms(30);
  raise(SIGKILL);
}

static void deaths(void) {
  ipc_waitable item;
  pid_t holder;
  OK(ipc_semaphore_create_permits("permits", 1, NULL, &permits));
  item.handle = permits;
  item.events = IPC_WAIT_ACQUIRE;
  OK(ipc_wait(&item, 1, IPC_DONT_WAIT));
  holder = child(hold_a_permit_and_die);
  OK(ipc_semaphore_acquire(stop, BOUND));
  OK(ipc_wait(&item, 1, BOUND));
  OK(ipc_semaphore_acquire(permits, IPC_DONT_WAIT));
  wait_for_killed(holder);
  OK(ipc_semaphore_release(permits, 1));
  OK(ipc_semaphore_close(permits));
}

static void handler(int signal) {
  (void)signal;
}

static void be_interrupted(void) {
  ipc_waitable item;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  item.handle = parcels;
  item.events = IPC_WAIT_RECV;
  FAILS(IPC_ERR_INTERRUPTED, ipc_wait(&item, 1, BOUND));
}

static void interruption(void) {
  pid_t waiter;
  int status;
  CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
  waiter = child(be_interrupted);
  while (waitpid(waiter, &status, WNOHANG) == 0) {
    kill(waiter, SIGUSR1);
    pause_ms(5);
  }
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int readable(int fd, int timeout_ms) {
  struct pollfd item;
  item.fd = fd;
  item.events = POLLIN;
  return poll(&item, 1, timeout_ms) == 1;
}

static int inherited;

static void ask_again(void) {
  char byte;
  size_t len;
  int own;
  OK(ipc_queue_readiness_fd(parcels, &own));
  CHECK(own != inherited);
  CHECK(readable(own, 60000));
  OK(ipc_queue_recv(parcels, &byte, 1, &len, IPC_DONT_WAIT));
  /* It does not exit: valgrind would find what the parent's watching thread, which is not in the child, has left behind. */
  raise(SIGKILL);
}

static void descriptors(void) {
  char byte;
  size_t len;
  int fd;
  OK(ipc_queue_readiness_fd(parcels, &inherited));
  OK(ipc_queue_readiness_fd(parcels, &fd));
  CHECK(fd == inherited && !readable(fd, 20));
  OK(ipc_queue_send(parcels, "p", 1, IPC_DONT_WAIT));
  CHECK(readable(fd, 60000));
  OK(ipc_queue_recv(parcels, &byte, 1, &len, IPC_DONT_WAIT));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_recv(parcels, &byte, 1, &len, IPC_DONT_WAIT));
  CHECK(!readable(fd, 20));
  OK(ipc_queue_send(parcels, "p", 1, IPC_DONT_WAIT));
  wait_for_killed(child(ask_again));

  OK(ipc_semaphore_readiness_fd(stop, &fd));
  CHECK(!readable(fd, 20));
  OK(ipc_semaphore_release(stop, 1));
  CHECK(readable(fd, 60000));
  OK(ipc_semaphore_acquire(stop, IPC_DONT_WAIT));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_semaphore_acquire(stop, IPC_DONT_WAIT));
  CHECK(!readable(fd, 20));
  OK(ipc_queue_shutdown(parcels));
  CHECK(readable(inherited, 60000));
}

#define INVALID(call) FAILS(IPC_ERR_INVALID_ARGUMENT, (call))
#define SAYS(text) CHECK(strstr(ipc_error_detail(), (text)) != NULL)

static void bad_input(void) {
  static ipc_waitable many[IPC_MAX_WAIT + 1];
  ipc_waitable item;
  ipc_region *region;
  ipc_semaphore *closed;
  size_t i;
  item.handle = parcels;
  item.events = IPC_WAIT_RECV;
  item.ready = 7;
  INVALID(ipc_wait(NULL, 1, IPC_FOREVER));
  SAYS("items is NULL");
  INVALID(ipc_wait(NULL, 0, IPC_FOREVER));
  INVALID(ipc_wait(&item, 0, IPC_FOREVER));
  INVALID(ipc_wait(&item, 1, -2));
  CHECK(item.ready == 0);
  item.events = 0;
  INVALID(ipc_wait(&item, 1, IPC_FOREVER));
  SAYS("events");
  item.events = IPC_WAIT_ACQUIRE;
  INVALID(ipc_wait(&item, 1, IPC_FOREVER));
  item.events = IPC_WAIT_RECV | 8;
  INVALID(ipc_wait(&item, 1, IPC_FOREVER));
  item.handle = stop;
  item.events = IPC_WAIT_RECV;
  INVALID(ipc_wait(&item, 1, IPC_FOREVER));
  item.handle = endpoint;
  item.events = IPC_WAIT_SEND;
  INVALID(ipc_wait(&item, 1, IPC_FOREVER));
  item.handle = NULL;
  INVALID(ipc_wait(&item, 1, IPC_FOREVER));
  SAYS("handle is NULL");
  OK(ipc_region_create_anonymous(100, &region));
  item.handle = region;
  INVALID(ipc_wait(&item, 1, IPC_FOREVER));
  SAYS("a queue, an endpoint or a semaphore");
  OK(ipc_region_close(region));
  OK(ipc_semaphore_open("stop", NULL, &closed));
  OK(ipc_semaphore_close(closed));
  item.handle = closed;
  item.events = IPC_WAIT_ACQUIRE;
  INVALID(ipc_wait(&item, 1, IPC_FOREVER));
  SAYS("closed");
  for (i = 0; i <= IPC_MAX_WAIT; i++) {
    many[i].handle = stop;
    many[i].events = IPC_WAIT_ACQUIRE;
  }
  FAILS(IPC_ERR_LIMIT_REACHED, ipc_wait(many, IPC_MAX_WAIT + 1, IPC_FOREVER));
  FAILS(IPC_ERR_LIMIT_REACHED, ipc_wait(many, SIZE_MAX, IPC_FOREVER));
  FAILS(IPC_ERR_TIMED_OUT, ipc_wait(many, IPC_MAX_WAIT, SHORT));
  many[0].handle = letters;
  many[0].events = IPC_WAIT_RECV | IPC_WAIT_SEND;
  FAILS(IPC_ERR_LIMIT_REACHED, ipc_wait(many, IPC_MAX_WAIT, IPC_FOREVER));
}

int main(void) {
  start();
  open_all();
  nothing();
  each();
  both_events_of_a_queue();
  all_at_once();
  deaths();
  interruption();
  bad_input();
  descriptors();
  OK(ipc_endpoint_close(endpoint));
  OK(ipc_semaphore_close(stop));
  OK(ipc_queue_close(parcels));
  OK(ipc_queue_close(letters));
  return 0;
}
