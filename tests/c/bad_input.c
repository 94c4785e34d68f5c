/* Bad input of every kind is an error that says what was wrong, and nothing crashes. */
#include "check.h"
#include <fcntl.h>

#define INVALID(call) FAILS(IPC_ERR_INVALID_ARGUMENT, (call))
/* The detail of the last error says this. */
#define SAYS(text) CHECK(strstr(ipc_error_detail(), (text)) != NULL)

static ipc_region *region;
static ipc_mutex *mutex;
static ipc_semaphore *semaphore;
static ipc_queue *queue;

static void on_entry(const ipc_entry *entry, void *user) {
  (void)entry, (void)user;
}

static void nulls(void) {
  char byte;
  void *ptr = &byte;
  size_t len;
  uint32_t value;
  bool flag;
  int fd;
  ipc_lease lease;
  ipc_address address;

  OK(ipc_region_close(NULL));
  OK(ipc_mutex_close(NULL));
  OK(ipc_semaphore_close(NULL));
  OK(ipc_queue_close(NULL));

  INVALID(ipc_region_create(NULL, 1, NULL, &region));
  SAYS("name is NULL");
  INVALID(ipc_region_create("x", 1, NULL, NULL));
  SAYS("out is NULL");
  INVALID(ipc_region_open(NULL, NULL, &region));
  INVALID(ipc_region_open("x", NULL, NULL));
  INVALID(ipc_region_open_or_create("x", 1, NULL, NULL));
  INVALID(ipc_region_create_anonymous(1, NULL));
  INVALID(ipc_region_from_fd(0, NULL));
  INVALID(ipc_region_fd(NULL, &fd));
  SAYS("region is NULL");
  CHECK(fd == -1);
  INVALID(ipc_region_len(NULL, &len));
  INVALID(ipc_region_grow(NULL, 1));
  INVALID(ipc_region_map(NULL, &ptr, &len));
  CHECK(ptr == NULL && len == 0);
  INVALID(ipc_mutex_create(NULL, NULL, &mutex));
  INVALID(ipc_mutex_open(NULL, NULL, &mutex));
  INVALID(ipc_mutex_open_or_create("x", NULL, NULL));
  INVALID(ipc_mutex_create_in(NULL, 0, &mutex));
  SAYS("region is NULL");
  INVALID(ipc_mutex_open_in(NULL, 0, &mutex));
  INVALID(ipc_mutex_lock(NULL, 0));
  INVALID(ipc_mutex_unlock(NULL));
  INVALID(ipc_mutex_mark_consistent(NULL));
  INVALID(ipc_mutex_give_up(NULL));
  INVALID(ipc_mutex_is_inconsistent(NULL, &flag));
  INVALID(ipc_semaphore_create(NULL, 0, NULL, &semaphore));
  INVALID(ipc_semaphore_create_permits("x", 0, NULL, NULL));
  INVALID(ipc_semaphore_open(NULL, NULL, &semaphore));
  INVALID(ipc_semaphore_create_in(NULL, 0, 0, &semaphore));
  INVALID(ipc_semaphore_create_permits_in(NULL, 0, 0, &semaphore));
  INVALID(ipc_semaphore_open_in(NULL, 0, &semaphore));
  INVALID(ipc_semaphore_acquire(NULL, 0));
  INVALID(ipc_semaphore_release(NULL, 1));
  INVALID(ipc_semaphore_value(NULL, &value));
  INVALID(ipc_queue_size(NULL, NULL));
  INVALID(ipc_queue_create(NULL, NULL, NULL, &queue));
  INVALID(ipc_queue_open(NULL, NULL, &queue));
  INVALID(ipc_queue_open_or_create("x", NULL, NULL, NULL));
  INVALID(ipc_queue_create_in(NULL, 0, NULL, &queue));
  INVALID(ipc_queue_open_in(NULL, 0, &queue));
  INVALID(ipc_queue_create_anonymous(NULL, NULL, &fd));
  CHECK(fd == -1);
  INVALID(ipc_queue_create_anonymous(NULL, &queue, NULL));
  SAYS("fd is NULL");
  CHECK(queue == NULL);
  INVALID(ipc_queue_from_fd(0, NULL));
  INVALID(ipc_queue_send(NULL, &byte, 1, 0));
  INVALID(ipc_queue_recv(NULL, &byte, 1, &len, 0));
  INVALID(ipc_queue_len(NULL, &len));
  INVALID(ipc_queue_capacity(NULL, &len));
  INVALID(ipc_queue_max_message(NULL, &len));
  INVALID(ipc_queue_shutdown(NULL));
  INVALID(ipc_queue_is_shut_down(NULL, &flag));
  INVALID(ipc_queue_peers(NULL, NULL, 0, &len));
  INVALID(ipc_queue_will_send(NULL));
  INVALID(ipc_queue_will_recv(NULL));
  INVALID(ipc_queue_end_with_peers(NULL, true));
  memset(&lease, 0xff, sizeof lease);
  len = 1;
  INVALID(ipc_queue_lease(NULL, &byte, 1, &len, &lease, 0));
  SAYS("queue is NULL");
  CHECK(len == 0 && lease.id[0] == 0 && lease.deliveries == 0);
  INVALID(ipc_queue_lease(NULL, &byte, 1, &len, NULL, 0));
  SAYS("lease is NULL");
  INVALID(ipc_queue_lease(NULL, &byte, 1, NULL, &lease, 0));
  SAYS("len is NULL");
  INVALID(ipc_queue_finish(NULL, &lease));
  INVALID(ipc_queue_give_back(NULL, &lease));
  OK(ipc_endpoint_close(NULL));
  OK(ipc_request_close(NULL));
  memset(&address, 0, sizeof address);
  INVALID(ipc_endpoint_open(NULL, NULL, NULL, NULL));
  SAYS("out is NULL");
  INVALID(ipc_endpoint_address(NULL, &address));
  SAYS("endpoint is NULL");
  INVALID(ipc_endpoint_find(NULL, "x", &address));
  INVALID(ipc_endpoint_address_of(NULL, 1, &address));
  INVALID(ipc_endpoint_send(NULL, address, &byte, 1, 0));
  INVALID(ipc_endpoint_recv(NULL, &byte, 1, &len, &address, NULL, 0));
  INVALID(ipc_endpoint_recv(NULL, &byte, 1, NULL, &address, NULL, 0));
  SAYS("len is NULL");
  INVALID(ipc_endpoint_recv_mailbox(NULL, NULL, &byte, 1, &len, &address, NULL, 0));
  INVALID(ipc_endpoint_call(NULL, address, &byte, 1, &byte, 1, &len, 0));
  INVALID(ipc_endpoint_call_mailbox(NULL, NULL, &byte, 1, &byte, 1, &len, 0));
  INVALID(ipc_request_reply(NULL, &byte, 1));
  SAYS("request is NULL");
  INVALID(ipc_endpoint_readiness_fd(NULL, &fd));
  INVALID(ipc_queue_readiness_fd(NULL, &fd));
  INVALID(ipc_semaphore_readiness_fd(NULL, &fd));
  CHECK(fd == -1);
  INVALID(ipc_unlink(NULL, NULL));
  INVALID(ipc_list(NULL, NULL, NULL));
  SAYS("callback is NULL");
  OK(ipc_list(NULL, on_entry, NULL));
  FAILS(IPC_ERR_NOT_FOUND, ipc_unlink("x", NULL));
}

