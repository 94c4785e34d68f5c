/* Queues of every capacity: every message once, whole and in order; waiting ends when it should. */
#include "check.h"

enum { MAX = 300, MESSAGES = 500, LONG = 300000 };

static ipc_queue *queue;

static size_t length_of(uint32_t number) {
  return sizeof number + number % (MAX - sizeof number + 1);
}

static void send_numbered(void) {
  unsigned char message[MAX];
  uint32_t number;
  for (number = 0; number < MESSAGES; number++) {
    memset(message, (int)(number & 0xff), sizeof message);
    memcpy(message, &number, sizeof number);
    OK(ipc_queue_send(queue, message, length_of(number), BOUND));
  }
}

static void from_child_to_parent(void (*send)(void)) {
  unsigned char message[MAX];
  uint32_t number, got;
  size_t len, i;
  pid_t sender = child(send);
  for (number = 0; number < MESSAGES; number++) {
    OK(ipc_queue_recv(queue, message, sizeof message, &len, BOUND));
    CHECK(len == length_of(number));
    memcpy(&got, message, sizeof got);
    CHECK(got == number);
    for (i = sizeof got; i < len; i++) {
      CHECK(message[i] == (number & 0xff));
    }
  }
  wait_for(sender);
}

static void full_and_empty(void) {
  char buffer[MAX];
  size_t len, i;
  OK(ipc_queue_capacity(queue, &len));
  CHECK(len == 4);
  OK(ipc_queue_max_message(queue, &len));
  CHECK(len == MAX);
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_recv(queue, buffer, sizeof buffer, &len, IPC_DONT_WAIT));
  CHECK(len == 0);
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_recv(queue, buffer, sizeof buffer, &len, SHORT));
  for (i = 0; i < 4; i++) {
    OK(ipc_queue_send(queue, "abcd", i, IPC_DONT_WAIT));
  }
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_send(queue, "x", 1, IPC_DONT_WAIT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_send(queue, "x", 1, SHORT));
  OK(ipc_queue_len(queue, &len));
  CHECK(len == 4);
  for (i = 0; i < 4; i++) {
    OK(ipc_queue_recv(queue, buffer, i, &len, IPC_FOREVER));
    CHECK(len == i && memcmp(buffer, "abcd", i) == 0);
  }
}

static void long_message(void) {
  unsigned char *message = (unsigned char *)malloc(LONG), *buffer = (unsigned char *)calloc(LONG, 1);
  size_t len;
  pid_t sender;
  CHECK(message != NULL && buffer != NULL);
  for (len = 0; len < LONG; len++) {
    message[len] = (unsigned char)(len % 251);
  }
  fflush(stdout);
  sender = fork();
  CHECK(sender >= 0);
  if (sender == 0) {
    start();
    OK(ipc_queue_send(queue, message, LONG, BOUND));
    OK(ipc_queue_send(queue, message, 1, BOUND));
    _exit(0);
  }
  /* A buffer that is too small takes nothing, wherever the message lies. */
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_queue_recv(queue, buffer, LONG - 1, &len, BOUND));
  CHECK(len == LONG);
  OK(ipc_queue_recv(queue, buffer, LONG, &len, BOUND));
  CHECK(len == LONG && memcmp(buffer, message, len) == 0);
  OK(ipc_queue_recv(queue, buffer, LONG, &len, BOUND));
  CHECK(len == 1 && buffer[0] == 0);
  wait_for(sender);
  free(message);
  free(buffer);
}

