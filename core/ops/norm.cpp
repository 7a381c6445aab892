#include "core/ops/norm.h"