static void open_all(void) {
  OK(ipc_region_open_or_create("region", 8192, NULL, &region));
  OK(ipc_mutex_open_or_create("mutex", NULL, &mutex));
  OK(ipc_semaphore_open_or_create("semaphore", 1, NULL, &semaphore));
  OK(ipc_queue_open_or_create("queue", NULL, NULL, &queue));
}

static void handles(void) {
  ipc_lease lease;
  int i;
  size_t len;
  ipc_queue *filler;
  ipc_mutex *placed;
  open_all();
  /* Of another kind. */
  INVALID(ipc_mutex_lock((ipc_mutex *)(void *)queue, 0));
  SAYS("not the handle of a mutex");
  INVALID(ipc_queue_send((ipc_queue *)(void *)region, "x", 1, 0));
  memset(&lease, 0, sizeof lease);
  INVALID(ipc_queue_finish((ipc_queue *)(void *)region, &lease));
  INVALID(ipc_semaphore_release((ipc_semaphore *)(void *)mutex, 1));
  INVALID(ipc_region_len((ipc_region *)(void *)semaphore, &len));
  INVALID(ipc_region_close((ipc_region *)(void *)queue));
  INVALID(ipc_mutex_close((ipc_mutex *)(void *)queue));
  INVALID(ipc_semaphore_close((ipc_semaphore *)(void *)queue));
  INVALID(ipc_queue_close((ipc_queue *)(void *)mutex));
  INVALID(ipc_mutex_create_in((ipc_region *)(void *)mutex, 0, &placed));
  CHECK(placed == NULL);
  OK(ipc_mutex_lock(mutex, 0));
  OK(ipc_mutex_unlock(mutex));
  /* Closed. */
  OK(ipc_region_close(region));
  OK(ipc_mutex_close(mutex));
  OK(ipc_semaphore_close(semaphore));
  OK(ipc_queue_close(queue));
  for (i = 0; i < 50; i++) {
    OK(ipc_queue_open("queue", NULL, &filler));
    CHECK((void *)filler != (void *)region && (void *)filler != (void *)mutex && filler != queue);
    INVALID(ipc_region_len(region, &len));
    SAYS("this handle has been closed");
    INVALID(ipc_region_close(region));
    INVALID(ipc_mutex_lock(mutex, IPC_FOREVER));
    INVALID(ipc_mutex_unlock(mutex));
    INVALID(ipc_mutex_close(mutex));
    INVALID(ipc_semaphore_acquire(semaphore, IPC_FOREVER));
    INVALID(ipc_semaphore_close(semaphore));
    INVALID(ipc_queue_send(queue, "x", 1, IPC_FOREVER));
    INVALID(ipc_queue_give_back(queue, &lease));
    INVALID(ipc_queue_close(queue));
    INVALID(ipc_queue_close((ipc_queue *)(void *)mutex));
    OK(ipc_queue_close(filler));
  }
}

