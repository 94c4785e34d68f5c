/*
 * rsipc: shared memory, robust locks and message queues between processes that survive the death of any of
 * them.
 *
 *     #include <ipc.h>
 *
 *     cc program.c $(pkg-config --cflags --libs rsipc)  (shared library)
 *     cc program.c librsipc.a -lpthread -ldl -lm        (static library)
 *
 * C99 or later, or C++. Linux 5.14 and later on 64-bit little-endian machines, with glibc. The same
 * objects are used from Rust (the crate rsipc) and Python (import rsipc).
 *
 * OBJECTS AND HANDLES
 *
 * There are four kinds of objects: regions, mutexes, semaphores and queues. An object lives in shared memory.
 * It is found by its name in a namespace, or it is placed in a region at an offset of the user's choice. A
 * process works with it through a handle, which a create or open function puts into *out (NULL if the call
 * fails). The handle is the caller's, who gives it back with the close function of its kind; closing leaves
 * the object as it is for everybody else. ipc_unlink takes an object's name away. The end of a process closes
 * its handles.
 *
 * An endpoint is a process's own address, to which others send; it lasts as long as its handle. ipc_wait waits
 * for several objects at once.
 *
 * Handles may be used by all threads of the process at the same time, and in a child of fork. Closing a
 * handle while another thread is inside a call on it, or using it after it was closed, is a mistake of the
 * caller. Where it can be told, a call on a closed handle returns IPC_ERR_INVALID_ARGUMENT (the last 64
 * handles that were closed are remembered); that is a help in finding mistakes, and not to be relied on. A
 * handle that was converted from one kind to another gives the same error.
 *
 * Named mutexes, queues and signalling semaphores can be opened by processes of several pid namespaces (containers that
 * share a directory); deaths are noticed within 100 ms then, and each process starts a thread. Permits, endpoints and
 * objects inside a region belong to the pid namespace that they were created in: opening one in another namespace
 * gives IPC_ERR_UNSUPPORTED, as does any call in a child that was forked into another one.
 *
 * All other pointers are borrowed for the length of the call, and stay the caller's. Strings end in a zero
 * byte.
 *
 * RESULTS
 *
 * Functions return an ipc_result: IPC_OK (0), or a negative IPC_ERR_ number and nothing was done.
 * (ipc_mutex_lock has a second success.) Where a function lists its errors, IPC_ERR_INVALID_ARGUMENT for a
 * NULL, an impossible timeout or a handle that is not one, and IPC_ERR_REENTRANT, are among them without
 * being named each time. errno says nothing: calls may change it, and need not.
 *
 * WHEN A PROCESS DIES
 *
 * A process may be killed at any machine instruction, and everyone else carries on: nothing hangs, no message
 * whose send returned IPC_OK is lost, none is torn, none comes twice. What a dead process held comes back:
 * its locks (the next owner is told, by IPC_OWNER_DIED), its permits, its places in a queue, the messages that
 * it had on lease, its address.
 *
 * SIGNALS
 *
 * A call from a signal handler that interrupted another call of the same thread (of this library, or of the C
 * library's robust mutexes) never waits for that one: it returns IPC_ERR_REENTRANT, with nothing done, or it
 * is served, where the other one had not begun its work, or had done it. So no handler closes a handle that
 * what it interrupted is about to use. Nothing more is promised of calls from handlers: they may use the heap,
 * which waits for itself where the handler interrupted malloc. ipc_catch_truncation is not for handlers.
 *
 * A thread that is cancelled (pthread_cancel) inside a call ends after it, and the call does what it was
 * called for: no call is a cancellation point. Asynchronous cancellation must be off.
 *
 * RELEASES
 *
 * This interface only grows: a program that was compiled with one release's header works with the next
 * release's library. New fields are added at the end of structures, new functions get new names.
 */

#ifndef RSIPC_IPC_H
#define RSIPC_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The release that this header is of. ipc_version and ipc_version_number tell that of the library. */
#define IPC_VERSION "0.1.0"
#define IPC_VERSION_MAJOR 0
#define IPC_VERSION_MINOR 1
#define IPC_VERSION_PATCH 0
#define IPC_VERSION_NUMBER (1000000 * IPC_VERSION_MAJOR + 1000 * IPC_VERSION_MINOR + IPC_VERSION_PATCH)

/* The initial values of an ipc_options and of an ipc_queue_options: all defaults; and of an ipc_counters. */
#define IPC_OPTIONS_INIT { sizeof(ipc_options), NULL, 0, 0 }
#define IPC_QUEUE_OPTIONS_INIT { sizeof(ipc_queue_options), 0, 0, 0, 0 }
#define IPC_COUNTERS_INIT { sizeof(ipc_counters), 0, 0, 0, 0, 0, 0, 0, 0 }

/* As a queue's capacity: no room at all, each message passes from its sender to a receiver that takes it. */
#define IPC_RENDEZVOUS (SIZE_MAX - 1)
/* As a queue's capacity: room for as many messages as there is memory for. */
#define IPC_UNBOUNDED SIZE_MAX
/* As a queue's leases: none. */
#define IPC_NO_LEASES SIZE_MAX

/* Marks functions whose result is not to be ignored. */
#if defined(__GNUC__)
#define IPC_MUST_USE __attribute__((warn_unused_result))
#else
#define IPC_MUST_USE
#endif

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 * ======== RESULTS ========
 *
 * Every function that can fail returns an ipc_result: 0 for success, a negative number for an error.
 */

/**
 * What a call returns. The numbers never change; later releases may add some.
 */
enum ipc_result
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Success.
   */
  IPC_OK = 0,
  /**
   * Success, of ipc_mutex_lock only: the caller holds the mutex, and a previous owner died holding it.
   */
  IPC_OWNER_DIED = 1,
  /**
   * An argument is out of its range, NULL, or a handle that is closed or of another kind. Nothing was
   * done.
   */
  IPC_ERR_INVALID_ARGUMENT = -1,
  /**
   * No object of that name exists in the namespace, or none at that offset of the region.
   */
  IPC_ERR_NOT_FOUND = -2,
  /**
   * An object of that name exists already, or one is at that offset of the region.
   */
  IPC_ERR_ALREADY_EXISTS = -3,
  /**
   * The operating system forbids it to this user, or the namespace's directory is not this user's own.
   */
  IPC_ERR_PERMISSION_DENIED = -4,
  /**
   * The object is of another kind than the one that was opened.
   */
  IPC_ERR_WRONG_KIND = -5,
  /**
   * The object was made by a release of rsipc that lays its memory out in another way.
   */
  IPC_ERR_WRONG_VERSION = -6,
  /**
   * What is in the shared memory cannot have been written by rsipc: the file is not an object, was cut
   * short, or a process wrote over it. Nothing was read from it or written to it outside its bounds.
   */
  IPC_ERR_CORRUPTED = -7,
  /**
   * A call with IPC_DONT_WAIT would have had to wait: the mutex is held, no unit is free, the queue is
   * full or empty, or nobody is there to meet.
   */
  IPC_ERR_WOULD_BLOCK = -8,
  /**
   * The time that the call was given has passed. Nothing was done.
   */
  IPC_ERR_TIMED_OUT = -9,
  /**
   * The queue was shut down: nothing more can be sent, and what was sent before has been received.
   */
  IPC_ERR_CLOSED = -10,
  /**
   * The message is longer than the queue takes. Nothing was sent.
   */
  IPC_ERR_MESSAGE_TOO_LONG = -11,
  /**
   * The caller's buffer is shorter than the next message. The message is still in the queue.
   */
  IPC_ERR_BUFFER_TOO_SMALL = -12,
  /**
   * The mutex was given up by an owner who could not repair what it guards.
   */
  IPC_ERR_NOT_RECOVERABLE = -13,
  /**
   * The calling thread holds this mutex already, and would wait for itself.
   */
  IPC_ERR_DEADLOCK = -14,
  /**
   * The calling thread does not hold the mutex (through this handle), or the process holds fewer permits
   * than it gives back, or does not have the message on lease, or was forked from the process that the
   * endpoint or request belongs to.
   */
  IPC_ERR_NOT_OWNER = -15,
  /**
   * A signal handler ran during the wait. Nothing was done; call again to wait on.
   */
  IPC_ERR_INTERRUPTED = -16,
  /**
   * The file system or a resource limit has no room for it. What was there before is untouched.
   */
  IPC_ERR_NO_SPACE = -17,
  /**
   * The process may not map more memory.
   */
  IPC_ERR_NO_MEMORY = -18,
  /**
   * The process or the system has no file descriptor left.
   */
  IPC_ERR_TOO_MANY_FILES = -19,
  /**
   * One of rsipc's own limits is reached; ipc_error_detail names it.
   */
  IPC_ERR_LIMIT_REACHED = -20,
  /**
   * The call came from a signal handler that interrupted another call of this thread. Nothing was done.
   */
  IPC_ERR_REENTRANT = -21,
  /**
   * The system, or this release of the library, lacks something that the call needs.
   */
  IPC_ERR_UNSUPPORTED = -22,
  /**
   * Any other error of the operating system; ipc_error_detail names it.
   */
  IPC_ERR_OS = -23,
  /**
   * The process that the address belongs to is gone, or has closed the endpoint, or there never was such
   * an address.
   */
  IPC_ERR_PEER_GONE = -24,
  /**
   * The receiver of the request dropped it without a reply.
   */
  IPC_ERR_NO_REPLY = -25,
  /**
   * A wait that was to end with the queue's peers: no sender, or no receiver, is left.
   */
  IPC_ERR_DISCONNECTED = -26,
  /**
   * A bug in the library was caught before it could do harm to the caller. Please report it, with
   * ipc_error_detail.
   */
  IPC_ERR_PANIC = -99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ipc_result ipc_result;