static void sizes(void) {
  char message[MAX + 1], buffer[MAX];
  size_t len;
  memset(message, 'm', sizeof message);
  FAILS(IPC_ERR_MESSAGE_TOO_LONG, ipc_queue_send(queue, message, MAX + 1, IPC_DONT_WAIT));
  OK(ipc_queue_send(queue, message, MAX, IPC_DONT_WAIT));
  OK(ipc_queue_send(queue, NULL, 0, IPC_DONT_WAIT));
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_queue_recv(queue, buffer, MAX - 1, &len, IPC_DONT_WAIT));
  CHECK(len == MAX);
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_queue_recv(queue, NULL, 0, &len, IPC_DONT_WAIT));
  CHECK(len == MAX);
  OK(ipc_queue_recv(queue, buffer, len, &len, IPC_DONT_WAIT));
  CHECK(len == MAX && memcmp(buffer, message, MAX) == 0);
  OK(ipc_queue_recv(queue, NULL, 0, &len, IPC_DONT_WAIT));
  CHECK(len == 0);
}

static void who(void) {
  ipc_peer peers[4];
  ipc_queue *second;
  size_t count, i;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  OK(ipc_queue_open("mail", NULL, &second));
  OK(ipc_queue_peers(queue, NULL, 0, &count));
  CHECK(count == 2);
  OK(ipc_queue_peers(queue, peers, 4, &count));
  CHECK(count == 2);
  for (i = 0; i < count; i++) {
    CHECK(peers[i].pid == (uint32_t)getpid());
    CHECK(peers[i].since_ns / 1000000000 <= (int64_t)now.tv_sec + 1);
    CHECK(peers[i].since_ns / 1000000000 >= (int64_t)now.tv_sec - 3600);
  }
  CHECK(peers[0].roles + peers[1].roles == (IPC_ROLE_SENDS | IPC_ROLE_RECEIVES));
  memset(peers, 0, sizeof peers);
  OK(ipc_queue_peers(queue, peers, 1, &count));
  CHECK(count == 2 && peers[0].pid != 0 && peers[1].pid == 0);
  OK(ipc_queue_close(second));
  OK(ipc_queue_peers(queue, peers, 4, &count));
  CHECK(count == 1);
}

static void handler(int signal) {
  (void)signal;
}

static void be_interrupted(void) {
  struct sigaction action;
  char byte;
  size_t len;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  FAILS(IPC_ERR_INTERRUPTED, ipc_queue_recv(queue, &byte, 1, &len, BOUND));
}

static void interruption(void) {
  sigset_t set;
  pid_t waiter;
  int status;
  /* The child ignores the signal until it has its handler. */
  CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
  sigemptyset(&set);
  waiter = child(be_interrupted);
  while (waitpid(waiter, &status, WNOHANG) == 0) {
    kill(waiter, SIGUSR1);
    pause_ms(5);
  }
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void receive_until_closed(void) {
  char buffer[MAX];
  size_t len;
  ipc_result result;
  while ((result = ipc_queue_recv(queue, buffer, sizeof buffer, &len, BOUND)) == IPC_OK) {
  }
  FAILS(IPC_ERR_CLOSED, result);
}

static void shutting_down(void) {
  char buffer[MAX];
  size_t len;
  bool shut_down;
  pid_t waiter = child(receive_until_closed);
  pause_ms(20);
  OK(ipc_queue_is_shut_down(queue, &shut_down));
  CHECK(!shut_down);
  OK(ipc_queue_shutdown(queue));
  wait_for(waiter);
  OK(ipc_queue_shutdown(queue));
  OK(ipc_queue_is_shut_down(queue, &shut_down));
  CHECK(shut_down);
  FAILS(IPC_ERR_CLOSED, ipc_queue_send(queue, "x", 1, IPC_FOREVER));
  FAILS(IPC_ERR_CLOSED, ipc_queue_recv(queue, buffer, sizeof buffer, &len, IPC_FOREVER));
  CHECK(strstr(ipc_error_detail(), "shut down") != NULL);
}

static void receive_text(void) {
  char buffer[MAX];
  size_t len;
  OK(ipc_queue_recv(queue, buffer, sizeof buffer, &len, BOUND));
  CHECK(len == 3 && memcmp(buffer, "now", len) == 0);
}

/* A message that nobody takes is not sent. */
static void nobody_there(void) {
  char buffer[MAX];
  size_t len;
  pid_t receiver;
  ipc_result result;
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_send(queue, "x", 1, IPC_DONT_WAIT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_send(queue, "x", 1, SHORT));
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_recv(queue, buffer, sizeof buffer, &len, IPC_DONT_WAIT));
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_recv(queue, buffer, sizeof buffer, &len, SHORT));
  FAILS(IPC_ERR_MESSAGE_TOO_LONG, ipc_queue_send(queue, buffer, (size_t)LONG + 1, IPC_DONT_WAIT));
  OK(ipc_queue_len(queue, &len));
  CHECK(len == 0);
  /* Once a receiver waits, it need not wait itself. */
  receiver = child(receive_text);
  while ((result = ipc_queue_send(queue, "now", 3, IPC_DONT_WAIT)) == IPC_ERR_WOULD_BLOCK) {
    pause_ms(1);
  }
  OK(result);
  wait_for(receiver);
}

