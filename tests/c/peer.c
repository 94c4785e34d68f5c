/*
 * The C side of the tests between languages: one operation on an object that processes of other languages use, too.
 * Exits with 0 if all went well; otherwise says what did not, and exits with 1.
 */
#include <fcntl.h>
#include <ipc.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT INT64_C(20000000000)

static void fail(const char *what) {
  fprintf(stderr, "peer.c: %s\n", what);
  exit(1);
}

static void ok(ipc_result result) {
  if (result != IPC_OK) {
    fprintf(stderr, "peer.c: %s: %s\n", ipc_strerror(result), ipc_error_detail());
    exit(1);
  }
}

static uint64_t number(const char *text) {
  char *end;
  uint64_t value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != 0) {
    fail("not a number");
  }
  return value;
}

static void print_and_flush(const char *line) {
  if (puts(line) < 0 || fflush(stdout) != 0) {
    fail("cannot write to stdout");
  }
}

static void die(void) {
  raise(SIGKILL);
}

/* Message `i`: eight bytes of `i`, the least significant first, and `i` % 50 bytes that are all `i` & 0xff. */
enum { LONGEST = 8 + 49 };

static size_t make_message(uint64_t i, unsigned char *message) {
  int byte;
  for (byte = 0; byte < 8; byte++) {
    message[byte] = (unsigned char)(i >> (8 * byte));
  }
  memset(message + 8, (int)(i & 0xff), i % 50);
  return 8 + i % 50;
}

static uint64_t number_in(const unsigned char *message, size_t len) {
  uint64_t i = 0;
  int byte;
  if (len < 8) {
    fail("the message is too short");
  }
  for (byte = 7; byte >= 0; byte--) {
    i = i << 8 | message[byte];
  }
  return i;
}

static void check_message(const unsigned char *message, size_t len) {
  unsigned char expected[LONGEST];
  if (len != make_message(number_in(message, len), expected) || memcmp(message, expected, len) != 0) {
    fail("the message is torn");
  }
}

static ipc_queue *open_queue(const char *name) {
  ipc_queue *queue;
  ok(ipc_queue_open(name, NULL, &queue));
  return queue;
}

static size_t capacity_of(const char *text) {
  return strcmp(text, "zero") == 0 ? IPC_RENDEZVOUS : strcmp(text, "unbounded") == 0 ? IPC_UNBOUNDED : number(text);
}

static void queue_create(char **args) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *queue;
  options.capacity = capacity_of(args[1]);
  options.max_message = number(args[2]);
  ok(ipc_queue_create(args[0], &options, NULL, &queue));
  ok(ipc_queue_close(queue));
}

static void queue_send(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  uint64_t first = number(args[1]), count = number(args[2]), i;
  unsigned char message[LONGEST];
  for (i = first; i < first + count; i++) {
    size_t len = make_message(i, message);
    ok(ipc_queue_send(queue, message, len, TIMEOUT));
  }
  ok(ipc_queue_close(queue));
}

static void queue_recv(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  uint64_t first = number(args[1]), count = number(args[2]), i;
  unsigned char message[LONGEST];
  size_t len;
  for (i = first; i < first + count; i++) {
    ok(ipc_queue_recv(queue, message, sizeof message, &len, TIMEOUT));
    check_message(message, len);
    if (number_in(message, len) != i) {
      fail("the messages are not in order");
    }
  }
  ok(ipc_queue_close(queue));
}

static void queue_sum(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  uint64_t count = number(args[1]), sum = 0, i;
  unsigned char message[LONGEST];
  size_t len;
  for (i = 0; i < count; i++) {
    ok(ipc_queue_recv(queue, message, sizeof message, &len, TIMEOUT));
    check_message(message, len);
    sum += number_in(message, len);
  }
  printf("%" PRIu64 "\n", sum);
  ok(ipc_queue_close(queue));
}