#else
typedef int32_t ipc_result;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What `result` means, in a few words. The text is static. Any thread, any time, also in signal handlers.
 *
 * For a number that this release does not know the text says so.
 */
const char *ipc_strerror(int32_t result);

/**
 * What was wrong in this thread's last call that failed, and what would be right: a sentence for logs,
 * with names and numbers.
 *
 * Valid until this thread's next call that fails, or until the thread ends; never NULL; empty if no call
 * has failed yet. Successful calls leave it alone, and so does IPC_ERR_REENTRANT.
 */
const char *ipc_error_detail(void);

/**
 * Lets this process survive that the file of an object is cut short while it has it open.
 *
 * Touching memory of a file that another process has truncated raises SIGBUS, which ends a process. From
 * this call on, where that happens inside an object of this library, also to the program's own access to
 * the bytes of a region, the rest of that object's memory is replaced with zeros that only this process
 * sees, and the access goes on. Calls on the object and on all that is placed in it return
 * IPC_ERR_CORRUPTED from then on, as does the one that met it; those that wait notice within 100 ms. Close
 * such an object, and open or create it anew. The same goes where the file system is full and another
 * process has taken memory away that the object had, or said in an object that there is memory where there
 * is none.
 *
 * It installs a handler for SIGBUS in the whole process. Every other SIGBUS goes to the handler that was
 * there before, or does what SIGBUS does by default. So call it once, early, from any thread, but after
 * others that handle SIGBUS have installed theirs: one that is installed later replaces it. Further calls
 * do nothing. Children of fork inherit it, programs started by exec do not.
 *
 * What it cannot help: system calls that are given such memory fail with EFAULT; a thread that has blocked
 * SIGBUS is ended by the kernel; and of a thread that dies while it holds a mutex whose memory is gone,
 * neither that mutex nor those that it locked before are given to the next owner.
 *
 * Errors of the system.
 */
ipc_result ipc_catch_truncation(void);

/**
 * The release of the library that is running, such as "0.1.0". IPC_VERSION is that of the header. The text
 * is static.
 */
const char *ipc_version(void);

/**
 * The release of the library that is running, as a number: 1000000 * major + 1000 * minor + patch.
 * IPC_VERSION_NUMBER is that of the header.
 */
uint32_t ipc_version_number(void);

/*
 * ======== WAITING ========
 *
 * A call that can wait takes a `timeout_ns`: how long it may wait, in nanoseconds on the monotonic clock,
 * or one of the two constants below; any other negative number is IPC_ERR_INVALID_ARGUMENT. A short spin
 * comes first, then a sleep that costs no processor time.
 *
 * Where it would have to wait and may not, a call returns IPC_ERR_WOULD_BLOCK; when the time has passed,
 * IPC_ERR_TIMED_OUT. A signal whose handler was installed without SA_RESTART (before Linux 6.7: any signal
 * with a handler) ends a wait with IPC_ERR_INTERRUPTED. In all three cases nothing was done.
 */

/**
 * As `timeout_ns`: wait for ever.
 */
#define IPC_FOREVER -1

/**
 * As `timeout_ns`: do not wait.
 */
#define IPC_DONT_WAIT 0

/*
 * ======== NAMES ========
 *
 * A name is 1 to 200 bytes of UTF-8, without slashes and control characters, and does not begin with a
 * dot. It is one in a namespace, a directory on a tmpfs with a file for each object. The default namespace
 * is the directory that the environment variable RSIPC_DIR names, or else /dev/shm/rsipc-UID, which is
 * made on first use and is private to the user: nobody else can open, list, squat on or replace what is in
 * it. Containers, groups of users and tests choose another.
 *
 * An object is created whole: nobody ever opens one that is half made, and a process that dies while it
 * creates one leaves nothing.
 */

/**
 * The longest name, in bytes, without the zero byte at its end.
 */
#define IPC_MAX_NAME 200

/**
 * What an object is.
 */
enum ipc_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * An ipc_region.
   */
  IPC_KIND_REGION = 1,
  /**
   * An ipc_mutex.
   */
  IPC_KIND_MUTEX = 2,
  /**
   * An ipc_semaphore, of either kind.
   */
  IPC_KIND_SEMAPHORE = 3,
  /**
   * An ipc_queue.
   */
  IPC_KIND_QUEUE = 4,
  /**
   * The name of an ipc_endpoint.
   */
  IPC_KIND_ENDPOINT = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ipc_kind ipc_kind;
#else
typedef uint32_t ipc_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Where an object's name is, and who may open what is created there. Start from IPC_OPTIONS_INIT and set
 * what is to differ. Functions that take one only read it during the call; NULL is the defaults.
 */
typedef struct {
  /**
   * sizeof(ipc_options): later releases may add fields at the end.
   */
  size_t size;
  /**
   * The namespace's directory, or NULL for the default one. It is made (for this user alone) when
   * something is created in it and it does not exist. Whoever may write to it can replace the objects in
   * it.
   */
  const char *dir;
  /**
   * The permission bits of what is created, whatever the umask is; 0 means 0600. 0660 is for a group,
   * 0666 for everybody: those who are to use an object need to read and write it. Without effect when
   * opening.
   */
  uint32_t mode;
  /**
   * Zero.
   */
  uint32_t reserved;
} ipc_options;

/**
 * One object in a namespace. Later releases may add fields at the end.
 */
typedef struct {
  /**
   * Its name. Valid during the callback.
   */
  const char *name;
  /**
   * How long its memory is, in bytes.
   */
  uint64_t size;
  /**
   * How much memory it costs now, in bytes.
   */
  uint64_t memory;
  /**
   * What it is.
   */
  ipc_kind kind;
} ipc_entry;

/**
 * A function that ipc_list calls, once an object. `user` is what ipc_list was given. It may call any
 * function of this library; it must return (no longjmp, no exception).
 */
typedef void (*ipc_list_callback)(const ipc_entry *entry, void *user);

/**
 * Takes a name away. Processes that have the object open go on using it; its memory goes with the last of
 * them. A new object of that name is another object. Any thread of any process that may write to the
 * namespace's directory.
 *
 * Errors: IPC_ERR_NOT_FOUND where there is none; IPC_ERR_INVALID_ARGUMENT for an impossible name;
 * IPC_ERR_PERMISSION_DENIED.
 */
ipc_result ipc_unlink(const char *name, const ipc_options *options);

/**
 * Calls `callback` for each object in a namespace, sorted by name. Files that are not objects are left
 * out; a namespace that does not exist yet is empty. The list is taken before the first call of
 * `callback`: objects may have come or gone since.
 *
 * Errors: IPC_ERR_PERMISSION_DENIED and IPC_ERR_OS when the directory cannot be read;
 * IPC_ERR_INVALID_ARGUMENT for a NULL callback.
 */
IPC_MUST_USE ipc_result ipc_list(const ipc_options *options, ipc_list_callback callback, void *user);

/*
 * ======== REGIONS ========
 *
 * A region is memory that processes share: bytes that they arrange as they like, and in which mutexes,
 * semaphores and queues can be placed. All its memory is reserved when it is created or grown, so touching
 * it never fails for want of memory (no SIGBUS). It begins zeroed. It can grow, never shrink. What several
 * processes change at the same time is theirs to order, with a mutex placed in it for example; a death of
 * one of them does nothing to the bytes.
 */

/**
 * An open region.
 */
typedef struct ipc_region ipc_region;

/**
 * Creates a region of `len` bytes (at least 1) and opens it.
 *
 * Errors: IPC_ERR_ALREADY_EXISTS; IPC_ERR_INVALID_ARGUMENT for an impossible name or a length of 0;
 * IPC_ERR_NO_SPACE where so much memory cannot be reserved; IPC_ERR_PERMISSION_DENIED and other errors of
 * the system.
 */
IPC_MUST_USE ipc_result ipc_region_create(const char *name, size_t len, const ipc_options *options, ipc_region **out);

/**
 * Opens a region.
 *
 * Errors: IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND, IPC_ERR_WRONG_VERSION, IPC_ERR_CORRUPTED;
 * IPC_ERR_PERMISSION_DENIED and other errors of the system.
 */
IPC_MUST_USE ipc_result ipc_region_open(const char *name, const ipc_options *options, ipc_region **out);

/**
 * Opens a region, or creates it with `len` bytes. Processes that do so at the same time get the same one.
 * An existing region keeps its length.
 *
 * Errors: as ipc_region_create and ipc_region_open, less IPC_ERR_ALREADY_EXISTS and IPC_ERR_NOT_FOUND.
 */
IPC_MUST_USE
ipc_result ipc_region_open_or_create(const char *name,
                                     size_t len,
                                     const ipc_options *options,
                                     ipc_region **out);

/**
 * Makes a region of `len` bytes without a name (memfd_create(2)). Others get it by its descriptor: a child
 * inherits it, a Unix socket carries it (SCM_RIGHTS), and ipc_region_from_fd opens it there. The
 * descriptor is closed on exec.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT for a length of 0; IPC_ERR_NO_SPACE or IPC_ERR_NO_MEMORY where so much
 * memory cannot be reserved; other errors of the system.
 */
IPC_MUST_USE ipc_result ipc_region_create_anonymous(size_t len, ipc_region **out);

/**
 * Opens the region behind a descriptor that came from ipc_region_fd, in this or another process. The
 * descriptor stays the caller's, who may close it right after: the handle has a duplicate of its own.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT where `fd` is not an open descriptor; IPC_ERR_CORRUPTED where it is not
 * that of a region; IPC_ERR_WRONG_KIND, IPC_ERR_WRONG_VERSION, IPC_ERR_TOO_MANY_FILES and other errors of
 * the system.
 */
