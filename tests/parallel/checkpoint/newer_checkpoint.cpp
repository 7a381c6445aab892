#include "tests/parallel/checkpoint/newer_checkpoint.h"

#include <hdf5.h>

#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/seal.h"

namespace fs = std::filesystem;

namespace switchyard::test {

void set_format_version(const fs::path& checkpoint, int64_t version) {
  const fs::path master = checkpoint / "checkpoint.h5";
  constexpr int64_t seal_bytes = 16;
  fs::resize_file(master, fs::file_size(master) - seal_bytes);
  {
    const hdf5::Session session;
    const hdf5::Id file(hdf5::require(H5Fopen(master.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), "open"),
                        H5Fclose);
    hdf5::require(H5Adelete(file, "format_version"), "delete");
    hdf5::write_attribute(file, "format_version", version);
  }
  seal_file(master);
}

}  // namespace switchyard::test