static void names(void) {
  char long_name[IPC_MAX_NAME + 2];
  static const char *const bad[] = {"",           ".",       "..",       ".hidden",      "a/b",         "/etc/passwd",
                                    "../escape",  "a\nb",    "tab\t",    "\x7f",         "\x01",        "\xff",
                                    "half\xc3",   "\xed\xa0\x80", "\xc0\xaf", "a\xf5z", "\xc2\x80"};
  size_t i;
  for (i = 0; i < sizeof bad / sizeof *bad; i++) {
    INVALID(ipc_region_create(bad[i], 1, NULL, &region));
    CHECK(region == NULL);
    INVALID(ipc_mutex_create(bad[i], NULL, &mutex));
    INVALID(ipc_mutex_open_or_create(bad[i], NULL, &mutex));
    INVALID(ipc_semaphore_create(bad[i], 0, NULL, &semaphore));
    INVALID(ipc_semaphore_open(bad[i], NULL, &semaphore));
    INVALID(ipc_queue_create(bad[i], NULL, NULL, &queue));
    INVALID(ipc_queue_open(bad[i], NULL, &queue));
    INVALID(ipc_unlink(bad[i], NULL));
  }
  INVALID(ipc_mutex_open("half\xc3", NULL, &mutex));
  SAYS("not UTF-8");
  INVALID(ipc_mutex_open("a/b", NULL, &mutex));
  SAYS("slash");
  memset(long_name, 'n', sizeof long_name);
  long_name[IPC_MAX_NAME + 1] = 0;
  INVALID(ipc_mutex_create(long_name, NULL, &mutex));
  SAYS("200");
  long_name[IPC_MAX_NAME] = 0;
  OK(ipc_mutex_create(long_name, NULL, &mutex));
  OK(ipc_mutex_close(mutex));
  OK(ipc_unlink(long_name, NULL));
  open_all();
  OK(ipc_region_close(region));
  OK(ipc_mutex_close(mutex));
  OK(ipc_semaphore_close(semaphore));
  OK(ipc_queue_close(queue));
  FAILS(IPC_ERR_WRONG_KIND, ipc_region_open("mutex", NULL, &region));
  SAYS("this is a mutex, not a region");
  FAILS(IPC_ERR_WRONG_KIND, ipc_mutex_open("queue", NULL, &mutex));
  FAILS(IPC_ERR_WRONG_KIND, ipc_mutex_open_or_create("queue", NULL, &mutex));
  FAILS(IPC_ERR_WRONG_KIND, ipc_semaphore_open("region", NULL, &semaphore));
  FAILS(IPC_ERR_WRONG_KIND, ipc_queue_open("semaphore", NULL, &queue));
}

