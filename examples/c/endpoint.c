/* Calls to a process's own address: requests, and their replies. */
#include <ctype.h>
#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void check(ipc_result result, const char *doing) {
  if (result != IPC_OK) {
    fprintf(stderr, "%s: %s\n", doing, result < 0 ? ipc_error_detail() : ipc_strerror(result));
    exit(1);
  }
}

static void serve(void) {
  ipc_endpoint *server;
  ipc_request *request;
  ipc_address from;
  char text[100];
  size_t len, i;
  check(ipc_endpoint_open("example-shouter", NULL, NULL, &server), "opening an endpoint");
  do {
    check(ipc_endpoint_recv(server, text, sizeof text, &len, &from, &request, IPC_FOREVER), "receiving");
    for (i = 0; i < len; i++) {
      text[i] = (char)toupper((unsigned char)text[i]);
    }
    if (request == NULL) {
      /* It waits for no reply, but says where it came from. */
      check(ipc_endpoint_send(server, from, text, len, IPC_FOREVER), "sending");
    } else if (len > 0) {
      check(ipc_request_reply(request, text, len), "replying");
    }
    /* Who waits for a reply that was not given is told so. */
    check(ipc_request_close(request), "closing the request");
  } while (len > 0);
  check(ipc_endpoint_close(server), "closing the endpoint");
}

int main(void) {
  ipc_endpoint *client;
  ipc_address server;
  ipc_result result;
  char text[100];
  size_t len;
  pid_t pid = fork();
  if (pid == 0) {
    serve();
    _exit(0);
  }
  check(ipc_endpoint_open(NULL, NULL, NULL, &client), "opening an endpoint");
  while ((result = ipc_endpoint_find(client, "example-shouter", &server)) == IPC_ERR_NOT_FOUND) {
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL); /* It has not started yet. */
  }
  check(result, "looking for the server");

  check(ipc_endpoint_call(client, server, "hello", 5, text, sizeof text, &len, IPC_FOREVER), "calling");
  printf("the server replied: %.*s\n", (int)len, text);
  check(ipc_endpoint_send(client, server, "one way", 7, IPC_FOREVER), "sending");
  check(ipc_endpoint_recv(client, text, sizeof text, &len, NULL, NULL, IPC_FOREVER), "receiving");
  printf("the server sent: %.*s\n", (int)len, text);

  result = ipc_endpoint_call(client, server, NULL, 0, text, sizeof text, &len, IPC_FOREVER);
  printf("a request that it drops: %s\n", ipc_strerror(result));
  waitpid(pid, NULL, 0);
  result = ipc_endpoint_call(client, server, "hello?", 6, text, sizeof text, &len, IPC_FOREVER);
  printf("when it is gone: %s\n", ipc_strerror(result));
  check(ipc_endpoint_close(client), "closing the endpoint");
  return result == IPC_ERR_PEER_GONE ? 0 : 1;
}
