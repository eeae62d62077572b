#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "control/api/http_message.h"
#include "control/command.h"

namespace bellhop::control {

/// Cloud Hypervisor's REST API v1, as far as it is about bytes: a request becomes a command, an
/// answer becomes a response. What beside it is ours, docs/bellhop-api.yaml marks.
struct ApiRequest {
  std::variant<Command, HttpResponse> result;  ///< a response: it is refused as it stands
  std::vector<std::string> ignored;            ///< fields of the body that mean nothing here
};
/// `fds` came with it: they are for a device that it adds.
ApiRequest read_request(const HttpRequest& request, std::vector<UniqueFd> fds = {});

/// `version` is what vmm.ping says of the program.
HttpResponse write_answer(const Command& command, const Result<Answer>& answer,
                          std::string_view version);

/// What vm.info, vm.counters and vm.metrics answer, as JSON.
std::string info_json(const MachineInfo& info);
std::string counters_json(const MachineCounters& counters);
std::string metrics_json(const MachineMetrics& metrics);

}  // namespace bellhop::control