static void options(void) {
  static const uint32_t bad_modes[] = {0700, 0400, 0200, 0066, 0602 | 01000, 0755, 04600, UINT32_MAX};
  struct {
    ipc_options known;
    char later[16];
  } newer;
  ipc_options given = IPC_OPTIONS_INIT;
  ipc_queue_options shape = IPC_QUEUE_OPTIONS_INIT;
  size_t i, bytes;
  for (i = 0; i < sizeof bad_modes / sizeof *bad_modes; i++) {
    given.mode = bad_modes[i];
    INVALID(ipc_mutex_create("modes", &given, &mutex));
    SAYS("mode");
  }
  given.mode = 0;
  given.dir = "";
  INVALID(ipc_mutex_create("m", &given, &mutex));
  given.dir = "/dev/null";
  CHECK(ipc_mutex_create("m", &given, &mutex) < 0);
  CHECK(mutex == NULL);
  given.dir = "/proc/there is no such directory/deeper";
  CHECK(ipc_mutex_create("m", &given, &mutex) < 0);
  FAILS(IPC_ERR_NOT_FOUND, ipc_mutex_open("m", &given, &mutex));
  given.dir = NULL;
  given.reserved = 1;
  INVALID(ipc_mutex_create("m", &given, &mutex));
  given.reserved = 0;
  given.size = 0;
  INVALID(ipc_mutex_create("m", &given, &mutex));
  SAYS("sizeof(ipc_options)");
  given.size = sizeof given - 1;
  INVALID(ipc_mutex_create("m", &given, &mutex));
  given.size = SIZE_MAX;
  INVALID(ipc_mutex_create("m", &given, &mutex));
  INVALID(ipc_list(&given, on_entry, NULL));
  INVALID(ipc_unlink("m", &given));

  /* A program of a later release may have more fields, if it does not use them. */
  memset(&newer, 0, sizeof newer);
  newer.known.size = sizeof newer;
  OK(ipc_mutex_create("m", &newer.known, &mutex));
  OK(ipc_mutex_close(mutex));
  OK(ipc_unlink("m", &newer.known));
  newer.later[15] = 1;
  FAILS(IPC_ERR_UNSUPPORTED, ipc_mutex_create("m", &newer.known, &mutex));

  /* A program of an earlier release has fewer fields; what is behind them is not looked at. */
  memset(&shape, 0xff, sizeof shape);
  shape.size = 24;
  shape.capacity = 3;
  shape.max_message = 5;
  OK(ipc_queue_create("m", &shape, NULL, &queue));
  OK(ipc_queue_capacity(queue, &bytes));
  CHECK(bytes == 3);
  OK(ipc_queue_close(queue));
  OK(ipc_unlink("m", NULL));
  memset(&shape, 0, sizeof shape);
  shape.size = 25;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  SAYS("sizeof(ipc_queue_options)");
  shape.size = 16;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  shape.size = 1;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  INVALID(ipc_queue_size(&shape, &bytes));
  shape.size = sizeof shape;
  shape.capacity = (size_t)IPC_QUEUE_MAX_CAPACITY + 1;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  INVALID(ipc_queue_open_or_create("m", &shape, NULL, &queue));
  SAYS("capacity");
  shape.capacity = SIZE_MAX - 2;
  INVALID(ipc_queue_size(&shape, &bytes));
  CHECK(bytes == 0);
  shape.capacity = IPC_UNBOUNDED;
  INVALID(ipc_queue_size(&shape, &bytes));
  SAYS("limit");
  shape.limit = SIZE_MAX;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  SAYS("limit");
  shape.limit = 1000;
  shape.capacity = IPC_RENDEZVOUS;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  SAYS("IPC_UNBOUNDED");
  shape.capacity = 1;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  shape.limit = 0;
  shape.leases = (size_t)IPC_QUEUE_MAX_LEASES + 1;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  SAYS("leases");
  shape.leases = 0;
  shape.max_message = (size_t)IPC_QUEUE_MAX_MESSAGE + 1;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  SAYS("max_message");
  shape.max_message = SIZE_MAX;
  INVALID(ipc_queue_create("m", &shape, NULL, &queue));
  INVALID(ipc_semaphore_create("m", (uint32_t)IPC_SEMAPHORE_MAX_VALUE + 1, NULL, &semaphore));
  INVALID(ipc_semaphore_create_permits("m", UINT32_MAX, NULL, &semaphore));
  INVALID(ipc_semaphore_open_or_create("m", UINT32_MAX, NULL, &semaphore));
  FAILS(IPC_ERR_NOT_FOUND, ipc_unlink("m", NULL));
}

