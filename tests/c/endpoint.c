/* Endpoints: messages say who sent them, calls get their own reply, and a death ends every wait. */
#include "check.h"
#include <ctype.h>
#include <poll.h>

/*
 * A thread that calls keeps a long, mostly empty inbox for replies mapped until it ends, and who replies to it maps that until its
 * endpoint is closed. valgrind reads all that a process has mapped when that ends, and gives it memory so: calls are made in threads
 * that end, and servers close their endpoints.
 */

enum { MAX = 100 };

static ipc_endpoint *endpoint;
static ipc_address server;

static ipc_endpoint *open_endpoint(const char *name) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_endpoint *opened;
  options.capacity = 4;
  options.max_message = MAX;
  OK(ipc_endpoint_open(name, &options, NULL, &opened));
  return opened;
}

static void in_thread(void *(*run)(void *)) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
}

static int same(ipc_address a, ipc_address b) {
  return a.process == b.process && a.serial == b.serial;
}

static ipc_address address_of(ipc_endpoint *of) {
  ipc_address address;
  OK(ipc_endpoint_address(of, &address));
  return address;
}

static ipc_address find(const char *name) {
  ipc_address address;
  ipc_result result;
  while ((result = ipc_endpoint_find(endpoint, name, &address)) == IPC_ERR_NOT_FOUND) {
    CHECK(address.process == 0);
    pause_ms(1);
  }
  OK(result);
  return address;
}

static void write_to_the_parent(void) {
  ipc_endpoint *own = open_endpoint(NULL);
  ipc_address parent, from;
  ipc_request *request;
  char buffer[MAX];
  size_t len;
  OK(ipc_endpoint_address_of(own, (uint32_t)getppid(), &parent));
  CHECK(ipc_address_pid(parent) == (uint32_t)getppid() && parent.serial == 0 && parent.reserved == 0);
  OK(ipc_endpoint_send(own, parent, "hello", 5, BOUND));
  OK(ipc_endpoint_send(own, parent, NULL, 0, BOUND));
  OK(ipc_endpoint_recv(own, buffer, sizeof buffer, &len, &from, &request, BOUND));
  CHECK(len == 2 && memcmp(buffer, "hi", 2) == 0 && request == NULL && same(from, parent));
  OK(ipc_endpoint_close(own));
}

static void one_way(void) {
  char buffer[MAX], second[MAX + 1];
  ipc_address from, again;
  ipc_request *request;
  size_t len;
  pid_t writer;
  endpoint = open_endpoint(NULL);
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_endpoint_recv(endpoint, buffer, MAX, &len, &from, &request, IPC_DONT_WAIT));
  CHECK(len == 0 && from.process == 0 && request == NULL);
  FAILS(IPC_ERR_TIMED_OUT, ipc_endpoint_recv(endpoint, buffer, MAX, &len, NULL, NULL, SHORT));
  writer = child(write_to_the_parent);
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_endpoint_recv(endpoint, buffer, 4, &len, &from, &request, BOUND));
  CHECK(len == 5 && from.process == 0 && request == NULL);
  OK(ipc_endpoint_recv(endpoint, buffer, MAX, &len, &from, &request, BOUND));
  CHECK(len == 5 && memcmp(buffer, "hello", 5) == 0 && request == NULL);
  CHECK(ipc_address_pid(from) == (uint32_t)writer);
  OK(ipc_endpoint_recv(endpoint, NULL, 0, &len, &again, &request, BOUND));
  CHECK(len == 0 && same(from, again));
  OK(ipc_endpoint_send(endpoint, from, "hi", 2, BOUND));
  wait_for(writer);
  FAILS(IPC_ERR_PEER_GONE, ipc_endpoint_send(endpoint, from, "hi", 2, IPC_FOREVER));
  FAILS(IPC_ERR_NOT_FOUND, ipc_endpoint_address_of(endpoint, (uint32_t)writer, &again));
  memset(&again, 0, sizeof again);
  CHECK(ipc_address_pid(again) == 0);
  FAILS(IPC_ERR_PEER_GONE, ipc_endpoint_send(endpoint, again, "hi", 2, IPC_FOREVER));

  /* To itself, until its inbox is full. */
  from = address_of(endpoint);
  memset(second, 's', sizeof second);
  FAILS(IPC_ERR_MESSAGE_TOO_LONG, ipc_endpoint_send(endpoint, from, second, MAX + 1, IPC_DONT_WAIT));
  for (len = 0; len < 4; len++) {
    OK(ipc_endpoint_send(endpoint, from, second, len, IPC_DONT_WAIT));
  }
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_endpoint_send(endpoint, from, "x", 1, IPC_DONT_WAIT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_endpoint_send(endpoint, from, "x", 1, SHORT));
  OK(ipc_endpoint_close(endpoint));
}

