// Preloaded: a clock of the day that goes backwards, ten times as fast as time passes.
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { in_a_second = 1000000000 };

int clock_gettime(clockid_t clock, struct timespec* time) {
  const int result = (int)syscall(SYS_clock_gettime, clock, time);
  if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
  struct timespec passed;  // since the machine's start, whichever process asks
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &passed);
  const long long now = time->tv_sec * (long long)in_a_second + time->tv_nsec;
  const long long back = 11 * (passed.tv_sec * (long long)in_a_second + passed.tv_nsec);
  time->tv_sec = (now - back) / in_a_second;
  time->tv_nsec = (now - back) % in_a_second;
  return 0;
}

time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval* restrict out, void* restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