static void timeouts(void) {
  ipc_lease lease;
  char byte;
  size_t len;
  open_all();
  INVALID(ipc_mutex_lock(mutex, -2));
  SAYS("timeout_ns");
  INVALID(ipc_mutex_lock(mutex, INT64_MIN));
  INVALID(ipc_semaphore_acquire(semaphore, -1000));
  INVALID(ipc_queue_send(queue, "x", 1, -2));
  INVALID(ipc_queue_recv(queue, &byte, 1, &len, -2));
  INVALID(ipc_queue_lease(queue, &byte, 1, &len, &lease, -2));
  OK(ipc_mutex_lock(mutex, INT64_MAX));
  OK(ipc_mutex_unlock(mutex));
  OK(ipc_semaphore_acquire(semaphore, INT64_MAX));
  OK(ipc_queue_send(queue, "x", 1, INT64_MAX));
  OK(ipc_queue_recv(queue, &byte, 1, &len, INT64_MAX));
}

static void bytes(void) {
  char byte = 0;
  ipc_lease lease;
  void *ptr;
  size_t len;
  ipc_peer peer;
  INVALID(ipc_queue_send(queue, NULL, 1, IPC_DONT_WAIT));
  SAYS("data is NULL");
  INVALID(ipc_queue_send(queue, &byte, SIZE_MAX, IPC_DONT_WAIT));
  INVALID(ipc_queue_send(queue, &byte, (size_t)PTRDIFF_MAX + 1, IPC_DONT_WAIT));
  FAILS(IPC_ERR_MESSAGE_TOO_LONG, ipc_queue_send(queue, &byte, PTRDIFF_MAX, IPC_DONT_WAIT));
  INVALID(ipc_queue_recv(queue, NULL, 1, &len, IPC_DONT_WAIT));
  INVALID(ipc_queue_recv(queue, &byte, SIZE_MAX, &len, IPC_DONT_WAIT));
  INVALID(ipc_queue_recv(queue, &byte, 1, NULL, IPC_DONT_WAIT));
  INVALID(ipc_queue_lease(queue, NULL, 1, &len, &lease, IPC_DONT_WAIT));
  INVALID(ipc_queue_lease(queue, &byte, SIZE_MAX, &len, &lease, IPC_DONT_WAIT));
  INVALID(ipc_queue_lease(queue, &byte, 1, NULL, &lease, IPC_DONT_WAIT));
  INVALID(ipc_queue_lease(queue, &byte, 1, &len, NULL, IPC_DONT_WAIT));
  INVALID(ipc_queue_finish(queue, NULL));
  SAYS("lease is NULL");
  INVALID(ipc_queue_give_back(queue, NULL));
  INVALID(ipc_queue_len(queue, NULL));
  INVALID(ipc_queue_capacity(queue, NULL));
  INVALID(ipc_queue_max_message(queue, NULL));
  INVALID(ipc_queue_is_shut_down(queue, NULL));
  INVALID(ipc_queue_peers(queue, &peer, 1, NULL));
  INVALID(ipc_queue_peers(queue, NULL, 1, &len));
  INVALID(ipc_semaphore_value(semaphore, NULL));
  INVALID(ipc_mutex_is_inconsistent(mutex, NULL));
  INVALID(ipc_region_len(region, NULL));
  INVALID(ipc_region_fd(region, NULL));
  INVALID(ipc_region_map(region, NULL, &len));
  INVALID(ipc_region_map(region, &ptr, NULL));
  OK(ipc_queue_len(queue, &len));
  CHECK(len == 0);
}

