#pragma once

namespace switchyard {

// Removes the names of the shared memory that Open MPI's ranks of this machine have in common, as
// far as this process maps it: for an end without MPI_Finalize, behind which under srun nobody
// would. What is mapped stays as long as it is.
void remove_names_of_shared_memory();

}  // namespace switchyard
