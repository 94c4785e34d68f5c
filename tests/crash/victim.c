/*
 * The stepper's victims in C. For each line that this program reads it forks a victim, and says its process id. The victim reads a line
 * itself, gets ready, stops at a breakpoint, and does one operation; the stepper kills it there. A line is:
 *
 *     BOARD OPERATION DIRECTORY NAME RESULTS NUMBER...
 *
 * BOARD is a file of two 64-bit numbers: the victim is ready, it is done. RESULTS is another one for what the operation gave, or "-".
 */

#include <ipc.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHORT 1000000 /* ns */
#define LONG 5000000000

static volatile uint64_t *board, *results;
static ipc_options space = IPC_OPTIONS_INIT;
static const char *name;
static long long number[5];

/* A call must give this. */
static void must(int32_t result, int32_t expected, int line) {
    if (result != expected) {
        fprintf(stderr, "victim.c:%d: %s: %s\n", line, ipc_strerror(result), ipc_error_detail());
        exit(1);
    }
}
#define MUST(call) must((call), IPC_OK, __LINE__)
#define GIVES(expected, call) must((call), (expected), __LINE__)

static void say(int what, uint64_t value) {
    if (results)
        results[what] = value;
}
enum { OVER = 0, GOT = 1 };

/* The operation begins: the stepper has control from here on. */
static void begin(void) {
    board[0] = 1;
    __asm__ volatile("int3");
}

/* It is over. */
static void end(void) {
    board[1] = 1;
    for (;;)
        pause();
}

static uint8_t buffer[10000], bytes[10000];

static void fill(uint64_t which, size_t len) {
    memcpy(bytes, &which, 8);
    for (size_t i = 8; i < len; i++)
        bytes[i] = (uint8_t)((which * 31 + i) ^ (which >> 8));
}

static uint64_t got(void) {
    uint64_t which;
    memcpy(&which, buffer, 8);
    return which;
}

static ipc_queue *queue(void) {
    ipc_queue *handle;
    size_t len;
    MUST(ipc_queue_open(name, &space, &handle));
    /* It has sent, received and waited before. Numbers: how many are sent so, whether one more is tried, and how long they are. */
    GIVES(IPC_ERR_TIMED_OUT, ipc_queue_recv(handle, buffer, sizeof buffer, &len, SHORT));
    fill(9000000, (size_t)number[2]);
    for (int i = 0; i < number[0]; i++)
        MUST(ipc_queue_send(handle, bytes, (size_t)number[2], IPC_FOREVER));
    if (number[1])
        GIVES(IPC_ERR_TIMED_OUT, ipc_queue_send(handle, bytes, (size_t)number[2], SHORT));
    for (int i = 0; i < number[0]; i++)
        MUST(ipc_queue_recv(handle, buffer, sizeof buffer, &len, IPC_FOREVER));
    if (number[0]) {
        /* Nobody waits: this makes the words say so. */
        MUST(ipc_queue_send(handle, bytes, (size_t)number[2], IPC_FOREVER));
        MUST(ipc_queue_recv(handle, buffer, sizeof buffer, &len, IPC_FOREVER));
    }
    fill((uint64_t)number[3], (size_t)number[4]);
    return handle;
}

static void send(void) {
    ipc_queue *handle = queue();
    begin();
    MUST(ipc_queue_send(handle, bytes, (size_t)number[4], IPC_FOREVER));
    say(OVER, 1);
}

static void try_send(void) {
    ipc_queue *handle = queue();
    begin();
    MUST(ipc_queue_send(handle, bytes, (size_t)number[4], IPC_DONT_WAIT));
    say(OVER, 1);
}

static void withdraw(void) {
    ipc_queue *handle = queue();
    begin();
    GIVES(IPC_ERR_TIMED_OUT, ipc_queue_send(handle, bytes, (size_t)number[4], 300000));
}

static void recv(void) {
    ipc_queue *handle = queue();
    size_t len;
    begin();
    MUST(ipc_queue_recv(handle, buffer, sizeof buffer, &len, IPC_FOREVER));
    say(GOT, got());
    say(OVER, 1);
}

/* Numbers 3 and 4: that of the first, and how long they are. */
enum { MANY = 3 };

