/* Replies to each request with the same text in capital letters. An empty one ends it. */
#include "check.h"
#include <ctype.h>

int main(void) {
  ipc_endpoint *server;
  ipc_request *request;
  char text[1000];
  size_t len, i;

  check(ipc_endpoint_open("shouter", NULL, NULL, &server));
  do {
    check(ipc_endpoint_recv(server, text, sizeof text, &len, NULL, &request, IPC_FOREVER));
    for (i = 0; i < len; i++) {
      text[i] = (char)toupper((unsigned char)text[i]);
    }
    if (request != NULL) {
      check(ipc_request_reply(request, text, len));
    }
    check(ipc_request_close(request));
  } while (len > 0);
  return ipc_endpoint_close(server);
}
