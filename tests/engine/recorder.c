/* Preloaded into a process: notes in which order it writes and syncs the files of a directory.
 *
 * RECORDER_DIRECTORY names the directory, RECORDER_LOG the file for the notes. What the process
 * writes to its standard output is noted as well: what it has told others at that moment.
 * While there is a file that RECORDER_FAILS names, no sync succeeds.
 * A note: kind, offset, count of bytes, count of the path's bytes; the path; the bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct note {
  char kind;
  int64_t offset;
  int64_t count;
  int32_t path_count;
} __attribute__((packed));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int notes = -1;
static const char *directory;
static ssize_t (*real_write)(int, const void *, size_t);

static void put(const void *data, size_t count) {
  const char *at = data;
  while (count > 0) {
    ssize_t done = real_write(notes, at, count);
    if (done <= 0) abort();
    at += done;
    count -= (size_t)done;
  }
}

__attribute__((constructor)) static void begin(void) {
  real_write = dlsym(RTLD_NEXT, "write");
  directory = getenv("RECORDER_DIRECTORY");
  const char *log = getenv("RECORDER_LOG");
  if (directory == NULL || log == NULL) return;
  notes = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (notes < 0) abort();
}

/* Whether the file is one of the directory's, or the standard output; then its path. */
static int is_noted(int file, char *path) {
  if (notes < 0) return 0;
  if (file == 1) {
    path[0] = 0;
    return 1;
  }
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t count = readlink(link, path, PATH_MAX - 1);
  if (count <= 0) return 0;
  path[count] = 0;
  return strncmp(path, directory, strlen(directory)) == 0;
}

static void note(char kind, const char *path, off64_t offset, const void *data, ssize_t count) {
  struct note head = {kind, offset, count, (int32_t)strlen(path)};
  put(&head, sizeof head);
  put(path, strlen(path));
  if (data != NULL) put(data, (size_t)count);
}

ssize_t write(int file, const void *data, size_t count) {
  char path[PATH_MAX];
  if (real_write == NULL || !is_noted(file, path)) {
    return real_write ? real_write(file, data, count) : -1;
  }
  pthread_mutex_lock(&lock);
  off64_t offset = file == 1 ? 0 : lseek64(file, 0, SEEK_CUR);
  ssize_t done = real_write(file, data, count);
  if (done > 0) note(file == 1 ? 'A' : 'W', path, offset, data, done);
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t pwrite64(int file, const void *data, size_t count, off64_t offset) {
  ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
  char path[PATH_MAX];
  if (!is_noted(file, path)) return real(file, data, count, offset);
  pthread_mutex_lock(&lock);
  ssize_t done = real(file, data, count, offset);
  if (done > 0) note('W', path, offset, data, done);
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t pwrite(int file, const void *data, size_t count, off_t offset) {
  return pwrite64(file, data, count, offset);
}

int ftruncate64(int file, off64_t length) {
  int (*real)(int, off64_t) = dlsym(RTLD_NEXT, "ftruncate64");
  char path[PATH_MAX];
  if (!is_noted(file, path)) return real(file, length);
  pthread_mutex_lock(&lock);
  int result = real(file, length);
  if (result == 0) note('T', path, length, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

static int synced(int file, const char *name) {
  int (*real)(int) = dlsym(RTLD_NEXT, name);
  char path[PATH_MAX];
  if (!is_noted(file, path)) return real(file);
  const char *fails = getenv("RECORDER_FAILS");
  if (fails != NULL && access(fails, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  pthread_mutex_lock(&lock);
  int result = real(file);
  if (result == 0) note('S', path, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

static int is_ours(const char *path) {
  return notes >= 0 && strncmp(path, directory, strlen(directory)) == 0;
}

static int opened(const char *name, const char *path, int flags, mode_t mode) {
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
  if (!(flags & O_CREAT) || !is_ours(path)) return real(path, flags, mode);
  pthread_mutex_lock(&lock);
  int is_new = access(path, F_OK) != 0;
  int file = real(path, flags, mode);
  if (file >= 0 && is_new) note('C', path, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return file;
}

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return opened("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return opened("open64", path, flags, mode);
}

int unlink(const char *path) {
  int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
  if (!is_ours(path)) return real(path);
  pthread_mutex_lock(&lock);
  int result = real(path);
  if (result == 0) note('U', path, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int fsync(int file) { return synced(file, "fsync"); }

int fdatasync(int file) { return synced(file, "fdatasync"); }
