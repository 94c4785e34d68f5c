/*
 * The C side of the storm: one process that works on objects which others in other languages work on, too.
 *
 *     storm ROLE OBJECT LOG FIRST SECONDS
 *
 * As tests/python/storm.py, which says what it does, and as tests/peers/storm.rs.
 */
#include <fcntl.h>
#include <ipc.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LONG INT64_C(60000000000)
#define LONGEST 4000
#define MANY 5 /* The most messages in one call. */
#define REPLY UINT64_C(500000000)
#define PROCESS UINT64_C(1000000000)
#define IDENTITIES 1000
#define NOTHING UINT64_MAX

static volatile sig_atomic_t stopped;
static bool closed;
static const char *name;
static int record;
static uint64_t seed, number, identity;
static ipc_queue *queue, *mailbox;
static ipc_semaphore *signals, *permits;
static ipc_mutex *mutex;
static ipc_endpoint *endpoint;
static unsigned char message[LONGEST], buffer[LONGEST], messages[MANY][LONGEST], batch[MANY * LONGEST];

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "storm.c: %s: %s\n", what, detail);
  exit(1);
}

static void ok(ipc_result result, const char *what) {
  if (result != IPC_OK) {
    fail(what, ipc_error_detail());
  }
}

/* Looks random. */
static uint64_t below(uint64_t end) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed % end;
}

static void rest_for(uint64_t most_ns) {
  struct timespec pause;
  pause.tv_sec = 0;
  pause.tv_nsec = (long)below(most_ns);
  nanosleep(&pause, NULL);
}

/* Holds what it has for a while, or not at all. */
static void hold(uint64_t most_ns) {
  if (below(2) == 0) {
    rest_for(most_ns);
  }
}

/* Writes a line with one call: the time, `what`, and up to two numbers. */
static void note(const char *what, uint64_t one, uint64_t other) {
  char line[200];
  struct timespec now;
  int len;
  clock_gettime(CLOCK_MONOTONIC, &now);
  len = sprintf(line, "%" PRId64 "%09" PRId64 " %s", (int64_t)now.tv_sec, (int64_t)now.tv_nsec, what);
  if (one != NOTHING) {
    len += sprintf(line + len, " %" PRIu64, one);
  }
  if (other != NOTHING) {
    len += sprintf(line + len, " %" PRIu64, other);
  }
  line[len++] = '\n';
  if (write(record, line, (size_t)len) != len) {
    fail(what, "cannot write to the log");
  }
}

/* An attempt is about to be made: `verb` in one of three ways, on `object`. Says how long it may wait. */
static int64_t attempt_on(const char *verb, const char *object, uint64_t of) {
  char what[120];
  uint64_t way = below(3);
  sprintf(what, "%s%s%s %s", way == 1 ? "try_" : "", verb, way == 2 ? "_timeout" : "", object);
  note(what, of, NOTHING);
  return way == 0 ? LONG : way == 1 ? IPC_DONT_WAIT : (int64_t)below(3000000);
}

static void begin(const char *verb, const char *object, uint64_t of) {
  char what[120];
  sprintf(what, "%s %s", verb, object);
  note(what, of, NOTHING);
}

/* What came of it, unless it was done; says whether it was. */
static bool done(ipc_result result, int64_t timeout, const char *what) {
  const char *outcome;
  switch (result) {
  case IPC_OK:
  case IPC_OWNER_DIED:
    return true;
  case IPC_ERR_WOULD_BLOCK:
    outcome = "would_block";
    break;
  case IPC_ERR_TIMED_OUT:
    outcome = "timed_out";
    break;
  case IPC_ERR_CLOSED:
    outcome = "closed";
    closed = true;
    break;
  case IPC_ERR_INTERRUPTED:
    outcome = "interrupted";
    break;
  case IPC_ERR_NOT_FOUND:
    outcome = "not_found";
    break;
  case IPC_ERR_ALREADY_EXISTS:
    outcome = "exists";
    break;
  case IPC_ERR_PEER_GONE:
    outcome = "peer_gone";
    break;
  case IPC_ERR_NO_REPLY:
    outcome = "no_reply";
    break;
  default:
    ok(result, what);
    return false;
  }
  note(outcome, NOTHING, NOTHING);
  if (result == IPC_ERR_TIMED_OUT && timeout == LONG) {
    fail(what, "it hangs");
  }
  return false;
}

