// isla-policyc: compiles one sandbox policy, unprivileged. Started by isla-agentd; see README.md.
#include "agentd/policyc/policyc.h"

int main(int argc, char** argv) { return isla::policyc::RunPolicyc(argc, argv); }
