/* Many messages in one call: as if each were sent and received by itself. */
#include "check.h"

enum { MAX = 300, MESSAGES = 2000, BATCH = 40 };

static ipc_queue *queue;

static size_t length_of(uint32_t number) {
  return sizeof number + number % 60;
}

static void send_numbered(void) {
  static unsigned char bytes[BATCH][MAX];
  ipc_bytes messages[BATCH];
  uint32_t number = 0;
  size_t i, sent;
  while (number < MESSAGES) {
    for (i = 0; i < BATCH; i++, number++) {
      memset(bytes[i], (int)(number & 0xff), MAX);
      memcpy(bytes[i], &number, sizeof number);
      messages[i].data = bytes[i];
      messages[i].len = length_of(number);
    }
    OK(ipc_queue_send_many(queue, messages, BATCH, &sent, BOUND));
    CHECK(sent == BATCH);
  }
}

static void from_child_to_parent(void) {
  unsigned char buffer[BATCH * MAX];
  size_t lens[BATCH], count, i, at, byte;
  uint32_t number = 0, got;
  pid_t sender = child(send_numbered);
  while (number < MESSAGES) {
    /* Sometimes the buffer has no room for as many. */
    OK(ipc_queue_recv_many(queue, buffer, number % 3 ? sizeof buffer : 500, lens, BATCH, &count, BOUND));
    CHECK(count >= 1 && count <= BATCH);
    for (i = 0, at = 0; i < count; at += lens[i], i++, number++) {
      CHECK(lens[i] == length_of(number));
      memcpy(&got, buffer + at, sizeof got);
      CHECK(got == number);
      for (byte = sizeof got; byte < lens[i]; byte++) {
        CHECK(buffer[at + byte] == (number & 0xff));
      }
    }
  }
  CHECK(number == MESSAGES);
  wait_for(sender);
}

static void waiting(void) {
  ipc_bytes messages[6];
  char buffer[100];
  size_t lens[6], count, sent, i;
  for (i = 0; i < 6; i++) {
    messages[i].data = "abcdef";
    messages[i].len = i;
  }
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_recv_many(queue, buffer, sizeof buffer, lens, 6, &count, IPC_DONT_WAIT));
  CHECK(count == 0);
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_recv_many(queue, buffer, sizeof buffer, lens, 6, &count, SHORT));
  OK(ipc_queue_send_many(queue, messages, 6, &sent, IPC_DONT_WAIT));
  CHECK(sent == 4);
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_send_many(queue, messages + 4, 2, &sent, IPC_DONT_WAIT));
  CHECK(sent == 0);
  FAILS(IPC_ERR_TIMED_OUT, ipc_queue_send_many(queue, messages + 4, 2, &sent, SHORT));
  OK(ipc_queue_recv_many(queue, buffer, sizeof buffer, lens, 2, &count, IPC_FOREVER));
  CHECK(count == 2 && lens[0] == 0 && lens[1] == 1 && buffer[0] == 'a');
  OK(ipc_queue_send_many(queue, messages + 4, 2, &sent, IPC_FOREVER));
  CHECK(sent == 2);
  OK(ipc_queue_recv_many(queue, buffer, sizeof buffer, lens, 6, &count, IPC_FOREVER));
  CHECK(count == 4 && lens[0] == 2 && lens[1] == 3 && lens[2] == 4 && lens[3] == 5);
  CHECK(memcmp(buffer, "ababcabcdabcde", 14) == 0);
}

static void what_has_no_room_stays(void) {
  const ipc_bytes messages[] = {{"123", 3}, {"45", 2}, {"6789", 4}};
  char buffer[100];
  size_t lens[3], count, sent;
  OK(ipc_queue_send_many(queue, messages, 3, &sent, IPC_DONT_WAIT));
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_queue_recv_many(queue, buffer, 2, lens, 3, &count, IPC_DONT_WAIT));
  CHECK(count == 0 && lens[0] == 3);
  FAILS(IPC_ERR_BUFFER_TOO_SMALL, ipc_queue_recv_many(queue, NULL, 0, lens, 3, &count, IPC_DONT_WAIT));
  CHECK(count == 0 && lens[0] == 3);
  OK(ipc_queue_recv_many(queue, buffer, 8, lens, 3, &count, IPC_DONT_WAIT));
  CHECK(count == 2 && lens[0] == 3 && lens[1] == 2 && memcmp(buffer, "12345", 5) == 0);
  OK(ipc_queue_recv_many(queue, buffer, 4, lens, 3, &count, IPC_DONT_WAIT));
  CHECK(count == 1 && lens[0] == 4 && memcmp(buffer, "6789", 4) == 0);
}

