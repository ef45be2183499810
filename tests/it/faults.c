/* A disk that fails on command, for LD_PRELOAD: while a file of a fault's name is in the directory that FAULTS names, what
 * is written to the journal's segments fails as that fault says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static const char SEGMENT[] = ".journal";

static int is_segment(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < (ssize_t)sizeof SEGMENT) return 0;
    path[length] = 0;
    return strcmp(path + length - (sizeof SEGMENT - 1), SEGMENT) == 0;
}

static int is_due(int fd, const char *fault) {
    char path[4096];
    const char *directory = getenv("FAULTS");
    if (directory == NULL || !is_segment(fd)) return 0;
    snprintf(path, sizeof path, "%s/%s", directory, fault);
    return access(path, F_OK) == 0;
}

int fdatasync(int fd) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (is_due(fd, "fdatasync-eio")) {
        errno = EIO;
        return -1;
    }
    return next(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    ssize_t (*next)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (is_due(fd, "pwrite-eio")) {
        errno = EIO;
        return -1;
    }
    if (is_due(fd, "pwrite-enospc")) {
        /* A disk fills up in the middle of a write: the caller hears of it at the next. */
        if (count > 64) return next(fd, bytes, count / 2, offset);
        errno = ENOSPC;
        return -1;
    }
    if (count > 1 && is_due(fd, "pwrite-short")) count = (count + 1) / 2;
    return next(fd, bytes, count, offset);
}
