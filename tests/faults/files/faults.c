// The one fault of a job: at the Nth call of a kind, counted over all its processes.
//   call  open write sync rename unlink mkdir link truncate read, or any (all but read)
//   does  ENOSPC EIO EROFS EDQUOT EMFILE, short (half of what was asked for),
//         die-before die-behind (SIGKILL), group-before group-behind (all of its process group)
//   name  counts only calls whose file has this in its name
//   on    all later calls of the kind fail, too, as on a disk that stays full
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

static const char* const call_names[calls] = {"open",  "write", "sync",     "rename", "unlink",
                                              "mkdir", "link",  "truncate", "read"};

struct state {
  uint64_t counted, fired;
  char where[256];  // of the call that was hit
};
static struct state* state = NULL;
static int wanted[calls], stays = 0, number = 0;
static uint64_t nth = 0;
static char part[256], does[64];
static long delay = 0;

static int number_of(const char* name) {
  static const struct {
    const char* name;
    int number;
  } known[] = {
      {"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT}, {"EMFILE", EMFILE}};
  for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
    if (strcmp(known[i].name, name) == 0) return known[i].number;
  return 0;
}

static void take_word(const char* word) {
  if (strncmp(word, "call=", 5) == 0) {
    for (int i = 0; i < calls; ++i)
      wanted[i] = strcmp(word + 5, "any") == 0 ? i != call_read : !strcmp(word + 5, call_names[i]);
  } else if (strncmp(word, "nth=", 4) == 0) {
    nth = strtoull(word + 4, NULL, 10);
  } else if (strncmp(word, "name=", 5) == 0) {
    snprintf(part, sizeof part, "%s", word + 5);
  } else if (strncmp(word, "does=", 5) == 0) {
    snprintf(does, sizeof does, "%s", word + 5);
    number = number_of(does);
  } else if (strcmp(word, "on") == 0) {
    stays = 1;
  } else {
    abort();
  }
}

__attribute__((constructor(210))) static void settle_fault(void) {
  const char* slow = getenv("SWITCHYARD_DELAY");
  if (slow) delay = strtol(slow, NULL, 10);
  const char *text = getenv("SWITCHYARD_FAULT"), *file = getenv("SWITCHYARD_STATE");
  if (!text || !file) return;
  char* words = strdup(text);
  char* rest = NULL;
  for (char* word = strtok_r(words, ";", &rest); word; word = strtok_r(NULL, ";", &rest))
    take_word(word);
  free(words);
  const int open = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (open < 0 || ftruncate(open, sizeof *state) != 0) abort();
  state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, open, 0);
  syscall(SYS_close, open);
  if (state == MAP_FAILED) abort();
}

static void die(void) {
  if (strncmp(does, "group", 5) == 0) kill(0, SIGKILL);
  kill(getpid(), SIGKILL);
  pause();
}

static void wait_for_disk(enum call call) {
  if (delay <= 0 || (call != call_write && call != call_sync)) return;
  const struct timespec time = {delay / 1000, delay % 1000 * 1000000};
  nanosleep(&time, NULL);
}

enum verdict fault_at(enum call call, const char* name) {
  wait_for_disk(call);
  if (!state || !wanted[call] || !strstr(name, part)) return goes_on;
  const uint64_t count = __atomic_add_fetch(&state->counted, 1, __ATOMIC_SEQ_CST);
  if (count != nth && !(stays && count > nth)) return goes_on;
  if (__atomic_add_fetch(&state->fired, 1, __ATOMIC_SEQ_CST) == 1)
    snprintf(state->where, sizeof state->where, "%s of %.200s", call_names[call], name);
  if (number != 0) {
    errno = number;
    return fails;
  }
  if (strcmp(does, "short") == 0) return comes_short;
  if (strstr(does, "before")) die();
  return dies_behind;
}

void fault_behind(enum verdict verdict) {
  if (verdict == dies_behind) die();
}