static void send_many(void) {
    static uint8_t many[MANY][200];
    ipc_bytes messages[MANY];
    ipc_queue *handle = queue();
    size_t sent;
    for (int i = 0; i < MANY; i++) {
        fill((uint64_t)(number[3] + i), (size_t)number[4]);
        memcpy(many[i], bytes, (size_t)number[4]);
        messages[i] = (ipc_bytes){many[i], (size_t)number[4]};
    }
    begin();
    MUST(ipc_queue_send_many(handle, messages, MANY, &sent, IPC_FOREVER));
    if (sent != MANY)
        exit(1);
    say(OVER, 1);
}

static void recv_many(void) {
    ipc_queue *handle = queue();
    size_t lens[MANY], count;
    begin();
    MUST(ipc_queue_recv_many(handle, buffer, sizeof buffer, lens, MANY, &count, IPC_FOREVER));
    say(GOT, count);
    say(OVER, 1);
}

static void shutdown(void) {
    ipc_queue *handle = queue();
    begin();
    MUST(ipc_queue_shutdown(handle));
}

static void join(void) {
    ipc_queue *handle = queue();
    begin();
    MUST(ipc_queue_open(name, &space, &handle));
    MUST(ipc_queue_send(handle, bytes, (size_t)number[4], IPC_FOREVER));
    MUST(ipc_queue_close(handle));
}

static void close_queue(void) {
    ipc_queue *handle = queue();
    begin();
    MUST(ipc_queue_close(handle));
}

static ipc_lease leased(ipc_queue *handle) {
    ipc_lease lease;
    size_t len;
    GIVES(IPC_ERR_TIMED_OUT, ipc_queue_lease(handle, buffer, sizeof buffer, &len, &lease, SHORT));
    return lease;
}

static void lease(void) {
    ipc_queue *handle = queue();
    ipc_lease lease = leased(handle);
    size_t len;
    begin();
    MUST(ipc_queue_lease(handle, buffer, sizeof buffer, &len, &lease, IPC_FOREVER));
    say(OVER, 1);
}

/* Message 1, which another process sends. */
static ipc_lease of_first(ipc_queue *handle) {
    ipc_lease lease = leased(handle);
    size_t len;
    pid_t sender = fork();
    if (sender == 0) {
        fill(1, (size_t)number[2]);
        MUST(ipc_queue_send(handle, bytes, (size_t)number[2], LONG));
        _exit(0);
    }
    MUST(ipc_queue_lease(handle, buffer, sizeof buffer, &len, &lease, LONG));
    waitpid(sender, NULL, 0);
    return lease;
}

static void finish(void) {
    ipc_queue *handle = queue();
    ipc_lease lease = of_first(handle);
    begin();
    MUST(ipc_queue_finish(handle, &lease));
    say(GOT, 1);
}

static void give_back(void) {
    ipc_queue *handle = queue();
    ipc_lease lease = of_first(handle);
    begin();
    MUST(ipc_queue_give_back(handle, &lease));
}

/* It has lent and received in place before. */
static ipc_queue *queue_in_place(void) {
    ipc_queue *handle = queue();
    ipc_loan loan;
    ipc_message_view view;
    if (ipc_queue_loan(handle, (size_t)number[2], &loan, IPC_FOREVER) == IPC_OK)
        MUST(ipc_queue_release_loan(handle, &loan));
    GIVES(IPC_ERR_TIMED_OUT, ipc_queue_recv_view(handle, &view, SHORT));
    return handle;
}

static void send_loan(void) {
    ipc_queue *handle = queue_in_place();
    ipc_loan loan;
    begin();
    MUST(ipc_queue_loan(handle, (size_t)number[4], &loan, IPC_FOREVER));
    memcpy(loan.data, bytes, loan.len);
    MUST(ipc_queue_send_loan(handle, &loan, loan.len, IPC_FOREVER));
    say(OVER, 1);
}

static void drop_loan(void) {
    ipc_queue *handle = queue_in_place();
    ipc_loan loan;
    MUST(ipc_queue_loan(handle, (size_t)number[2], &loan, IPC_FOREVER));
    begin();
    MUST(ipc_queue_release_loan(handle, &loan));
}

static void view(void) {
    ipc_queue *handle = queue_in_place();
    ipc_message_view view;
    begin();
    MUST(ipc_queue_recv_view(handle, &view, IPC_FOREVER));
    memcpy(buffer, view.data, 8);
    say(GOT, got());
    MUST(ipc_queue_release_view(handle, &view));
    say(OVER, 1);
}

static ipc_mutex *mutex(void) {
    ipc_mutex *handle;
    MUST(ipc_mutex_open(name, &space, &handle));
    return handle;
}