static void names(void) {
  ipc_endpoint *first = open_endpoint("first"), *second;
  ipc_address address;
  ipc_queue *queue;
  endpoint = open_endpoint(NULL);
  CHECK(same(find("first"), address_of(first)));
  CHECK(!same(address_of(endpoint), address_of(first)));
  FAILS(IPC_ERR_ALREADY_EXISTS, ipc_endpoint_open("first", NULL, NULL, &second));
  CHECK(second == NULL);
  OK(ipc_queue_create("mail", NULL, NULL, &queue));
  FAILS(IPC_ERR_ALREADY_EXISTS, ipc_endpoint_open("mail", NULL, NULL, &second));
  FAILS(IPC_ERR_WRONG_KIND, ipc_endpoint_find(endpoint, "mail", &address));
  CHECK(address.process == 0);
  OK(ipc_queue_close(queue));
  OK(ipc_unlink("mail", NULL));
  OK(ipc_endpoint_close(first));
  FAILS(IPC_ERR_NOT_FOUND, ipc_endpoint_find(endpoint, "first", &address));
  second = open_endpoint("first");
  OK(ipc_endpoint_close(second));
  OK(ipc_endpoint_close(endpoint));
}

/* Says everything louder, until it is told to stop, to which it does not reply. */
static void shout(void) {
  ipc_endpoint *own = open_endpoint("shouter");
  ipc_request *request;
  ipc_address from;
  char buffer[MAX];
  size_t len, i;
  for (;;) {
    OK(ipc_endpoint_recv(own, buffer, sizeof buffer, &len, &from, &request, BOUND));
    CHECK(request != NULL && ipc_address_pid(from) == (uint32_t)getppid());
    if (len == 4 && memcmp(buffer, "stop", len) == 0) {
      OK(ipc_request_close(request));
      break;
    }
    for (i = 0; i < len; i++) {
      buffer[i] = (char)toupper(buffer[i]);
    }
    OK(ipc_request_reply(request, buffer, len));
    FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_request_reply(request, buffer, len));
    OK(ipc_request_close(request));
  }
  OK(ipc_endpoint_close(own));
}

static void *call_the_shouter(void *unused) {
  char buffer[MAX];
  size_t len;
  OK(ipc_endpoint_call(endpoint, server, "hello", 5, buffer, sizeof buffer, &len, BOUND));
  CHECK(len == 5 && memcmp(buffer, "HELLO", len) == 0);
  OK(ipc_endpoint_call(endpoint, server, NULL, 0, NULL, 0, &len, IPC_FOREVER));
  CHECK(len == 0);
  memset(buffer, 'b', sizeof buffer);
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_endpoint_call(endpoint, server, "too long", 8, buffer, 3, &len, BOUND));
  CHECK(len == 8 && memcmp(buffer, "TOOb", 4) == 0);
  return unused;
}

static void *stop_the_shouter(void *unused) {
  char buffer[MAX];
  size_t len;
  FAILS(IPC_ERR_NO_REPLY, ipc_endpoint_call(endpoint, server, "stop", 4, buffer, sizeof buffer, &len, BOUND));
  CHECK(len == 0);
  return unused;
}