static void regions(void) {
  ipc_region *other;
  ipc_mutex *placed;
  ipc_queue *placed_queue;
  int fd;
  INVALID(ipc_region_create("none", 0, NULL, &other));
  INVALID(ipc_region_create_anonymous(0, &other));
  INVALID(ipc_region_create("huge", SIZE_MAX, NULL, &other));
  INVALID(ipc_region_create_anonymous(SIZE_MAX - 100, &other));
  FAILS(IPC_ERR_NO_SPACE, ipc_region_create("huge", (size_t)1 << 50, NULL, &other));
  CHECK(other == NULL);
  FAILS(IPC_ERR_NOT_FOUND, ipc_region_open("huge", NULL, &other));
  INVALID(ipc_region_from_fd(-1, &other));
  INVALID(ipc_region_from_fd(-2147483647 - 1, &other));
  INVALID(ipc_region_from_fd(1000000, &other));
  INVALID(ipc_queue_from_fd(-1, &placed_queue));
  INVALID(ipc_queue_from_fd(1000000, &placed_queue));
  fd = open("/dev/null", O_RDWR);
  CHECK(fd >= 0);
  FAILS(IPC_ERR_CORRUPTED, ipc_region_from_fd(fd, &other));
  FAILS(IPC_ERR_CORRUPTED, ipc_queue_from_fd(fd, &placed_queue));
  CHECK(close(fd) == 0);
  INVALID(ipc_mutex_create_in(region, 4, &placed));
  INVALID(ipc_mutex_create_in(region, 8192, &placed));
  INVALID(ipc_mutex_create_in(region, 8192 - IPC_MUTEX_SIZE + 8, &placed));
  INVALID(ipc_mutex_create_in(region, SIZE_MAX, &placed));
  INVALID(ipc_mutex_open_in(region, SIZE_MAX - 63, &placed));
  INVALID(ipc_queue_create_in(region, 0, NULL, &placed_queue));
  SAYS("does not fit");
  OK(ipc_mutex_create_in(region, 8192 - IPC_MUTEX_SIZE, &placed));
  OK(ipc_mutex_close(placed));
}