static void end(ipc_result result, int64_t timeout, const char *what) {
  if (done(result, timeout, what)) {
    note("ok", NOTHING, NOTHING);
  }
}

/* Eight bytes of the number, and from none to as many bytes as there is room for, in a pattern that follows from it. */
static size_t make_message(uint64_t i, unsigned char *bytes) {
  uint64_t base = i % 61, power, len = base, k;
  for (power = i % 3; power > 0; power--) {
    len *= base;
  }
  len = len < LONGEST - 8 ? len : LONGEST - 8;
  for (k = 0; k < 8; k++) {
    bytes[k] = (unsigned char)(i >> (8 * k));
  }
  for (k = 0; k < len; k++) {
    bytes[8 + k] = (unsigned char)((i % 251 + k) % 251);
  }
  return 8 + (size_t)len;
}

/* The number of a message, or NOTHING where it is none. */
static uint64_t number_of(const void *bytes, size_t len) {
  const unsigned char *data = (const unsigned char *)bytes;
  uint64_t i = 0;
  int k;
  for (k = 7; k >= 0 && len >= 8; k--) {
    i = i << 8 | data[k];
  }
  return len >= 8 && make_message(i, message) == len && memcmp(data, message, len) == 0 ? i : NOTHING;
}

/* That of the message in `buffer`. */
static uint64_t received(size_t len) {
  return number_of(buffer, len);
}

/* Notes what was received, and how often it was handed out, if that is known. */
static uint64_t note_received(size_t len, uint64_t deliveries) {
  uint64_t i = received(len);
  if (i == NOTHING) {
    note("torn", NOTHING, NOTHING);
  } else {
    note("ok", i, deliveries);
  }
  return i;
}

static void send_many(void) {
  uint64_t first = number + 1, count = 1 + below(MANY), k;
  char rest[80];
  ipc_bytes list[MANY];
  size_t sent;
  int64_t timeout;
  for (k = 0; k < count; k++) {
    list[k].len = make_message(++number, messages[k]);
    list[k].data = messages[k];
  }
  sprintf(rest, "%s %" PRIu64, name, first);
  timeout = attempt_on("send_many", rest, count);
  if (done(ipc_queue_send_many(queue, list, (size_t)count, &sent, timeout), timeout, "send_many")) {
    note("ok", sent, NOTHING);
  }
}

/* Fills memory of the queue and sends it, or gives it back. */
static void send_loan(void) {
  int64_t timeout = attempt_on("loan", name, NOTHING);
  ipc_result result = IPC_ERR_WOULD_BLOCK;
  ipc_loan loan;
  size_t len;
  if (!done(ipc_queue_loan(queue, LONGEST, &loan, timeout), timeout, "loan")) {
    return;
  }
  note("ok", NOTHING, NOTHING);
  len = make_message(++number, (unsigned char *)loan.data);
  hold(2000000);
  if (below(8) != 0) {
    timeout = attempt_on("send_loan", name, number);
    result = ipc_queue_send_loan(queue, &loan, len, timeout);
    end(result, timeout, "send_loan");
  }
  if (result != IPC_OK) {
    begin("unlend", name, NOTHING);
    end(ipc_queue_release_loan(queue, &loan), 0, "unlend");
  }
}

static void play_send(void) {
  uint64_t form = below(4);
  int64_t timeout;
  size_t len;
  if (form == 0) {
    send_many();
  } else if (form == 1 && strcmp(name, "unbounded") != 0) {
    send_loan();
  } else {
    len = make_message(++number, message);
    timeout = attempt_on("send", name, number);
    end(ipc_queue_send(queue, message, len, timeout), timeout, "send");
  }
}