IPC_MUST_USE ipc_result ipc_region_from_fd(int fd, ipc_region **out);

/**
 * Closes the handle: pointers that ipc_region_map gave are invalid from here on. Objects placed in the
 * region stay open, and keep the memory that they need. The memory goes when the name is unlinked and
 * nobody has anything of it open. Closing NULL does nothing.
 *
 * No other thread may be inside a call on the handle, or make one later.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT.
 */
ipc_result ipc_region_close(ipc_region *region);

/**
 * Puts the region's file descriptor into `*fd`, to be handed to another process. It stays the handle's: do
 * not close it.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT; `*fd` is -1 then.
 */
IPC_MUST_USE ipc_result ipc_region_fd(const ipc_region *region, int *fd);

/**
 * Puts into `*len` how many bytes the region has now; another process may have grown it.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT; `*len` is 0 then.
 */
IPC_MUST_USE ipc_result ipc_region_len(const ipc_region *region, size_t *len);

/**
 * Makes the region at least `len` bytes long, for all processes. The new bytes are zero. Pointers that
 * ipc_region_map gave stay valid, for as many bytes as before: map it again to reach the new ones.
 *
 * Errors: IPC_ERR_NO_SPACE where so much memory cannot be reserved (the region is as it was);
 * IPC_ERR_INVALID_ARGUMENT for a `len` below its length, since regions only grow; errors of the system.
 */
IPC_MUST_USE ipc_result ipc_region_grow(ipc_region *region, size_t len);

/**
 * Puts into `*ptr` where the region's bytes are in this process, and into `*len` how many there are: all
 * of them, also those that another process has added. The address is a multiple of 4096, and another one
 * in every process: keep offsets in the region, not pointers.
 *
 * The pointer is valid for `*len` bytes until this handle is closed, also when the region grows meanwhile.
 * In a child of fork it is valid, too. Unmapping it is the library's business.
 *
 * Errors: IPC_ERR_CORRUPTED where the file was cut short; IPC_ERR_NO_MEMORY where the address space has no
 * room. `*ptr` is NULL and `*len` 0 then.
 */
IPC_MUST_USE ipc_result ipc_region_map(ipc_region *region, void **ptr, size_t *len);

/*
 * ======== MUTEXES ========
 *
 * A mutex belongs to the thread that locks it, which alone can unlock it. It is robust: if that thread
 * ends in whatever way (its process was killed, it returned, it called exec), the next who locks the mutex
 * gets it, and ipc_mutex_lock says IPC_OWNER_DIED: what the mutex guards may be half changed. That stays
 * so for every later owner until one of them has repaired it and says so with ipc_mutex_mark_consistent,
 * or gives the mutex up for good with ipc_mutex_give_up.
 *
 * Locking and unlocking make no system call unless somebody waits. A child of fork holds none of its
 * parent's locks. Mutexes are for processes that trust each other: one that writes over the mutex's memory
 * can crash those who use it.
 */

/**
 * How many bytes a mutex takes in a region.
 */
#define IPC_MUTEX_SIZE 128

/**
 * Its offset there is a multiple of this.
 */
#define IPC_MUTEX_ALIGN 8

/**
 * An open mutex.
 */
typedef struct ipc_mutex ipc_mutex;

/**
 * Creates a mutex and opens it.
 *
 * Errors: IPC_ERR_ALREADY_EXISTS; IPC_ERR_INVALID_ARGUMENT for an impossible name; IPC_ERR_NO_SPACE,
 * IPC_ERR_PERMISSION_DENIED and other errors of the system.
 */
IPC_MUST_USE ipc_result ipc_mutex_create(const char *name, const ipc_options *options, ipc_mutex **out);

/**
 * Opens a mutex. One that a Rust program made with data inside can be opened as well.
 *
 * Errors: IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND, IPC_ERR_WRONG_VERSION, IPC_ERR_CORRUPTED;
 * IPC_ERR_PERMISSION_DENIED and other errors of the system.
 */
IPC_MUST_USE ipc_result ipc_mutex_open(const char *name, const ipc_options *options, ipc_mutex **out);

/**
 * Opens a mutex, or creates it. Processes that do so at the same time get the same one.
 *
 * Errors: as ipc_mutex_create and ipc_mutex_open, less IPC_ERR_ALREADY_EXISTS and IPC_ERR_NOT_FOUND.
 */
IPC_MUST_USE ipc_result ipc_mutex_open_or_create(const char *name, const ipc_options *options, ipc_mutex **out);

/**
 * Creates a mutex at `offset` of a region, in IPC_MUTEX_SIZE bytes that are zero, and opens it. The region
 * may be closed before the mutex is.
 *
 * Errors: IPC_ERR_ALREADY_EXISTS where there is an object; IPC_ERR_INVALID_ARGUMENT where the memory is in
 * use or too short, or the offset is not a multiple of IPC_MUTEX_ALIGN.
 */
IPC_MUST_USE ipc_result ipc_mutex_create_in(const ipc_region *region, size_t offset, ipc_mutex **out);

/**
 * Opens a mutex at `offset` of a region. The region may be closed before the mutex is.
 *
 * Errors: IPC_ERR_NOT_FOUND where nothing was created there; otherwise as ipc_mutex_open.
 */
IPC_MUST_USE ipc_result ipc_mutex_open_in(const ipc_region *region, size_t offset, ipc_mutex **out);

/**
 * Closes the handle; the mutex stays. Closing NULL does nothing. No other thread may be inside a call on
 * the handle, or make one later.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT, also where a thread of this process holds the mutex through this
 * handle: unlock it first.
 */
ipc_result ipc_mutex_close(ipc_mutex *mutex);

/**
 * Locks the mutex, and waits for it no longer than `timeout_ns`. The calling thread holds it after IPC_OK
 * and after IPC_OWNER_DIED.
 *
 * IPC_OWNER_DIED: an owner died holding it, and nobody has called ipc_mutex_mark_consistent since. Repair
 * what the mutex guards and call that, or call ipc_mutex_give_up; then unlock, as always.
 *
 * Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
 * IPC_ERR_DEADLOCK where this thread holds it already; IPC_ERR_NOT_RECOVERABLE where it was given up. The
 * thread does not hold it then.
 */
IPC_MUST_USE ipc_result ipc_mutex_lock(ipc_mutex *mutex, int64_t timeout_ns);

/**
 * Unlocks the mutex, and wakes who waits for it. Only by the thread that locked it, with the same handle.
 *
 * Errors: IPC_ERR_NOT_OWNER where this thread does not hold it through this handle.
 */
ipc_result ipc_mutex_unlock(ipc_mutex *mutex);

/**
 * Says that what the mutex guards is consistent (again): later owners are not told of the death any more.
 * For who holds the mutex.
 *
 * Errors: IPC_ERR_NOT_OWNER where this thread does not hold it through this handle.
 */
ipc_result ipc_mutex_mark_consistent(ipc_mutex *mutex);

/**
 * Gives the mutex up as not recoverable, for who holds it. Then unlock it: all who wait for it, and all
 * who come, get IPC_ERR_NOT_RECOVERABLE. It cannot be undone, but for unlinking the mutex and creating it
 * anew with what it guards.
 *
 * Errors: IPC_ERR_NOT_OWNER where this thread does not hold it through this handle.
 */
ipc_result ipc_mutex_give_up(ipc_mutex *mutex);

/**
 * Puts into `*inconsistent` whether an owner died and nobody has called ipc_mutex_mark_consistent since.
 * Exact for who holds the mutex.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT; `*inconsistent` is false then.
 */
IPC_MUST_USE ipc_result ipc_mutex_is_inconsistent(const ipc_mutex *mutex, bool *inconsistent);

/*
 * ======== SEMAPHORES ========
 *
 * There are two kinds, and which one is right depends on what the count stands for.
 *
 * Signals (ipc_semaphore_create): any process may release, whether it has acquired or not, as with POSIX
 * semaphores. It counts events ("three jobs are waiting"). A process that dies takes the units that it
 * acquired with it.
 *
 * Permits (ipc_semaphore_create_permits): a fixed number of them; a process gives back what it acquired,
 * and what it holds when it dies, or calls exec, comes back by itself. It limits how many use something at a
 * time. As with SEM_UNDO of semop(2), permits belong to the process, not to a thread: any of its threads may
 * give them back, and a child of fork holds none of its parent's. At most 120 processes can use one such
 * semaphore at a time. Permits of the dead are free again within a millisecond or so, at the latest 100 ms
 * after the death.
 *
 * Neither kind makes a system call unless it has to wait, or to wake somebody.
 */

/**
 * How many bytes a signalling semaphore takes in a region.
 */
#define IPC_SEMAPHORE_SIZE 128

/**
 * How many bytes a semaphore of permits takes in a region.
 */
#define IPC_PERMITS_SIZE 8832

/**
 * The offset there, of either kind, is a multiple of this.
 */
#define IPC_SEMAPHORE_ALIGN 64

/**
 * The largest value of a semaphore.
 */
#define IPC_SEMAPHORE_MAX_VALUE 2147483647

/**
 * An open semaphore, of either kind.
 */
typedef struct ipc_semaphore ipc_semaphore;

/**
 * Creates a signalling semaphore with the value `initial`, at most IPC_SEMAPHORE_MAX_VALUE, and opens it.
 *
 * Errors: IPC_ERR_ALREADY_EXISTS; IPC_ERR_INVALID_ARGUMENT for an impossible name or value;
 * IPC_ERR_NO_SPACE, IPC_ERR_PERMISSION_DENIED and other errors of the system.
 */
