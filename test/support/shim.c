/*
 * A disk that misbehaves on demand, loaded into a process with LD_PRELOAD. Watches files that end in .db and .db-wal.
 *
 *   SHIM_LOG=path          records every write, truncation, unlink and sync of them, in one order (see disk-model.ts)
 *   SHIM_DELAY_US=n        every sync takes n microseconds longer
 *   SHIM_EIO=wal:n, db:n   the n-th sync of that file fails once
 *   SHIM_KILL_WRITE=n      SIGKILL at the n-th write; SHIM_KILL_WHEN=before (default) or after it
 *   SHIM_COUNT=path        at exit, how many writes there were
 *
 * The program itself may call shim_mark (adds a line to the record) and shim_fill_disk (the sum of 1, database, and 2,
 * wal: whose writes get ENOSPC from now on).
 *
 * Bun's SQLite goes through libc but Bun's `fs` makes raw system calls, which no symbol can catch. So a seccomp filter
 * turns the calls into SIGSYS on the calling thread, and the handler makes the real call with PASS as sixth argument,
 * which the filter lets through. A write is recorded after it returned, a sync before it starts and again after it
 * succeeded: the record never claims more durability than there was. x86-64 Linux only; needs no privilege.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the handler reads x86-64 registers"
#endif

#define PASS 0x5eaf00d5
enum file { DATABASE, WAL, OTHER };
enum { BUFFER = 8 << 20 };

struct record {
  uint64_t seq;
  uint8_t type, file;
  uint16_t unlinked;
  uint32_t unused;
  uint64_t offset, length; /* followed by `length` bytes when the type is W or M */
};

static pthread_mutex_t recording = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *buffer;
static size_t buffered;
static uint64_t last_seq;
static int record_fd = -1;
static const char *count_path;
static long delay_us, eio_at, kill_at, writes, syncs;
static int eio_file = OTHER, kill_after, full_files;

static long system_call(long number, long a, long b, long c, long d, long e) {
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = PASS;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result; /* -errno, as the kernel answers */
}

static void write_out(int fd, const void *from, size_t length) {
  const char *next = from;
  while (length > 0) {
    long done = system_call(SYS_write, fd, (long)next, length, 0, 0);
    if (done <= 0) _exit(99);
    next += done;
    length -= done;
  }
}

static void flush_records(void) {
  if (buffered > 0) write_out(record_fd, buffer, buffered);
  buffered = 0;
}

static uint64_t record(int type, int file, int unlinked, uint64_t offset, uint64_t length, const void *bytes) {
  if (record_fd < 0) return 0;
  pthread_mutex_lock(&recording);
  uint64_t seq = ++last_seq;
  struct record head = { seq, type, file, unlinked, 0, offset, length };
  if (buffered + sizeof head + length > BUFFER) flush_records();
  memcpy(buffer + buffered, &head, sizeof head);
  buffered += sizeof head;
  if (length > BUFFER / 2) {
    flush_records();
    write_out(record_fd, bytes, length);
  } else if (length > 0) {
    memcpy(buffer + buffered, bytes, length);
    buffered += length;
  }
  pthread_mutex_unlock(&recording);
  return seq;
}

void shim_mark(const char *text) { record('M', OTHER, 0, 0, strlen(text), text); }
void shim_fill_disk(int files) { __atomic_store_n(&full_files, files, __ATOMIC_SEQ_CST); }

static int ends_with(const char *path, size_t length, const char *end) {
  size_t n = strlen(end);
  return length > n && memcmp(path + length - n, end, n) == 0;
}

static enum file file_of_path(const char *path, size_t length) {
  if (ends_with(path, length, ".db")) return DATABASE;
  return ends_with(path, length, ".db-wal") ? WAL : OTHER;
}