static void recv_many(void) {
  uint64_t most = 1 + below(MANY), i;
  /* Sometimes the buffer has no room for as many. */
  size_t room = below(2) == 0 ? LONGEST : sizeof batch, lens[MANY], count, k, at = 0;
  int64_t timeout = attempt_on("recv_many", name, most);
  char what[200] = "ok";
  if (!done(ipc_queue_recv_many(queue, batch, room, lens, (size_t)most, &count, timeout), timeout, "recv_many")) {
    return;
  }
  for (k = 0; k < count; at += lens[k], k++) {
    i = number_of(batch + at, lens[k]);
    if (i == NOTHING) {
      note("torn", NOTHING, NOTHING);
      return;
    }
    sprintf(what + strlen(what), " %" PRIu64, i);
  }
  note(what, NOTHING, NOTHING);
}

/* Receives a message and reads it in place, until it gives the memory back. */
static void recv_view(void) {
  int64_t timeout = attempt_on("recv_view", name, NOTHING);
  ipc_message_view view;
  uint64_t i;
  if (!done(ipc_queue_recv_view(queue, &view, timeout), timeout, "recv_view")) {
    return;
  }
  i = number_of(view.data, view.len);
  note(i == NOTHING ? "torn" : "ok", i, NOTHING);
  hold(2000000);
  if (number_of(view.data, view.len) != i) {
    fail("recv_view", "a message changes while it is read in place");
  }
  begin("unview", name, NOTHING);
  end(ipc_queue_release_view(queue, &view), 0, "unview");
}

static void play_recv(void) {
  int64_t timeout;
  size_t len;
  if (below(8) == 0) {
    char both[80];
    ipc_waitable items[2];
    memset(items, 0, sizeof items);
    items[0].handle = queue;
    items[0].events = IPC_WAIT_RECV;
    items[1].handle = signals;
    items[1].events = IPC_WAIT_ACQUIRE;
    sprintf(both, "%s,signals", name);
    timeout = attempt_on("wait", both, NOTHING);
    end(ipc_wait(items, 2, timeout), timeout, "wait");
  }
  switch (below(4)) {
  case 0:
    recv_many();
    return;
  case 1:
    recv_view();
    return;
  }
  timeout = attempt_on("recv", name, NOTHING);
  if (done(ipc_queue_recv(queue, buffer, sizeof buffer, &len, timeout), timeout, "recv")) {
    note_received(len, NOTHING);
  }
}

static void play_lease(void) {
  int64_t timeout = attempt_on("lease", name, NOTHING);
  ipc_lease lease;
  uint64_t i;
  size_t len;
  if (!done(ipc_queue_lease(queue, buffer, sizeof buffer, &len, &lease, timeout), timeout, "lease")) {
    return;
  }
  i = note_received(len, lease.deliveries);
  hold(2000000);
  if (below(4) == 0) {
    begin("give_back", name, i);
    end(ipc_queue_give_back(queue, &lease), 0, "give_back");
  } else {
    begin("finish", name, i);
    end(ipc_queue_finish(queue, &lease), 0, "finish");
  }
}

static void play_lock(void) {
  uint64_t which = below(3);
  int64_t timeout;
  ipc_result result;
  if (which == 0) {
    timeout = attempt_on("acquire", "permits", NOTHING);
    if (done(ipc_semaphore_acquire(permits, timeout), timeout, "acquire")) {
      note("ok", NOTHING, NOTHING);
      hold(2000000);
      begin("release", "permits", NOTHING);
      end(ipc_semaphore_release(permits, 1), 0, "release");
    }
  } else if (which == 1) {
    timeout = attempt_on("acquire", "signals", NOTHING);
    end(ipc_semaphore_acquire(signals, timeout), timeout, "acquire");
  } else {
    timeout = attempt_on("lock", "mutex", NOTHING);
    result = ipc_mutex_lock(mutex, timeout);
    if (!done(result, timeout, "lock")) {
      return;
    }
    note(result == IPC_OWNER_DIED ? "owner_died" : "ok", NOTHING, NOTHING);
    hold(2000000);
    if (result == IPC_OWNER_DIED && below(4) != 0) {
      begin("mend", "mutex", NOTHING);
      ok(ipc_mutex_mark_consistent(mutex), "mend");
      end(ipc_mutex_unlock(mutex), 0, "mend");
    } else {
      begin("unlock", "mutex", NOTHING);
      end(ipc_mutex_unlock(mutex), 0, "unlock");
    }
  }
}

