#include "tools/commands.h"

namespace switchyard {

int byte_model_command(Arguments) { return 1; }

}  // namespace switchyard
