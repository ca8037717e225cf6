/* Makes the wall clock of a process wrong, by as many seconds as CHAOS_TEST_SKEW says.

   Loaded before the C library, so that all that is asked in the process says the same: the
   interpreter, gRPC, drivers. Steady clocks stay as they are: they have no zero to be wrong about. */

#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead_s;

__attribute__((constructor)) static void read_skew(void) {
  const char *text = getenv("CHAOS_TEST_SKEW");
  ahead_s = text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    now->tv_sec += ahead_s;
  return result;
}

int gettimeofday(struct timeval *now, void *zone) {
  int result = (int)syscall(SYS_gettimeofday, now, zone);
  if (!result)
    now->tv_sec += ahead_s;
  return result;
}

time_t time(time_t *now) {
  struct timespec found;
  clock_gettime(CLOCK_REALTIME, &found);
  if (now)
    *now = found.tv_sec;
  return found.tv_sec;
}
