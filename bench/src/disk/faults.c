/* A disk that fails on command, for the files of one folder: preloaded into the server.
 *
 * HERALD_BENCH_FAULT names a file of 4096 bytes that the bench writes to while the server
 * runs: byte 0 is the fault, the 32 bits from byte 4 count how often it struck.
 * HERALD_BENCH_FAULT_FOLDER is the folder.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NONE, IO_ERROR, READ_ONLY, SYNC_FAILS, SHORT_WRITE };

static volatile unsigned char *control;
static char folder[PATH_MAX];
static size_t folder_length;

/* The first half of a write was done: the next call on this thread fails. */
static __thread int half_done;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("HERALD_BENCH_FAULT");
    const char *where = getenv("HERALD_BENCH_FAULT_FOLDER");
    if (!file || !where || !realpath(where, folder))
        return;
    folder_length = strlen(folder);
    int fd = REAL(open)(file, O_RDWR);
    if (fd < 0)
        return;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED)
        control = page;
}

static int fault(void) { return control ? control[0] : NONE; }

static int is_ours(const char *path)
{
    return strncmp(path, folder, folder_length) == 0;
}

static int is_our_file(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return is_ours(path);
}

static int fails(int error)
{
    __atomic_fetch_add((uint32_t *)(control + 4), 1, __ATOMIC_RELAXED);
    errno = error;
    return -1;
}

/* How much of a write is done: all of it, half, or nothing (-1, with errno). */
static ssize_t allowed(int fd, size_t size)
{
    int now = fault();
    if (now == NONE || now == SYNC_FAILS || !is_our_file(fd))
        return size;
    if (now == IO_ERROR)
        return fails(EIO);
    if (now == READ_ONLY)
        return fails(EROFS);
    if (half_done || size < 2) {
        half_done = 0;
        return fails(ENOSPC);
    }
    half_done = 1;
    return size / 2;
}

ssize_t write(int fd, const void *from, size_t size)
{
    ssize_t most = allowed(fd, size);
    return most < 0 ? -1 : REAL(write)(fd, from, most);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
    ssize_t most = allowed(fd, size);
    return most < 0 ? -1 : REAL(pwrite)(fd, from, most, at);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at)
{
    ssize_t most = allowed(fd, size);
    return most < 0 ? -1 : REAL(pwrite64)(fd, from, most, at);
}

static int may_change(int fd)
{
    int now = fault();
    if ((now == IO_ERROR || now == READ_ONLY) && is_our_file(fd))
        return fails(now == IO_ERROR ? EIO : EROFS);
    return 0;
}

int ftruncate(int fd, off_t size)
{
    return may_change(fd) ? -1 : REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return may_change(fd) ? -1 : REAL(ftruncate64)(fd, size);
}

static int may_sync(int fd)
{
    int now = fault();
    if ((now == IO_ERROR || now == READ_ONLY || now == SYNC_FAILS) && is_our_file(fd))
        return fails(now == READ_ONLY ? EROFS : EIO);
    return 0;
}

int fsync(int fd) { return may_sync(fd) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return may_sync(fd) ? -1 : REAL(fdatasync)(fd); }

static int may_open(const char *path, int flags)
{
    char whole[PATH_MAX];
    int changes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (fault() != READ_ONLY || !changes)
        return 0;
    /* A file that does not exist yet has a name as it was asked for. */
    return is_ours(realpath(path, whole) ? whole : path) ? fails(EROFS) : 0;
}

static mode_t mode_of(int flags, va_list more)
{
    return (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return may_open(path, flags) ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return may_open(path, flags) ? -1 : REAL(open64)(path, flags, mode);
}

int unlink(const char *path)
{
    if (fault() == READ_ONLY && is_ours(path))
        return fails(EROFS);
    return REAL(unlink)(path);
}
