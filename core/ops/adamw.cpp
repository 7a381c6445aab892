#include "core/ops/adamw.h"
