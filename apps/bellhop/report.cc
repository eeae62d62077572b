#include <cstdio>

#include "apps/bellhop/commands.h"

namespace bellhop {

std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

int report(const Error& error, int status) {
  std::fprintf(stderr, "bellhop: %s\n", one_line(error.message).c_str());
  return status;
}

}  // namespace bellhop
