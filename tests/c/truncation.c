/* Files that are cut short while they are used: an error, for programs that ask for it. */
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

static void cut(const char *name) {
  char path[300];
  int fd;
  CHECK(snprintf(path, sizeof path, "%s/%s", getenv("RSIPC_DIR"), name) < (int)sizeof path);
  fd = open(path, O_WRONLY);
  CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && close(fd) == 0);
}

static void cut_says_corrupted(ipc_result result) {
  CHECK(result == IPC_ERR_CORRUPTED);
  CHECK(strstr(ipc_error_detail(), "cut short") != NULL);
}

/* A thread's waiting does not last. */
static ipc_queue *waited_for;

static void *wait_for_message(void *unused) {
  char message[8];
  size_t len;
  cut_says_corrupted(ipc_queue_recv(waited_for, message, sizeof message, &len, IPC_FOREVER));
  return unused;
}

static void every_object(void) {
  ipc_region *region;
  ipc_mutex *mutex;
  ipc_semaphore *semaphore;
  ipc_queue *queue, *other;
  ipc_queue_options small = IPC_QUEUE_OPTIONS_INIT;
  pthread_t thread;
  void *bytes;
  char *last;
  size_t len;
  char message[8];
  small.capacity = 4;
  small.max_message = 8;
  OK(ipc_catch_truncation());
  OK(ipc_catch_truncation());
  OK(ipc_region_create("region", 10000, NULL, &region));
  OK(ipc_region_map(region, &bytes, &len));
  OK(ipc_mutex_create("mutex", NULL, &mutex));
  OK(ipc_semaphore_create("semaphore", 1, NULL, &semaphore));
  OK(ipc_queue_create("queue", &small, NULL, &queue));
  OK(ipc_queue_create("waited for", &small, NULL, &waited_for));
  OK(ipc_queue_create("other", &small, NULL, &other));
  OK(ipc_mutex_lock(mutex, BOUND));
  CHECK(pthread_create(&thread, NULL, wait_for_message, NULL) == 0);
  pause_ms(100);
  cut("region");
  cut("mutex");
  cut("semaphore");
  cut("queue");
  cut("waited for");
  CHECK(pthread_join(thread, NULL) == 0);

  last = (char *)bytes + 9999;
  *last = 'x';
  CHECK(*last == 'x' && *(char *)bytes == 0);
  cut_says_corrupted(ipc_region_map(region, &bytes, &len));
  cut_says_corrupted(ipc_mutex_unlock(mutex));
  cut_says_corrupted(ipc_mutex_lock(mutex, BOUND));
  cut_says_corrupted(ipc_semaphore_acquire(semaphore, BOUND));
  cut_says_corrupted(ipc_semaphore_release(semaphore, 1));
  cut_says_corrupted(ipc_queue_send(queue, "x", 1, BOUND));
  cut_says_corrupted(ipc_queue_recv(queue, message, sizeof message, &len, BOUND));
  cut_says_corrupted(ipc_queue_len(queue, &len));
  OK(ipc_queue_send(other, "x", 1, BOUND));
  OK(ipc_queue_recv(other, message, sizeof message, &len, BOUND));
  OK(ipc_region_close(region));
  OK(ipc_mutex_close(mutex));
  OK(ipc_semaphore_close(semaphore));
  OK(ipc_queue_close(queue));
  OK(ipc_queue_close(waited_for));
  OK(ipc_queue_close(other));
}

static void without_it(void) {
  ipc_semaphore *semaphore;
  OK(ipc_semaphore_create("without", 1, NULL, &semaphore));
  cut("without");
  OK(ipc_semaphore_acquire(semaphore, BOUND));
}

/* The program's own file, and its own handler. */
static volatile sig_atomic_t handled;
static void *page;

static void handler(int number) {
  handled = number;
  mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, open("/dev/zero", O_RDONLY), 0);
}

static void own_handler(void) {
  FILE *file = tmpfile();
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  CHECK(sigaction(SIGBUS, &action, NULL) == 0);
  OK(ipc_catch_truncation());
  CHECK(file != NULL);
  page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
  CHECK(page != MAP_FAILED);
  CHECK(*(volatile char *)page == 0 && handled == SIGBUS);
}

int main(void) {
  int status;
  pid_t pid;
  start();
  wait_for(child(every_object));
  wait_for(child(own_handler));
  pid = child(without_it);
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
  return 0;
}
