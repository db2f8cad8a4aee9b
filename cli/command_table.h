// The texts of the commands: what each is for, how it is used, examples. One table; help,
// completion and suggestions come from it.
#pragma once

#include <span>
#include <string_view>

namespace isla::cli {

struct CommandText {
  std::string_view name;
  std::string_view usage;     // "get [(-o|--output=)json|yaml|name|wide] (TYPE[.GROUP] [NAME | -l
                              // label] | TYPE/NAME ...)"
  std::string_view brief;     // one line
  std::string_view about;     // paragraphs
  std::string_view examples;  // indented by two
};

std::span<const CommandText> Commands();
/// Null pointer if there is none.
const CommandText* FindCommand(std::string_view name);

}  // namespace isla::cli
