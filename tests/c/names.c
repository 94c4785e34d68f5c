/* Names: namespaces, permission bits, lists, unlinking; and the release. */
#include "check.h"
#include <sys/stat.h>

static char listed[400];

static void add_to_list(const ipc_entry *entry, void *user) {
  CHECK(user == (void *)listed);
  CHECK(entry->size > 0 && entry->memory > 0);
  snprintf(listed + strlen(listed), sizeof listed - strlen(listed), "%s:%u ", entry->name, (unsigned)entry->kind);
}

static void check_list(const ipc_options *options, const char *expected) {
  listed[0] = 0;
  OK(ipc_list(options, add_to_list, listed));
  if (strcmp(listed, expected) != 0) {
    fprintf(stderr, "listed: %s\n", listed);
    exit(1);
  }
}

static unsigned mode_of(const char *dir, const char *name) {
  char path[600];
  struct stat status;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  CHECK(stat(path, &status) == 0);
  return (unsigned)status.st_mode & 0777;
}

int main(void) {
  ipc_options options = IPC_OPTIONS_INIT;
  ipc_region *region, *other;
  ipc_mutex *mutex;
  ipc_semaphore *signals, *permits;
  ipc_queue *queue;
  void *bytes, *other_bytes;
  size_t len;
  const char *dir = getenv("RSIPC_DIR");
  char deeper[500];
  start();
  CHECK(dir != NULL);

  check_list(NULL, "");
  OK(ipc_region_create("r", 1, NULL, &region));
  OK(ipc_mutex_create("m\xc3\xbctze", NULL, &mutex));
  OK(ipc_semaphore_create("s", 1, NULL, &signals));
  OK(ipc_semaphore_create_permits("p", 1, NULL, &permits));
  OK(ipc_queue_create("q", NULL, NULL, &queue));
  check_list(NULL, "m\xc3\xbctze:2 p:3 q:4 r:1 s:3 ");
  CHECK(mode_of(dir, "r") == 0600);

  /* Another namespace is another world; it is made when something is created in it. */
  snprintf(deeper, sizeof deeper, "%s/deeper", dir);
  options.dir = deeper;
  check_list(&options, "");
  FAILS(IPC_ERR_NOT_FOUND, ipc_region_open("r", &options, &other));
  FAILS(IPC_ERR_NOT_FOUND, ipc_unlink("r", &options));
  options.mode = 0660;
  umask(0077);
  OK(ipc_region_create("r", 10, &options, &other));
  CHECK(mode_of(deeper, "r") == 0660);
  OK(ipc_region_len(other, &len));
  CHECK(len == 10);
  OK(ipc_region_close(other));
  check_list(&options, "r:1 ");
  OK(ipc_unlink("r", &options));
  check_list(&options, "");
  CHECK(rmdir(deeper) == 0);

  /* Who has an object open keeps it; its name may go to another one. */
  OK(ipc_region_map(region, &bytes, &len));
  *(char *)bytes = '1';
  OK(ipc_unlink("r", NULL));
  FAILS(IPC_ERR_NOT_FOUND, ipc_unlink("r", NULL));
  CHECK(strstr(ipc_error_detail(), "\"r\"") != NULL);
  OK(ipc_region_create("r", 1, NULL, &other));
  OK(ipc_region_map(other, &other_bytes, &len));
  CHECK(*(char *)other_bytes == 0);
  CHECK(*(char *)bytes == '1');

  OK(ipc_region_close(region));
  OK(ipc_region_close(other));
  OK(ipc_mutex_close(mutex));
  OK(ipc_semaphore_close(signals));
  OK(ipc_semaphore_close(permits));
  OK(ipc_queue_close(queue));

  CHECK(strcmp(ipc_version(), IPC_VERSION) == 0);
  CHECK(ipc_version_number() == IPC_VERSION_NUMBER);
  CHECK(IPC_VERSION_NUMBER == IPC_VERSION_MAJOR * 1000000 + IPC_VERSION_MINOR * 1000 + IPC_VERSION_PATCH);
  return 0;
}
