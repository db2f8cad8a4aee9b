// isla-supervisor: answers the notified calls of one container. Started by whoever keeps its listener; see process.h.
#include "sandbox/supervisor/process.h"

int main() { return isla::supervisor::RunProcess(); }