/* Changes what the mutex guards. */
static void change(void) {
    results[0]++;
    results[1]++;
}

static void lock(void) {
    ipc_mutex *handle = mutex();
    begin();
    MUST(ipc_mutex_lock(handle, IPC_FOREVER));
}

static void lock_woken(void) {
    ipc_mutex *handle = mutex();
    GIVES(IPC_ERR_TIMED_OUT, ipc_mutex_lock(handle, SHORT));
    begin();
    MUST(ipc_mutex_lock(handle, IPC_FOREVER));
}

static void lock_both(void) {
    ipc_mutex *handle = mutex();
    begin();
    MUST(ipc_mutex_lock(handle, IPC_FOREVER));
    change();
    MUST(ipc_mutex_unlock(handle));
}

static ipc_mutex *locked(void) {
    ipc_mutex *handle = mutex();
    MUST(ipc_mutex_lock(handle, IPC_FOREVER));
    change();
    return handle;
}

static void unlock(void) {
    ipc_mutex *handle = locked();
    begin();
    MUST(ipc_mutex_unlock(handle));
}

static void give_up(void) {
    ipc_mutex *handle = locked();
    begin();
    MUST(ipc_mutex_give_up(handle));
    MUST(ipc_mutex_unlock(handle));
}

static ipc_semaphore *semaphore(void) {
    ipc_semaphore *handle;
    MUST(ipc_semaphore_open(name, &space, &handle));
    /* Numbers: how many are acquired and released first; whether one more is tried then, or instead; how many are acquired to keep. */
    for (int i = 0; i < number[0]; i++)
        MUST(ipc_semaphore_acquire(handle, IPC_FOREVER));
    if (number[1])
        GIVES(IPC_ERR_TIMED_OUT, ipc_semaphore_acquire(handle, SHORT));
    if (number[0])
        MUST(ipc_semaphore_release(handle, (uint32_t)number[0]));
    for (int i = 0; i < number[2]; i++)
        MUST(ipc_semaphore_acquire(handle, IPC_FOREVER));
    return handle;
}

static void acquire(void) {
    ipc_semaphore *handle = semaphore();
    begin();
    MUST(ipc_semaphore_acquire(handle, IPC_FOREVER));
}

/* Numbers 3 and 4: how many, and how many milliseconds later. */
static void release(void) {
    ipc_semaphore *handle = semaphore();
    begin();
    usleep((useconds_t)number[4] * 1000);
    MUST(ipc_semaphore_release(handle, (uint32_t)number[3]));
}

static void close_semaphore(void) {
    ipc_semaphore *handle = semaphore();
    begin();
    MUST(ipc_semaphore_close(handle));
}

static ipc_endpoint *endpoint(void) {
    ipc_endpoint *mine;
    ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
    options.capacity = 3;
    options.max_message = 200;
    options.leases = 4;
    MUST(ipc_endpoint_open("victim", &options, &space, &mine));
    return mine;
}

static void endpoint_open(void) {
    begin();
    endpoint();
}

static void endpoint_close(void) {
    ipc_endpoint *mine = endpoint();
    begin();
    MUST(ipc_endpoint_close(mine));
}

static ipc_queue *mailbox(void) {
    ipc_queue *handle;
    MUST(ipc_queue_open("mailbox", &space, &handle));
    return handle;
}

static void endpoint_serve(void) {
    ipc_endpoint *mine = endpoint();
    ipc_address from;
    ipc_request *request;
    size_t len;
    begin();
    MUST(ipc_endpoint_recv(mine, buffer, sizeof buffer, &len, &from, &request, IPC_FOREVER));
    MUST(ipc_request_reply(request, "reply", 5));
}

static void endpoint_serve_mailbox(void) {
    ipc_endpoint *mine = endpoint();
    ipc_queue *box = mailbox();
    ipc_address from;
    ipc_request *request;
    size_t len;
    begin();
    MUST(ipc_endpoint_recv_mailbox(mine, box, buffer, sizeof buffer, &len, &from, &request, IPC_FOREVER));
    MUST(ipc_request_reply(request, "reply", 5));
}

static void endpoint_send(void) {
    ipc_endpoint *mine = endpoint();
    ipc_address to;
    begin();
    MUST(ipc_endpoint_find(mine, "sleeper", &to));
    MUST(ipc_endpoint_send(mine, to, "message", 7, IPC_FOREVER));
}

