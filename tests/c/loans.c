/* Messages in place: loans and views. */
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

#define NAME "frames"
#define LEN ((size_t)8 << 20)

static ipc_queue *queue;

static void create(size_t capacity, size_t max_message, size_t leases) {
  ipc_queue_options shape = IPC_QUEUE_OPTIONS_INIT;
  shape.capacity = capacity;
  shape.max_message = max_message;
  shape.leases = leases;
  OK(ipc_queue_create(NAME, &shape, NULL, &queue));
}

static void destroy(void) {
  OK(ipc_queue_close(queue));
  OK(ipc_unlink(NAME, NULL));
}

static ipc_loan lend(size_t len) {
  ipc_loan loan;
  OK(ipc_queue_loan(queue, len, &loan, IPC_DONT_WAIT));
  CHECK(loan.data != NULL && loan.len == len && (uintptr_t)loan.data % 64 == 0);
  return loan;
}

static void send_text(const char *text) {
  ipc_loan loan = lend(100);
  strcpy((char *)loan.data, text);
  OK(ipc_queue_send_loan(queue, &loan, strlen(text) + 1, IPC_DONT_WAIT));
  CHECK(loan.data == NULL && loan.len == 0);
}

static ipc_message_view take(const char *text) {
  ipc_message_view view;
  OK(ipc_queue_recv_view(queue, &view, IPC_DONT_WAIT));
  CHECK(view.len == strlen(text) + 1 && strcmp((const char *)view.data, text) == 0);
  return view;
}

static void nothing_is_lent(ipc_result expected) {
  ipc_loan loan;
  memset(&loan, 0xff, sizeof loan);
  FAILS(expected, ipc_queue_loan(queue, 1, &loan, IPC_DONT_WAIT));
  CHECK(loan.data == NULL && loan.len == 0 && loan.id[0] == 0 && loan.id[1] == 0);
}

static void nothing_to_view(ipc_result expected) {
  ipc_message_view view;
  memset(&view, 0xff, sizeof view);
  FAILS(expected, ipc_queue_recv_view(queue, &view, IPC_DONT_WAIT));
  CHECK(view.data == NULL && view.len == 0 && view.id[0] == 0 && view.id[1] == 0);
}

/* Each of them is ended once. */
static void once(void) {
  ipc_loan loan, copy;
  ipc_message_view view, again;
  create(4, 100, 2);
  nothing_to_view(IPC_ERR_WOULD_BLOCK);

  loan = copy = lend(100);
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_loan(queue, &loan, 101, IPC_DONT_WAIT));
  OK(ipc_queue_release_loan(queue, &loan));
  CHECK(loan.data == NULL);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_loan(queue, &loan));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_loan(queue, &copy));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_send_loan(queue, &copy, 1, IPC_DONT_WAIT));

  loan = copy = lend(6);
  memcpy(loan.data, "whole", 6);
  OK(ipc_queue_send_loan(queue, &loan, 6, BOUND));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_send_loan(queue, &copy, 6, IPC_DONT_WAIT));
  view = again = take("whole");
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_loan(queue, &copy));
  OK(ipc_queue_release_view(queue, &view));
  CHECK(view.data == NULL && view.len == 0);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_view(queue, &view));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_view(queue, &again));

  /* Nothing that was ever lent. */
  memset(&copy, 0xff, sizeof copy);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_loan(queue, &copy));
  memset(&again, 0xff, sizeof again);
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_view(queue, &again));

  /* Two are out, and a message that was copied needs none. */
  loan = lend(1);
  copy = lend(0);
  nothing_is_lent(IPC_ERR_WOULD_BLOCK);
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_loan(queue, 1, &copy, 1000000));
  OK(ipc_queue_send(queue, "copied", 7, IPC_DONT_WAIT));
  OK(ipc_queue_send(queue, NULL, 0, IPC_DONT_WAIT));
  view = take("copied");
  OK(ipc_queue_release_view(queue, &view));
  OK(ipc_queue_recv_view(queue, &view, BOUND));
  CHECK(view.data != NULL && view.len == 0);
  OK(ipc_queue_release_view(queue, &view));
  OK(ipc_queue_release_loan(queue, &loan));
  destroy();
}

static void bad_input(void) {
  ipc_loan loan;
  ipc_message_view view;
  create(1, 100, 1);
  FAILS(IPC_ERR_MESSAGE_TOO_LONG, ipc_queue_loan(queue, 101, &loan, BOUND));
  FAILS(IPC_ERR_MESSAGE_TOO_LONG, ipc_queue_loan(queue, SIZE_MAX, &loan, BOUND));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_loan(queue, 1, NULL, BOUND));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_loan(NULL, 1, &loan, BOUND));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_loan(queue, 1, &loan, -2));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_recv_view(queue, NULL, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_recv_view(NULL, &view, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_recv_view(queue, &view, -2));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_release_view(queue, NULL));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_release_view(NULL, &view));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_release_loan(queue, NULL));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_release_loan(NULL, &loan));
  loan = lend(1);
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_loan(queue, NULL, 1, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_loan(NULL, &loan, 1, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_loan(queue, &loan, 1, -2));
  loan.len = 101;
  FAILS(IPC_ERR_MESSAGE_TOO_LONG, ipc_queue_send_loan(queue, &loan, 101, IPC_DONT_WAIT));
  /* It is still lent, until the queue is shut down. */
  OK(ipc_queue_shutdown(queue));
  FAILS(IPC_ERR_CLOSED, ipc_queue_send_loan(queue, &loan, 1, BOUND));
  OK(ipc_queue_release_loan(queue, &loan));
  nothing_is_lent(IPC_ERR_CLOSED);
  nothing_to_view(IPC_ERR_CLOSED);
  destroy();
  create(IPC_UNBOUNDED, 100, 1);
  nothing_is_lent(IPC_ERR_UNSUPPORTED);
  destroy();
  create(1, 100, IPC_NO_LEASES);
  nothing_is_lent(IPC_ERR_UNSUPPORTED);
  destroy();
}

