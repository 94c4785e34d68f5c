/* Calls the server with its argument, and prints the reply. */
#include "check.h"
#include <string.h>

int main(int argc, char **argv) {
  const char *text = argc > 1 ? argv[1] : "";
  ipc_endpoint *client;
  ipc_address server;
  ipc_result result;
  char reply[1000];
  size_t len;

  check(ipc_endpoint_open(NULL, NULL, NULL, &client));
  check(ipc_endpoint_find(client, "shouter", &server));
  result = ipc_endpoint_call(client, server, text, strlen(text), reply, sizeof reply, &len, IPC_FOREVER);
  if (result == IPC_ERR_PEER_GONE) {
    printf("the server is gone\n");
  } else {
    check(result);
    printf("%.*s\n", (int)len, reply);
  }
  return ipc_endpoint_close(client);
}
