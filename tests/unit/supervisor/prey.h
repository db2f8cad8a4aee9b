// What supervisor_prey can do: one function a behaviour; prints, returns the exit status.
#pragma once

namespace isla::prey {

int OpenOne(int argc, char** argv);      // open HOW PATH [FLAGS [MODE]]
int FlipPath(int argc, char** argv);     // flip ALLOWED DENIED COUNT
int StringEdges(int argc, char** argv);  // strings PATH
int CountFds(int argc, char** argv);     // fds PATH COUNT
int ReadTwice(int argc, char** argv);    // twice PATH
int Opens(int argc, char** argv);        // opens PATH COUNT
int StormOpens(int argc, char** argv);  // storm-opens PATH COUNT
int Makes(int argc, char** argv);        // makes FOLDER COUNT
int FullTable(int argc, char** argv);    // full-table PATH
int FifoAndFile(int argc, char** argv);  // fifo-and-file FIFO PATH COUNT
int MakeNode(int argc, char** argv);     // mknod PATH MODE MAJOR MINOR
int OpenAt(int argc, char** argv);       // openat FOLDER PATH RESOLVE

int Connect(int argc, char** argv);      // connect ADDRESS
int Bind(int argc, char** argv);         // bind ADDRESS
int FlipAddress(int argc, char** argv);  // flip-address ALLOWED_PORT DENIED_PORT COUNT

/// "ok", or the name of errno.
const char* Result(long result);

}  // namespace isla::prey