static void open_endpoint(void) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  options.capacity = 4;
  begin("open_endpoint", name, NOTHING);
  ok(ipc_endpoint_open(name, &options, NULL, &endpoint), "open_endpoint");
  note("ok", NOTHING, NOTHING);
}

static void close_endpoint(void) {
  begin("close_endpoint", name, NOTHING);
  end(ipc_endpoint_close(endpoint), 0, "close_endpoint");
}

static void play_serve(void) {
  static const int64_t TIMEOUTS[] = {IPC_DONT_WAIT, 3000000, 100000000};
  int64_t timeout = TIMEOUTS[below(3)];
  const char *place;
  ipc_request *request;
  ipc_result result;
  uint64_t i;
  size_t len;
  if (below(64) == 0) {
    close_endpoint();
    open_endpoint();
  }
  if (below(4) == 0) {
    char both[80];
    ipc_waitable items[2];
    memset(items, 0, sizeof items);
    items[0].handle = endpoint;
    items[0].events = IPC_WAIT_RECV;
    items[1].handle = mailbox;
    items[1].events = IPC_WAIT_RECV;
    sprintf(both, "%s,mailbox", name);
    begin("wait_timeout", both, NOTHING);
    end(ipc_wait(items, 2, timeout), timeout, "wait");
  }
  place = below(2) == 0 ? name : "mailbox";
  begin(timeout == IPC_DONT_WAIT ? "try_serve" : "serve_timeout", place, NOTHING);
  result = place == name ? ipc_endpoint_recv(endpoint, buffer, sizeof buffer, &len, NULL, &request, timeout)
                         : ipc_endpoint_recv_mailbox(endpoint, mailbox, buffer, sizeof buffer, &len, NULL, &request, timeout);
  if (!done(result, timeout, "serve")) {
    return;
  }
  i = note_received(len, NOTHING);
  if (request == NULL) {
    return;
  }
  hold(50000000);
  if (below(8) == 0) {
    begin("drop", place, i);
    end(ipc_request_close(request), 0, "drop");
  } else {
    len = make_message(i + REPLY, message);
    do {
      begin("reply", place, i);
      result = ipc_request_reply(request, message, len);
      end(result, 0, "reply");
      /* A process that was stopped holds up the caller's inbox. */
    } while (result == IPC_ERR_WOULD_BLOCK);
    ok(ipc_request_close(request), "close");
  }
}

static ipc_result find_and(bool calls, const char *place, size_t len, size_t *reply_len, int64_t timeout) {
  ipc_address to;
  ipc_result result = ipc_endpoint_find(endpoint, place, &to);
  if (result != IPC_OK) {
    return result;
  }
  return calls ? ipc_endpoint_call(endpoint, to, message, len, buffer, sizeof buffer, reply_len, timeout)
               : ipc_endpoint_send(endpoint, to, message, len, timeout);
}