IPC_MUST_USE
ipc_result ipc_semaphore_create(const char *name,
                                uint32_t initial,
                                const ipc_options *options,
                                ipc_semaphore **out);

/**
 * Creates a semaphore of `total` permits, at most IPC_SEMAPHORE_MAX_VALUE, and opens it.
 *
 * Errors: as ipc_semaphore_create.
 */
IPC_MUST_USE
ipc_result ipc_semaphore_create_permits(const char *name,
                                        uint32_t total,
                                        const ipc_options *options,
                                        ipc_semaphore **out);

/**
 * Opens a semaphore of either kind.
 *
 * Errors: IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND where the name is that of something else;
 * IPC_ERR_WRONG_VERSION, IPC_ERR_CORRUPTED; IPC_ERR_PERMISSION_DENIED and other errors of the system.
 */
IPC_MUST_USE ipc_result ipc_semaphore_open(const char *name, const ipc_options *options, ipc_semaphore **out);

/**
 * Opens a signalling semaphore, or creates it with the value `initial`. Processes that do so at the same
 * time get the same one.
 *
 * Errors: as ipc_semaphore_create and ipc_semaphore_open, less IPC_ERR_ALREADY_EXISTS and
 * IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND also for a semaphore of permits.
 */
IPC_MUST_USE
ipc_result ipc_semaphore_open_or_create(const char *name,
                                        uint32_t initial,
                                        const ipc_options *options,
                                        ipc_semaphore **out);

/**
 * Opens a semaphore of permits, or creates it with `total` of them. Processes that do so at the same time
 * get the same one.
 *
 * Errors: as ipc_semaphore_create and ipc_semaphore_open, less IPC_ERR_ALREADY_EXISTS and
 * IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND also for a signalling semaphore.
 */
IPC_MUST_USE
ipc_result ipc_semaphore_open_or_create_permits(const char *name,
                                                uint32_t total,
                                                const ipc_options *options,
                                                ipc_semaphore **out);

/**
 * Creates a signalling semaphore at `offset` of a region, in IPC_SEMAPHORE_SIZE bytes that are zero, and
 * opens it. The region may be closed before the semaphore is.
 *
 * Errors: IPC_ERR_ALREADY_EXISTS where there is an object; IPC_ERR_INVALID_ARGUMENT where the memory is in
 * use or too short, the offset is not a multiple of IPC_SEMAPHORE_ALIGN, or the value is impossible.
 */
IPC_MUST_USE
ipc_result ipc_semaphore_create_in(const ipc_region *region,
                                   size_t offset,
                                   uint32_t initial,
                                   ipc_semaphore **out);

/**
 * Creates a semaphore of `total` permits at `offset` of a region, in IPC_PERMITS_SIZE bytes that are zero,
 * and opens it. The region may be closed before the semaphore is.
 *
 * Errors: as ipc_semaphore_create_in.
 */
IPC_MUST_USE
ipc_result ipc_semaphore_create_permits_in(const ipc_region *region,
                                           size_t offset,
                                           uint32_t total,
                                           ipc_semaphore **out);

/**
 * Opens a semaphore of either kind at `offset` of a region. The region may be closed before the semaphore
 * is.
 *
 * Errors: IPC_ERR_NOT_FOUND where nothing was created there; otherwise as ipc_semaphore_open.
 */
IPC_MUST_USE ipc_result ipc_semaphore_open_in(const ipc_region *region, size_t offset, ipc_semaphore **out);

/**
 * Closes the handle; the semaphore stays, and so do the permits that the process holds. Closing NULL does
 * nothing. No other thread may be inside a call on the handle, or make one later.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT.
 */
ipc_result ipc_semaphore_close(ipc_semaphore *semaphore);

/**
 * Takes a unit, and waits for one no longer than `timeout_ns`.
 *
 * Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler; for permits
 * IPC_ERR_LIMIT_REACHED where 120 other processes use the semaphore. Nothing was taken then.
 */
IPC_MUST_USE ipc_result ipc_semaphore_acquire(ipc_semaphore *semaphore, int64_t timeout_ns);

/**
 * Gives `count` units at once, and wakes who waits for them.
 *
 * Errors: IPC_ERR_LIMIT_REACHED where the value would exceed IPC_SEMAPHORE_MAX_VALUE; for permits
 * IPC_ERR_NOT_OWNER where this process holds fewer. Nothing was given then.
 */
ipc_result ipc_semaphore_release(ipc_semaphore *semaphore, uint32_t count);

/**
 * Puts into `*value` how many units there are to be acquired, at this moment. Permits of the dead are
 * taken back first.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT, and for permits errors of the system; `*value` is 0 then.
 */
IPC_MUST_USE ipc_result ipc_semaphore_value(const ipc_semaphore *semaphore, uint32_t *value);

/**
 * Puts a descriptor for the program's own event loop into `*fd`: readable while there may be a unit to
 * acquire. Once readable it stays so until an attempt to acquire through this handle without waiting finds
 * none. Otherwise as ipc_queue_readiness_fd.
 *
 * Errors: as ipc_queue_readiness_fd; `*fd` is -1 then.
 */
IPC_MUST_USE ipc_result ipc_semaphore_readiness_fd(ipc_semaphore *semaphore, int *fd);

/*
 * ======== QUEUES ========
 *
 * A queue is a mailbox that any process opens by its name. Any number of threads in any number of
 * processes send and receive. Messages are bytes, of any length from 0 to the queue's max_message. They
 * come out in the order in which they went in, each to exactly one receiver. A message whose
 * ipc_queue_send returned IPC_OK is in the queue, also if its sender ends right after; it stays there
 * until it is received, for as long as the name exists or anybody has the queue open.
 *
 * The capacity says when senders wait. Bounded: when so many messages wait already. Unbounded
 * (IPC_UNBOUNDED): never; memory grows with the messages that wait, and goes back to the system as they
 * are received. Rendezvous (IPC_RENDEZVOUS): always, until a receiver has taken the message.
 * (Unbounded: where 256 messages wait, ipc_queue_send looks for two microseconds whether receivers keep
 * pace, before it takes memory for more; with IPC_DONT_WAIT it does not.)
 *
 * A message whose sender is killed inside ipc_queue_send is either in the queue, whole, or not at all. A
 * receiver killed inside ipc_queue_recv has either taken the message with it or left it; work that must
 * not be lost with a worker is received on lease, with ipc_queue_lease. In a rendezvous, the offer of a sender
 * that dies while it waits is gone. Everybody else carries on at once. A process that is stopped
 * (SIGSTOP) inside the few instructions of a commit holds up its side of the queue until it goes on: calls
 * with a timeout still return in time then, and those with IPC_DONT_WAIT give up after 10 ms with
 * IPC_ERR_WOULD_BLOCK.
 *
 * Sending and receiving make no system call unless they have to wait, or to wake somebody (or to get
 * memory, or give it back).
 */

/**
 * The offset of a queue in a region is a multiple of this.
 */
#define IPC_QUEUE_ALIGN 128

/**
 * The largest capacity, in messages.
 */
#define IPC_QUEUE_MAX_CAPACITY 1073741824

/**
 * The longest message that a queue can be made for, in bytes.
 */
#define IPC_QUEUE_MAX_MESSAGE 1073741824

/**
 * The most messages of a queue that can be out on lease at a time.
 */
#define IPC_QUEUE_MAX_LEASES 1048576

/**
 * The handle sends, or has tried to.
 */
#define IPC_ROLE_SENDS 1

/**
 * The handle receives, or has tried to.
 */
#define IPC_ROLE_RECEIVES 2

/**
 * An open queue.
 */
typedef struct ipc_queue ipc_queue;

/**
 * How a queue is made. Start from IPC_QUEUE_OPTIONS_INIT and set what is to differ. NULL is the defaults.
 */
typedef struct {
  /**
   * sizeof(ipc_queue_options): later releases may add fields at the end.
   */
  size_t size;
  /**
   * How many messages there is room for before senders wait: 1 to IPC_QUEUE_MAX_CAPACITY, IPC_RENDEZVOUS
   * or IPC_UNBOUNDED; 0 means 64.
   */
  size_t capacity;
  /**
   * How long a message can be, in bytes: 1 to IPC_QUEUE_MAX_MESSAGE; 0 means 4096. Up to 4096 each
   * place in the queue has room for so many, and takes memory when it is first used. Beyond that it costs
   * nothing to allow long ones: each message takes the memory that its own length needs.
   */
  size_t max_message;
  /**
   * With IPC_UNBOUNDED: how much memory may be used for messages that wait, in bytes; then sending fails
   * with IPC_ERR_LIMIT_REACHED. 0 means as much as there is. Each message takes up to 32 bytes more than
   * its length, and two and a half mebibytes may be in use behind the receivers. With any other capacity: 0.
   */
  size_t limit;
  /**
   * How many messages can be out on lease, lent to senders (ipc_queue_loan) and read in place
   * (ipc_queue_recv_view) at a time, or be requests that were received and not answered yet: 1 to
   * IPC_QUEUE_MAX_LEASES, or IPC_NO_LEASES; 0 means 256. A rendezvous can have so many senders waiting
   * beside them.
   */
  size_t leases;
} ipc_queue_options;

/**
 * A handle that is open on a queue.
 */
typedef struct {
  /**
   * The process's id, in the pid namespace that it opened the queue in.
   */
  uint32_t pid;
  /**
   * IPC_ROLE_SENDS and IPC_ROLE_RECEIVES, or neither yet.
   */
  uint32_t roles;
  /**
   * When it opened the queue, in nanoseconds since 1970.
   */
  int64_t since_ns;
  /**
   * Zero.
   */
  uint64_t reserved[2];
} ipc_peer;

