/* Sends and receives 64 bytes so many times in one process, and prints how many nanoseconds that took: call DIRECTORY PAIRS. */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEN = 64 };

static void check(ipc_result result)
{
    if (result != IPC_OK) {
        fprintf(stderr, "%s: %s\n", ipc_strerror(result), ipc_error_detail());
        exit(1);
    }
}

static void pairs(ipc_queue *queue, uint64_t count)
{
    unsigned char buffer[LEN];
    size_t len = 0;
    memset(buffer, 7, sizeof buffer);
    for (uint64_t i = 0; i < count; i++) {
        check(ipc_queue_send(queue, buffer, sizeof buffer, IPC_FOREVER));
        check(ipc_queue_recv(queue, buffer, sizeof buffer, &len, IPC_FOREVER));
    }
}

int main(int argc, char **argv)
{
    ipc_options options = IPC_OPTIONS_INIT;
    ipc_queue *queue = NULL;
    struct timespec start, end;
    if (argc != 3) {
        fprintf(stderr, "usage: call DIRECTORY PAIRS\n");
        return 2;
    }
    options.dir = argv[1];
    check(ipc_queue_open("queue", &options, &queue));
    pairs(queue, 1);
    clock_gettime(CLOCK_MONOTONIC, &start);
    pairs(queue, strtoull(argv[2], NULL, 10));
    clock_gettime(CLOCK_MONOTONIC, &end);
    ipc_queue_close(queue);
    printf("%" PRId64 "\n", (int64_t)(end.tv_sec - start.tv_sec) * 1000000000 + (end.tv_nsec - start.tv_nsec));
    return 0;
}