static void *call_nobody(void *unused) {
  size_t len;
  FAILS(IPC_ERR_PEER_GONE, ipc_endpoint_call(endpoint, server, "x", 1, NULL, 0, &len, IPC_FOREVER));
  return unused;
}

static void calls(void) {
  pid_t shouter;
  ipc_address found;
  endpoint = open_endpoint(NULL);
  shouter = child(shout);
  server = find("shouter");
  OK(ipc_endpoint_address_of(endpoint, (uint32_t)shouter, &found));
  CHECK(same(found, server));
  in_thread(call_the_shouter);
  in_thread(stop_the_shouter);
  wait_for(shouter);
  in_thread(call_nobody);
  FAILS(IPC_ERR_NOT_FOUND, ipc_endpoint_find(endpoint, "shouter", &found));
  OK(ipc_endpoint_close(endpoint));
}

static void take_a_request_and_die(void) {
  ipc_endpoint *own = open_endpoint("mortal");
  ipc_request *request;
  char buffer[MAX];
  size_t len;
  OK(ipc_endpoint_recv(own, buffer, sizeof buffer, &len, NULL, &request, BOUND));
  CHECK(request != NULL);
  raise(SIGKILL);
}

static void receive_nothing_and_die(void) {
  endpoint = open_endpoint("mortal");
  pause_ms(50);
  raise(SIGKILL);
}

/* Who waits for the reply of a process that dies, or for room in its inbox, is told. */
static void deaths(void) {
  pid_t mortal;
  ipc_address address;
  ipc_result result;
  endpoint = open_endpoint(NULL);
  mortal = child(take_a_request_and_die);
  server = find("mortal");
  in_thread(call_nobody);
  wait_for_killed(mortal);

  mortal = child(receive_nothing_and_die);
  address = find("mortal");
  CHECK(!same(address, server));
  do {
    result = ipc_endpoint_send(endpoint, address, "x", 1, IPC_FOREVER);
  } while (result == IPC_OK);
  FAILS(IPC_ERR_PEER_GONE, result);
  wait_for_killed(mortal);
  FAILS(IPC_ERR_NOT_FOUND, ipc_endpoint_find(endpoint, "mortal", &address));
  OK(ipc_endpoint_close(endpoint));
}

static void *call_with_a_number(void *number) {
  char buffer[MAX];
  size_t len;
  OK(ipc_endpoint_call(endpoint, server, number, 1, buffer, sizeof buffer, &len, BOUND));
  CHECK(len == 2 && buffer[0] == 'r' && buffer[1] == *(const char *)number);
  return NULL;
}

/* Replies in the reverse order, when the endpoint is closed already. */
static void order(void) {
  char numbers[] = "123", reply[2] = "r";
  pthread_t callers[3];
  ipc_request *requests[3];
  ipc_endpoint *own;
  char got[3];
  size_t i, len;
  endpoint = open_endpoint(NULL);
  own = open_endpoint(NULL);
  server = address_of(own);
  for (i = 0; i < 3; i++) {
    CHECK(pthread_create(&callers[i], NULL, call_with_a_number, &numbers[i]) == 0);
  }
  for (i = 0; i < 3; i++) {
    OK(ipc_endpoint_recv(own, &got[i], 1, &len, NULL, &requests[i], BOUND));
  }
  OK(ipc_endpoint_close(own));
  for (i = 3; i-- > 0;) {
    reply[1] = got[i];
    OK(ipc_request_reply(requests[i], reply, 2));
    OK(ipc_request_close(requests[i]));
    FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_request_close(requests[i]));
  }
  for (i = 0; i < 3; i++) {
    CHECK(pthread_join(callers[i], NULL) == 0);
  }
  OK(ipc_endpoint_close(endpoint));
}