/**
 * Puts into `*bytes` how many bytes a queue with these options takes in a region.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT for options out of range, and for an unbounded queue without a limit;
 * `*bytes` is 0 then.
 */
IPC_MUST_USE ipc_result ipc_queue_size(const ipc_queue_options *queue_options, size_t *bytes);

/**
 * Creates a queue and opens it.
 *
 * Errors: IPC_ERR_ALREADY_EXISTS; IPC_ERR_INVALID_ARGUMENT for an impossible name or options out of range;
 * IPC_ERR_NO_SPACE, IPC_ERR_NO_MEMORY, IPC_ERR_PERMISSION_DENIED and other errors of the system.
 */
IPC_MUST_USE
ipc_result ipc_queue_create(const char *name,
                            const ipc_queue_options *queue_options,
                            const ipc_options *options,
                            ipc_queue **out);

/**
 * Opens a queue.
 *
 * Errors: IPC_ERR_NOT_FOUND; IPC_ERR_WRONG_KIND, IPC_ERR_WRONG_VERSION, IPC_ERR_CORRUPTED;
 * IPC_ERR_LIMIT_REACHED where 500 handles are open on it; IPC_ERR_NO_SPACE, IPC_ERR_PERMISSION_DENIED and
 * other errors of the system.
 */
IPC_MUST_USE ipc_result ipc_queue_open(const char *name, const ipc_options *options, ipc_queue **out);

/**
 * Opens a queue, or creates it. Processes that do so at the same time get the same one. An existing queue
 * keeps its options.
 *
 * Errors: as ipc_queue_create and ipc_queue_open, less IPC_ERR_ALREADY_EXISTS and IPC_ERR_NOT_FOUND.
 */
IPC_MUST_USE
ipc_result ipc_queue_open_or_create(const char *name,
                                    const ipc_queue_options *queue_options,
                                    const ipc_options *options,
                                    ipc_queue **out);

/**
 * Creates a queue at `offset` of a region, in as many zero bytes as ipc_queue_size says, and opens it. The
 * region may be closed before the queue is.
 *
 * Errors: IPC_ERR_ALREADY_EXISTS where there is an object; IPC_ERR_INVALID_ARGUMENT where the memory is in
 * use or too short, the offset is not a multiple of IPC_QUEUE_ALIGN, or options are out of range or those of
 * an unbounded queue without a limit.
 */
IPC_MUST_USE
ipc_result ipc_queue_create_in(const ipc_region *region,
                               size_t offset,
                               const ipc_queue_options *queue_options,
                               ipc_queue **out);

/**
 * Opens a queue at `offset` of a region. The region may be closed before the queue is.
 *
 * Errors: IPC_ERR_NOT_FOUND where nothing was created there; otherwise as ipc_queue_open.
 */
IPC_MUST_USE ipc_result ipc_queue_open_in(const ipc_region *region, size_t offset, ipc_queue **out);

/**
 * Creates a queue without a name (memfd_create(2)) and opens it. Children of fork use the handle. Others
 * get the queue by the descriptor of its memory, which is put into `*fd`: a Unix socket carries it
 * (SCM_RIGHTS), and ipc_queue_from_fd opens it there. The descriptor is the caller's, who closes it; that
 * closes no handle. It is closed on exec. The memory goes with the last process that has it open, in
 * whatever way that ends.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT for options out of range; IPC_ERR_NO_SPACE, IPC_ERR_NO_MEMORY,
 * IPC_ERR_TOO_MANY_FILES and other errors of the system. `*fd` is -1 then.
 */
IPC_MUST_USE ipc_result ipc_queue_create_anonymous(const ipc_queue_options *queue_options, ipc_queue **out, int *fd);

/**
 * Opens the queue behind a descriptor that came from ipc_queue_create_anonymous, in this or another process
 * of the same pid namespace. The descriptor stays the caller's, who may close it right after.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT where `fd` is not an open descriptor; IPC_ERR_CORRUPTED where it is not
 * that of a queue; otherwise as ipc_queue_open, less IPC_ERR_NOT_FOUND.
 */
IPC_MUST_USE ipc_result ipc_queue_from_fd(int fd, ipc_queue **out);

/**
 * Closes the handle; the queue stays, with all its messages, and so do the leases that the process has:
 * they can be ended through any other handle of the queue. To shut it down for everybody is
 * ipc_queue_shutdown. Closing NULL does nothing. No other thread may be inside a call on the handle, or
 * make one later.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT.
 */
ipc_result ipc_queue_close(ipc_queue *queue);

/**
 * Sends a message of `len` bytes, and waits for room (in a rendezvous, for a receiver that takes it) no
 * longer than `timeout_ns`. With IPC_DONT_WAIT it sends in a rendezvous if a receiver waits at this moment.
 * The bytes are the caller's, and are copied; `data` may be NULL where `len` is 0.
 *
 * Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler; IPC_ERR_CLOSED
 * once the queue is shut down; IPC_ERR_MESSAGE_TOO_LONG; IPC_ERR_NO_SPACE where there is no memory for the
 * message; IPC_ERR_LIMIT_REACHED where an unbounded queue holds as much as it may; IPC_ERR_CORRUPTED.
 * Nothing was sent then.
 */
IPC_MUST_USE ipc_result ipc_queue_send(ipc_queue *queue, const void *data, size_t len, int64_t timeout_ns);

/**
 * Receives the next message into `buffer`, which has room for `room` bytes, and waits for one no longer
 * than `timeout_ns`. `*len` is the message's length. `buffer` may be NULL where `room` is 0. A buffer of
 * ipc_queue_max_message bytes is always large enough.
 *
 * Errors: IPC_ERR_BUFFER_TOO_SMALL where the message is longer than the buffer: `*len` says how long, and
 * it stays in the queue. IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
 * IPC_ERR_CLOSED once the queue is shut down and empty; IPC_ERR_CORRUPTED. Nothing was taken then, and
 * `*len` is 0.
 */
IPC_MUST_USE ipc_result ipc_queue_recv(ipc_queue *queue, void *buffer, size_t room, size_t *len, int64_t timeout_ns);

/**
 * Puts a descriptor for the program's own event loop (poll, epoll) into `*fd`: readable while there may be
 * something to receive, that is a message, or that the queue was shut down.
 *
 * Once readable it stays so until an attempt to receive through this handle without waiting (or whose time
 * passes) finds nothing. So, when it is readable, receive with IPC_DONT_WAIT until that gives
 * IPC_ERR_WOULD_BLOCK, or at least once. It may be readable although nothing is there, when another receiver was
 * faster.
 *
 * It belongs to the handle, and is closed with it: neither read from it nor write to it, nor close it. Each
 * call gives the same one. The first one for any object starts a thread in this process, which blocks all
 * signals and sleeps until there is something to tell. In a child of fork ask again: the child has a
 * descriptor of its own then, and must not use the one that it inherited. It is closed on exec.
 *
 * Errors: IPC_ERR_TOO_MANY_FILES, IPC_ERR_NO_MEMORY and other errors of the system; IPC_ERR_CORRUPTED; `*fd` is
 * -1 then.
 */
IPC_MUST_USE ipc_result ipc_queue_readiness_fd(ipc_queue *queue, int *fd);

/**
 * Puts into `*messages` how many messages wait to be received, at this moment. Those on lease and those
 * offered in a rendezvous are not counted.
 *
 * Errors: IPC_ERR_CORRUPTED; `*messages` is 0 then.
 */
IPC_MUST_USE ipc_result ipc_queue_len(const ipc_queue *queue, size_t *messages);

/**
 * Puts into `*messages` how many messages there is room for, as in ipc_queue_options: a number, or
 * IPC_RENDEZVOUS or IPC_UNBOUNDED. It never changes.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT; `*messages` is 0 then.
 */
IPC_MUST_USE ipc_result ipc_queue_capacity(const ipc_queue *queue, size_t *messages);

/**
 * Puts into `*bytes` how long a message can be. It never changes.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT; `*bytes` is 0 then.
 */
IPC_MUST_USE ipc_result ipc_queue_max_message(const ipc_queue *queue, size_t *bytes);

/**
 * Shuts the queue down for everybody: sending fails with IPC_ERR_CLOSED from now on, receiving gives what
 * is left and then IPC_ERR_CLOSED. All who wait are woken. It cannot be undone; shutting down again does
 * nothing.
 *
 * Errors: IPC_ERR_INTERRUPTED by a signal handler, while a sender was stopped inside a commit: senders are
 * refused from then on, and the next call on the queue completes it.
 */
ipc_result ipc_queue_shutdown(ipc_queue *queue);

/**
 * Puts into `*shut_down` whether the queue was shut down.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT; `*shut_down` is false then.
 */
IPC_MUST_USE ipc_result ipc_queue_is_shut_down(const ipc_queue *queue, bool *shut_down);

/**
 * Says that this handle is going to send, before it does. It matters to those who wait with
 * ipc_queue_end_with_peers: a handle counts as a sender from its first attempt to send on, or from this.
 *
 * Errors: as ipc_queue_open, where the handle is used in a child of fork for the first time.
 */
ipc_result ipc_queue_will_send(ipc_queue *queue);

/**
 * Says that this handle is going to receive, before it does. As ipc_queue_will_send.
 *
 * Errors: as ipc_queue_will_send.
 */
ipc_result ipc_queue_will_recv(ipc_queue *queue);

/**
 * From now on a receive through this handle that would wait, or waits, fails with IPC_ERR_DISCONNECTED once
 * every other handle that had sent is closed or its process gone; and a send that would wait, once every
 * other handle that had received is. While nobody has sent (or received) yet, they wait. `end` false ends
 * that.
 *
 * The end of a process is noticed at once if it joined the queue after somebody had asked for this, and
 * within 100 ms if before.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT.
 */