static void bad_input(void) {
  ipc_bytes messages[2] = {{"a", 1}, {NULL, 0}};
  char byte, long_one[MAX + 1] = {0};
  size_t lens[1], count, sent = 7, len;
  OK(ipc_queue_send_many(queue, NULL, 0, &sent, IPC_DONT_WAIT));
  CHECK(sent == 0);
  OK(ipc_queue_send_many(queue, messages, 2, &sent, IPC_DONT_WAIT));
  CHECK(sent == 2);
  messages[1].len = 1;
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_many(queue, messages, 2, &sent, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_many(queue, NULL, 1, &sent, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_many(queue, messages, SIZE_MAX / 4, &sent, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_many(queue, messages, 1, NULL, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_many(NULL, messages, 1, &sent, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_send_many(queue, messages, 1, &sent, -7));
  messages[1].data = long_one;
  messages[1].len = sizeof long_one;
  FAILS(IPC_ERR_MESSAGE_TOO_LONG, ipc_queue_send_many(queue, messages, 2, &sent, IPC_DONT_WAIT));
  CHECK(sent == 0 && strstr(ipc_error_detail(), "number 1") != NULL);
  OK(ipc_queue_len(queue, &len));
  CHECK(len == 2);
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_recv_many(queue, &byte, 1, lens, 0, &count, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_recv_many(queue, &byte, 1, NULL, 1, &count, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_recv_many(queue, NULL, 1, lens, 1, &count, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_recv_many(queue, &byte, 1, lens, 1, NULL, IPC_DONT_WAIT));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_queue_recv_many(NULL, &byte, 1, lens, 1, &count, IPC_DONT_WAIT));
  OK(ipc_queue_recv_many(queue, &byte, 1, lens, 1, &count, IPC_DONT_WAIT));
  CHECK(count == 1 && lens[0] == 1 && byte == 'a');
  OK(ipc_queue_recv_many(queue, NULL, 0, lens, 1, &count, IPC_DONT_WAIT));
  CHECK(count == 1 && lens[0] == 0);
}

static void shut_down(void) {
  const ipc_bytes messages[] = {{"a", 1}, {"b", 1}};
  char buffer[10];
  size_t lens[10], count, sent;
  OK(ipc_queue_send_many(queue, messages, 2, &sent, IPC_DONT_WAIT));
  OK(ipc_queue_shutdown(queue));
  FAILS(IPC_ERR_CLOSED, ipc_queue_send_many(queue, messages, 2, &sent, IPC_FOREVER));
  OK(ipc_queue_recv_many(queue, buffer, sizeof buffer, lens, 10, &count, IPC_FOREVER));
  CHECK(count == 2 && memcmp(buffer, "ab", 2) == 0);
  FAILS(IPC_ERR_CLOSED, ipc_queue_recv_many(queue, buffer, sizeof buffer, lens, 10, &count, IPC_FOREVER));
}

int main(void) {
  ipc_queue_options how = IPC_QUEUE_OPTIONS_INIT;
  size_t kind;
  const size_t capacities[] = {4, IPC_UNBOUNDED, IPC_RENDEZVOUS};
  start();
  how.max_message = MAX;
  for (kind = 0; kind < 3; kind++) {
    how.capacity = capacities[kind];
    how.limit = kind == 1 ? 4 << 20 : 0;
    OK(ipc_queue_create("q", &how, NULL, &queue));
    from_child_to_parent();
    if (kind == 0) {
      waiting();
    }
    if (kind < 2) {
      what_has_no_room_stays();
      bad_input();
      shut_down();
    }
    OK(ipc_queue_close(queue));
    OK(ipc_unlink("q", NULL));
  }
  return 0;
}