static void never_full(void) {
  uint32_t number, got;
  size_t len;
  for (number = 0; number < 20000; number++) {
    OK(ipc_queue_send(queue, &number, sizeof number, IPC_DONT_WAIT));
  }
  OK(ipc_queue_len(queue, &len));
  CHECK(len == 20000);
  for (number = 0; number < 20000; number++) {
    OK(ipc_queue_recv(queue, &got, sizeof got, &len, IPC_DONT_WAIT));
    CHECK(len == sizeof got && got == number);
  }
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_recv(queue, &got, sizeof got, &len, IPC_DONT_WAIT));
}

static void up_to_a_limit(void) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  char message[4000];
  size_t sent = 0, i, len;
  ipc_result result;
  options.capacity = IPC_UNBOUNDED;
  options.limit = 1 << 20;
  OK(ipc_queue_create("limited", &options, NULL, &queue));
  memset(message, 'm', sizeof message);
  while ((result = ipc_queue_send(queue, message, sizeof message, IPC_DONT_WAIT)) == IPC_OK) {
    sent++;
    CHECK(sent < 5000);
  }
  FAILS(IPC_ERR_LIMIT_REACHED, result);
  CHECK(sent >= 200);
  for (i = 0; i < sent; i++) {
    OK(ipc_queue_recv(queue, message, sizeof message, &len, IPC_DONT_WAIT));
    CHECK(len == sizeof message);
  }
  OK(ipc_queue_send(queue, message, sizeof message, IPC_DONT_WAIT));
  OK(ipc_queue_close(queue));
}

/* In a region, of each capacity. */
static void placed(void) {
  static const size_t capacities[] = {4, IPC_RENDEZVOUS, IPC_UNBOUNDED};
  size_t i, size, got;
  for (i = 0; i < sizeof capacities / sizeof *capacities; i++) {
    ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
    ipc_region *region;
    ipc_queue *opened;
    options.capacity = capacities[i];
    options.max_message = MAX;
    if (capacities[i] == IPC_UNBOUNDED) {
      FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_size(&options, &size));
      CHECK(size == 0 && strstr(ipc_error_detail(), "limit") != NULL);
      options.limit = 100000;
    }
    OK(ipc_queue_size(&options, &size));
    OK(ipc_region_create_anonymous(size, &region));
    OK(ipc_queue_create_in(region, 0, &options, &opened));
    OK(ipc_queue_open_in(region, 0, &queue));
    OK(ipc_queue_close(opened));
    OK(ipc_region_close(region));
    OK(ipc_queue_capacity(queue, &got));
    CHECK(got == capacities[i]);
    from_child_to_parent(send_numbered);
    OK(ipc_queue_close(queue));
  }
}

static int memory;

static void send_through_the_descriptor(void) {
  OK(ipc_queue_close(queue));
  OK(ipc_queue_from_fd(memory, &queue));
  send_numbered();
}