ipc_result ipc_queue_end_with_peers(ipc_queue *queue, bool end);

/**
 * Puts into `*count` how many handles are open on the queue, this one included, in processes that live,
 * and tells of as many as there is room for in `peers`, an array of `room` entries; it may be NULL where
 * `room` is 0.
 *
 * Errors: errors of the system; `*count` is 0 then.
 */
IPC_MUST_USE ipc_result ipc_queue_peers(const ipc_queue *queue, ipc_peer *peers, size_t room, size_t *count);

/*
 * ======== BATCHES ========
 *
 * Many messages in one call, which saves the price of a call for each: most of all where messages are
 * short. Each message is sent and received by itself, as with ipc_queue_send and ipc_queue_recv: who
 * receives may have the first before the last is sent, and messages of others may come in between, or go to
 * them.
 *
 * If a process dies inside ipc_queue_send_many, the first so many of the messages are in the queue, each
 * of them whole, and the others are not. If it dies inside ipc_queue_recv_many, it has taken the first so
 * many with it, and the others are in the queue.
 */

/**
 * The bytes of a message: they are the caller's, and stay so.
 */
typedef struct {
  /**
   * The first of them; may be NULL where `len` is 0.
   */
  const void *data;
  /**
   * How many there are.
   */
  size_t len;
} ipc_bytes;

/**
 * Sends `count` messages in their order, and waits for room (in a rendezvous, for receivers that take them)
 * no longer than `timeout_ns` in all. `*sent` is how many it sent. The bytes are the caller's, and are copied;
 * `messages` may be NULL where `count` is 0.
 *
 * Less than all are sent where something kept it from sending the next, such as the end of the time: that
 * is IPC_OK then, and is told by the next call.
 *
 * Errors: IPC_ERR_MESSAGE_TOO_LONG where any of them is (ipc_error_detail says which), before anything is
 * sent. Otherwise as ipc_queue_send, where the first was not sent. `*sent` is 0 then.
 */
IPC_MUST_USE
ipc_result ipc_queue_send_many(ipc_queue *queue,
                               const ipc_bytes *messages,
                               size_t count,
                               size_t *sent,
                               int64_t timeout_ns);

/**
 * Receives the next message, and waits for it no longer than `timeout_ns`; and with it those behind it that
 * are there, up to `max` in all. They go into `buffer`, which has room for `room` bytes, one right after the
 * other, and their lengths into `lens`, an array of `max` numbers. `*count` is how many they are. A message
 * for which the buffer has no room left stays in the queue, with those behind it. `buffer` may be NULL where
 * `room` is 0.
 *
 * Errors: IPC_ERR_BUFFER_TOO_SMALL where the first message is longer than the buffer: `lens[0]` says how
 * long, and it stays in the queue. IPC_ERR_INVALID_ARGUMENT for a `max` of 0. Otherwise as ipc_queue_recv.
 * Nothing was taken then, and `*count` is 0. What keeps it from taking more than the first is no error, and
 * is told by the next call.
 */
IPC_MUST_USE
ipc_result ipc_queue_recv_many(ipc_queue *queue,
                               void *buffer,
                               size_t room,
                               size_t *lens,
                               size_t max,
                               size_t *count,
                               int64_t timeout_ns);

/*
 * ======== LEASES ========
 *
 * A message that is received on lease is not gone before the work is done: it is this process's until
 * ipc_queue_finish, and comes back to the front of the queue, for the next receiver, if the process dies
 * before, or gives it back. So the work of a killed worker is done by another. (A worker that dies between
 * the end of its work and ipc_queue_finish has its work done twice: `deliveries` tells that it may have
 * been done before.)
 *
 * A lease belongs to the process, as permits do, not to a thread or a handle: any of its threads may end
 * it, through any handle of the queue; a child of fork has none of its parent's. When the process calls exec,
 * its leases come back as if it had died.
 *
 * While as many messages are out on lease as the queue was made for, ipc_queue_lease waits. Once the queue
 * is shut down, receivers get IPC_ERR_CLOSED when no message is left in it and no other process has one on
 * lease, which might come back.
 */

/**
 * A message on lease. A plain value: it may be copied, and kept anywhere.
 */
typedef struct {
  /**
   * Which one it is, among those of its queue.
   */
  uint64_t id[2];
  /**
   * How many times the message has been handed out on lease, this time included: more than 1 says that
   * somebody died over it, or gave it back.
   */
  uint32_t deliveries;
  /**
   * Zero.
   */
  uint32_t reserved;
} ipc_lease;

/**
 * Receives the next message on lease into `buffer`, which has room for `room` bytes, and waits for one no
 * longer than `timeout_ns`. `*len` is the message's length, `*lease` what to end the lease with. `buffer`
 * may be NULL where `room` is 0.
 *
 * Errors: as ipc_queue_recv, and in the same way: where the buffer is too small, `*len` says how long the
 * message is, and it stays in the queue. IPC_ERR_UNSUPPORTED where the queue was made for no leases;
 * IPC_ERR_NO_SPACE where there is no memory to keep the message in. `*lease` is zero then, which is no
 * lease.
 */
IPC_MUST_USE
ipc_result ipc_queue_lease(ipc_queue *queue,
                           void *buffer,
                           size_t room,
                           size_t *len,
                           ipc_lease *lease,
                           int64_t timeout_ns);

/**
 * Says that the work is done: the message is gone from the queue.
 *
 * Errors: IPC_ERR_NOT_OWNER where it is no lease of this process: it was ended before, or is its parent's;
 * IPC_ERR_CORRUPTED.
 */
ipc_result ipc_queue_finish(ipc_queue *queue, const ipc_lease *lease);

/**
 * Gives the message back, to the front of the queue, for the next receiver.
 *
 * Errors: as ipc_queue_finish.
 */
ipc_result ipc_queue_give_back(ipc_queue *queue, const ipc_lease *lease);

/*
 * ======== MESSAGES IN PLACE ========
 *
 * A message can be written where it is sent from and read where it is received, without a copy:
 * ipc_queue_loan lends memory of the queue, which the program fills and sends, and ipc_queue_recv_view gives
 * a view of a message, which the program reads and releases. That takes the same time for messages of any
 * length: memory that was lent or viewed once stays the queue's, for the messages after it, as long as there
 * is the queue.
 *
 * As many messages can be lent, viewed and out on lease at a time as the queue was made for (`leases`),
 * beside those that wait (in a queue for messages of up to 4096 bytes, those that wait and were lent before
 * are among them). While there are, ipc_queue_loan waits: for a message to be received, a loan or view to be
 * released, or its process to die. It never copies instead. A loan that waits for room in
 * ipc_queue_send_loan keeps its memory; so where receivers take messages on lease, let there be more leases
 * than loans.
 *
 * Loans and views belong to the process: any of its threads may use and end them (one thread at a time),
 * through any handle of the queue. Their bytes are reached only through the handle that gave them: end them
 * before it is closed. A child of fork has none of its parent's. When the process ends, at whatever
 * instruction, or calls exec, the memory is given back: what was lent is not sent, and a viewed message is
 * gone.
 */

/**
 * Memory that was lent, to be filled with a message and sent. A plain value: it may be copied, and kept
 * anywhere; but it is ended once.
 */
typedef struct {
  /**
   * Where the bytes are: at a multiple of 64, and of 4096 in a queue for messages of more than 4096 bytes
   * (a queue in a region: counted from the region's beginning). They are at first whatever an earlier
   * message left there.
   */
  void *data;
  /**
   * How many there are.
   */
  size_t len;
  /**
   * Which one it is, among those of its queue.
   */
  uint64_t id[2];
} ipc_loan;

/**
 * A message that was received, to be read where it lies. A plain value: it may be copied, and kept anywhere;
 * but it is ended once.
 */
typedef struct {
  /**
   * Where the message's bytes are. Never NULL.
   */
  const void *data;
  /**
   * How many there are.
   */
  size_t len;
  /**
   * Which one it is, among those of its queue.
   */
  uint64_t id[2];
} ipc_message_view;

/**
 * Lends memory for a message of `len` bytes, and waits for it no longer than `timeout_ns`. `*loan` says
 * where it is; it is the process's until it is sent or released.
 *
 * Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
 * IPC_ERR_MESSAGE_TOO_LONG; IPC_ERR_CLOSED once the queue is shut down; IPC_ERR_NO_SPACE where there is no
 * memory for so many bytes; IPC_ERR_UNSUPPORTED for an unbounded queue, and for one that was made for no
 * leases and short messages; IPC_ERR_CORRUPTED. Nothing was lent then, and `*loan` is zero.
 */
IPC_MUST_USE ipc_result ipc_queue_loan(ipc_queue *queue, size_t len, ipc_loan *loan, int64_t timeout_ns);

/**
 * Sends the first `len` bytes of a loan as a message, and waits for room (in a rendezvous, for a receiver
 * that takes it) no longer than `timeout_ns`. Nothing is copied. The bytes are not the program's any more
 * then, and `*loan` is zero.
 *
 * Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler; IPC_ERR_CLOSED
 * once the queue is shut down; IPC_ERR_INVALID_ARGUMENT where the loan has fewer bytes;
 * IPC_ERR_MESSAGE_TOO_LONG where `loan->len` was changed, and `len` is more than any message may have;
 * IPC_ERR_NOT_OWNER where it is no loan of this process: it was sent or released before, or is its
 * parent's; IPC_ERR_CORRUPTED. Nothing was sent then, and what was lent still is.
 */
IPC_MUST_USE ipc_result ipc_queue_send_loan(ipc_queue *queue, ipc_loan *loan, size_t len, int64_t timeout_ns);

