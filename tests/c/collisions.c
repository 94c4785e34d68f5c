/* The header lives beside those of System V and POSIX inter-process communication, before and after them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifdef IPC_FIRST
#include <ipc.h>
#endif
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <ipc.h>
#include <ipc.h>

int main(void) {
  ipc_mutex *mutex = NULL;
  int system_v = IPC_CREAT | IPC_EXCL | IPC_NOWAIT | IPC_RMID | IPC_SET | IPC_STAT | (int)IPC_PRIVATE;
  if (ipc_mutex_create("lock", NULL, &mutex) != IPC_OK || ipc_mutex_lock(mutex, IPC_FOREVER) != IPC_OK) {
    return 1;
  }
  return ipc_mutex_unlock(mutex) == IPC_OK && ipc_mutex_close(mutex) == IPC_OK && system_v != 0 ? 0 : 1;
}
