/* Preloaded into a process: records what it writes below one folder, and makes the n-th of those calls fail or kill.

   Nothing happens before `faulty_arm`. While it is armed nothing is really synced: what a power cut would take is
   worked out from the record (faults_disk.py), and a kill takes nothing that the kernel already has.
   Record: a line `kind inode offset length error path-bytes target-bytes data-bytes`, then those bytes. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE = 1, TRUNCATE = 2, SYNC = 4, CREATE = 8, RENAME = 16, UNLINK = 32, MKDIR = 64, OPEN = 128 };

enum action { RECORD, KILL_BEFORE, KILL_AFTER, KILL_HALF, FAIL_ONCE, FAIL_FROM, SHORT_ONCE, SHORT_FROM, FULL };
enum verdict { GO, THEN_DIE, HALF, HALF_THEN_DIE, FAIL };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int armed, journal, with_data, action, error_number;
static unsigned kinds;
static long calls, wanted;
static char root[PATH_MAX];
static size_t root_length;

static void put(const void *bytes, size_t length) {
    for (const char *at = bytes; length > 0;) {
        long done = syscall(SYS_write, journal, at, length);
        if (done <= 0) abort();
        at += done;
        length -= (size_t)done;
    }
}

static void record(char letter, unsigned long inode, long offset, long length, int error, const char *path,
                   const char *target, const void *data) {
    char line[PATH_MAX * 2 + 200];
    size_t bytes = data != NULL && with_data && length > 0 ? (size_t)length : 0;
    int at = snprintf(line, sizeof line, "%c %lu %ld %ld %d %zu %zu %zu\n%s%s", letter, inode, offset, length, error,
                      strlen(path), strlen(target), bytes, path, target);
    put(line, (size_t)at);
    if (bytes) put(data, bytes);
}

static void die(void) {
    for (;;) syscall(SYS_kill, getpid(), SIGKILL);
}

static int is_below(const char *path) {
    return strncmp(path, root, root_length) == 0 && path[root_length] == '/';
}

/* The name of a file or folder that is below the folder, and what it is. */
static int watched(int fd, char *path, struct stat *stat) {
    char link[40];
    if (!armed || fd == journal || fstat(fd, stat) != 0) return 0;
    if (!S_ISREG(stat->st_mode) && !S_ISDIR(stat->st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path) || strcmp(path, root) == 0;
}

/* Counts the call; called with the lock held, and does not return when the process is to die before it. */
static enum verdict next_is(enum kind kind, const char *path) {
    if (!(kinds & kind)) return GO;
    long n = ++calls;
    int now = n == wanted, since = n >= wanted;
    if ((action == KILL_BEFORE && now) || (action == KILL_HALF && now && kind != WRITE)) {
        record('K', 0, n, 0, 0, path, "", NULL);
        die();
    }
    if (action == KILL_AFTER && now) return THEN_DIE;
    if (action == KILL_HALF && now) return HALF_THEN_DIE;
    if ((action == FAIL_ONCE && now) || (action == FAIL_FROM && since)) return FAIL;
    if (kind == WRITE && ((action == SHORT_ONCE && now) || (action == SHORT_FROM && since))) return HALF;
    if (action == FULL && since) return now && kind == WRITE ? HALF : FAIL;
    return GO;
}

static int failed(const char *path) {
    record('F', 0, calls, 0, error_number, path, "", NULL);
    errno = error_number;
    return -1;
}

static void end(enum verdict verdict, const char *path) {
    if (verdict == THEN_DIE || verdict == HALF_THEN_DIE) {
        record('K', 0, calls, 1, 0, path, "", NULL);
        die();
    }
}

void faulty_arm(const char *folder, int fd, int data, int what, unsigned which, long n, int error) {
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    journal = fd;
    with_data = data;
    action = what;
    kinds = which;
    wanted = n;
    error_number = error;
    calls = 0;
    armed = 1;
}

long faulty_disarm(void) {
    armed = 0;
    return calls;
}

/* A word of the harness between the calls: what was begun, what was acknowledged. */
void faulty_note(const char *text) {
    pthread_mutex_lock(&mutex);
    record('N', 0, 0, 0, 0, text, "", NULL);
    pthread_mutex_unlock(&mutex);
}

/* Bytes ------------------------------------------------------------------------------------------------------- */

static ssize_t write_at(int fd, const void *data, size_t length, off_t offset, int positioned) {
    char path[PATH_MAX];
    struct stat stat;
    if (!watched(fd, path, &stat))
        return positioned ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
    pthread_mutex_lock(&mutex);
    enum verdict verdict = next_is(WRITE, path);
    ssize_t done;
    if (verdict == FAIL) {
        done = failed(path);
    } else {
        if ((verdict == HALF || verdict == HALF_THEN_DIE) && length > 1) length /= 2;
        if (verdict == HALF) record('F', 0, calls, 0, 0, path, "", NULL);
        if (!positioned) offset = fcntl(fd, F_GETFL) & O_APPEND ? stat.st_size : lseek(fd, 0, SEEK_CUR);
        done = positioned ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
        int error = errno;
        if (done > 0) record('W', stat.st_ino, offset, done, 0, path, "", data);
        end(verdict, path);
        errno = error;
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

ssize_t write(int fd, const void *data, size_t length) { return write_at(fd, data, length, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) { return write_at(fd, data, length, at, 1); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    struct stat stat;
    if (!watched(fd, path, &stat)) return syscall(SYS_writev, fd, parts, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = parts[i].iov_len ? write_at(fd, parts[i].iov_base, parts[i].iov_len, 0, 0) : 0;
        if (done < 0) return total ? total : -1;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}

static int truncate_to(int fd, off_t length) {
    char path[PATH_MAX];
    struct stat stat;
    if (!watched(fd, path, &stat)) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&mutex);
    enum verdict verdict = next_is(TRUNCATE, path);
    int result = -1;
    if (verdict == FAIL) {
        failed(path);
    } else {
        result = (int)syscall(SYS_ftruncate, fd, length);
        if (result == 0) record('T', stat.st_ino, length, 0, 0, path, "", NULL);
        end(verdict, path);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int ftruncate(int fd, off_t length) { return truncate_to(fd, length); }
int ftruncate64(int fd, off_t length) { return truncate_to(fd, length); }

static int synced(int fd, int call) {
    char path[PATH_MAX];
    struct stat stat;
    if (!watched(fd, path, &stat)) return (int)syscall(call, fd);
    pthread_mutex_lock(&mutex);
    enum verdict verdict = next_is(SYNC, path);
    int result = 0;
    if (verdict == FAIL) {
        result = failed(path);
    } else {
        record('S', stat.st_ino, S_ISDIR(stat.st_mode), 0, 0, path, "", NULL);
        end(verdict, path);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* Names ------------------------------------------------------------------------------------------------------- */

static int open_at(int folder, const char *path, int flags, mode_t mode) {
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (!armed || !writes || path[0] != '/' || !is_below(path))
        return (int)syscall(SYS_openat, folder, path, flags, mode);
    pthread_mutex_lock(&mutex);
    struct stat stat;
    int there = fstatat(AT_FDCWD, path, &stat, 0) == 0;
    int creates = !there && (flags & O_CREAT), empties = there && (flags & O_TRUNC);
    enum verdict verdict = next_is(creates || empties ? CREATE : OPEN, path);
    int fd = -1;
    if (verdict == FAIL) {
        failed(path);
    } else {
        fd = (int)syscall(SYS_openat, folder, path, flags, mode);
        int error = errno;
        if (fd >= 0 && fstat(fd, &stat) == 0) {
            if (creates) record('C', stat.st_ino, 0, 0, 0, path, "", NULL);
            if (empties) record('T', stat.st_ino, 0, 0, 0, path, "", NULL);
        }
        end(verdict, path);
        errno = error;
    }
    pthread_mutex_unlock(&mutex);
    return fd;
}

#define MODE_OF_CALL                                                                                                \
    mode_t mode = 0;                                                                                                \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                                          \
        va_list rest;                                                                                               \
        va_start(rest, flags);                                                                                      \
        mode = (mode_t)va_arg(rest, int);                                                                           \
        va_end(rest);                                                                                               \
    }

int open(const char *path, int flags, ...) { MODE_OF_CALL return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF_CALL return open_at(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE_OF_CALL return open_at(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE_OF_CALL return open_at(folder, path, flags, mode); }

static FILE *stream(const char *path, const char *mode, const char *name) {
    FILE *(*real)(const char *, const char *);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    if (!armed || !is_below(path) || mode[0] == 'r') return real(path, mode);
    int flags = O_CREAT | (strchr(mode, '+') ? O_RDWR : O_WRONLY) | (mode[0] == 'w' ? O_TRUNC : O_APPEND);
    int fd = open_at(AT_FDCWD, path, flags | O_CLOEXEC, 0666);
    return fd < 0 ? NULL : fdopen(fd, mode);
}

FILE *fopen(const char *path, const char *mode) { return stream(path, mode, "fopen"); }
FILE *fopen64(const char *path, const char *mode) { return stream(path, mode, "fopen64"); }

/* A stream's own buffer is written inside the C library, where nobody sees it: written through instead. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    static size_t (*real)(const void *, size_t, size_t, FILE *);
    char path[PATH_MAX];
    struct stat stat;
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fwrite");
    if (!armed || !size || !watched(fileno(file), path, &stat)) return real(data, size, count, file);
    fflush(file);
    for (size_t done = 0, total = size * count; done < total;) {
        ssize_t step = write_at(fileno(file), (const char *)data + done, total - done, 0, 0);
        if (step <= 0) return done / size;
        done += (size_t)step;
    }
    fseeko(file, lseek(fileno(file), 0, SEEK_CUR), SEEK_SET);
    return count;
}

static int rename_at(const char *from, const char *to) {
    if (!armed || !(is_below(from) || is_below(to)))
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&mutex);
    enum verdict verdict = next_is(RENAME, to);
    int result = -1;
    if (verdict == FAIL) {
        failed(to);
    } else {
        result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
        int error = errno;
        if (result == 0) record('R', 0, 0, 0, 0, from, to, NULL);
        end(verdict, to);
        errno = error;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int rename(const char *from, const char *to) { return rename_at(from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    return from[0] == '/' && to[0] == '/' ? rename_at(from, to) : (int)syscall(SYS_renameat2, a, from, b, to, 0);
}

static int unlink_at(int folder, const char *path, int flags) {
    if (!armed || path[0] != '/' || !is_below(path)) return (int)syscall(SYS_unlinkat, folder, path, flags);
    pthread_mutex_lock(&mutex);
    enum verdict verdict = next_is(UNLINK, path);
    int result = -1;
    if (verdict == FAIL) {
        failed(path);
    } else {
        result = (int)syscall(SYS_unlinkat, folder, path, flags);
        int error = errno;
        if (result == 0) record('U', 0, 0, 0, 0, path, "", NULL);
        end(verdict, path);
        errno = error;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int unlink(const char *path) { return unlink_at(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return unlink_at(folder, path, flags); }
int remove(const char *path) {
    int result = unlink_at(AT_FDCWD, path, 0);
    return result < 0 && errno == EISDIR ? unlink_at(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

int mkdir(const char *path, mode_t mode) {
    if (!armed || !is_below(path)) return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    pthread_mutex_lock(&mutex);
    enum verdict verdict = next_is(MKDIR, path);
    int result = -1;
    if (verdict == FAIL) {
        failed(path);
    } else {
        result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
        int error = errno;
        if (result == 0) record('M', 0, 0, 0, 0, path, "", NULL);
        end(verdict, path);
        errno = error;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}