/**
 * Gives back what was lent; nothing is sent. `*loan` is zero then.
 *
 * Errors: IPC_ERR_NOT_OWNER, as for ipc_queue_send_loan; IPC_ERR_CORRUPTED.
 */
ipc_result ipc_queue_release_loan(ipc_queue *queue, ipc_loan *loan);

/**
 * Receives the next message to be read where it lies, and waits for one no longer than `timeout_ns`. `*view`
 * says where it is. The message is gone from the queue, as after ipc_queue_recv; its memory is the process's
 * until ipc_queue_release_view.
 *
 * A message that was lent before it was sent, one that is longer than 4096 bytes in a queue with a capacity,
 * and any message in a rendezvous, is read in the queue's memory. Any other one was short when it was sent,
 * or lay in the backlog of an unbounded queue, and the view has a copy of it of its own. Other processes
 * that have the queue open can change the bytes in the queue's memory, though none does that keeps to this
 * library: where they are not to be trusted, check what was read, not what is there.
 *
 * Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler; IPC_ERR_CLOSED
 * once the queue is shut down and empty; IPC_ERR_NO_MEMORY; IPC_ERR_CORRUPTED. Nothing was taken then, and
 * `*view` is zero.
 */
IPC_MUST_USE ipc_result ipc_queue_recv_view(ipc_queue *queue, ipc_message_view *view, int64_t timeout_ns);

/**
 * Ends a view: its memory is given back. `*view` is zero then.
 *
 * Errors: IPC_ERR_NOT_OWNER where it is no view of this process: it was released before, or is its parent's;
 * IPC_ERR_CORRUPTED.
 */
ipc_result ipc_queue_release_view(ipc_queue *queue, ipc_message_view *view);

/*
 * ======== ENDPOINTS ========
 *
 * An endpoint is a process's own inbox, with its address: others send to it, and every message says who
 * sent it. Any process that knows the address sends to it: from a message that it received, by a name
 * (ipc_endpoint_find) or by a process id (ipc_endpoint_address_of). A call (ipc_endpoint_call) is a message,
 * the request, that waits for its reply.
 *
 * An endpoint belongs to the process that opened it; all its threads may use it, several may receive. In a
 * child of fork every call on it but closing is IPC_ERR_NOT_OWNER: a child opens its own. When the process
 * calls exec, that is for others as if it had died.
 *
 * When a process dies, sending to it is IPC_ERR_PEER_GONE at once, also for those who wait for room in its
 * inbox or for its reply, and its address and name go when somebody comes upon them. What was in its inbox
 * is gone with it. A process that gets the same process id is never taken for it. A message whose sender dies
 * inside a call arrives whole or not at all; a request whose sender has died can still be received, and
 * answered, which nobody reads.
 */

/**
 * An open endpoint.
 */
typedef struct ipc_endpoint ipc_endpoint;

/**
 * A request that was received, to be replied to.
 */
typedef struct ipc_request ipc_request;

/**
 * Where messages to one process go: it names an endpoint, for as long as that is open. A plain value, which
 * may be copied, kept anywhere and sent to other processes; two are equal if `process` and `serial` are. All
 * zero is nobody's address.
 */
typedef struct {
  /**
   * Which process: made of its id and its start time. ipc_address_pid gives the id.
   */
  uint64_t process;
  /**
   * Which of the process's endpoints: 0 for the first in its namespace.
   */
  uint32_t serial;
  /**
   * Zero.
   */
  uint32_t reserved;
} ipc_address;

/**
 * The id of the process whose address it is, in its pid namespace; 0 for nobody's. It may have ended.
 */
uint32_t ipc_address_pid(ipc_address address);

/**
 * Opens an endpoint in the namespace of `options`, which others find by `name`, or by no name where that is
 * NULL. `queue_options` are those of its inbox: how many messages of what length wait in it before senders
 * wait. The name of an endpoint whose process is gone is free.
 *
 * Errors: IPC_ERR_ALREADY_EXISTS where a living process's endpoint, or another object, has the name;
 * IPC_ERR_INVALID_ARGUMENT for an impossible name or options out of range; IPC_ERR_NO_SPACE,
 * IPC_ERR_NO_MEMORY, IPC_ERR_PERMISSION_DENIED and other errors of the system.
 */
IPC_MUST_USE
ipc_result ipc_endpoint_open(const char *name,
                             const ipc_queue_options *queue_options,
                             const ipc_options *options,
                             ipc_endpoint **out);

/**
 * Closes the handle, and the endpoint: its address and its name are gone, and what is in its inbox. Calls
 * that nobody has received end with IPC_ERR_NO_REPLY; requests that were received can still be replied to.
 * In a child of fork it closes the child's handle only. Closing NULL does nothing. No other thread may be
 * inside a call on the handle, or make one later.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT.
 */
ipc_result ipc_endpoint_close(ipc_endpoint *endpoint);

/**
 * Puts the endpoint's address into `*address`: others send to it for as long as the endpoint is open.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT; `*address` is zero then.
 */
IPC_MUST_USE ipc_result ipc_endpoint_address(const ipc_endpoint *endpoint, ipc_address *address);

/**
 * Puts the address of the endpoint of that name, in this endpoint's namespace, into `*address`.
 *
 * Errors: IPC_ERR_NOT_FOUND where there is none, or its process is gone; IPC_ERR_WRONG_KIND where the name is
 * that of another object; IPC_ERR_INVALID_ARGUMENT for an impossible name; IPC_ERR_NOT_OWNER in a child of
 * fork; errors of the system. `*address` is zero then.
 */
IPC_MUST_USE ipc_result ipc_endpoint_find(ipc_endpoint *endpoint, const char *name, ipc_address *address);

/**
 * Puts the address of the first endpoint of a process (serial number 0), in this endpoint's namespace, into
 * `*address`.
 *
 * Errors: IPC_ERR_NOT_FOUND where the process has none, or is gone; IPC_ERR_NOT_OWNER in a child of fork;
 * errors of the system. `*address` is zero then.
 */
IPC_MUST_USE ipc_result ipc_endpoint_address_of(ipc_endpoint *endpoint, uint32_t pid, ipc_address *address);

/**
 * Sends a message of `len` bytes to an address, and waits for room in its inbox no longer than `timeout_ns`.
 * The bytes are the caller's, and are copied; `data` may be NULL where `len` is 0.
 *
 * Errors: IPC_ERR_PEER_GONE where the process is gone, or dies while this waits, or has closed the endpoint,
 * or there never was one; IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
 * IPC_ERR_MESSAGE_TOO_LONG; IPC_ERR_NO_SPACE, IPC_ERR_NO_MEMORY and IPC_ERR_LIMIT_REACHED where there is no
 * memory for it; IPC_ERR_NOT_OWNER in a child of fork; IPC_ERR_CORRUPTED. Nothing was sent then.
 */
IPC_MUST_USE
ipc_result ipc_endpoint_send(ipc_endpoint *endpoint,
                             ipc_address to,
                             const void *data,
                             size_t len,
                             int64_t timeout_ns);

/**
 * Receives the next message into `buffer`, which has room for `room` bytes, and waits for one no longer
 * than `timeout_ns`. `*len` is the message's length, `*from` the address that it was sent from. `buffer` may
 * be NULL where `room` is 0, and so may `from`.
 *
 * Where the message is a request, `*request` is a handle to reply with, which the caller gives back with
 * ipc_request_close; otherwise it is NULL. With `request` NULL a request that is received gets no reply: its
 * sender's call ends with IPC_ERR_NO_REPLY.
 *
 * Errors: IPC_ERR_BUFFER_TOO_SMALL where the message is longer than the buffer: `*len` says how long, and
 * it stays in the inbox. IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
 * IPC_ERR_NOT_OWNER in a child of fork; IPC_ERR_CORRUPTED. Nothing was taken then; `*len` is 0, `*from` zero
 * and `*request` NULL.
 */
IPC_MUST_USE
ipc_result ipc_endpoint_recv(ipc_endpoint *endpoint,
                             void *buffer,
                             size_t room,
                             size_t *len,
                             ipc_address *from,
                             ipc_request **request,
                             int64_t timeout_ns);

/**
 * Receives the next message from a mailbox, a queue from which any number of servers receive, to reply to it
 * if it is a request. Otherwise as ipc_endpoint_recv.
 *
 * A message that was sent with ipc_queue_send comes from nobody, and is no request. A request that is received
 * with ipc_queue_recv cannot be replied to, and its sender waits in vain. A server that is killed before this
 * has returned leaves the message to another one.
 *
 * Errors: as ipc_queue_lease, since the message is on lease while it is taken; IPC_ERR_NOT_OWNER in a child
 * of fork.
 */
IPC_MUST_USE
ipc_result ipc_endpoint_recv_mailbox(ipc_endpoint *endpoint,
                                     ipc_queue *mailbox,
                                     void *buffer,
                                     size_t room,
                                     size_t *len,
                                     ipc_address *from,
                                     ipc_request **request,
                                     int64_t timeout_ns);

/**
 * Sends a request of `len` bytes to an address, and waits for its reply no longer than `timeout_ns` in all.
 * The reply goes into `buffer`, which has room for `room` bytes; `*reply_len` is its length. `data` may be
 * NULL where `len` is 0, and `buffer` where `room` is 0. Any number of threads may do so at the same time. A
 * reply that comes too late is thrown away.
 *
 * Errors: IPC_ERR_PEER_GONE where the process is gone, or dies while this waits; IPC_ERR_NO_REPLY where it
 * closes the request without a reply; IPC_ERR_TIMED_OUT, also with IPC_DONT_WAIT; IPC_ERR_INTERRUPTED by a
 * signal handler; otherwise as ipc_endpoint_send. Where the wait for the reply ends so, the request may have
 * been carried out, or may still be. IPC_ERR_BUFFER_TOO_SMALL where the reply is longer than the buffer: the
 * request has been carried out, `*reply_len` is the reply's length, and the buffer has its beginning.
 * Otherwise `*reply_len` is 0.
 */
