/* Regions: their bytes are shared, they grow, and they are found by name or by descriptor. */
#include "check.h"

static void read_and_write(void) {
  ipc_region *region;
  void *bytes;
  size_t len;
  OK(ipc_region_open("table", NULL, &region));
  OK(ipc_region_map(region, &bytes, &len));
  CHECK(len == 10000);
  CHECK(strcmp((char *)bytes + 5000, "from the parent") == 0);
  strcpy((char *)bytes, "from the child");
  OK(ipc_region_grow(region, 20000));
  OK(ipc_region_map(region, &bytes, &len));
  CHECK(len == 20000);
  ((char *)bytes)[19999] = 'z';
  OK(ipc_region_close(region));
}

static void named(void) {
  ipc_region *region, *again;
  void *bytes, *longer;
  size_t len, i;
  OK(ipc_region_create("table", 10000, NULL, &region));
  FAILS(IPC_ERR_ALREADY_EXISTS, ipc_region_create("table", 10000, NULL, &again));
  CHECK(again == NULL);
  OK(ipc_region_open_or_create("table", 77, NULL, &again));
  OK(ipc_region_len(again, &len));
  CHECK(len == 10000);
  OK(ipc_region_close(again));

  OK(ipc_region_map(region, &bytes, &len));
  CHECK(len == 10000 && (uintptr_t)bytes % 4096 == 0);
  for (i = 0; i < len; i++) {
    CHECK(((char *)bytes)[i] == 0);
  }
  strcpy((char *)bytes + 5000, "from the parent");
  wait_for(child(read_and_write));
  CHECK(strcmp((char *)bytes, "from the child") == 0);

  OK(ipc_region_len(region, &len));
  CHECK(len == 20000);
  OK(ipc_region_map(region, &longer, &len));
  CHECK(len == 20000 && ((char *)longer)[19999] == 'z');
  /* The first pointer is still good, and shows the same memory. */
  ((char *)longer)[1] = 'R';
  CHECK(strcmp((char *)bytes, "fRom the child") == 0);
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_region_grow(region, 19999));
  OK(ipc_region_grow(region, 20000));
  FAILS(IPC_ERR_NO_SPACE, ipc_region_grow(region, (size_t)1 << 50));
  OK(ipc_region_len(region, &len));
  CHECK(len == 20000);
  OK(ipc_region_close(region));
  OK(ipc_unlink("table", NULL));
  FAILS(IPC_ERR_NOT_FOUND, ipc_region_open("table", NULL, &region));
  OK(ipc_region_open_or_create("table", 77, NULL, &region));
  OK(ipc_region_len(region, &len));
  CHECK(len == 77);
  OK(ipc_region_close(region));
  OK(ipc_unlink("table", NULL));
}

static ipc_region *anonymous;

static void use_inherited(void) {
  ipc_region *region;
  void *bytes;
  size_t len;
  int fd;
  OK(ipc_region_fd(anonymous, &fd));
  OK(ipc_region_from_fd(fd, &region));
  OK(ipc_region_map(region, &bytes, &len));
  CHECK(len == 100);
  ((char *)bytes)[99] = 'x';
  OK(ipc_region_close(region));
  /* The inherited handle works as well. */
  OK(ipc_region_map(anonymous, &bytes, &len));
  CHECK(((char *)bytes)[99] == 'x');
}

static void without_name(void) {
  void *bytes;
  size_t len;
  ipc_region *second;
  int fd, own;
  OK(ipc_region_create_anonymous(100, &anonymous));
  OK(ipc_region_map(anonymous, &bytes, &len));
  CHECK(len == 100 && ((char *)bytes)[99] == 0);
  wait_for(child(use_inherited));
  CHECK(((char *)bytes)[99] == 'x');
  /* The descriptor that is given stays the caller's. */
  OK(ipc_region_fd(anonymous, &fd));
  own = dup(fd);
  CHECK(own >= 0);
  OK(ipc_region_from_fd(own, &second));
  CHECK(close(own) == 0);
  OK(ipc_region_grow(second, 5000));
  OK(ipc_region_close(second));
  OK(ipc_region_map(anonymous, &bytes, &len));
  CHECK(len == 5000);
  OK(ipc_region_close(anonymous));
}

/* Objects in a region outlive its handle. */
static void placed(void) {
  ipc_region *region;
  ipc_mutex *mutex, *again;
  ipc_semaphore *signals, *permits;
  ipc_queue *queue;
  ipc_queue_options small = IPC_QUEUE_OPTIONS_INIT;
  size_t bytes, len, queue_at = 3 * 4096;
  uint32_t value;
  char message[8];
  small.capacity = 4;
  small.max_message = 8;
  OK(ipc_queue_size(&small, &bytes));
  OK(ipc_region_create_anonymous(queue_at + bytes, &region));
  FAILS(IPC_ERR_NOT_FOUND, ipc_mutex_open_in(region, 0, &mutex));
  OK(ipc_mutex_create_in(region, 0, &mutex));
  OK(ipc_semaphore_create_in(region, IPC_SEMAPHORE_ALIGN, 3, &signals));
  OK(ipc_semaphore_create_permits_in(region, 4096, 2, &permits));
  OK(ipc_queue_create_in(region, queue_at, &small, &queue));
  FAILS(IPC_ERR_ALREADY_EXISTS, ipc_mutex_create_in(region, 0, &again));
  FAILS(IPC_ERR_WRONG_KIND, ipc_mutex_open_in(region, queue_at, &again));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_mutex_create_in(region, 8 * 128 + 4, &again));
  FAILS(IPC_ERR_INVALID_ARGUMENT, ipc_mutex_create_in(region, SIZE_MAX - 7, &again));
  OK(ipc_semaphore_close(permits));
  OK(ipc_semaphore_open_in(region, 4096, &permits));
  OK(ipc_region_close(region));

  OK(ipc_mutex_lock(mutex, BOUND));
  OK(ipc_mutex_unlock(mutex));
  OK(ipc_semaphore_value(signals, &value));
  CHECK(value == 3);
  OK(ipc_semaphore_acquire(permits, IPC_DONT_WAIT));
  OK(ipc_semaphore_value(permits, &value));
  CHECK(value == 1);
  OK(ipc_queue_send(queue, "message", 8, IPC_DONT_WAIT));
  OK(ipc_queue_recv(queue, message, sizeof message, &len, IPC_DONT_WAIT));
  CHECK(len == 8 && strcmp(message, "message") == 0);
  OK(ipc_mutex_close(mutex));
  OK(ipc_semaphore_close(signals));
  OK(ipc_semaphore_close(permits));
  OK(ipc_queue_close(queue));
}

int main(void) {
  start();
  named();
  without_name();
  placed();
  return 0;
}
