// Preloaded, it makes rank 0 fault inside MPI_Init_thread, as Open MPI's PMIx does now and then: as
// often as SWITCHYARD_TEST_FAULTS says, counted by files in the folder SWITCHYARD_TEST_FOLDER.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

namespace {

bool is_first_of(const std::string& file) {
  const int made = open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  return made >= 0 && close(made) == 0;
}

std::string variable(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

extern "C" int MPI_Init_thread(int* count, char*** words, int wanted, int* provided) {
  const int faults = atoi(variable("SWITCHYARD_TEST_FAULTS").c_str());
  for (int i = 0; i < faults && variable("OMPI_COMM_WORLD_RANK") == "0"; ++i) {
    const std::string file = variable("SWITCHYARD_TEST_FOLDER") + "/fault-" + std::to_string(i);
    if (is_first_of(file)) raise(SIGSEGV);
  }
  const auto real =
      reinterpret_cast<int (*)(int*, char***, int, int*)>(dlsym(RTLD_NEXT, "MPI_Init_thread"));
  return real(count, words, wanted, provided);
}