IPC_MUST_USE
ipc_result ipc_endpoint_call(ipc_endpoint *endpoint,
                             ipc_address to,
                             const void *data,
                             size_t len,
                             void *buffer,
                             size_t room,
                             size_t *reply_len,
                             int64_t timeout_ns);

/**
 * Sends a request to a mailbox, from which any number of servers receive (ipc_endpoint_recv_mailbox), and waits
 * for the reply of the one that takes it. The servers' endpoints are in this endpoint's namespace. Otherwise
 * as ipc_endpoint_call.
 *
 * A request stays in the mailbox until a server takes it, also while there is none.
 *
 * Errors: as ipc_endpoint_call; IPC_ERR_CLOSED where the mailbox is shut down. IPC_ERR_PEER_GONE where the
 * server that took it dies before it has replied.
 */
IPC_MUST_USE
ipc_result ipc_endpoint_call_mailbox(ipc_endpoint *endpoint,
                                     ipc_queue *mailbox,
                                     const void *data,
                                     size_t len,
                                     void *buffer,
                                     size_t room,
                                     size_t *reply_len,
                                     int64_t timeout_ns);

/**
 * Replies to a request with `len` bytes; never waits for the caller. The bytes are copied; `data` may be
 * NULL where `len` is 0. Where the caller is gone, or has stopped waiting, nobody reads the reply, which is no
 * error. Replies may be given in any order, by any thread, also when the endpoint has been closed.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT where it has been replied to already; IPC_ERR_MESSAGE_TOO_LONG;
 * IPC_ERR_WOULD_BLOCK where the caller's inbox is held up by a process that was stopped;
 * IPC_ERR_LIMIT_REACHED where it is full of replies that nobody has fetched; IPC_ERR_NO_SPACE,
 * IPC_ERR_NO_MEMORY and other errors of the system; IPC_ERR_NOT_OWNER in a child of fork. It still wants a
 * reply then (but for the first).
 */
IPC_MUST_USE ipc_result ipc_request_reply(ipc_request *request, const void *data, size_t len);

/**
 * Gives back the handle of a request. One that was not replied to ends its sender's call with
 * IPC_ERR_NO_REPLY (not in a child of fork, which leaves that to its parent). Closing NULL does nothing. No
 * other thread may be inside a call on the handle, or make one later.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT.
 */
ipc_result ipc_request_close(ipc_request *request);

/**
 * Puts a descriptor for the program's own event loop into `*fd`: readable while there may be a message. As
 * ipc_queue_readiness_fd.
 *
 * Errors: as ipc_queue_readiness_fd; `*fd` is -1 then.
 */
IPC_MUST_USE ipc_result ipc_endpoint_readiness_fd(ipc_endpoint *endpoint, int *fd);

/*
 * ======== WAITING FOR SEVERAL ========
 *
 * ipc_wait waits until one of several queues, endpoints and semaphores is ready: an attempt would not have
 * to wait at that moment. Programs that have an event loop of their own (poll, epoll) use the descriptors that
 * ipc_queue_readiness_fd and its like give.
 */

/**
 * The most that ipc_wait waits for at a time.
 */
#define IPC_MAX_WAIT 128

/**
 * Of a queue or an endpoint: there is a message, or the queue was shut down.
 */
#define IPC_WAIT_RECV 1

/**
 * Of a queue: there is room for a message, or the queue was shut down.
 */
#define IPC_WAIT_SEND 2

/**
 * Of a semaphore: there is a unit or a permit.
 */
#define IPC_WAIT_ACQUIRE 4

/**
 * What ipc_wait waits for.
 */
typedef struct {
  /**
   * An ipc_queue, an ipc_endpoint or an ipc_semaphore.
   */
  const void *handle;
  /**
   * What is waited for: IPC_WAIT_RECV or IPC_WAIT_SEND or both of a queue, IPC_WAIT_RECV of an endpoint,
   * IPC_WAIT_ACQUIRE of a semaphore.
   */
  uint32_t events;
  /**
   * Which of them are ready: set by ipc_wait.
   */
  uint32_t ready;
} ipc_waitable;

/**
 * Waits until one of the `count` things in `items` is ready, no longer than `timeout_ns`, and sets `ready` in
 * all that are; in the others it is 0. There are at most IPC_MAX_WAIT of them, a queue with two events being
 * two.
 *
 * Nothing is received, sent or acquired by it. So attempt that with IPC_DONT_WAIT, and wait again where it gives
 * IPC_ERR_WOULD_BLOCK: another thread or process may have been faster. A queue that was shut down is ready, and
 * so is an object that is corrupted: the attempt says so. In what order ready things are seen to is the
 * caller's choice; who always begins with the first may starve the last.
 *
 * Any number of threads and processes may wait for the same object, beside those that wait for it alone; while
 * one does so, each message wakes all of them. One that is killed strands nobody. Where the system
 * lacks futex_waitv(2) (before Linux 5.16, or in some sandboxes) it looks every 5 ms.
 *
 * Errors: IPC_ERR_WOULD_BLOCK, IPC_ERR_TIMED_OUT, IPC_ERR_INTERRUPTED by a signal handler;
 * IPC_ERR_INVALID_ARGUMENT for a handle that is none, or events that its kind does not have, or none;
 * IPC_ERR_LIMIT_REACHED where there are too many. `ready` is 0 in all then (unless `count` is too large).
 */
IPC_MUST_USE ipc_result ipc_wait(ipc_waitable *items, size_t count, int64_t timeout_ns);

/*
 * ======== COUNTERS ========
 *
 * The library never prints. What goes on in a running system is counted instead, in each queue, endpoint,
 * mutex and semaphore, by all processes together. Any thread of any process that has the object open reads
 * its counters; the command `rsipc stat` shows them of an object that it does not open.
 *
 * They only grow, and begin again at 0 after 2^64 - 1: the difference of two looks, divided by the time
 * between them, is a rate. Each number is right by itself; they are read one after the other while others
 * work, so they need not belong to the very same moment.
 *
 * They are statistics, on which nothing depends. A process that is killed may leave the bytes, and a
 * rendezvous's messages, short by the message that it was passing on at that moment, and the last four
 * numbers by what it was about to count. Nobody makes one too high; but a process that may write to the
 * object can write anything to them.
 */

/**
 * What has happened to an object since it was created, in all processes. Start from IPC_COUNTERS_INIT.
 */
typedef struct {
  /**
   * sizeof(ipc_counters), set by the caller: later releases may add fields at the end. Fields that the
   * library does not know are set to 0.
   */
  size_t size;
  /**
   * How many messages were sent; in a rendezvous, those that a receiver took. 0 for mutexes and
   * semaphores, as are the next three.
   */
  uint64_t sent;
  /**
   * How many messages were received. One on lease that comes back, and is received again, counts once.
   */
  uint64_t received;
  /**
   * How many bytes the messages had that were sent.
   */
  uint64_t bytes_sent;
  /**
   * How many bytes the messages had that were received.
   */
  uint64_t bytes_received;
  /**
   * How often a call went to sleep, or was about to, since it had to wait: for a message, for room, for a
   * unit, for the lock. A call counts once, however long it waits; in Python, which looks for signals
   * meanwhile, once every 100 ms. One that ends in the short spin before it does not count. Who waits for several
   * objects at once waits for each of them.
   */
  uint64_t waits;
  /**
   * How often one that slept was woken, by a call or by the kernel. More than waits: some were woken for
   * nothing. Fewer: some waits ended with their time, or with their process, or before the sleep had begun.
   */
  uint64_t wakeups;
  /**
   * How often something was put right that a dead process had left: a mutex that passed from a dead owner
   * to the next, the permits of a process that came back, a message that came back from a lease, the
   * memory that it had for one, what it had half done when it was killed in the middle of a call. A death
   * that leaves nothing behind leaves nothing to be put right.
   */
  uint64_t recoveries;
  /**
   * How often a call came upon the death of a process (of a thread, for a mutex) through something that it
   * had left. One that has left things in several places may be come upon in each.
   */
  uint64_t deaths;
} ipc_counters;

/**
 * Puts into `*counters` what has happened to the queue so far.
 *
 * Errors: IPC_ERR_INVALID_ARGUMENT where `counters->size` is not set; IPC_ERR_CORRUPTED. All numbers are 0
 * then.
 */
IPC_MUST_USE ipc_result ipc_queue_counters(const ipc_queue *queue, ipc_counters *counters);

/**
 * Puts into `*counters` what has happened to the endpoint's inbox so far: what others sent to it, and what
 * was received.
 *
 * Errors: as ipc_queue_counters.
 */
IPC_MUST_USE ipc_result ipc_endpoint_counters(const ipc_endpoint *endpoint, ipc_counters *counters);

/**
 * Puts into `*counters` how often somebody waited for the mutex so far, and how often its owner died.
 *
 * Errors: as ipc_queue_counters.
 */
IPC_MUST_USE ipc_result ipc_mutex_counters(const ipc_mutex *mutex, ipc_counters *counters);

/**
 * Puts into `*counters` how often somebody waited for the semaphore so far, and what was put right of the
 * dead.
 *
 * Errors: as ipc_queue_counters.
 */
IPC_MUST_USE ipc_result ipc_semaphore_counters(const ipc_semaphore *semaphore, ipc_counters *counters);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif /* RSIPC_IPC_H */
