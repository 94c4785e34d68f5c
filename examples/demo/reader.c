/* The reader of the demo: sends each line of the files into the queue. See README.md beside this file.
 *
 * Usage: reader PASSES FILE...  (reads all the files PASSES times)
 */
#define _POSIX_C_SOURCE 200809L
#include <ipc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int32_t result, const char *doing)
{
	if (result < 0) {
		fprintf(stderr, "reader: %s: %s\n", doing, ipc_error_detail());
		exit(1);
	}
}

static void send_lines(ipc_queue *lines, const char *path, uint32_t *number)
{
	unsigned char message[1024];
	char text[sizeof message - 4];
	FILE *file = fopen(path, "r");
	if (!file) {
		perror(path);
		exit(1);
	}
	while (fgets(text, sizeof text, file)) {
		size_t len = strcspn(text, "\n");
		++*number;
		for (int byte = 0; byte < 4; byte++)
			message[byte] = (unsigned char)(*number >> (8 * byte));
		memcpy(message + 4, text, len);
		check(ipc_queue_send(lines, message, 4 + len, IPC_FOREVER), "sending a line");
	}
	fclose(file);
}

int main(int argc, char **argv)
{
	ipc_queue *lines;
	uint32_t number = 0;
	if (argc < 3) {
		fprintf(stderr, "usage: reader PASSES FILE...\n");
		return 2;
	}
	check(ipc_queue_open("lines", NULL, &lines), "opening the queue");
	for (int pass = atoi(argv[1]); pass > 0; pass--)
		for (int file = 2; file < argc; file++)
			send_lines(lines, argv[file], &number);
	/* The workers get what is left, and then "closed". */
	check(ipc_queue_shutdown(lines), "shutting the queue down");
	check(ipc_queue_close(lines), "closing the queue");
	return 0;
}
