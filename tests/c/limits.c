/* What runs out, or is forbidden, is an error of its own, and leaves what was there as it was. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const char *dir;

static void no_descriptor(void) {
  struct rlimit limit;
  ipc_mutex *mutex, *other;
  ipc_region *region;
  int last, fd;
  OK(ipc_mutex_create("lock", NULL, &mutex));
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  last = dup(0);
  CHECK(last >= 0);
  limit.rlim_cur = (rlim_t)last + 3;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  while ((fd = dup(0)) >= 0) {
    last = fd;
  }
  FAILS(IPC_ERR_TOO_MANY_FILES, ipc_mutex_open("lock", NULL, &other));
  CHECK(strstr(ipc_error_detail(), "ulimit -n") != NULL);
  FAILS(IPC_ERR_TOO_MANY_FILES, ipc_mutex_create("second", NULL, &other));
  FAILS(IPC_ERR_TOO_MANY_FILES, ipc_region_create_anonymous(1, &region));
  FAILS(IPC_ERR_TOO_MANY_FILES, ipc_region_from_fd(0, &region));
  /* What is open works on. */
  OK(ipc_mutex_lock(mutex, IPC_DONT_WAIT));
  OK(ipc_mutex_unlock(mutex));
  CHECK(close(last) == 0);
  OK(ipc_mutex_open("lock", NULL, &other));
  OK(ipc_mutex_close(other));
  OK(ipc_mutex_close(mutex));
}

static void file_size_limit(void) {
  struct rlimit limit;
  ipc_region *region, *second;
  ipc_queue *queue;
  size_t len;
  OK(ipc_region_create("limited", 1000, NULL, &region));
  CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  limit.rlim_cur = 20000;
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  FAILS(IPC_ERR_NO_SPACE, ipc_region_grow(region, 30000));
  OK(ipc_region_len(region, &len));
  CHECK(len == 1000);
  FAILS(IPC_ERR_NO_SPACE, ipc_region_create_anonymous(30000, &second));
  FAILS(IPC_ERR_NO_SPACE, ipc_queue_create("limited-too", NULL, NULL, &queue));
  FAILS(IPC_ERR_NOT_FOUND, ipc_unlink("limited-too", NULL));
  OK(ipc_region_close(region));
}

static void no_permission(void) {
  ipc_options options = IPC_OPTIONS_INIT;
  ipc_mutex *mutex;
  char closed[500];
  snprintf(closed, sizeof closed, "%s/closed", dir);
  CHECK(mkdir(closed, 0500) == 0);
  OK(ipc_mutex_create("lock", NULL, &mutex));
  OK(ipc_mutex_close(mutex));
  if (geteuid() == 0) {
    CHECK(chmod(dir, 0755) == 0 && chmod(closed, 0755) == 0);
    CHECK(seteuid(65534) == 0);
    FAILS(IPC_ERR_PERMISSION_DENIED, ipc_mutex_open("lock", NULL, &mutex));
    FAILS(IPC_ERR_PERMISSION_DENIED, ipc_unlink("lock", NULL));
  }
  options.dir = closed;
  FAILS(IPC_ERR_PERMISSION_DENIED, ipc_mutex_create("lock", &options, &mutex));
  CHECK(mutex == NULL);
  FAILS(IPC_ERR_PERMISSION_DENIED, ipc_mutex_open_or_create("lock", &options, &mutex));
}

/* On a tmpfs of 128 KiB: a full one is an error of the call that needs the memory, never a signal. */
static void full_file_system(void) {
  ipc_options options = IPC_OPTIONS_INIT;
  ipc_queue_options large = IPC_QUEUE_OPTIONS_INIT, unbounded = IPC_QUEUE_OPTIONS_INIT;
  ipc_region *region, *second;
  ipc_queue *queue, *receiver;
  char small[500], message[16384], buffer[16384];
  size_t sent = 0, i, len;
  ipc_result result;
  snprintf(small, sizeof small, "%s/small", dir);
  CHECK(mkdir(small, 0700) == 0);
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("rsipc-test", small, "tmpfs", 0, "size=128k") != 0) {
    fprintf(stderr, "limits: this user may not mount a small file system: only the file size limit was tested\n");
    return;
  }
  options.dir = small;
  FAILS(IPC_ERR_NO_SPACE, ipc_region_create("large", 1 << 20, &options, &region));
  FAILS(IPC_ERR_NOT_FOUND, ipc_unlink("large", &options));
  OK(ipc_region_create("fits", 4096, &options, &region));
  FAILS(IPC_ERR_NO_SPACE, ipc_region_grow(region, 1 << 20));
  OK(ipc_region_len(region, &len));
  CHECK(len == 4096);
  FAILS(IPC_ERR_NO_SPACE, ipc_region_create("more", 1 << 20, &options, &second));

  /* The queue is longer than the file system: a message takes memory when it is sent, and gives it back. */
  large.capacity = 64;
  large.max_message = sizeof message;
  OK(ipc_queue_create("mail", &large, &options, &queue));
  OK(ipc_queue_open("mail", &options, &receiver));
  memset(message, 'm', sizeof message);
  while ((result = ipc_queue_send(queue, message, sizeof message, IPC_DONT_WAIT)) == IPC_OK) {
    sent++;
  }
  FAILS(IPC_ERR_NO_SPACE, result);
  CHECK(sent > 0 && sent < 8);
  for (i = 0; i < sent; i++) {
    OK(ipc_queue_recv(receiver, buffer, sizeof buffer, &len, IPC_DONT_WAIT));
    CHECK(len == sizeof message && memcmp(buffer, message, len) == 0);
  }
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_recv(receiver, buffer, sizeof buffer, &len, IPC_DONT_WAIT));
  OK(ipc_queue_send(queue, message, sizeof message, IPC_DONT_WAIT));
  OK(ipc_queue_close(receiver));
  OK(ipc_queue_close(queue));
  OK(ipc_unlink("mail", &options));

  unbounded.capacity = IPC_UNBOUNDED;
  OK(ipc_queue_create("mail", &unbounded, &options, &queue));
  sent = 0;
  while ((result = ipc_queue_send(queue, message, 4096, IPC_DONT_WAIT)) == IPC_OK) {
    sent++;
  }
  FAILS(IPC_ERR_NO_SPACE, result);
  CHECK(sent > 0 && sent < 32);
  for (i = 0; i < sent; i++) {
    OK(ipc_queue_recv(queue, buffer, sizeof buffer, &len, IPC_DONT_WAIT));
    CHECK(len == 4096 && memcmp(buffer, message, len) == 0);
  }
  FAILS(IPC_ERR_WOULD_BLOCK, ipc_queue_recv(queue, buffer, sizeof buffer, &len, IPC_DONT_WAIT));
  OK(ipc_queue_close(queue));
  OK(ipc_region_close(region));
}

int main(void) {
  start();
  dir = getenv("RSIPC_DIR");
  CHECK(dir != NULL);
  wait_for(child(no_descriptor));
  wait_for(child(file_size_limit));
  OK(ipc_unlink("lock", NULL));
  wait_for(child(no_permission));
  wait_for(child(full_file_system));
  return 0;
}
