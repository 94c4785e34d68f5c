/* Queues: every message once, whole and in order; waiting ends when it should. */
#include "check.h"

enum { MAX = 300, MESSAGES = 500 };

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

static void from_child_to_parent(void) {
  unsigned char message[MAX];
  uint32_t number, got;
  size_t len, i;
  pid_t sender = child(send_numbered);
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

int main(void) {
  ipc_queue_options small = IPC_QUEUE_OPTIONS_INIT;
  ipc_queue *standard;
  size_t number;
  start();
  OK(ipc_queue_create("standard", NULL, NULL, &standard));
  OK(ipc_queue_capacity(standard, &number));
  CHECK(number == 64);
  OK(ipc_queue_max_message(standard, &number));
  CHECK(number == 4096);
  OK(ipc_queue_close(standard));
  small.capacity = 4;
  small.max_message = MAX;
  OK(ipc_queue_create("mail", &small, NULL, &queue));
  OK(ipc_queue_open_or_create("mail", NULL, NULL, &standard));
  OK(ipc_queue_capacity(standard, &number));
  CHECK(number == 4);
  OK(ipc_queue_close(standard));
  full_and_empty();
  sizes();
  who();
  from_child_to_parent();
  interruption();
  shutting_down();
  OK(ipc_queue_close(queue));
  return 0;
}
