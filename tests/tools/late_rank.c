// Preloaded: the process whose RANK is LATE_RANK begins LATE_SECONDS late, before main().
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void begin_late(void) {
  const char* rank = getenv("RANK");
  const char* late = getenv("LATE_RANK");
  const char* seconds = getenv("LATE_SECONDS");
  if (rank == NULL || late == NULL || seconds == NULL || strcmp(rank, late) != 0) return;
  unsigned left = (unsigned)atoi(seconds);
  while (left > 0) left = sleep(left);
}