static void endpoint_call(void) {
    ipc_endpoint *mine = endpoint();
    ipc_address to;
    size_t len;
    begin();
    MUST(ipc_endpoint_find(mine, "sleeper", &to));
    MUST(ipc_endpoint_call(mine, to, "message", 7, buffer, sizeof buffer, &len, IPC_FOREVER));
    if (len != 5 || memcmp(buffer, "reply", 5) != 0)
        exit(1);
}

static void create_queue(void) {
    ipc_queue *handle;
    ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
    options.capacity = 3;
    options.max_message = 200;
    options.leases = 4;
    begin();
    MUST(ipc_queue_create("new", &options, &space, &handle));
    MUST(ipc_queue_close(handle));
}

static void open_queue(void) {
    ipc_queue *handle;
    begin();
    MUST(ipc_queue_open("old", &space, &handle));
    MUST(ipc_queue_close(handle));
}

static void create_mutex(void) {
    ipc_mutex *handle;
    begin();
    MUST(ipc_mutex_create("bare", &space, &handle));
    MUST(ipc_mutex_close(handle));
}

static void open_mutex(void) {
    ipc_mutex *handle;
    begin();
    MUST(ipc_mutex_open(name, &space, &handle));
    MUST(ipc_mutex_close(handle));
}

static void close_mutex(void) {
    ipc_mutex *handle = mutex();
    MUST(ipc_mutex_lock(handle, IPC_FOREVER));
    MUST(ipc_mutex_unlock(handle));
    begin();
    MUST(ipc_mutex_close(handle));
}

static void create_units(void) {
    ipc_semaphore *handle;
    begin();
    MUST(ipc_semaphore_create("u", 2, &space, &handle));
    MUST(ipc_semaphore_close(handle));
}

static void create_permits(void) {
    ipc_semaphore *handle;
    begin();
    MUST(ipc_semaphore_create_permits("p", 1, &space, &handle));
    MUST(ipc_semaphore_close(handle));
}

static void open_semaphore(void) {
    ipc_semaphore *handle;
    begin();
    MUST(ipc_semaphore_open(name, &space, &handle));
    MUST(ipc_semaphore_close(handle));
}

static void create_region(void) {
    ipc_region *handle;
    begin();
    MUST(ipc_region_create("new-region", 1 << 16, &space, &handle));
    MUST(ipc_region_close(handle));
}

static void open_region(void) {
    ipc_region *handle;
    begin();
    MUST(ipc_region_open("region", &space, &handle));
    MUST(ipc_region_close(handle));
}

static void close_region(void) {
    ipc_region *handle;
    MUST(ipc_region_open(name, &space, &handle));
    begin();
    MUST(ipc_region_close(handle));
}

static void create_in_region(void) {
    ipc_region *handle;
    ipc_queue *queue;
    ipc_queue_options options = IPC_QUEUE_OPTIONS_INIT;
    options.capacity = 3;
    options.max_message = 200;
    options.leases = IPC_NO_LEASES;
    begin();
    MUST(ipc_region_open("region", &space, &handle));
    MUST(ipc_queue_create_in(handle, 0, &options, &queue));
    MUST(ipc_queue_close(queue));
    MUST(ipc_region_close(handle));
}

static void grow_region(void) {
    ipc_region *handle;
    begin();
    MUST(ipc_region_open("region", &space, &handle));
    MUST(ipc_region_grow(handle, 1 << 20));
    MUST(ipc_region_close(handle));
}

static void unlink_name(void) {
    begin();
    MUST(ipc_unlink(name, &space));
}

/* Waits until a queue has a message or room, a semaphore a unit or permit, or the endpoint a message; takes the queue's if number 0 says so. */
static void wait_for(void) {
    ipc_queue *jobs, *full;
    ipc_semaphore *units, *permits;
    size_t len;
    MUST(ipc_queue_open("jobs", &space, &jobs));
    MUST(ipc_queue_open("full", &space, &full));
    MUST(ipc_semaphore_open("units", &space, &units));
    MUST(ipc_semaphore_open("permits", &space, &permits));
    ipc_waitable items[] = {
        {jobs, IPC_WAIT_RECV, 0}, {full, IPC_WAIT_SEND, 0}, {units, IPC_WAIT_ACQUIRE, 0}, {permits, IPC_WAIT_ACQUIRE, 0},
        {endpoint(), IPC_WAIT_RECV, 0}};
    GIVES(IPC_ERR_TIMED_OUT, ipc_queue_recv(jobs, buffer, sizeof buffer, &len, SHORT));
    GIVES(IPC_ERR_TIMED_OUT, ipc_wait(items, 5, SHORT));
    begin();
    for (;;) {
        MUST(ipc_wait(items, 5, IPC_FOREVER));
        if (!number[0])
            break;
        int32_t result = ipc_queue_recv(jobs, buffer, sizeof buffer, &len, IPC_DONT_WAIT);
        if (result != IPC_ERR_WOULD_BLOCK) {
            MUST(result);
            break;
        }
    }
}