static void *give_up_and_call_again(void *unused) {
  char buffer[MAX];
  size_t len;
  FAILS(IPC_ERR_TIMED_OUT, ipc_endpoint_call(endpoint, server, "slow", 4, buffer, sizeof buffer, &len, SHORT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_endpoint_call(endpoint, server, "now", 3, buffer, sizeof buffer, &len, IPC_DONT_WAIT));
  OK(ipc_endpoint_call(endpoint, server, "again", 5, buffer, sizeof buffer, &len, BOUND));
  CHECK(len == 5 && memcmp(buffer, "again", len) == 0);
  FAILS(IPC_ERR_NO_REPLY, ipc_endpoint_call(endpoint, server, "unread", 6, buffer, sizeof buffer, &len, BOUND));
  return unused;
}

/* A reply that comes too late is not taken for the next one's. */
static void late_replies(void) {
  pthread_t caller;
  ipc_endpoint *own;
  ipc_request *requests[3];
  char buffer[MAX];
  size_t len, lens[3], i, count = 0;
  endpoint = open_endpoint(NULL);
  own = open_endpoint(NULL);
  server = address_of(own);
  CHECK(pthread_create(&caller, NULL, give_up_and_call_again, NULL) == 0);
  /* Once the last call has come, the first ones have been given up. */
  do {
    CHECK(count < 3);
    OK(ipc_endpoint_recv(own, buffer, sizeof buffer, &lens[count], NULL, &requests[count], BOUND));
  } while (lens[count++] != 5);
  for (i = 0; i < count; i++) {
    OK(ipc_request_reply(requests[i], i + 1 < count ? "too late" : "again", i + 1 < count ? 8 : 5));
    OK(ipc_request_close(requests[i]));
  }
  /* Received so, it cannot be replied to. */
  OK(ipc_endpoint_recv(own, buffer, sizeof buffer, &len, NULL, NULL, BOUND));
  CHECK(len == 6);
  CHECK(pthread_join(caller, NULL) == 0);
  OK(ipc_endpoint_close(own));
  OK(ipc_endpoint_close(endpoint));
}

static ipc_queue *mailbox;

static void *call_the_mailbox(void *unused) {
  char buffer[MAX];
  size_t len;
  OK(ipc_endpoint_call_mailbox(endpoint, mailbox, "job", 3, buffer, sizeof buffer, &len, BOUND));
  CHECK(len == 4 && memcmp(buffer, "done", len) == 0);
  FAILS(IPC_ERR_NO_REPLY, ipc_endpoint_call_mailbox(endpoint, mailbox, "second", 6, buffer, sizeof buffer, &len, BOUND));
  FAILS(IPC_ERR_TIMED_OUT, ipc_endpoint_call_mailbox(endpoint, mailbox, "third", 5, buffer, sizeof buffer, &len, SHORT));
  return unused;
}

static void mailboxes(void) {
  pthread_t caller;
  ipc_endpoint *own;
  ipc_address from;
  ipc_request *request;
  char buffer[MAX];
  size_t len;
  endpoint = open_endpoint(NULL);
  own = open_endpoint(NULL);
  OK(ipc_queue_create("mailbox", NULL, NULL, &mailbox));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_endpoint_recv_mailbox(own, mailbox, buffer, MAX, &len, &from, &request, IPC_DONT_WAIT));
  OK(ipc_queue_send(mailbox, "plain", 5, BOUND));
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_endpoint_recv_mailbox(own, mailbox, buffer, 4, &len, &from, &request, BOUND));
  CHECK(len == 5);
  OK(ipc_endpoint_recv_mailbox(own, mailbox, buffer, MAX, &len, &from, &request, BOUND));
  CHECK(len == 5 && from.process == 0 && request == NULL);
  CHECK(pthread_create(&caller, NULL, call_the_mailbox, NULL) == 0);
  OK(ipc_endpoint_recv_mailbox(own, mailbox, buffer, MAX, &len, &from, &request, BOUND));
  CHECK(len == 3 && same(from, address_of(endpoint)) && request != NULL);
  OK(ipc_request_reply(request, "done", 4));
  OK(ipc_request_close(request));
  OK(ipc_endpoint_recv_mailbox(own, mailbox, buffer, MAX, &len, &from, &request, BOUND));
  CHECK(len == 6 && request != NULL);
  OK(ipc_request_close(request));
  CHECK(pthread_join(caller, NULL) == 0);
  OK(ipc_queue_shutdown(mailbox));
  OK(ipc_endpoint_recv_mailbox(own, mailbox, buffer, MAX, &len, NULL, NULL, BOUND));
  FAILS(IPC_ERR_CLOSED, ipc_endpoint_recv_mailbox(own, mailbox, buffer, MAX, &len, &from, &request, BOUND));
  OK(ipc_queue_close(mailbox));
  OK(ipc_endpoint_close(own));
  OK(ipc_endpoint_close(endpoint));
}