static void endpoints(void) {
  ipc_queue_options shape = IPC_QUEUE_OPTIONS_INIT;
  ipc_endpoint *endpoint;
  ipc_request *request;
  ipc_address address;
  char byte = 0;
  size_t len;
  shape.max_message = (size_t)IPC_QUEUE_MAX_MESSAGE + 1;
  INVALID(ipc_endpoint_open(NULL, &shape, NULL, &endpoint));
  CHECK(endpoint == NULL);
  INVALID(ipc_endpoint_open("a/b", NULL, NULL, &endpoint));
  INVALID(ipc_endpoint_open("", NULL, NULL, &endpoint));
  INVALID(ipc_endpoint_open("@1.2.3", NULL, NULL, &endpoint));
  FAILS(IPC_ERR_ALREADY_EXISTS, ipc_endpoint_open("mutex", NULL, NULL, &endpoint));
  CHECK(endpoint == NULL);
  OK(ipc_endpoint_open(NULL, NULL, NULL, &endpoint));
  INVALID(ipc_endpoint_find(endpoint, NULL, &address));
  INVALID(ipc_endpoint_find(endpoint, "a/b", &address));
  INVALID(ipc_endpoint_find(endpoint, "x", NULL));
  FAILS(IPC_ERR_NOT_FOUND, ipc_endpoint_find(endpoint, "x", &address));
  FAILS(IPC_ERR_WRONG_KIND, ipc_endpoint_find(endpoint, "mutex", &address));
  FAILS(IPC_ERR_NOT_FOUND, ipc_endpoint_address_of(endpoint, 0, &address));
  FAILS(IPC_ERR_NOT_FOUND, ipc_endpoint_address_of(endpoint, UINT32_MAX, &address));
  memset(&address, 0xff, sizeof address);
  FAILS(IPC_ERR_PEER_GONE, ipc_endpoint_send(endpoint, address, &byte, 1, IPC_FOREVER));
  FAILS(IPC_ERR_PEER_GONE, ipc_endpoint_call(endpoint, address, &byte, 1, &byte, 1, &len, IPC_FOREVER));
  OK(ipc_endpoint_address(endpoint, &address));
  INVALID(ipc_endpoint_send(endpoint, address, NULL, 1, IPC_DONT_WAIT));
  INVALID(ipc_endpoint_send(endpoint, address, &byte, SIZE_MAX, IPC_DONT_WAIT));
  INVALID(ipc_endpoint_send(endpoint, address, &byte, 1, -2));
  INVALID(ipc_endpoint_recv(endpoint, NULL, 1, &len, NULL, NULL, IPC_DONT_WAIT));
  INVALID(ipc_endpoint_recv(endpoint, &byte, 1, &len, NULL, &request, -2));
  CHECK(request == NULL && len == 0);
  INVALID(ipc_endpoint_recv_mailbox(endpoint, NULL, &byte, 1, &len, NULL, NULL, IPC_DONT_WAIT));
  SAYS("queue is NULL");
  INVALID(ipc_endpoint_recv_mailbox(endpoint, (ipc_queue *)(void *)mutex, &byte, 1, &len, NULL, NULL, IPC_DONT_WAIT));
  INVALID(ipc_endpoint_call(endpoint, address, NULL, 1, &byte, 1, &len, IPC_DONT_WAIT));
  INVALID(ipc_endpoint_call(endpoint, address, &byte, 1, NULL, 1, &len, IPC_DONT_WAIT));
  INVALID(ipc_endpoint_call(endpoint, address, &byte, 1, &byte, 1, NULL, IPC_DONT_WAIT));
  INVALID(ipc_endpoint_call(endpoint, address, &byte, 1, &byte, 1, &len, -2));
  INVALID(ipc_endpoint_call_mailbox(endpoint, NULL, &byte, 1, &byte, 1, &len, IPC_DONT_WAIT));
  INVALID(ipc_request_reply((ipc_request *)(void *)endpoint, &byte, 1));
  SAYS("not the handle of a request");
  INVALID(ipc_endpoint_close((ipc_endpoint *)(void *)queue));
  SAYS("not the handle of an endpoint");
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_endpoint_recv(endpoint, &byte, 1, &len, NULL, NULL, IPC_DONT_WAIT));
  OK(ipc_endpoint_close(endpoint));
  INVALID(ipc_endpoint_send(endpoint, address, &byte, 1, IPC_DONT_WAIT));
  SAYS("closed");
  INVALID(ipc_endpoint_close(endpoint));
}