/* Without a name, of each capacity: a child uses the handle, or the descriptor. */
static void without_name(void) {
  static const size_t capacities[] = {4, IPC_RENDEZVOUS, IPC_UNBOUNDED};
  size_t i;
  for (i = 0; i < sizeof capacities / sizeof *capacities; i++) {
    ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
    ipc_queue *again;
    options.capacity = capacities[i];
    options.max_message = MAX;
    options.limit = capacities[i] == IPC_UNBOUNDED ? 100000 : 0;
    OK(ipc_queue_create_anonymous(&options, &queue, &memory));
    from_child_to_parent(send_numbered);
    from_child_to_parent(send_through_the_descriptor);
    /* The descriptor is the caller's, and the handles need it no more. */
    OK(ipc_queue_from_fd(memory, &again));
    CHECK(close(memory) == 0);
    OK(ipc_queue_close(queue));
    queue = again;
    from_child_to_parent(send_numbered);
    OK(ipc_queue_close(queue));
  }
}

static void send_one_and_die(void) {
  OK(ipc_queue_send(queue, "x", 1, BOUND));
  raise(SIGKILL);
}

/* A receiver that asks for it need not wait for senders that are gone. */
static void ending_with_peers(void) {
  char byte;
  size_t len;
  pid_t sender;
  ipc_queue *other;
  OK(ipc_queue_create("peers", NULL, NULL, &queue));
  OK(ipc_queue_end_with_peers(queue, true));
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_recv(queue, &byte, 1, &len, SHORT));
  sender = child(send_one_and_die);
  OK(ipc_queue_recv(queue, &byte, 1, &len, BOUND));
  FAILS(IPC_ERR_DISCONNECTED, ipc_queue_recv(queue, &byte, 1, &len, BOUND));
  wait_for_killed(sender);
  OK(ipc_queue_open("peers", NULL, &other));
  OK(ipc_queue_will_send(other));
  OK(ipc_queue_will_recv(other));
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_recv(queue, &byte, 1, &len, SHORT));
  OK(ipc_queue_close(other));
  FAILS(IPC_ERR_DISCONNECTED, ipc_queue_recv(queue, &byte, 1, &len, BOUND));
  OK(ipc_queue_end_with_peers(queue, false));
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_recv(queue, &byte, 1, &len, SHORT));
  OK(ipc_queue_close(queue));
}

static void open_queue(const char *name, size_t capacity, size_t max_message, size_t limit) {
  ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *again;
  size_t number;
  options.capacity = capacity;
  options.max_message = max_message;
  options.limit = limit;
  /* Few, and with a limit: valgrind reads all that a process has mapped when it ends, and gives it memory so. */
  options.leases = 4;
  OK(ipc_queue_create(name, &options, NULL, &queue));
  /* What exists keeps its options. */
  OK(ipc_queue_open_or_create(name, NULL, NULL, &again));
  OK(ipc_queue_capacity(again, &number));
  CHECK(number == (capacity == 0 ? 64 : capacity));
  OK(ipc_queue_max_message(again, &number));
  CHECK(number == (max_message == 0 ? 4096 : max_message));
  OK(ipc_queue_close(again));
}

int main(void) {
  start();
  open_queue("standard", 0, 0, 0);
  OK(ipc_queue_close(queue));

  open_queue("mail", 4, MAX, 0);
  full_and_empty();
  sizes();
  who();
  from_child_to_parent(send_numbered);
  interruption();
  shutting_down();
  OK(ipc_queue_close(queue));

  open_queue("long mail", 4, LONG, 0);
  from_child_to_parent(send_numbered);
  long_message();
  OK(ipc_queue_close(queue));

  open_queue("meeting", IPC_RENDEZVOUS, LONG, 0);
  nobody_there();
  long_message();
  from_child_to_parent(send_numbered);
  interruption();
  shutting_down();
  OK(ipc_queue_close(queue));

  open_queue("heap", IPC_UNBOUNDED, LONG, 8 << 20);
  never_full();
  long_message();
  from_child_to_parent(send_numbered);
  interruption();
  shutting_down();
  OK(ipc_queue_close(queue));

  up_to_a_limit();
  placed();
  without_name();
  ending_with_peers();
  return 0;
}
