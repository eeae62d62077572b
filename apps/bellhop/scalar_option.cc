#include "apps/bellhop/scalar_option.h"

#include <CLI/CLI.hpp>

namespace bellhop {

void add_scalar(CLI::App& command, const std::string& name, const std::string& help,
                const std::string& type, std::function<void(std::string)> take) {
  const auto taken = [name, take = std::move(take)](const CLI::results_t& given) {
    if (given.size() > 1) throw CLI::ValidationError(name, "is given twice; it has one value");
    take(given.front());
    return true;
  };
  command.add_option(name, taken, help)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->type_name(type);
}

}  // namespace bellhop