/* Which watched file a descriptor is, and whether its name is gone: a sync of a deleted log counts for nothing. */
static enum file file_of(int fd, int *unlinked) {
  static const char gone[] = " (deleted)";
  char link[32], path[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = system_call(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, sizeof path, 0);
  *unlinked = 0;
  if (length <= 0) return OTHER;
  if (ends_with(path, length, gone)) {
    *unlinked = 1;
    length -= sizeof gone - 1;
  }
  return file_of_path(path, length);
}

static void die(void) { system_call(SYS_kill, system_call(SYS_getpid, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0); }

static long sync_file(long number, const long *a) {
  int unlinked;
  enum file file = file_of(a[0], &unlinked);
  if (file == OTHER) return system_call(number, a[0], 0, 0, 0, 0);
  uint64_t began = record('B', file, unlinked, 0, 0, 0);
  if (file == (enum file)eio_file && __atomic_add_fetch(&syncs, 1, __ATOMIC_SEQ_CST) == eio_at) return -EIO;
  long result = system_call(number, a[0], 0, 0, 0, 0);
  if (delay_us > 0) {
    struct timespec time = { delay_us / 1000000, delay_us % 1000000 * 1000 };
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, 0);
  }
  if (result == 0) record('E', file, unlinked, began, 0, 0);
  return result;
}

static long write_file(const long *a) {
  int unlinked;
  enum file file = file_of(a[0], &unlinked);
  if (file == OTHER) return system_call(SYS_pwrite64, a[0], a[1], a[2], a[3], 0);
  if (__atomic_load_n(&full_files, __ATOMIC_SEQ_CST) & 1 << file) return -ENOSPC;
  long number = __atomic_add_fetch(&writes, 1, __ATOMIC_SEQ_CST);
  if (number == kill_at && !kill_after) die();
  long result = system_call(SYS_pwrite64, a[0], a[1], a[2], a[3], 0);
  if (number == kill_at && kill_after) die();
  if (result > 0) record('W', file, unlinked, a[3], result, (const void *)a[1]);
  return result;
}

static long unlink_file(long number, const long *a) {
  const char *path = (const char *)a[number == SYS_unlinkat];
  long result = system_call(number, a[0], a[1], a[2], 0, 0);
  enum file file = file_of_path(path, strlen(path));
  if (result == 0 && file != OTHER) record('U', file, 0, 0, 0, 0);
  return result;
}

static void at_exit(void) {
  if (record_fd >= 0) {
    pthread_mutex_lock(&recording); /* kept: nothing is recorded any more */
    flush_records();
  }
  if (count_path) {
    char text[32];
    long fd = system_call(SYS_openat, AT_FDCWD, (long)count_path, O_CREAT | O_TRUNC | O_WRONLY, 0644, 0);
    if (fd >= 0) write_out(fd, text, snprintf(text, sizeof text, "%ld\n", writes));
  }
}

static long caught(long number, const long *a) {
  int unlinked;
  long result;
  switch (number) {
  case SYS_fsync: case SYS_fdatasync: return sync_file(number, a);
  case SYS_pwrite64: return write_file(a);
  case SYS_unlink: case SYS_unlinkat: return unlink_file(number, a);
  case SYS_ftruncate:
    result = system_call(number, a[0], a[1], 0, 0, 0);
    enum file file = file_of(a[0], &unlinked);
    if (result == 0 && file != OTHER) record('T', file, unlinked, a[1], 0, 0);
    return result;
  case SYS_io_uring_setup: return -ENOSYS; /* nothing may go round the record */
  case SYS_exit_group: at_exit(); break;
  default: /* other ways to write: the disk model knows none of them, so they must not happen */
    if (file_of(a[number == SYS_copy_file_range ? 2 : 0], &unlinked) != OTHER) {
      dprintf(2, "shim: system call %ld on a watched file is not modelled\n", number);
      _exit(99);
    }
  }
  return system_call(number, a[0], a[1], a[2], a[3], a[4]);
}

static void on_sigsys(int signal, siginfo_t *info, void *context) {
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  long arguments[5] = { r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8] };
  int kept = errno;
  (void)signal;
  r[REG_RAX] = caught(info->si_syscall, arguments);
  errno = kept;
}

/* Bun installs a SIGSYS handler of its own (it answers ENOSYS). The first one, ours, stays. */
int sigaction(int signal, const struct sigaction *new, struct sigaction *old) {
  static int (*real)(int, const struct sigaction *, struct sigaction *);
  static int installed;
  if (!real) real = (int (*)(int, const struct sigaction *, struct sigaction *))dlsym(RTLD_NEXT, "sigaction");
  if (signal == SIGSYS && new) {
    if (installed) return 0;
    installed = 1;
  }
  return real(signal, new, old);
}

static int install_filter(const int *calls, int count) {
  struct sock_filter program[32];
  int n = 0;
  program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]));
  program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PASS, count + 1, 0);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < count; i++)
    program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], count - i, 0);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
  struct sock_fprog filter = { n, program };
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static long number_from(const char *name) {
  const char *value = getenv(name);
  return value ? atol(value) : 0;
}

static void read_settings(void) {
  const char *value;
  delay_us = number_from("SHIM_DELAY_US");
  kill_at = number_from("SHIM_KILL_WRITE");
  kill_after = (value = getenv("SHIM_KILL_WHEN")) != 0 && strcmp(value, "after") == 0;
  count_path = getenv("SHIM_COUNT");
  if ((value = getenv("SHIM_EIO")) && strchr(value, ':')) {
    eio_file = strncmp(value, "db:", 3) == 0 ? DATABASE : WAL;
    eio_at = atol(strchr(value, ':') + 1);
  }
  if ((value = getenv("SHIM_LOG"))) {
    buffer = malloc(BUFFER);
    record_fd = open(value, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (record_fd < 0) _exit(99);
  }
}

__attribute__((constructor)) static void start(void) {
  static const int calls[] = {
    SYS_fsync, SYS_fdatasync, SYS_pwrite64, SYS_exit_group,
    /* only to record: */
    SYS_ftruncate, SYS_unlink, SYS_unlinkat, SYS_io_uring_setup, SYS_write, SYS_writev, SYS_pwritev, SYS_pwritev2,
    SYS_fallocate, SYS_sync_file_range, SYS_copy_file_range,
  };
  read_settings();
  struct sigaction action = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER };
  sigaction(SIGSYS, &action, 0);
  if (install_filter(calls, record_fd < 0 ? 4 : sizeof calls / sizeof *calls)) {
    dprintf(2, "shim: seccomp filters are not allowed here\n");
    _exit(99);
  }
}