static void play_call(void) {
  static const char *const PLACES[] = {"east", "west", "mailbox"};
  const char *place = PLACES[below(3)];
  bool at_mailbox = strcmp(place, "mailbox") == 0;
  size_t len = make_message(++number, message), reply_len;
  int64_t timeout;
  ipc_result result;
  if (!at_mailbox && below(4) == 0) {
    timeout = attempt_on("post", place, number);
    end(find_and(false, place, len, NULL, timeout), timeout, "post");
    return;
  }
  timeout = attempt_on("call", place, number);
  result = at_mailbox ? ipc_endpoint_call_mailbox(endpoint, mailbox, message, len, buffer, sizeof buffer, &reply_len, timeout)
                      : find_and(true, place, len, &reply_len, timeout);
  if (done(result, timeout, "call")) {
    note_received(reply_len, NOTHING);
  }
}

enum { OPEN, CREATE, OPEN_OR_CREATE };

static ipc_result make_region(int how, const char *kind, uint64_t id, uint64_t *found) {
  ipc_region *region;
  void *bytes;
  size_t len;
  ipc_result result = how == CREATE           ? ipc_region_create(kind, id, NULL, &region)
                      : how == OPEN_OR_CREATE ? ipc_region_open_or_create(kind, id, NULL, &region)
                                              : ipc_region_open(kind, NULL, &region);
  if (result == IPC_OK) {
    ok(ipc_region_map(region, &bytes, &len), "map");
    if (((unsigned char *)bytes)[len - 1] != 0) {
      fail(kind, "it is new and not zero");
    }
    *found = len;
    ok(ipc_region_close(region), "close");
  }
  return result;
}

static ipc_result make_mutex(int how, const char *kind, uint64_t *found) {
  ipc_mutex *it;
  ipc_result result = how == CREATE           ? ipc_mutex_create(kind, NULL, &it)
                      : how == OPEN_OR_CREATE ? ipc_mutex_open_or_create(kind, NULL, &it)
                                              : ipc_mutex_open(kind, NULL, &it);
  if (result == IPC_OK) {
    *found = 0;
    ok(ipc_mutex_close(it), "close");
  }
  return result;
}

static ipc_result make_count(int how, const char *kind, uint64_t id, uint64_t *found) {
  ipc_semaphore *it;
  uint32_t value;
  ipc_result result = how == CREATE           ? ipc_semaphore_create(kind, (uint32_t)id, NULL, &it)
                      : how == OPEN_OR_CREATE ? ipc_semaphore_open_or_create(kind, (uint32_t)id, NULL, &it)
                                              : ipc_semaphore_open(kind, NULL, &it);
  if (result == IPC_OK) {
    ok(ipc_semaphore_value(it, &value), "value");
    *found = value;
    ok(ipc_semaphore_close(it), "close");
  }
  return result;
}

static ipc_result make_limit(int how, const char *kind, uint64_t id, uint64_t *found) {
  ipc_semaphore *it;
  uint32_t value;
  ipc_result result = how == CREATE           ? ipc_semaphore_create_permits(kind, (uint32_t)id, NULL, &it)
                      : how == OPEN_OR_CREATE ? ipc_semaphore_open_or_create_permits(kind, (uint32_t)id, NULL, &it)
                                              : ipc_semaphore_open(kind, NULL, &it);
  if (result == IPC_OK) {
    ok(ipc_semaphore_value(it, &value), "value");
    *found = value;
    ok(ipc_semaphore_close(it), "close");
  }
  return result;
}

static ipc_result make_queue(int how, const char *kind, uint64_t id, uint64_t *found) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *it;
  ipc_result result;
  size_t max;
  options.capacity = 1;
  options.max_message = id;
  result = how == CREATE           ? ipc_queue_create(kind, &options, NULL, &it)
           : how == OPEN_OR_CREATE ? ipc_queue_open_or_create(kind, &options, NULL, &it)
                                   : ipc_queue_open(kind, NULL, &it);
  if (result == IPC_OK) {
    ok(ipc_queue_max_message(it, &max), "max_message");
    *found = max;
    ok(ipc_queue_close(it), "close");
  }
  return result;
}