static ipc_request *parents;

static void use_what_is_the_parents(void) {
  ipc_address address;
  char byte;
  size_t len;
  OK(ipc_endpoint_address(endpoint, &address));
  FAILS(IPC_ERR_NOT_OWNER, ipc_endpoint_send(endpoint, address, "x", 1, IPC_FOREVER));
  FAILS(IPC_ERR_NOT_OWNER, ipc_endpoint_recv(endpoint, &byte, 1, &len, NULL, NULL, IPC_FOREVER));
  FAILS(IPC_ERR_NOT_OWNER, ipc_endpoint_call(endpoint, address, "x", 1, NULL, 0, &len, IPC_FOREVER));
  FAILS(IPC_ERR_NOT_OWNER, ipc_endpoint_find(endpoint, "nobody", &address));
  FAILS(IPC_ERR_NOT_OWNER, ipc_request_reply(parents, "from the child", 14));
  OK(ipc_request_close(parents));
  OK(ipc_endpoint_close(endpoint));
}

static void *wait_for_the_parents_reply(void *unused) {
  ipc_endpoint *own = open_endpoint(NULL);
  char buffer[MAX];
  size_t len;
  OK(ipc_endpoint_call(own, server, "who?", 4, buffer, sizeof buffer, &len, BOUND));
  CHECK(len == 6 && memcmp(buffer, "parent", len) == 0);
  OK(ipc_endpoint_close(own));
  return unused;
}

static void call_the_parent(void) {
  in_thread(wait_for_the_parents_reply);
}

/* A child of fork has no part in its parent's endpoint. */
static void forks(void) {
  char buffer[MAX];
  size_t len;
  pid_t caller;
  endpoint = open_endpoint(NULL);
  server = address_of(endpoint);
  caller = child(call_the_parent);
  OK(ipc_endpoint_recv(endpoint, buffer, sizeof buffer, &len, NULL, &parents, BOUND));
  CHECK(parents != NULL);
  wait_for(child(use_what_is_the_parents));
  OK(ipc_request_reply(parents, "parent", 6));
  OK(ipc_request_close(parents));
  wait_for(caller);
  OK(ipc_endpoint_close(endpoint));
}

static int readable(int fd, int timeout_ms) {
  struct pollfd item;
  item.fd = fd;
  item.events = POLLIN;
  return poll(&item, 1, timeout_ms) == 1;
}

static void readiness(void) {
  char byte;
  size_t len;
  int fd, again;
  endpoint = open_endpoint(NULL);
  OK(ipc_endpoint_readiness_fd(endpoint, &fd));
  CHECK(!readable(fd, 20));
  OK(ipc_endpoint_send(endpoint, address_of(endpoint), "x", 1, BOUND));
  CHECK(readable(fd, 60000));
  OK(ipc_endpoint_recv(endpoint, &byte, 1, &len, NULL, NULL, IPC_DONT_WAIT));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_endpoint_recv(endpoint, &byte, 1, &len, NULL, NULL, IPC_DONT_WAIT));
  CHECK(!readable(fd, 20));
  OK(ipc_endpoint_readiness_fd(endpoint, &again));
  CHECK(fd == again);
  OK(ipc_endpoint_close(endpoint));
}

int main(void) {
  start();
  one_way();
  names();
  calls();
  deaths();
  order();
  late_replies();
  mailboxes();
  forks();
  readiness();
  return 0;
}