static const struct {
    const char *name;
    void (*act)(void);
} OPERATIONS[] = {
    {"send", send},
    {"try_send", try_send},
    {"withdraw", withdraw},
    {"recv", recv},
    {"long_recv", recv},
    {"send_many", send_many},
    {"recv_many", recv_many},
    {"shutdown", shutdown},
    {"join", join},
    {"close_queue", close_queue},
    {"lease", lease},
    {"finish", finish},
    {"give_back", give_back},
    {"send_loan", send_loan},
    {"drop_loan", drop_loan},
    {"view", view},
    {"lock", lock},
    {"lock_woken", lock_woken},
    {"lock_both", lock_both},
    {"unlock", unlock},
    {"give_up", give_up},
    {"acquire", acquire},
    {"long_acquire", acquire},
    {"release", release},
    {"close_semaphore", close_semaphore},
    {"endpoint_open", endpoint_open},
    {"endpoint_close", endpoint_close},
    {"endpoint_serve", endpoint_serve},
    {"endpoint_serve_mailbox", endpoint_serve_mailbox},
    {"endpoint_send", endpoint_send},
    {"endpoint_call", endpoint_call},
    {"create_queue", create_queue},
    {"open_queue", open_queue},
    {"create_mutex", create_mutex},
    {"open_mutex", open_mutex},
    {"close_mutex", close_mutex},
    {"create_units", create_units},
    {"create_permits", create_permits},
    {"create_in_region", create_in_region},
    {"close_region", close_region},
    {"open_semaphore", open_semaphore},
    {"create_region", create_region},
    {"open_region", open_region},
    {"grow_region", grow_region},
    {"unlink", unlink_name},
    {"wait", wait_for},
    {"long_wait", wait_for},
};

static volatile uint64_t *map(const char *path) {
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || at == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(file);
    return at;
}

/* A line, read byte by byte: the next one is for another process. */
static bool read_line(char *line, size_t room) {
    size_t len = 0;
    while (len < room - 1 && read(0, line + len, 1) == 1) {
        if (line[len] == '\n') {
            line[len] = 0;
            return true;
        }
        len++;
    }
    return false;
}

/* What a process finds out about itself in its first call is thousands of instructions. */
static void first_call(void) {
    ipc_region *region;
    ipc_mutex *own;
    MUST(ipc_region_create_anonymous(4096, &region));
    MUST(ipc_mutex_create_in(region, 0, &own));
    MUST(ipc_mutex_lock(own, IPC_FOREVER));
    MUST(ipc_mutex_unlock(own));
    MUST(ipc_mutex_close(own));
    MUST(ipc_region_close(region));
}

static void victim(char *line) {
    char go[8], path[2][64], operation[64], dir[256], named[64];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!read_line(go, sizeof go))
        exit(1);
    int parts = sscanf(line, "%63s %63s %255s %63s %63s %lld %lld %lld %lld %lld", path[0], operation, dir, named, path[1],
                       &number[0], &number[1], &number[2], &number[3], &number[4]);
    if (parts < 5) {
        fprintf(stderr, "not a command: %s\n", line);
        exit(1);
    }
    board = map(path[0]);
    results = strcmp(path[1], "-") == 0 ? NULL : map(path[1]);
    space.dir = dir;
    name = named;
    first_call();
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++)
        if (strcmp(operation, OPERATIONS[i].name) == 0) {
            OPERATIONS[i].act();
            end();
        }
    fprintf(stderr, "no such operation: %s\n", operation);
    exit(1);
}

int main(void) {
    char line[512];
    while (read_line(line, sizeof line)) {
        pid_t child = fork();
        if (child == 0)
            victim(line);
        printf("%d\n", (int)child);
        fflush(stdout);
        waitpid(child, NULL, 0);
        puts("over");
        fflush(stdout);
    }
    return 0;
}