/* Creates, opens, or takes away an object of some kind. */
static void play_names(void) {
  static const char *const KINDS[] = {"a-region", "a-mutex", "a-count", "a-limit", "a-queue"};
  uint64_t which = below(5), verb = below(4), id = NOTHING, found = 0;
  const char *kind = KINDS[which];
  int how = verb == 0 ? CREATE : verb == 1 ? OPEN_OR_CREATE : OPEN;
  ipc_result result;
  if (verb == 3) {
    begin("unlink", kind, NOTHING);
    end(ipc_unlink(kind, NULL), 0, "unlink");
    return;
  }
  if (how != OPEN && (identity + 1) % IDENTITIES == 0) {
    how = OPEN;
  } else if (how != OPEN) {
    id = ++identity;
  }
  begin(how == CREATE ? "create" : how == OPEN_OR_CREATE ? "open_or_create" : "open", kind, id);
  result = which == 0   ? make_region(how, kind, id, &found)
           : which == 1 ? make_mutex(how, kind, &found)
           : which == 2 ? make_count(how, kind, id, &found)
           : which == 3 ? make_limit(how, kind, id, &found)
                        : make_queue(how, kind, id, &found);
  if (done(result, 0, kind)) {
    note("ok", found, NOTHING);
  }
}

static void interrupt(int signal) {
  (void)signal;
}

static void stop(int signal) {
  (void)signal;
  stopped = 1;
}

static void handle(int signal, void (*handler)(int)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  sigaction(signal, &action, NULL);
}

static const struct {
  const char *role;
  void (*play)(void);
} ROLES[] = {
    {"send", play_send}, {"recv", play_recv},   {"lease", play_lease}, {"lock", play_lock},
    {"serve", play_serve}, {"call", play_call}, {"names", play_names},
};

int main(int argc, char **argv) {
  void (*play)(void) = NULL;
  uint64_t first;
  size_t i;
  for (i = 0; i < sizeof ROLES / sizeof *ROLES; i++) {
    if (argc == 6 && strcmp(argv[1], ROLES[i].role) == 0) {
      play = ROLES[i].play;
    }
  }
  if (play == NULL) {
    fail("usage", "storm ROLE OBJECT LOG FIRST SECONDS");
  }
  name = argv[2];
  first = strtoull(argv[4], NULL, 10);
  seed = first | 1;
  number = first;
  identity = first / PROCESS * IDENTITIES;
  alarm((unsigned)strtoul(argv[5], NULL, 10));
  handle(SIGUSR1, interrupt);
  handle(SIGTERM, stop);
  record = open(argv[3], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (record < 0) {
    fail(argv[3], "cannot be made");
  }
  ok(ipc_semaphore_open("signals", NULL, &signals), "signals");
  ok(ipc_semaphore_open("permits", NULL, &permits), "permits");
  ok(ipc_mutex_open("mutex", NULL, &mutex), "mutex");
  ok(ipc_queue_open("mailbox", NULL, &mailbox), "mailbox");
  if (play == play_send || play == play_recv || play == play_lease) {
    ok(ipc_queue_open(name, NULL, &queue), name);
  } else if (play == play_serve) {
    open_endpoint();
  } else if (play == play_call) {
    ok(ipc_endpoint_open(NULL, NULL, NULL, &endpoint), "endpoint");
  }
  while (!stopped && !closed) {
    play();
    if (below(8) == 0) {
      begin("release", "signals", NOTHING);
      end(ipc_semaphore_release(signals, 1), 0, "release");
    }
    if (below(16) == 0) {
      play_names();
    }
    if (below(4) == 0) {
      rest_for(8000000);
    }
  }
  if (play == play_serve) {
    close_endpoint();
  } else if (play == play_call) {
    ok(ipc_endpoint_close(endpoint), "close");
  }
  if (queue != NULL) {
    ok(ipc_queue_close(queue), "close");
  }
  ok(ipc_queue_close(mailbox), "close");
  ok(ipc_mutex_close(mutex), "close");
  ok(ipc_semaphore_close(permits), "close");
  ok(ipc_semaphore_close(signals), "close");
  close(record);
  return 0;
}
