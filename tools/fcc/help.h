#pragma once
// Everything the tool says about itself, from the one list of commands: --help, --help-env, the man page.
#include <string>

#include "tools/fcc/command.h"

namespace fcc {

std::string overview_text();               // fcc --help
std::string command_text(const Command&);  // fcc run --help
std::string environment_text();            // fcc --help-env
std::string manual_page();                 // fcc --man: roff for fcc(1)
std::string version_text();

}  // namespace fcc