/* Files in the namespace that are not objects. */
static void strange_files(void) {
  const char *dir = getenv("RSIPC_DIR");
  char path[500], other[600];
  int fd;
  CHECK(dir != NULL);
  snprintf(path, sizeof path, "%s/strange", dir);
  fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
  CHECK(fd >= 0);
  FAILS(IPC_ERR_CORRUPTED, ipc_mutex_open("strange", NULL, &mutex));
  CHECK(write(fd, "this is no object, but a longer text than its header", 50) == 50);
  FAILS(IPC_ERR_CORRUPTED, ipc_region_open("strange", NULL, &region));
  FAILS(IPC_ERR_CORRUPTED, ipc_mutex_open("strange", NULL, &mutex));
  FAILS(IPC_ERR_CORRUPTED, ipc_semaphore_open("strange", NULL, &semaphore));
  FAILS(IPC_ERR_CORRUPTED, ipc_queue_open("strange", NULL, &queue));
  FAILS(IPC_ERR_ALREADY_EXISTS, ipc_queue_create("strange", NULL, NULL, &queue));
  FAILS(IPC_ERR_CORRUPTED, ipc_region_from_fd(fd, &region));
  CHECK(close(fd) == 0);
  snprintf(other, sizeof other, "%s/link", dir);
  CHECK(symlink(path, other) == 0);
  FAILS(IPC_ERR_CORRUPTED, ipc_mutex_open("link", NULL, &mutex));
}

static void texts(void) {
  int number;
  for (number = -26; number <= 1; number++) {
    CHECK(strcmp(ipc_strerror(number), "unknown result") != 0);
  }
  CHECK(strcmp(ipc_strerror(IPC_ERR_PANIC), "unknown result") != 0);
  CHECK(strcmp(ipc_strerror(2), "unknown result") == 0);
  CHECK(strcmp(ipc_strerror(-27), "unknown result") == 0);
  CHECK(strcmp(ipc_strerror(INT32_MIN), "unknown result") == 0);
}

static void *detail_of_this_thread(void *unused) {
  CHECK(ipc_error_detail()[0] == 0);
  INVALID(ipc_queue_shutdown(NULL));
  SAYS("queue is NULL");
  return unused;
}

static void details(void) {
  pthread_t thread;
  const char *detail;
  INVALID(ipc_mutex_unlock(NULL));
  detail = ipc_error_detail();
  CHECK(pthread_create(&thread, NULL, detail_of_this_thread, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  /* Neither another thread's failure nor a success changes it. */
  OK(ipc_list(NULL, on_entry, NULL));
  CHECK(ipc_error_detail() == detail && strcmp(detail, "mutex is NULL") == 0);
}

int main(void) {
  start();
  CHECK(ipc_error_detail()[0] == 0);
  nulls();
  handles();
  names();
  options();
  timeouts();
  bytes();
  regions();
  endpoints();
  OK(ipc_region_close(region));
  OK(ipc_mutex_close(mutex));
  OK(ipc_semaphore_close(semaphore));
  OK(ipc_queue_close(queue));
  strange_files();
  texts();
  details();
  return 0;
}