static void queue_until_closed(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  uint64_t count = 0;
  unsigned char *message;
  size_t max, len;
  ipc_result result;
  ok(ipc_queue_max_message(queue, &max));
  message = (unsigned char *)malloc(max + 1);
  if (message == NULL) {
    fail("not enough memory");
  }
  while ((result = ipc_queue_recv(queue, message, max, &len, TIMEOUT)) == IPC_OK) {
    count++;
  }
  if (result != IPC_ERR_CLOSED) {
    ok(result);
  }
  printf("%" PRIu64 "\n", count);
  free(message);
  ok(ipc_queue_close(queue));
}

static void queue_shutdown(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  ok(ipc_queue_shutdown(queue));
  ok(ipc_queue_close(queue));
}

static void queue_send_loans(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  uint64_t first = number(args[1]), count = number(args[2]), i;
  for (i = first; i < first + count; i++) {
    ipc_loan loan;
    ok(ipc_queue_loan(queue, LONGEST, &loan, TIMEOUT));
    ok(ipc_queue_send_loan(queue, &loan, make_message(i, (unsigned char *)loan.data), TIMEOUT));
  }
  ok(ipc_queue_close(queue));
}

static void queue_recv_views(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  uint64_t first = number(args[1]), count = number(args[2]), i;
  for (i = first; i < first + count; i++) {
    ipc_message_view view;
    ok(ipc_queue_recv_view(queue, &view, TIMEOUT));
    check_message((const unsigned char *)view.data, view.len);
    if (number_in((const unsigned char *)view.data, view.len) != i) {
      fail("the messages are not in order");
    }
    ok(ipc_queue_release_view(queue, &view));
  }
  ok(ipc_queue_close(queue));
}

static void queue_view_die(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  ipc_message_view view;
  ipc_loan loan;
  ok(ipc_queue_recv_view(queue, &view, TIMEOUT));
  ok(ipc_queue_loan(queue, 8, &loan, TIMEOUT));
  print_and_flush("viewed");
  die();
}

static void queue_lease_die(char **args) {
  unsigned char message[LONGEST];
  ipc_lease lease;
  size_t len;
  ok(ipc_queue_lease(open_queue(args[0]), message, sizeof message, &len, &lease, TIMEOUT));
  check_message(message, len);
  print_and_flush("leased");
  die();
}

struct outliving {
  pthread_t first;
  const char *fifo;
};

/* Says when the first thread has ended, and ends when somebody has opened the FIFO to write to it. */
static void *outlive(void *of) {
  struct outliving *it = (struct outliving *)of;
  if (pthread_join(it->first, NULL) != 0) {
    fail("cannot wait for the first thread");
  }
  print_and_flush("alone");
  if (open(it->fifo, O_RDONLY) < 0) {
    fail("cannot open the FIFO");
  }
  return NULL;
}

/* Has a message on lease, and its first thread ends long before another one. */
static void queue_lease_outlive(char **args) {
  static struct outliving it;
  unsigned char message[LONGEST];
  pthread_t thread;
  ipc_lease lease;
  size_t len;
  ok(ipc_queue_lease(open_queue(args[0]), message, sizeof message, &len, &lease, TIMEOUT));
  check_message(message, len);
  it.first = pthread_self();
  it.fifo = args[1];
  if (pthread_create(&thread, NULL, outlive, &it) != 0) {
    fail("cannot start a thread");
  }
  pthread_exit(NULL);
}

static void queue_lease_sum(char **args) {
  ipc_queue *queue = open_queue(args[0]);
  uint64_t sum = 0;
  unsigned char message[LONGEST];
  ipc_lease lease;
  size_t len;
  ipc_result result;
  while ((result = ipc_queue_lease(queue, message, sizeof message, &len, &lease, TIMEOUT)) == IPC_OK) {
    check_message(message, len);
    sum += number_in(message, len);
    ok(ipc_queue_finish(queue, &lease));
  }
  if (result != IPC_ERR_CLOSED) {
    ok(result);
  }
  printf("%" PRIu64 "\n", sum);
  ok(ipc_queue_close(queue));
}