/* Long messages, from one process to another, through the same memory. */
static void receive_all(void) {
  int i;
  for (i = 0; i < 20; i++) {
    ipc_message_view view;
    OK(ipc_queue_recv_view(queue, &view, BOUND));
    CHECK(view.len == LEN);
    CHECK(((const unsigned char *)view.data)[0] == i && ((const unsigned char *)view.data)[LEN - 1] == 100 + i);
    OK(ipc_queue_release_view(queue, &view));
  }
  OK(ipc_queue_close(queue));
}

static void to_another_process(void) {
  pid_t receiver;
  int i;
  create(2, LEN, 1);
  receiver = child(receive_all);
  for (i = 0; i < 20; i++) {
    ipc_loan loan;
    OK(ipc_queue_loan(queue, LEN, &loan, BOUND));
    CHECK((uintptr_t)loan.data % 4096 == 0);
    ((unsigned char *)loan.data)[0] = (unsigned char)i;
    ((unsigned char *)loan.data)[LEN - 1] = (unsigned char)(100 + i);
    OK(ipc_queue_send_loan(queue, &loan, LEN, BOUND));
  }
  wait_for(receiver);
  destroy();
}

static ipc_loan parents_loan;
static ipc_message_view parents_view;

static void end_what_is_the_parents(void) {
  ipc_loan loan = parents_loan;
  ipc_message_view view = parents_view;
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_send_loan(queue, &loan, 1, IPC_DONT_WAIT));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_loan(queue, &loan));
  FAILS(IPC_ERR_NOT_OWNER, ipc_queue_release_view(queue, &view));
  OK(ipc_queue_close(queue));
}

static void lend_and_die(void) {
  ipc_message_view view;
  ipc_loan loan = lend(10);
  OK(ipc_queue_recv_view(queue, &view, IPC_DONT_WAIT));
  CHECK(loan.len == 10);
  raise(SIGKILL);
}

static void *end_in_a_thread(void *unused) {
  OK(ipc_queue_release_loan(queue, &parents_loan));
  OK(ipc_queue_release_view(queue, &parents_view));
  return unused;
}

/* They are their process's: not a child's, but any thread's. */
static void whose(void) {
  pthread_t thread;
  ipc_loan loan;
  create(1, 5000, 1);
  send_text("viewed");
  parents_view = take("viewed");
  parents_loan = lend(10);
  wait_for(child(end_what_is_the_parents));
  nothing_is_lent(IPC_ERR_WOULD_BLOCK);
  CHECK(strcmp((const char *)parents_view.data, "viewed") == 0);
  CHECK(pthread_create(&thread, NULL, end_in_a_thread, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  send_text("gone with its receiver");
  wait_for_killed(child(lend_and_die));
  loan = lend(10);
  OK(ipc_queue_loan(queue, 10, &parents_loan, BOUND));
  OK(ipc_queue_release_loan(queue, &loan));
  /* Through another handle, since the first is closed. */
  OK(ipc_queue_close(queue));
  OK(ipc_queue_open(NAME, NULL, &queue));
  OK(ipc_queue_release_loan(queue, &parents_loan));
  destroy();
}

static ipc_loan contended;
static pthread_barrier_t both;
static ipc_result others;

static void *send_it_as_well(void *unused) {
  ipc_loan copy = contended;
  pthread_barrier_wait(&both);
  others = ipc_queue_send_loan(queue, &copy, 10, IPC_DONT_WAIT);
  return unused;
}

/* A program that is wrong, two of whose threads send the same loan at the same time, harms nobody else: the message is sent once. */
static void sent_by_two_threads(void) {
  int round;
  create(2, 5000, 1);
  CHECK(pthread_barrier_init(&both, NULL, 2) == 0);
  for (round = 0; round < 300; round++) {
    pthread_t thread;
    ipc_loan mine;
    ipc_message_view view;
    ipc_result result;
    contended = mine = lend(10);
    CHECK(pthread_create(&thread, NULL, send_it_as_well, NULL) == 0);
    pthread_barrier_wait(&both);
    result = ipc_queue_send_loan(queue, &mine, 10, IPC_DONT_WAIT);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK((result == IPC_OK && others == IPC_ERR_NOT_OWNER) || (result == IPC_ERR_NOT_OWNER && others == IPC_OK));
    OK(ipc_queue_recv_view(queue, &view, IPC_DONT_WAIT));
    OK(ipc_queue_release_view(queue, &view));
    nothing_to_view(IPC_ERR_WOULD_BLOCK);
  }
  CHECK(pthread_barrier_destroy(&both) == 0);
  destroy();
}

int main(void) {
  start();
  once();
  bad_input();
  to_another_process();
  whose();
  sent_by_two_threads();
  return 0;
}
