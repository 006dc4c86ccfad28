/* Preloaded into a daemon, it shifts the wall clock by as many seconds as the file CLOCK_OFFSET_FILE says. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_OFFSET_FILE");
    FILE *file = clock == CLOCK_REALTIME && path ? fopen(path, "re") : NULL;
    long offset = 0;
    if (file) {
        if (fscanf(file, "%ld", &offset) == 1)
            now->tv_sec += offset;
        fclose(file);
    }
    return result;
}