/* Eight bytes of the number, and from none to as many bytes as there is room for, in a pattern that follows from it. */
static size_t make_recorded_message(uint64_t i, unsigned char *message, size_t longest) {
  uint64_t base = i % 61, power, len = base, k;
  for (power = i % 3; power > 0; power--) {
    len *= base;
  }
  len = len < longest - 8 ? len : longest - 8;
  for (k = 0; k < 8; k++) {
    message[k] = (unsigned char)(i >> (8 * k));
  }
  for (k = 0; k < len; k++) {
    message[8 + k] = (unsigned char)((i % 251 + k) % 251);
  }
  return 8 + (size_t)len;
}

static void interrupt(int signal) {
  (void)signal;
}

/* Writes a line with one call. */
static void note(int record, const char *what) {
  char line[250];
  struct timespec now;
  int len;
  clock_gettime(CLOCK_MONOTONIC, &now);
  len = sprintf(line, "%" PRId64 "%09" PRId64 " %s\n", (int64_t)now.tv_sec, (int64_t)now.tv_nsec, what);
  if (write(record, line, (size_t)len) != len) {
    fail("cannot write to the log");
  }
}

/* Looks random. */
static uint64_t below(uint64_t *seed, uint64_t end) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed % end;
}

/*
 * Does now this, now that, until the queue is shut down, and writes down each operation before and after it. Arguments: queue, log,
 * the number from which on the messages have theirs, send or recv or both, and the seconds after which it ends in any case.
 */
