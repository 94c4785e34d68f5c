/* Waiting for whichever of several things comes first. */
#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(ipc_result result, const char *doing) {
  if (result != IPC_OK) {
    fprintf(stderr, "%s: %s\n", doing, result < 0 ? ipc_error_detail() : ipc_strerror(result));
    exit(1);
  }
}

static ipc_queue *letters, *parcels;
static ipc_semaphore *done;

/* A handle may be used in a child of fork. */
static void write_them(void) {
  static char parcel[100000];
  int i;
  for (i = 0; i < 3; i++) {
    check(ipc_queue_send(letters, "hello", 5, IPC_FOREVER), "sending a letter");
    check(ipc_queue_send(parcels, parcel, sizeof parcel, IPC_FOREVER), "sending a parcel");
  }
  check(ipc_semaphore_release(done, 1), "saying that it was all");
}

int main(void) {
  static char buffer[100000];
  ipc_queue_options large = IPC_QUEUE_OPTIONS_INIT;
  ipc_waitable items[3];
  size_t len, letters_came = 0, parcels_came = 0;

  large.max_message = sizeof buffer;
  check(ipc_queue_create("example-letters", NULL, NULL, &letters), "creating a queue");
  check(ipc_queue_create("example-parcels", &large, NULL, &parcels), "creating a queue");
  check(ipc_semaphore_create("example-done", 0, NULL, &done), "creating a semaphore");
  if (fork() == 0) {
    write_them();
    _exit(0);
  }

  items[0].handle = letters;
  items[0].events = IPC_WAIT_RECV;
  items[1].handle = parcels;
  items[1].events = IPC_WAIT_RECV;
  items[2].handle = done;
  items[2].events = IPC_WAIT_ACQUIRE;
  for (;;) {
    check(ipc_wait(items, 3, IPC_FOREVER), "waiting");
    if (items[0].ready) {
      check(ipc_queue_recv(letters, buffer, sizeof buffer, &len, IPC_DONT_WAIT), "receiving a letter");
      printf("a letter of %u bytes\n", (unsigned)len);
      letters_came++;
    }
    if (items[1].ready) {
      check(ipc_queue_recv(parcels, buffer, sizeof buffer, &len, IPC_DONT_WAIT), "receiving a parcel");
      printf("a parcel of %u bytes\n", (unsigned)len);
      parcels_came++;
    }
    /* What was sent before is received first. */
    if (items[2].ready && !items[0].ready && !items[1].ready) {
      break;
    }
  }
  wait(NULL);

  check(ipc_semaphore_close(done), "closing the semaphore");
  check(ipc_queue_close(parcels), "closing a queue");
  check(ipc_queue_close(letters), "closing a queue");
  check(ipc_unlink("example-done", NULL), "unlinking the semaphore");
  check(ipc_unlink("example-parcels", NULL), "unlinking a queue");
  check(ipc_unlink("example-letters", NULL), "unlinking a queue");
  return letters_came == 3 && parcels_came == 3 ? 0 : 1;
}
