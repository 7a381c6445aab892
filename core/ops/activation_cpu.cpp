#include "core/ops/activation.h"