static void queue_history(char **args) {
  enum { MANY = 5 };
  uint64_t i = number(args[2]), seed = i | 1;
  struct sigaction action;
  unsigned char *messages, *expected;
  ipc_bytes list[MANY];
  size_t max, lens[MANY], count, k, at;
  ipc_queue *queue;
  ipc_result result;
  int record;
  alarm((unsigned)number(args[4]));
  memset(&action, 0, sizeof action);
  action.sa_handler = interrupt;
  sigaction(SIGUSR1, &action, NULL);
  queue = open_queue(args[0]);
  ok(ipc_queue_max_message(queue, &max));
  messages = (unsigned char *)malloc(MANY * max);
  expected = (unsigned char *)malloc(max);
  record = open(args[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (messages == NULL || expected == NULL || record < 0) {
    fail("no memory or no log");
  }
  do {
    int sends = strcmp(args[3], "send") == 0 || (strcmp(args[3], "both") == 0 && below(&seed, 2) == 0);
    /* One message, or so many in one call. */
    uint64_t way = below(&seed, 3), many = below(&seed, 4) == 0 ? 1 + below(&seed, MANY) : 0;
    int64_t timeout = way == 0 ? TIMEOUT : way == 1 ? IPC_DONT_WAIT : (int64_t)below(&seed, 3000000);
    char what[200];
    int end = sprintf(what, "%s%s%s%s", way == 1 ? "try_" : "", sends ? "send" : "recv", many ? "_many" : "", way == 2 ? "_timeout" : "");
    if (sends) {
      end += sprintf(what + end, " %" PRIu64, i + 1);
    }
    if (many) {
      sprintf(what + end, " %" PRIu64, many);
    }
    for (k = 0; sends && k < (many ? many : 1); k++) {
      list[k].data = messages + k * max;
      list[k].len = make_recorded_message(++i, messages + k * max, max);
    }
    note(record, what);
    count = 1;
    if (sends) {
      result = many ? ipc_queue_send_many(queue, list, (size_t)many, &count, timeout)
                    : ipc_queue_send(queue, list[0].data, list[0].len, timeout);
    } else {
      result = many ? ipc_queue_recv_many(queue, messages, MANY * max, lens, (size_t)many, &count, timeout)
                    : ipc_queue_recv(queue, messages, max, lens, timeout);
    }
    switch (result) {
    case IPC_OK:
      end = sprintf(what, "ok");
      if (sends && many) {
        sprintf(what + end, " %" PRIu64, (uint64_t)count);
      }
      for (k = 0, at = 0; !sends && k < count; at += lens[k], k++) {
        uint64_t came = lens[k] < 8 ? 0 : number_in(messages + at, lens[k]);
        if (came == 0 || lens[k] != make_recorded_message(came, expected, max) || memcmp(messages + at, expected, lens[k]) != 0) {
          strcpy(what, "torn");
          break;
        }
        end += sprintf(what + end, " %" PRIu64, came);
      }
      break;
    case IPC_ERR_WOULD_BLOCK:
      strcpy(what, "would_block");
      break;
    case IPC_ERR_TIMED_OUT:
      strcpy(what, "timed_out");
      break;
    case IPC_ERR_CLOSED:
      strcpy(what, "closed");
      break;
    case IPC_ERR_INTERRUPTED:
      strcpy(what, "interrupted");
      break;
    default:
      ok(result);
    }
    note(record, what);
    if (result == IPC_ERR_TIMED_OUT && way == 0) {
      fail("a call hangs");
    }
    if (below(&seed, 16) == 0) {
      struct timespec pause;
      pause.tv_sec = 0;
      pause.tv_nsec = (long)below(&seed, 2000000);
      nanosleep(&pause, NULL);
    }
  } while (result != IPC_ERR_CLOSED);
  close(record);
  free(expected);
  free(messages);
  ok(ipc_queue_close(queue));
}

static ipc_mutex *open_mutex(const char *name) {
  ipc_mutex *mutex;
  ok(ipc_mutex_open(name, NULL, &mutex));
  return mutex;
}

static ipc_region *open_region(const char *name, unsigned char **bytes, size_t *len) {
  ipc_region *region;
  void *ptr;
  ok(ipc_region_open(name, NULL, &region));
  ok(ipc_region_map(region, &ptr, len));
  *bytes = (unsigned char *)ptr;
  return region;
}

static ipc_endpoint *open_endpoint(const char *name) {
  ipc_endpoint *endpoint;
  ok(ipc_endpoint_open(name, NULL, NULL, &endpoint));
  return endpoint;
}

static ipc_request *next_request(ipc_endpoint *endpoint, unsigned char *message, size_t *len) {
  ipc_address from;
  ipc_request *request;
  ok(ipc_endpoint_recv(endpoint, message, LONGEST, len, &from, &request, TIMEOUT));
  if (request == NULL) {
    fail("this is no request");
  }
  check_message(message, *len);
  return request;
}

static void endpoint_serve(char **args) {
  ipc_endpoint *endpoint = open_endpoint(args[0]);
  uint64_t count = number(args[1]);
  unsigned char message[LONGEST];
  size_t len;
  print_and_flush("open");
  while (count-- > 0) {
    ipc_request *request = next_request(endpoint, message, &len);
    len = make_message(number_in(message, len) + 1, message);
    ok(ipc_request_reply(request, message, len));
    ok(ipc_request_close(request));
  }
  ok(ipc_endpoint_close(endpoint));
}

static void endpoint_die(char **args) {
  ipc_endpoint *endpoint = open_endpoint(args[0]);
  unsigned char message[LONGEST];
  size_t len;
  print_and_flush("open");
  next_request(endpoint, message, &len);
  die();
}

static void endpoint_call(char **args) {
  ipc_endpoint *endpoint = open_endpoint(NULL);
  uint64_t first = number(args[1]), count = number(args[2]), i;
  unsigned char message[LONGEST], reply[LONGEST];
  ipc_address to;
  ok(ipc_endpoint_find(endpoint, args[0], &to));
  for (i = first; i < first + count; i++) {
    size_t len = make_message(i, message);
    ok(ipc_endpoint_call(endpoint, to, message, len, reply, sizeof reply, &len, TIMEOUT));
    check_message(reply, len);
    if (number_in(reply, len) != i + 1) {
      fail("this is the reply to something else");
    }
  }
  ok(ipc_endpoint_close(endpoint));
}

static void endpoint_gone(char **args) {
  ipc_endpoint *endpoint = open_endpoint(NULL);
  unsigned char message[LONGEST];
  ipc_address to;
  size_t len = make_message(0, message);
  ok(ipc_endpoint_find(endpoint, args[0], &to));
  if (ipc_endpoint_call(endpoint, to, message, len, message, sizeof message, &len, TIMEOUT) != IPC_ERR_PEER_GONE) {
    fail("the server is not gone");
  }
  ok(ipc_endpoint_close(endpoint));
}

static void mutex_add(char **args) {
  ipc_mutex *mutex = open_mutex(args[0]);
  unsigned char *bytes;
  size_t len;
  ipc_region *region = open_region(args[1], &bytes, &len);
  uint64_t offset = number(args[2]), times = number(args[3]), total;
  if (offset > len || len - offset < sizeof total) {
    fail("the offset is not in the region");
  }
  for (; times > 0; times--) {
    ok(ipc_mutex_lock(mutex, TIMEOUT));
    memcpy(&total, bytes + offset, sizeof total);
    total++;
    memcpy(bytes + offset, &total, sizeof total);
    ok(ipc_mutex_unlock(mutex));
  }
  ok(ipc_region_close(region));
  ok(ipc_mutex_close(mutex));
}

static void mutex_die(char **args) {
  ok(ipc_mutex_lock(open_mutex(args[0]), TIMEOUT));
  print_and_flush("locked");
  die();
}

static void mutex_recover(char **args) {
  ipc_mutex *mutex = open_mutex(args[0]);
  ipc_result result = ipc_mutex_lock(mutex, TIMEOUT);
  if (result != IPC_OWNER_DIED) {
    ok(result);
    fail("the owner has not died");
  }
  ok(ipc_mutex_mark_consistent(mutex));
  ok(ipc_mutex_unlock(mutex));
  ok(ipc_mutex_lock(mutex, TIMEOUT));
  ok(ipc_mutex_unlock(mutex));
  ok(ipc_mutex_close(mutex));
}

static ipc_semaphore *open_semaphore(const char *name) {
  ipc_semaphore *semaphore;
  ok(ipc_semaphore_open(name, NULL, &semaphore));
  return semaphore;
}

static void acquire(ipc_semaphore *semaphore, uint64_t units) {
  for (; units > 0; units--) {
    ok(ipc_semaphore_acquire(semaphore, TIMEOUT));
  }
}

static void sem_acquire(char **args) {
  ipc_semaphore *semaphore = open_semaphore(args[0]);
  acquire(semaphore, number(args[1]));
  ok(ipc_semaphore_close(semaphore));
}

static void sem_release(char **args) {
  ipc_semaphore *semaphore = open_semaphore(args[0]);
  ok(ipc_semaphore_release(semaphore, (uint32_t)number(args[1])));
  ok(ipc_semaphore_close(semaphore));
}

static void permit_die(char **args) {
  acquire(open_semaphore(args[0]), number(args[1]));
  print_and_flush("held");
  die();
}

static void check_text(size_t len, uint64_t offset, const char *text) {
  if (offset > len || len - offset < strlen(text)) {
    fail("the text is not in the region");
  }
}

static void region_write(char **args) {
  unsigned char *bytes;
  size_t len;
  ipc_region *region = open_region(args[0], &bytes, &len);
  uint64_t offset = number(args[1]);
  check_text(len, offset, args[2]);
  memcpy(bytes + offset, args[2], strlen(args[2]));
  ok(ipc_region_close(region));
}

static void region_read(char **args) {
  unsigned char *bytes;
  size_t len;
  ipc_region *region = open_region(args[0], &bytes, &len);
  uint64_t offset = number(args[1]);
  check_text(len, offset, args[2]);
  if (memcmp(bytes + offset, args[2], strlen(args[2])) != 0) {
    fail("another text is there");
  }
  ok(ipc_region_close(region));
}

static void region_grow(char **args) {
  unsigned char *bytes;
  size_t len;
  ipc_region *region = open_region(args[0], &bytes, &len);
  ok(ipc_region_grow(region, number(args[1])));
  ok(ipc_region_close(region));
}

enum { MUTEX_AT = 0, SIGNALS_AT = 128, PERMITS_AT = 4096, QUEUE_AT = 16384 };

static void placed_create(char **args) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_region *region;
  ipc_mutex *mutex;
  ipc_semaphore *signals, *permits;
  ipc_queue *queue;
  options.capacity = 4;
  options.max_message = 100;
  options.leases = IPC_NO_LEASES;
  ok(ipc_region_create(args[0], 65536, NULL, &region));
  ok(ipc_mutex_create_in(region, MUTEX_AT, &mutex));
  ok(ipc_semaphore_create_in(region, SIGNALS_AT, 0, &signals));
  ok(ipc_semaphore_create_permits_in(region, PERMITS_AT, 2, &permits));
  ok(ipc_queue_create_in(region, QUEUE_AT, &options, &queue));
  ok(ipc_queue_close(queue));
  ok(ipc_semaphore_close(permits));
  ok(ipc_semaphore_close(signals));
  ok(ipc_mutex_close(mutex));
  ok(ipc_region_close(region));
}

static void placed_use(char **args) {
  ipc_region *region;
  ipc_mutex *mutex;
  ipc_semaphore *signals, *permits;
  ipc_queue *queue;
  char message[100];
  size_t len;
  ok(ipc_region_open(args[0], NULL, &region));
  ok(ipc_mutex_open_in(region, MUTEX_AT, &mutex));
  ok(ipc_semaphore_open_in(region, SIGNALS_AT, &signals));
  ok(ipc_semaphore_open_in(region, PERMITS_AT, &permits));
  ok(ipc_queue_open_in(region, QUEUE_AT, &queue));
  ok(ipc_mutex_lock(mutex, TIMEOUT));
  ok(ipc_mutex_unlock(mutex));
  ok(ipc_semaphore_release(signals, 1));
  ok(ipc_semaphore_acquire(signals, TIMEOUT));
  ok(ipc_semaphore_acquire(permits, TIMEOUT));
  ok(ipc_semaphore_release(permits, 1));
  ok(ipc_queue_send(queue, "x", 1, TIMEOUT));
  ok(ipc_queue_recv(queue, message, sizeof message, &len, TIMEOUT));
  if (len != 1 || message[0] != 'x') {
    fail("another message came");
  }
  ok(ipc_queue_close(queue));
  ok(ipc_semaphore_close(permits));
  ok(ipc_semaphore_close(signals));
  ok(ipc_mutex_close(mutex));
  ok(ipc_region_close(region));
}

static const struct {
  const char *name;
  int args;
  void (*run)(char **args);
} COMMANDS[] = {
    {"queue-create", 3, queue_create},
    {"queue-send", 3, queue_send},
    {"queue-recv", 3, queue_recv},
    {"queue-sum", 2, queue_sum},
    {"queue-until-closed", 1, queue_until_closed},
    {"queue-shutdown", 1, queue_shutdown},
    {"queue-send-loans", 3, queue_send_loans},
    {"queue-recv-views", 3, queue_recv_views},
    {"queue-view-die", 1, queue_view_die},
    {"queue-lease-die", 1, queue_lease_die},
    {"queue-lease-outlive", 2, queue_lease_outlive},
    {"queue-lease-sum", 1, queue_lease_sum},
    {"queue-history", 5, queue_history},
    {"endpoint-serve", 2, endpoint_serve},
    {"endpoint-die", 1, endpoint_die},
    {"endpoint-call", 3, endpoint_call},
    {"endpoint-gone", 1, endpoint_gone},
    {"mutex-add", 4, mutex_add},
    {"mutex-die", 1, mutex_die},
    {"mutex-recover", 1, mutex_recover},
    {"sem-acquire", 2, sem_acquire},
    {"sem-release", 2, sem_release},
    {"permit-die", 2, permit_die},
    {"region-write", 3, region_write},
    {"region-read", 3, region_read},
    {"region-grow", 2, region_grow},
    {"placed-create", 1, placed_create},
    {"placed-use", 1, placed_use},
};

int main(int argc, char **argv) {
  size_t i;
  for (i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
    if (argc > 1 && strcmp(argv[1], COMMANDS[i].name) == 0 && argc == 2 + COMMANDS[i].args) {
      COMMANDS[i].run(argv + 2);
      return 0;
    }
  }
  fail("usage: peer COMMAND ARGUMENT...");
  return 1;
}
